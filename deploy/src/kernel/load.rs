//! Loads objects: maps are made or handed in, programs are verified on all cores and pinned.
//!
//! Knows nothing of slots and generations.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::objects::{Opened, Shared};
use super::prepare::{Kernel, Prepared};
use super::verify::{self, Refused, Taken, Verified};
use super::{pins, sys};
use crate::Error;
use crate::object::Reason;
use crate::rejection::Rejection;

/// How objects are loaded.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoadOptions {
    /// A file with the types of the kernel that CO-RE relocations are made for, instead of the running kernel's.
    pub(crate) btf: Option<PathBuf>,
    /// Whether the verifier is to write its log of programs it takes, too.
    pub(crate) whole_log: bool,
}

/// One program to be loaded.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    /// The object's bytes.
    pub(crate) object: &'a [u8],
    /// The program's name, for messages.
    pub(crate) program: &'a str,
    /// The C function.
    pub(crate) function: &'a str,
    /// Where it is pinned; it goes with the loader if nowhere.
    pub(crate) pin: Option<PathBuf>,
}

/// A program that the kernel took.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// What the verifier told of it.
    pub(crate) verified: Verified,
    /// What it wrote.
    pub(crate) log: String,
}

/// Loads the objects of one deployment. There is one for all of them: the kernel's types are read at most once, and an object
/// is decoded once however many programs it has.
pub(crate) struct Loader<'a> {
    kernel: Kernel,
    shared: Shared,
    /// By the place of their bytes, which stay where they are.
    objects: BTreeMap<(usize, usize), Opened>,
    whole_log: bool,
    of: std::marker::PhantomData<&'a [u8]>,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(options: LoadOptions) -> Loader<'a> {
        sys::lift_memory_limit();
        let mut kernel = Kernel::default();
        kernel.types.core_file = options.btf;
        let (shared, objects) = (Shared::default(), BTreeMap::new());
        Loader { kernel, shared, objects, whole_log: options.whole_log, of: std::marker::PhantomData }
    }

    /// From now on a map of this name in an object is the one pinned at `pin`, whatever the object says of it.
    pub(crate) fn hand_in(&mut self, map: &str, pin: PathBuf) {
        self.shared.hand_in(map, pin);
    }

    /// Creates a map as this object declares it, with its BTF, and pins it; false if the object does not declare it.
    pub(crate) fn create_map(&mut self, object: &'a [u8], map: &str, pin: &Path) -> Result<bool, Error> {
        let opened = open(&mut self.objects, &self.kernel, object, map)?;
        let Some(number) = opened.map_named(map) else { return Ok(false) };
        let created = opened.create(number).map_err(|trouble| trouble.of(map))?;
        sys::pin(created.as_fd(), pin).map_err(|error| Error::io(format!("cannot pin `{}`", pin.display()), error))?;
        self.hand_in(map, pin.to_owned());
        Ok(true)
    }

    /// Loads programs on all cores; a result for each, in order. What is wrong with one is no matter to the others.
    pub(crate) fn load_all(&mut self, requests: &[Request<'a>]) -> Vec<Result<Loaded, Error>> {
        let prepared: Vec<_> = requests.iter().map(|request| self.prepare(request)).collect();
        let ready: Vec<&Prepared> = prepared.iter().flatten().collect();
        let whole_log = self.whole_log;
        let mut done = verify::on_all_cores(ready.len(), |number| verify::load(&ready[number].program(), whole_log)).into_iter();
        let mut results = Vec::new();
        for (request, prepared) in requests.iter().zip(prepared) {
            results.push(prepared.and_then(|_| self.finish(request, done.next().expect("BUG: what is ready was loaded"))));
        }
        results
    }

    fn prepare(&mut self, request: &Request<'a>) -> Result<Prepared, Error> {
        let opened = open(&mut self.objects, &self.kernel, request.object, request.program)?;
        let missing = || object_error(request.program, format!("it has no function `{}`", request.function));
        let function = opened.object.function(request.function).ok_or_else(missing)?;
        opened.prepare(function, &self.kernel, &mut self.shared).map_err(|trouble| trouble.of(request.program))
    }

    fn finish(&mut self, request: &Request<'a>, done: Result<Taken, Refused>) -> Result<Loaded, Error> {
        let Taken { program, verified, log } = done.map_err(|refused| not_loaded(request.program, refused))?;
        if let Some(pin) = &request.pin {
            sys::pin(program.as_fd(), pin).map_err(|error| Error::io(format!("cannot pin `{}`", pin.display()), error))?;
        }
        if let Some(opened) = self.objects.get_mut(&key(request.object)) {
            opened.put(request.function, program).map_err(|trouble| trouble.of(request.program))?;
        }
        Ok(Loaded { verified, log })
    }
}

fn key(object: &[u8]) -> (usize, usize) {
    (object.as_ptr() as usize, object.len())
}

/// The object of these bytes, decoded when first asked for.
fn open<'o>(
    objects: &'o mut BTreeMap<(usize, usize), Opened>,
    kernel: &Kernel,
    object: &[u8],
    of: &str,
) -> Result<&'o mut Opened, Error> {
    match objects.entry(key(object)) {
        std::collections::btree_map::Entry::Occupied(known) => Ok(known.into_mut()),
        std::collections::btree_map::Entry::Vacant(new) => {
            Ok(new.insert(Opened::new(object, kernel).map_err(|reason| object_error(of, reason))?))
        }
    }
}

fn object_error(of: &str, reason: Reason) -> Error {
    Error::Object { of: of.to_owned(), reason }
}

fn not_loaded(program: &str, refused: Refused) -> Error {
    if refused.log.trim().is_empty() {
        return Error::io(format!("cannot load `{program}`"), refused.error);
    }
    Error::Rejected(Box::new(Rejection::new(program, &refused.error, refused.log)))
}

/// Why a program or a map could not be made.
pub(super) enum Trouble {
    /// The object.
    Object(Reason),
    /// A system call: what was tried.
    System(String, io::Error),
    /// Anything else.
    Other(Box<Error>),
}

impl From<Reason> for Trouble {
    fn from(reason: Reason) -> Trouble {
        Trouble::Object(reason)
    }
}

impl Trouble {
    /// As the trouble of a program or a map of this name.
    fn of(self, name: &str) -> Error {
        match self {
            Trouble::Object(reason) => object_error(name, reason),
            Trouble::System(what, error) => Error::io(format!("{what} of `{name}`"), error),
            Trouble::Other(error) => *error,
        }
    }
}

/// A pinned map.
pub(super) fn pinned(pin: &Path) -> Result<Arc<OwnedFd>, Trouble> {
    pins::require(pin, pins::Kind::Map).map(Arc::new).map_err(|error| Trouble::Other(Box::new(error)))
}
