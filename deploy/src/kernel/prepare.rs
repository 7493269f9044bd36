//! Makes of a function of an object a program that the kernel can be given: linked, with maps and the kernel's own things
//! filled in.
//!
//! Knows objects and descriptors; maps are made by whoever calls.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use ouro_btf::Kind;
use ouro_rules::hook::{self, Hook};

use super::settings::Settings;
use super::types::{Found, KernelTypes, Unfit};
use super::{numbers, offered, sys};
use crate::object::{Extern, ExternKind, Insn, Linked, Object, Pseudo, Reason, SETTINGS, Target, essential};

/// `BPF_F_SLEEPABLE` and `BPF_F_XDP_HAS_FRAGS`.
const SLEEPABLE: u32 = 1 << 4;
const FRAGS: u32 = 1 << 5;
/// No kernel has such a helper: what calls it must not be reached.
const NO_HELPER: i32 = 2_001_000_000;

/// What is known of the running kernel, and of whom it has run the programs.
#[derive(Default)]
pub(super) struct Kernel {
    pub(super) types: KernelTypes,
    pub(super) settings: Settings,
    /// The device whose card runs the programs; none if the kernel does.
    pub(super) card: Option<u32>,
}

/// A program, ready to be loaded from any thread.
pub(super) struct Prepared {
    insns: Vec<u8>,
    linked: Linked,
    name: String,
    license: CString,
    kind: &'static str,
    ty: u32,
    attach_type: u32,
    flags: u32,
    attach: Option<Found>,
    btf: Option<Arc<OwnedFd>>,
    /// What was found of what the kernel is to provide, by its number.
    found: BTreeMap<usize, Option<Found>>,
    /// Their descriptors are open until the program is loaded; place 0 is the kernel's own.
    module_list: Vec<i32>,
    card: Option<u32>,
    /// Descriptors in the instructions are open until the program is loaded.
    _maps: Vec<Arc<OwnedFd>>,
}

impl Prepared {
    /// As the kernel is asked for it.
    pub(super) fn program(&self) -> sys::Program<'_> {
        sys::Program {
            ty: self.ty,
            attach_type: self.attach_type,
            flags: self.flags,
            insns: &self.insns,
            license: &self.license,
            name: &self.name,
            btf: self.btf.as_deref().map(AsFd::as_fd),
            functions: &self.linked.functions,
            lines: &self.linked.lines,
            attach_btf_id: self.attach.as_ref().map_or(0, |found| found.id),
            attach_btf: self.attach.as_ref().and_then(Found::module),
            modules: &self.module_list,
            card: self.card.unwrap_or(0),
        }
    }

    /// The prefix of its section.
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    /// The device whose card is to run it.
    pub(super) fn card(&self) -> Option<u32> {
        self.card
    }

    /// Which functions call which.
    pub(super) fn calls(&self) -> &[(usize, usize)] {
        &self.linked.calls
    }

    /// What kind of program it is, links, and fills in; `extended` is the function that it replaces, `map` gives the map of this
    /// number.
    pub(super) fn of<E: From<Reason>>(
        object: &Object,
        function: usize,
        kernel: &Kernel,
        btf: Option<Arc<OwnedFd>>,
        extended: Option<Found>,
        map: &mut dyn FnMut(usize) -> Result<Arc<OwnedFd>, E>,
    ) -> Result<Prepared, E> {
        let (ty, attach_type, flags, attach) = kind(object, function, extended, &kernel.types)?;
        let linked = object.link(function)?;
        let license = CString::new(object.license.clone()).map_err(|_| "its license is no text".to_owned())?;
        let mut prepared = Prepared {
            insns: Vec::new(),
            name: object.get(function).name.clone(),
            license,
            kind: object.get(function).hook().map_or("", |hook| hook.prefix),
            ty,
            attach_type,
            flags,
            attach,
            btf,
            found: BTreeMap::new(),
            module_list: Vec::new(),
            card: kernel.card,
            linked,
            _maps: Vec::new(),
        };
        for (at, target) in std::mem::take(&mut prepared.linked.references) {
            prepared.fill_in(object, kernel, map, at, target)?;
        }
        prepared.insns = Insn::as_bytes(&prepared.linked.insns);
        Ok(prepared)
    }

    fn fill_in<E: From<Reason>>(
        &mut self,
        object: &Object,
        kernel: &Kernel,
        map: &mut dyn FnMut(usize) -> Result<Arc<OwnedFd>, E>,
        at: usize,
        target: Target,
    ) -> Result<(), E> {
        match target {
            Target::Map(number) => {
                let fd = map(number)?;
                self.linked.insns[at].load(Pseudo::Map, fd.as_raw_fd());
                self._maps.push(fd);
            }
            Target::Data { map: number, offset } => {
                let fd = map(number)?;
                let first = object.maps[number].variables_at(sys::page_size()).and_then(|first| i32::try_from(first).ok());
                self.wide(at, Pseudo::MapValue, fd.as_raw_fd(), offset.wrapping_add(first.unwrap_or(0)))?;
                self._maps.push(fd);
            }
            Target::Extern(number) => match &object.externs[number] {
                Extern { kind: ExternKind::Setting { offset, .. }, .. } => {
                    let of_settings = object.maps.iter().position(|map| map.name == SETTINGS);
                    let fd = map(of_settings.ok_or_else(|| "it has no map of settings".to_owned())?)?;
                    self.wide(at, Pseudo::MapValue, fd.as_raw_fd(), i32::try_from(*offset).unwrap_or(0))?;
                    self._maps.push(fd);
                }
                _ => self.fill_in_extern(object, kernel, at, number)?,
            },
            Target::Function(_) | Target::Callback(_) => {}
        }
        Ok(())
    }

    /// Writes both halves of a wide load.
    fn wide(&mut self, at: usize, what: Pseudo, first: i32, second: i32) -> Result<(), Reason> {
        let halves = self.linked.insns.get_mut(at..at + 2).ok_or("it ends within an instruction")?;
        halves[0].load(what, first);
        halves[1].set_imm(second);
        Ok(())
    }

    fn fill_in_extern(&mut self, object: &Object, kernel: &Kernel, at: usize, number: usize) -> Result<(), Reason> {
        let wanted = &object.externs[number];
        let is_load = self.linked.insns[at].is_wide_load();
        let missing = || format!("the kernel has no `{}`", wanted.name);
        if wanted.kind == ExternKind::Address {
            let address = address(&wanted.name).or(wanted.is_weak.then_some(0)).ok_or_else(missing)?;
            return self.wide(at, Pseudo::Number, address as u32 as i32, (address >> 32) as u32 as i32);
        }
        let found = match self.found.get(&number) {
            Some(known) => known.clone(),
            None => self.found.entry(number).insert_entry(find(&kernel.types, object, wanted)?).get().clone(),
        };
        match found {
            None if !wanted.is_weak => Err(missing()),
            None if is_load => self.wide(at, Pseudo::Number, 0, 0),
            None => {
                self.linked.insns[at].call_nothing(NO_HELPER + i32::try_from(number).unwrap_or(0));
                Ok(())
            }
            Some(found) if is_load => {
                let id = found.id.cast_signed();
                let module = found.module.as_ref().map_or(0, AsRawFd::as_raw_fd);
                self.wide(at, Pseudo::Variable, id, module)
            }
            Some(found) => {
                let place = found.module.map_or(0, |module| self.add_module(module.as_raw_fd()));
                self.linked.insns[at].call_kernel(found.id.cast_signed(), place);
                Ok(())
            }
        }
    }

    /// Puts a module into the list of those whose functions are called; place 0 is the kernel's own.
    fn add_module(&mut self, module: i32) -> i16 {
        if self.module_list.is_empty() {
            self.module_list.push(0);
        }
        let known = self.module_list.iter().position(|known| *known == module);
        let place = known.unwrap_or_else(|| {
            self.module_list.push(module);
            self.module_list.len() - 1
        });
        i16::try_from(place).unwrap_or(i16::MAX)
    }
}

/// Something of the kernel's, if it has it. What may be missing is so, too, where the kernel has another of that name.
fn find(types: &KernelTypes, object: &Object, wanted: &Extern) -> Result<Option<Found>, Reason> {
    match (&wanted.kind, &object.types) {
        (ExternKind::Function(declared), Some(own)) => match types.find_function(&wanted.name, (own, *declared))? {
            Ok(found) => Ok(found),
            Err(_) if wanted.is_weak => Ok(None),
            Err(Unfit(name)) => {
                Err(format!("the kernel's `{name}` takes or returns something else than `{}` declares", wanted.name))
            }
        },
        (ExternKind::Variable, _) => types.find(&wanted.name, Kind::Variable),
        (ExternKind::Missing(reason), _) => Err(reason.clone()),
        _ => Err(format!("`{}` is defined nowhere", wanted.name)),
    }
}

/// The numbers of a program's type, attach type and flags, and what of the kernel it attaches to.
type Numbers = (u32, u32, u32, Option<Found>);

/// `extended` is the function that an extension replaces.
fn kind(object: &Object, function: usize, extended: Option<Found>, types: &KernelTypes) -> Result<Numbers, Reason> {
    if let (Some(found), Some(hook)) = (extended, object.get(function).hook().filter(|hook| hook.prog_type == "ext")) {
        return Ok((numbers::program_type(hook.prog_type).unwrap_or_default(), 0, 0, Some(found)));
    }
    let (ty, attach_type, flags, attach) = kind_of(&object.get(function).section, types)?;
    if object.get(function).hook().is_some_and(|hook| hook.prog_type == "struct_ops") {
        let (attach, member) = member(object, &object.get(function).name, types)?;
        return Ok((ty, member, flags, Some(attach)));
    }
    Ok((ty, attach_type, flags, attach))
}

/// The same for a section, which says it all but of functions of a struct.
pub(super) fn kind_of(section: &str, types: &KernelTypes) -> Result<Numbers, Reason> {
    let unknown = || format!("nobody knows programs in a section `{section}`");
    let hook = hook::find(section).ok_or_else(unknown)?;
    let (ty, attach_type, flags) = numbers_of(hook).ok_or_else(unknown)?;
    let target = section.trim_start_matches('?').strip_prefix(hook.prefix).and_then(|rest| rest.strip_prefix('/'));
    match hook.prog_type {
        "ext" => Err("it replaces a function of another program, and nothing says which program that is: `extensions` of a `bpf_chain` does".to_owned()),
        "tracing" | "lsm" => {
            let target = target.ok_or_else(|| format!("its section `{section}` does not say what it attaches to"))?;
            Ok((ty, attach_type, flags, Some(attach_target(hook, target, types)?)))
        }
        _ => Ok((ty, attach_type, flags, None)),
    }
}

/// The numbers of a kind of program: its type, the attach type it is loaded with, and flags.
pub(super) fn numbers_of(hook: &Hook) -> Option<(u32, u32, u32)> {
    let is_event = hook.attach() == ["usdt"] && !offered::takes_many_uprobes();
    let attach_type = numbers::attach_type(if is_event { "" } else { hook.attach_type })?;
    let flags = if hook.sleepable { SLEEPABLE } else { 0 } | if hook.frags { FRAGS } else { 0 };
    Some((numbers::program_type(hook.prog_type)?, attach_type, flags))
}

/// The kernel's functions and tracepoints have types of their own names, or of those with something before it.
fn attach_target(hook: &Hook, target: &str, types: &KernelTypes) -> Result<Found, Reason> {
    let (prefix, kind) = match hook.attach_type {
        "TRACE_RAW_TP" => ("btf_trace_", Kind::Typedef),
        "LSM_MAC" | "LSM_CGROUP" => ("bpf_lsm_", Kind::Function),
        "TRACE_ITER" => ("bpf_iter_", Kind::Function),
        _ => ("", Kind::Function),
    };
    // libbpf's way to name the module that a function is of.
    let found = match target.split_once(':').filter(|_| prefix.is_empty()) {
        Some((module, function)) => types.find_in(module, function, kind)?,
        None => types.find(&format!("{prefix}{target}"), kind)?,
    };
    found.ok_or_else(|| format!("the kernel has no `{target}` for `{}` programs to attach to", hook.prefix))
}

/// The kernel's type of the table that a function stands in, and the number of its member.
fn member(object: &Object, function: &str, types: &KernelTypes) -> Result<(Found, u32), Reason> {
    let entry = object.struct_ops.iter().find_map(|table| {
        let (member, _) = table.programs.iter().find(|(_, program)| program == function)?;
        Some((table, member))
    });
    let (table, member) = entry.ok_or("no variable in `.struct_ops` has it for a function")?;
    let found = types.find(essential(&table.ty), Kind::Struct)?;
    let found = found.ok_or_else(|| format!("the kernel has no `struct {}`", table.ty))?;
    let kernel = types.kernel()?;
    let record = kernel.get(found.id).ok_or_else(|| format!("`struct {}` is of a module", table.ty))?;
    let place = kernel.members(record).iter().position(|known| kernel.member_name(known) == member);
    let place = place.and_then(|place| u32::try_from(place).ok());
    Ok((found, place.ok_or_else(|| format!("the kernel's `struct {}` has no `{member}`", table.ty))?))
}

/// Where something is in the kernel's memory, if it tells.
fn address(name: &str) -> Option<u64> {
    let symbols = fs::read_to_string("/proc/kallsyms").ok()?;
    let line = symbols.lines().find(|line| line.split(' ').nth(2).is_some_and(|found| found.split('\t').next() == Some(name)))?;
    u64::from_str_radix(line.split(' ').next()?, 16).ok()
}
