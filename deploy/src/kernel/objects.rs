//! An object while it is being loaded: its BTF in the kernel, and its maps, each made when the first program needs it.
//!
//! Knows objects and descriptors, not deployments.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use ouro_rules::manifest::{CARD_MAPS, Scalar};
use ouro_rules::map_type::MAP_TYPES;
use ouro_rules::object;

use super::load::{Trouble, pinned};
use super::prepare::{Kernel, Prepared};
use super::settings::Settings;
use super::sys::{self, NewMap};
use super::types::Found;
use super::{card, lacking};
use crate::object::{ExternKind, MapDef, Object, Reason, SETTINGS, Targets, Value, for_old_kernels};

const PERF_EVENT_ARRAY: u32 = 4;
const RINGBUF: u32 = 27;
const USER_RINGBUF: u32 = 31;
/// `BPF_F_SEGV_ON_FAULT`
const SEGV_ON_FAULT: u32 = 1 << 17;
/// Types whose keys and values the kernel takes no types for: perf event array, stack trace, cgroup array, maps of maps,
/// devmap, sockmap, cpumap, xskmap, sockhash, queue, stack, devmap hash, arena.
const UNTYPED: [u32; 14] = [PERF_EVENT_ARRAY, 7, 8, 12, 13, 14, 15, 16, 17, 18, 22, 23, 25, 33];

/// Maps that are handed in, whatever objects say of them.
#[derive(Default)]
pub(super) struct Shared {
    pins: BTreeMap<String, PathBuf>,
    open: BTreeMap<String, Arc<OwnedFd>>,
}

impl Shared {
    pub(super) fn hand_in(&mut self, map: &str, pin: PathBuf) {
        if self.pins.get(map) != Some(&pin) {
            self.open.remove(map);
            self.pins.insert(map.to_owned(), pin);
        }
    }

    pub(super) fn lend(&mut self, map: &str, fd: OwnedFd) {
        self.pins.remove(map);
        self.open.insert(map.to_owned(), Arc::new(fd));
    }

    fn get(&mut self, map: &str) -> Result<Option<Arc<OwnedFd>>, Trouble> {
        if let Some(open) = self.open.get(map) {
            return Ok(Some(open.clone()));
        }
        let Some(pin) = self.pins.get(map) else { return Ok(None) };
        let fd = pinned(pin)?;
        self.open.insert(map.to_owned(), fd.clone());
        Ok(Some(fd))
    }
}

/// An object with what the kernel has of it.
pub(super) struct Opened {
    pub(super) object: Object,
    btf: Option<Arc<OwnedFd>>,
    /// Why the kernel does not have its types, if it has any.
    pub(super) untyped: Option<String>,
    /// By number, as far as they were needed.
    maps: BTreeMap<usize, Arc<OwnedFd>>,
    /// By the names of their functions.
    programs: BTreeMap<String, Arc<OwnedFd>>,
}

impl Opened {
    pub(super) fn new(bytes: &[u8], kernel: &Kernel) -> Result<Opened, Reason> {
        let mut object = Object::read(bytes)?;
        if object.has_core() {
            let module = |name: &str, kind| kernel.types.of_module(name, kind);
            object.fit(&Targets { kernel: kernel.types.core()?, module: &module });
        }
        set(&mut object, &kernel.settings);
        let on_card = object.maps.iter_mut().filter(|map| is_for_card(map));
        on_card.for_each(|map| map.card = kernel.card);
        let loaded = object.btf.as_deref().map(load_btf).transpose();
        let untyped = loaded.as_ref().err().map(|error| format!("the kernel does not take the object's BTF: {error}"));
        let btf = loaded.ok().flatten().map(Arc::new);
        Ok(Opened { object, btf, untyped, maps: BTreeMap::new(), programs: BTreeMap::new() })
    }

    /// Gives global variables values, before the maps they are in are made.
    pub(super) fn set(&mut self, bytes: &[u8], values: &BTreeMap<String, Scalar>) -> Result<(), Reason> {
        if values.is_empty() {
            return Ok(());
        }
        let globals = object::globals(bytes).map_err(|finding| finding.message)?;
        for (name, value) in values {
            let missing = || format!("it has no global variable `{name}`");
            let global = globals.iter().find(|global| global.name == *name).ok_or_else(missing)?;
            let map = self.object.maps.iter_mut().find(|map| map.name == global.section);
            let data = map.and_then(|map| map.data.as_mut()).ok_or_else(missing)?;
            let start = usize::try_from(global.offset).map_err(|_| missing())?;
            let value = global.encode(value)?;
            data.bytes.get_mut(start..start + value.len()).ok_or_else(missing)?.copy_from_slice(&value);
        }
        Ok(())
    }

    /// The number of a declared map.
    pub(super) fn map_named(&self, name: &str) -> Option<usize> {
        self.object.maps.iter().position(|map| map.name == name && map.data.is_none())
    }

    pub(super) fn prepare(
        &mut self,
        function: usize,
        extended: Option<Found>,
        kernel: &Kernel,
        shared: &mut Shared,
    ) -> Result<Prepared, Trouble> {
        let Opened { object, btf, maps, programs, .. } = self;
        let types = btf.clone();
        let mut map = |number: usize| map(object, maps, types.as_deref().map(AsFd::as_fd), shared, number);
        let prepared = Prepared::of(object, function, kernel, btf.clone(), extended, &mut map)?;
        fill(object, maps, programs)?;
        Ok(prepared)
    }

    /// The object's types, as the kernel has them.
    pub(super) fn types(&self) -> Option<BorrowedFd<'_>> {
        self.btf.as_deref().map(AsFd::as_fd)
    }

    /// Makes a map, whatever was handed in.
    pub(super) fn create(&self, number: usize) -> Result<OwnedFd, Trouble> {
        create(&self.object.maps[number], self.btf.as_deref().map(AsFd::as_fd))
    }

    /// A function of a program that was loaded from it, as the kernel has it.
    pub(super) fn loaded_function(&self, program: &str, function: &str) -> Result<Found, Trouble> {
        let loaded = self.programs.get(program).ok_or_else(|| format!("`{program}`, which it extends, was not loaded"))?;
        let id =
            self.object.function_type(function).ok_or_else(|| format!("`{program}` has no function `{function}` with a type"))?;
        let failed = |error| Trouble::System("cannot keep the program".to_owned(), error);
        Ok(Found { id, module: Some(loaded.try_clone().map_err(failed)?.into()) })
    }

    /// A program that was loaded from it.
    pub(super) fn loaded(&self, function: &str) -> Option<&Arc<OwnedFd>> {
        self.programs.get(function)
    }

    /// Keeps a loaded program, and puts it where the object wants it.
    pub(super) fn put(&mut self, function: &str, program: OwnedFd) -> Result<(), Trouble> {
        self.programs.insert(function.to_owned(), Arc::new(program));
        fill(&self.object, &self.maps, &self.programs)
    }
}

/// The map of this number: handed in, made before, or made now.
fn map(
    object: &Object,
    maps: &mut BTreeMap<usize, Arc<OwnedFd>>,
    types: Option<BorrowedFd<'_>>,
    shared: &mut Shared,
    number: usize,
) -> Result<Arc<OwnedFd>, Trouble> {
    if let Some(known) = maps.get(&number) {
        return Ok(known.clone());
    }
    let declared = &object.maps[number];
    if declared.data.is_none()
        && let Some(handed_in) = shared.get(&declared.name)?
    {
        if declared.variables.is_some() {
            return Err(in_shared_arena(&declared.name).into());
        }
        return Ok(handed_in);
    }
    let made = Arc::new(create(declared, types)?);
    maps.insert(number, made.clone());
    for (key, value) in &declared.values {
        let Value::Map(name) = value else { continue };
        let wanted = object.maps.iter().position(|map| map.name == *name && map.data.is_none());
        let wanted = wanted.ok_or_else(|| format!("map `{}` holds `{name}`, which is no map", declared.name))?;
        let inner = map(object, maps, types, shared, wanted)?;
        sys::map_put(made.as_fd(), *key, inner.as_fd()).map_err(|error| cannot_fill(declared, error))?;
    }
    Ok(made)
}

/// Puts the programs that are loaded into the tables that the object wants them in.
fn fill(object: &Object, maps: &BTreeMap<usize, Arc<OwnedFd>>, programs: &BTreeMap<String, Arc<OwnedFd>>) -> Result<(), Trouble> {
    for (number, map) in maps {
        let declared = &object.maps[*number];
        for (key, value) in &declared.values {
            if let Value::Program(name) = value
                && let Some(program) = programs.get(name)
            {
                sys::map_put(map.as_fd(), *key, program.as_fd()).map_err(|error| cannot_fill(declared, error))?;
            }
        }
    }
    Ok(())
}

/// Whose initial values it should have, and when, nothing says.
fn in_shared_arena(name: &str) -> Reason {
    format!(
        "it has variables in the arena `{name}`, which other programs and later generations have, too: keep them in memory that is allocated there"
    )
}

/// Writes the variables of an arena.
fn set_variables(map: &MapDef, arena: BorrowedFd<'_>) -> Result<(), Trouble> {
    let Some(data) = &map.variables else { return Ok(()) };
    if map.flags & SEGV_ON_FAULT != 0 {
        return Err(format!("the arena `{}` takes no pages from user space, and variables lie in it", map.name).into());
    }
    let page = sys::page_size();
    let first = map.variables_at(page).ok_or_else(|| format!("the arena `{}` has no room for its variables", map.name))?;
    let size = u64::from(map.max_entries) * u64::from(page);
    sys::fill_arena(arena, (map.extra, size), first, &data.bytes)
        .map_err(|error| Trouble::System(format!("cannot write the variables in the arena `{}`", map.name), error))
}

fn cannot_fill(map: &MapDef, error: io::Error) -> Trouble {
    Trouble::System(format!("cannot fill the map `{}`", map.name), error)
}

/// Whether a network card that runs the programs has the map, too.
fn is_for_card(map: &MapDef) -> bool {
    MAP_TYPES.iter().any(|ty| ty.number == map.ty && CARD_MAPS.contains(&ty.name))
}

/// Creates a map; of a section of data, with its first contents.
fn create(map: &MapDef, types: Option<BorrowedFd<'_>>) -> Result<OwnedFd, Trouble> {
    if map.card.is_some() && map.data.is_some() {
        let reason = format!("it has variables or texts in `{}`, and a network card knows no memory but maps", map.name);
        return Err(Trouble::Object(reason));
    }
    let failed = |error| not_created(map, error);
    let inner = map.inner.as_deref().map(|inner| create(inner, types)).transpose()?;
    let new = NewMap {
        name: &map.name,
        ty: map.ty,
        key_size: map.key_size,
        value_size: map.value_size,
        max_entries: entries(map),
        flags: map.flags,
        extra: map.extra,
        numa_node: map.numa_node,
        types: types
            .map(|btf| (btf, map.key_type, map.value_type))
            .filter(|_| !UNTYPED.contains(&map.ty) && (map.key_type, map.value_type) != (0, 0)),
        inner: inner.as_ref().map(AsFd::as_fd),
        card: map.card.unwrap_or(0),
        ..NewMap::default()
    };
    let created = match sys::new_map(&new) {
        // Types are a comfort for most maps, and kernels differ in which they take.
        Err(error) if new.types.is_some() && error.raw_os_error() != Some(libc::EPERM) => {
            sys::new_map(&NewMap { types: None, ..new }).map_err(|_| error)
        }
        other => other,
    }
    .map_err(failed)?;
    set_variables(map, created.as_fd())?;
    if let Some(data) = &map.data {
        sys::map_update(created.as_fd(), 0, &data.bytes).map_err(failed)?;
        if data.is_constant {
            // Only what is frozen does the verifier take for constant.
            sys::map_freeze(created.as_fd()).map_err(failed)?;
        }
    }
    Ok(created)
}

fn not_created(map: &MapDef, error: io::Error) -> Trouble {
    match map.card.and_then(|card| card::refused(card, &error)).or_else(|| lacking::map_type(map.ty, &error)) {
        Some(reason) => Trouble::Object(format!("the map `{}` cannot be created: {reason}", map.name)),
        None => Trouble::System(card::not_done(format!("cannot create the map `{}`", map.name), map.card, &error), error),
    }
}

/// Perf event arrays have an entry for each CPU unless they say otherwise; ring buffers have whole pages, in powers of two.
fn entries(map: &MapDef) -> u32 {
    match (map.ty, map.max_entries) {
        (PERF_EVENT_ARRAY, 0) => cpus(),
        (RINGBUF | USER_RINGBUF, entries) => {
            let page = sys::page_size();
            let pages = entries.div_ceil(page).max(1).checked_next_power_of_two();
            pages.and_then(|pages| pages.checked_mul(page)).unwrap_or(entries)
        }
        (_, entries) => entries,
    }
}

/// The CPUs that may ever be there: `0-3,8`.
fn cpus() -> u32 {
    let text = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text.trim().rsplit([',', '-']).next().and_then(|last| last.parse::<u32>().ok());
    last.map_or(1, |last| last + 1)
}

/// Gives the kernel the object's types; kernels before 6.0 do not know all kinds. A program without them is a program still.
pub(super) fn load_btf(bytes: &[u8]) -> io::Result<OwnedFd> {
    sys::btf_load(bytes).or_else(|error| for_old_kernels(bytes).map_or(Err(error), |bytes| sys::btf_load(&bytes)))
}

/// Writes the kernel's settings into the map of settings. One that is missing is the trouble of who uses it.
fn set(object: &mut Object, settings: &Settings) {
    let mut unset = Vec::new();
    let Some(map) = object.maps.iter_mut().find(|map| map.name == SETTINGS) else { return };
    let Some(data) = &mut map.data else { return };
    for (number, wanted) in object.externs.iter().enumerate() {
        let ExternKind::Setting { offset, size, form } = wanted.kind else { continue };
        let value = settings.value(&wanted.name, wanted.is_weak).and_then(|text| match text {
            Some(text) => form.encode(&text, size).map_err(|reason| format!("`{}`: {reason}", wanted.name)),
            None => Ok(vec![0; size as usize]),
        });
        let (start, end) = (offset as usize, (offset + size) as usize);
        match value {
            Ok(bytes) if bytes.len() == end - start => data.bytes[start..end].copy_from_slice(&bytes),
            Ok(_) => unset.push((number, format!("`{}` has a size that no setting has", wanted.name))),
            Err(reason) => unset.push((number, reason)),
        }
    }
    unset.into_iter().for_each(|(number, reason)| object.externs[number].kind = ExternKind::Missing(reason));
}
