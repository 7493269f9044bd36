//! Loads objects: maps are made or handed in, programs are verified on all cores, pinned and put into the jump table.
//!
//! Knows nothing of generations.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ouro_rules::hook;
use ouro_rules::manifest::Scalar;

use super::objects::{Opened, Shared};
use super::prepare::{Kernel, Prepared};
use super::types::{CoreTypes, Found};
use super::verify::{self, Refused, Taken, Verified};
use super::{card, maps, pins, sys, tables};
use crate::Error;
use crate::object::Reason;
use crate::rejection::{Rejection, is_statistic};

/// Descriptors of a process that has loaded nothing.
const OTHER_DESCRIPTORS: usize = 32;

/// How objects are loaded.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoadOptions {
    /// The types that CO-RE relocations are made for.
    pub(crate) core: CoreTypes,
    /// Whether the verifier is to write its log of programs it takes, too.
    pub(crate) whole_log: bool,
    /// The device whose card is to run the programs; none if the kernel is.
    pub(crate) card: Option<u32>,
}

/// One program to be loaded.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    /// The object's bytes.
    pub(crate) object: &'a [u8],
    /// The program's name, for messages.
    pub(crate) program: Cow<'a, str>,
    /// The C function.
    pub(crate) function: Cow<'a, str>,
    /// The section it is in, which says what kind of program it is.
    pub(crate) ty: Cow<'a, str>,
    /// The values of its global variables, where they differ from the source's.
    pub(crate) globals: &'a BTreeMap<String, Scalar>,
    /// Where it is pinned; it goes with the loader if nowhere.
    pub(crate) pin: Option<PathBuf>,
    /// The jump table and its slot there.
    pub(crate) slot: Option<(Arc<OwnedFd>, u32)>,
    /// Of an extension, what it replaces; that program is loaded first.
    pub(crate) replaces: Option<Replaced<'a>>,
}

/// A function of a program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replaced<'a> {
    /// The program's object.
    pub(crate) object: &'a [u8],
    /// The C function that is the program.
    pub(crate) program: &'a str,
    /// The function.
    pub(crate) function: &'a str,
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
        kernel.types.core_from = options.core;
        kernel.card = options.card;
        let (shared, objects) = (Shared::default(), BTreeMap::new());
        Loader { kernel, shared, objects, whole_log: options.whole_log, of: std::marker::PhantomData }
    }

    /// From now on a map of this name in an object is the one pinned at `pin`, whatever the object says of it.
    pub(crate) fn hand_in(&mut self, map: &str, pin: PathBuf) {
        self.shared.hand_in(map, pin);
    }

    /// From now on a map of this name in an object is this new one, which goes with the loader.
    pub(crate) fn lend(&mut self, map: &str, fd: OwnedFd) {
        self.shared.lend(map, fd);
    }

    /// From now on a map of this name is one as this object declares it, which goes with the loader; `None` if it does not.
    pub(crate) fn lend_declared(&mut self, object: &'a [u8], map: &str) -> Result<Option<()>, Error> {
        let opened = open(&mut self.objects, &self.kernel, object, map)?;
        let Some(number) = opened.map_named(map) else { return Ok(None) };
        let created = opened.create(number).map_err(|trouble| trouble.of(map))?;
        self.lend(map, created);
        Ok(Some(()))
    }

    /// The programs of an object: function and section, in the order of the file. `of` is its name, for messages.
    pub(crate) fn programs(&mut self, object: &'a [u8], of: &str) -> Result<Vec<(String, String)>, Error> {
        let opened = open(&mut self.objects, &self.kernel, object, of)?;
        Ok(opened.object.programs().map(|function| (function.name.clone(), function.section.clone())).collect())
    }

    /// Loads programs on all cores; a result for each, in order. What is wrong with one is no matter to the others.
    /// Extensions come last: what they extend must be in the kernel. Slots are filled when all programs are loaded: before Linux
    /// 6.7 a table that is filled while a program that jumps through it is being loaded can bring the kernel down.
    pub(crate) fn load_all(&mut self, requests: &[Request<'a>]) -> Vec<Result<Loaded, Error>> {
        let (extensions, others): (Vec<_>, Vec<_>) =
            requests.iter().enumerate().partition(|(_, request)| request.replaces.is_some());
        // A program, the types of its object, and a map or two.
        sys::reserve_descriptors(OTHER_DESCRIPTORS + 4 * requests.len());
        let mut results = self.load_wave(&others);
        results.extend(self.load_wave(&extensions));
        results.sort_by_key(|(number, _)| *number);
        let filled = results.into_iter().zip(requests).map(|((_, result), request)| {
            let loaded = result?;
            self.fill_slot(request).map(|()| loaded)
        });
        filled.collect()
    }

    fn fill_slot(&self, request: &Request<'a>) -> Result<(), Error> {
        let program = self.objects.get(&key(request.object)).and_then(|opened| opened.loaded(&request.function));
        let (Some((table, slot)), Some(program)) = (&request.slot, program) else { return Ok(()) };
        maps::put(table, *slot, program, &request.program)
    }

    /// Programs are verified while the next ones are prepared. One kind after another: the first program to use a table decides
    /// which kind it is for, and which programs are refused must not be a matter of luck.
    fn load_wave(&mut self, requests: &[(usize, &Request<'a>)]) -> Vec<(usize, Result<Loaded, Error>)> {
        let whole_log = self.whole_log;
        let mut results = Vec::with_capacity(requests.len());
        for group in alike(requests.iter().map(|(_, request)| kind(request))) {
            let ready = group.iter().map(|place| (requests[*place].1, self.prepare(requests[*place].1)));
            let taken = verify::on_all_cores(ready, |(request, prepared)| take(request, &prepared?, whole_log));
            for (place, taken) in group.into_iter().zip(taken) {
                let (number, request) = requests[place];
                let loaded = taken.map_err(|error| self.with_types(request, error)).and_then(|taken| self.keep(request, taken));
                results.push((number, loaded));
            }
        }
        results
    }

    /// Makes the table of functions that an object calls `name`, with all its programs, and pins it; the kernel does not use it yet.
    /// `of` is the program it is of, for messages.
    pub(crate) fn make_table(&mut self, request: &Request<'a>, name: &str, pin: &Path) -> Result<(), Error> {
        let opened = open(&mut self.objects, &self.kernel, request.object, &request.program)?;
        let found = opened.object.struct_ops.iter().find(|table| table.name == name).cloned();
        let missing = || object_error(&request.program, format!("it has no table of functions `{name}`"));
        let table = found.ok_or_else(missing)?;
        let absent = table.programs.iter().map(|(_, function)| function).filter(|function| opened.loaded(function).is_none());
        let wanted = |function: &String| {
            let (program, function) = (function.clone().into(), function.clone().into());
            Request { program, function, pin: None, slot: None, ..request.clone() }
        };
        let requests: Vec<Request<'a>> = absent.map(wanted).collect();
        self.load_all(&requests).into_iter().try_for_each(|result| result.map(drop))?;
        let opened = &self.objects[&key(request.object)];
        let made = tables::make(opened, &self.kernel.types, &table).map_err(|trouble| trouble.of(name))?;
        sys::pin(made.as_fd(), pin).map_err(|error| Error::io(format!("cannot pin `{}`", pin.display()), error))
    }

    fn prepare(&mut self, request: &Request<'a>) -> Result<Prepared, Error> {
        let extended = request.replaces.map(|replaced| self.extended(request, replaced)).transpose()?;
        let opened = open(&mut self.objects, &self.kernel, request.object, &request.program)?;
        opened.set(request.object, request.globals).map_err(|reason| object_error(&request.program, reason))?;
        let missing = || object_error(&request.program, format!("it has no function `{}`", request.function));
        let function = opened.object.function(&request.function).ok_or_else(missing)?;
        opened.prepare(function, extended, &self.kernel, &mut self.shared).map_err(|trouble| trouble.of(&request.program))
    }

    /// The function that an extension replaces, of a program that is loaded.
    fn extended(&self, request: &Request<'a>, Replaced { object, program, function }: Replaced<'a>) -> Result<Found, Error> {
        let missing = || object_error(&request.program, format!("`{program}`, which it extends, was not loaded"));
        let opened = self.objects.get(&key(object)).ok_or_else(missing)?;
        opened.loaded_function(program, function).map_err(|trouble| trouble.of(&request.program))
    }

    /// A refusal may have its reason in types that the kernel does not have.
    fn with_types(&self, request: &Request<'a>, error: Error) -> Error {
        match (error, self.objects.get(&key(request.object)).and_then(|opened| opened.untyped.as_ref())) {
            (Error::Rejected(mut rejection), Some(why)) => {
                rejection.said.push(why.clone());
                Error::Rejected(rejection)
            }
            (error, _) => error,
        }
    }

    /// Keeps a program open, for those of its object and for those that extend it.
    fn keep(&mut self, request: &Request<'a>, taken: Taken) -> Result<Loaded, Error> {
        let Taken { program, verified, mut log } = taken;
        if let Some(opened) = self.objects.get_mut(&key(request.object)) {
            opened.put(&request.function, program).map_err(|trouble| trouble.of(&request.program))?;
            log.extend(opened.untyped.iter().map(|why| format!("{why}\n")));
        }
        Ok(Loaded { verified, log })
    }
}

fn kind(request: &Request<'_>) -> Option<&'static str> {
    hook::find(&request.ty).map(|hook| hook.prefix)
}

/// The places of those that are alike, the kinds in the order in which they first appear.
fn alike(kinds: impl Iterator<Item = Option<&'static str>>) -> Vec<Vec<usize>> {
    let mut groups: Vec<(Option<&str>, Vec<usize>)> = Vec::new();
    for (place, kind) in kinds.enumerate() {
        match groups.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, places)) => places.push(place),
            None => groups.push((kind, vec![place])),
        }
    }
    groups.into_iter().map(|(_, places)| places).collect()
}

/// Has the kernel take a program, and pins it.
fn take(request: &Request<'_>, prepared: &Prepared, whole_log: bool) -> Result<Taken, Error> {
    let taken = verify::load(&prepared.program(), prepared.calls(), whole_log)
        .map_err(|refused| not_loaded(&request.program, prepared, refused))?;
    if let Some(pin) = &request.pin {
        maps::pin(&taken.program, pin)?;
    }
    Ok(taken)
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

/// Whether the verifier got as far as to an instruction.
fn was_looked_at(log: &str) -> bool {
    log.lines().any(|line| !is_statistic(line)) || log.contains("processed ") && !log.contains("processed 0 ")
}

/// The verifier says why it refuses a program; before it is asked, the kernel may refuse the program's kind without a word.
fn not_loaded(program: &str, prepared: &Prepared, refused: Refused) -> Error {
    match prepared.card() {
        Some(card) => not_on_card(program, card, refused),
        None => not_in_kernel(program, prepared.kind(), refused),
    }
}

/// A card's driver may say why in the verifier's log; where it does not, the error is all there is.
fn not_on_card(program: &str, card: u32, Refused { error, log }: Refused) -> Error {
    let reason = card::refused(card, &error);
    if was_looked_at(&log) {
        return Error::Rejected(Box::new(Rejection::new(program, &reason.map_or(error, io::Error::other), log)));
    }
    match reason {
        Some(reason) => object_error(program, reason),
        None => Error::io(format!("cannot load `{program}` for a network card"), error),
    }
}

fn not_in_kernel(program: &str, kind: &str, refused: Refused) -> Error {
    if was_looked_at(&refused.log) {
        return Error::Rejected(Box::new(Rejection::new(program, &refused.error, refused.log)));
    }
    match refused.error.raw_os_error() {
        Some(libc::EINVAL | libc::EOPNOTSUPP) => {
            let reason = format!("the kernel takes no `{kind}` programs: it is older than they are, or was made without them");
            object_error(program, reason)
        }
        Some(libc::EPERM | libc::EACCES) => Error::io(format!("cannot load `{program}`, a `{kind}` program"), refused.error),
        _ => Error::Rejected(Box::new(Rejection::new(program, &refused.error, refused.log))),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_come_one_after_another_in_the_order_they_are_asked_for() {
        let kinds = [Some("tc"), Some("xdp"), None, Some("tc"), Some("xdp")];
        assert_eq!(alike(kinds.into_iter()), [vec![0, 3], vec![1, 4], vec![2]]);
        assert_eq!(alike(std::iter::empty()), Vec::<Vec<usize>>::new());
    }

    /// These were told in the system's words alone, though it was known what to do.
    #[test]
    fn errors_without_a_log_come_with_a_remedy() {
        let told = |errno: i32| {
            let refused = Refused { error: io::Error::from_raw_os_error(errno), log: String::new() };
            not_in_kernel("parse", "xdp", refused)
        };
        for (errno, remedy) in [(libc::ENOMEM, "ulimit -l"), (libc::E2BIG, "split it"), (libc::EPERM, "run it as root")] {
            let error = told(errno);
            assert!(error.help().is_some_and(|help| help.contains(remedy)), "{error}");
        }
        assert!(told(libc::EINVAL).to_string().contains("takes no `xdp` programs"));
    }

    /// A card's driver says why in the verifier's log, or nowhere.
    #[test]
    fn what_a_card_refuses_is_told_with_its_device() {
        let told = |errno: i32, log: &str| {
            let refused = Refused { error: io::Error::from_raw_os_error(errno), log: log.to_owned() };
            not_on_card("parse", 1, refused)
        };
        let device = sys::device_name(1).unwrap();
        let silent = told(libc::EOPNOTSUPP, "").to_string();
        assert!(silent.starts_with(&format!("cannot load `parse`: the network card of `{device}` does not take it")), "{silent}");
        let said = told(libc::EOPNOTSUPP, "0: (b7) r0 = 2\n[nfp] unsupported function id: 5\nprocessed 2 insns\n").to_string();
        assert!(said.contains("rejected `parse`: [nfp] unsupported function id: 5"), "{said}");
        let jit = told(libc::EINVAL, "0: (b7) r0 = 2\n1: (95) exit\nprocessed 2 insns\n").to_string();
        assert!(jit.contains(&format!("the network card of `{device}` does not take it")), "{jit}");
        assert!(matches!(told(libc::EPERM, ""), Error::NotPermitted(_)));
        assert!(matches!(told(libc::ENOMEM, ""), Error::System { .. }), "it may take it in a moment");
    }
}
