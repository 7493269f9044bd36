//! CO-RE: makes an object's places in the kernel's types those that the kernel has.
//!
//! Pure. The same decisions as libbpf's: what the kernel does not have becomes a call of nothing, which is verified only if it can
//! be reached, and what can be read in two ways is an error.

mod fit;
mod spec;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use ouro_btf::{Btf, Kind};

use self::spec::Spec;
use self::value::{Value, value};
use super::{Object, Reason, essential};

/// `struct bpf_core_relo`, without the place of its instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// The root type in the object.
    pub(super) ty: u32,
    /// Where in the strings the way from there stands: `0:1:2`.
    pub(super) access: u32,
    /// `enum bpf_core_relo_kind`.
    pub(super) kind: u32,
}

/// What is asked of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Offset,
    Bytes,
    FieldExists,
    Signed,
    LeftShift,
    RightShift,
    OwnId,
    Id,
    TypeExists,
    Size,
    EnumeratorExists,
    Enumerator,
    Matches,
}

impl What {
    fn of(kind: u32) -> Option<What> {
        use What::*;
        let all = [
            Offset,
            Bytes,
            FieldExists,
            Signed,
            LeftShift,
            RightShift,
            OwnId,
            Id,
            TypeExists,
            Size,
            EnumeratorExists,
            Enumerator,
            Matches,
        ];
        all.get(kind as usize).copied()
    }

    fn is_of_type(self) -> bool {
        matches!(self, What::OwnId | What::Id | What::TypeExists | What::Size | What::Matches)
    }

    fn is_of_enumerator(self) -> bool {
        matches!(self, What::EnumeratorExists | What::Enumerator)
    }
}

/// The types that a type of the object may be in the kernel.
struct Candidates {
    /// A module's types behind the kernel's; none is the kernel alone.
    module: Option<Arc<Btf>>,
    ids: Vec<u32>,
}

/// The kernel's types, and those of the module that has one of this name and kind, where the kernel has not.
pub(crate) struct Targets<'a> {
    pub(crate) kernel: &'a Btf,
    pub(crate) module: &'a dyn Fn(&str, Kind) -> Option<Arc<Btf>>,
}

impl Object {
    /// Makes all functions fit these types. What cannot be done is the trouble of the functions that need it alone.
    pub(crate) fn fit(&mut self, targets: &Targets<'_>) {
        let Some(own) = &self.types else { return };
        let mut known = BTreeMap::new();
        let mut failed = Vec::new();
        for (section, at, record) in self.ext.core() {
            let (section, at) = (own.text(section), at as usize / 8);
            let mut functions = self.functions.iter_mut().enumerate();
            let Some((number, function)) = functions.find(|(_, function)| function.holds(section, at)) else { continue };
            let candidates = known.entry(record.ty).or_insert_with(|| candidates(own, record.ty, targets));
            let at = at - function.start;
            let done = relocated(own, record, candidates, targets.kernel).and_then(|value| value.write(&mut function.insns, at));
            failed.extend(done.err().map(|reason| (number, format!("{}: {reason}", described(own, record)))));
        }
        failed.into_iter().rev().for_each(|(number, reason)| self.fail(number, reason));
    }
}

/// Types of the same kind and the same name, flavours aside.
fn candidates(own: &Btf, ty: u32, targets: &Targets<'_>) -> Candidates {
    let none = Candidates { module: None, ids: Vec::new() };
    let Some(wanted) = own.get(ty) else { return none };
    let name = essential(own.name(wanted));
    let find = |types: &Btf, from: u32| {
        let fits = |id: &u32| {
            types
                .get(*id)
                .is_some_and(|ty| ty.kind == wanted.kind && types.name(ty).starts_with(name) && essential(types.name(ty)) == name)
        };
        (from..types.ids().end).filter(fits).collect::<Vec<u32>>()
    };
    if name.is_empty() {
        return none;
    }
    let ids = find(targets.kernel, 1);
    if !ids.is_empty() {
        return Candidates { module: None, ids };
    }
    let module = (targets.module)(name, wanted.kind);
    module.map_or(none, |module| Candidates { ids: find(&module, targets.kernel.ids().end), module: Some(module) })
}

/// What is to be written for a relocation.
fn relocated(own: &Btf, record: Record, candidates: &Candidates, kernel: &Btf) -> Result<Value, Reason> {
    let what = What::of(record.kind).ok_or_else(|| format!("it is of kind {}, which ouro does not know", record.kind))?;
    let access = own.text(record.access);
    let local = Spec::of(own, record.ty, access, what).ok_or_else(|| format!("it is damaged: there is no place `{access}`"))?;
    if what == What::OwnId {
        return Ok(Value::number(record.ty.into()));
    }
    let types = candidates.module.as_deref().unwrap_or(kernel);
    let mut decided: Option<(u64, Value)> = None;
    for found in candidates.ids.iter().filter_map(|id| local.found_in(types, *id, what)) {
        let value = value(what, &local, Some(&found))?;
        match &decided {
            Some((bits, other)) if *bits != found.bits || *other != value => {
                return Err("the kernel has several types of this name, which differ in it".to_owned());
            }
            Some(_) => {}
            None => decided = Some((found.bits, value)),
        }
    }
    decided.map_or_else(|| value(what, &local, None), |(_, value)| Ok(value))
}

/// Which type a relocation is about, and which member of it.
fn described(own: &Btf, record: Record) -> String {
    let ty = own.get(record.ty);
    let name = ty.map_or("", |ty| own.name(ty));
    let word = match ty.map(|ty| ty.kind) {
        Some(Kind::Struct) => "struct ",
        Some(Kind::Union) => "union ",
        Some(Kind::Enum) => "enum ",
        _ => "",
    };
    let spec = What::of(record.kind).and_then(|what| Spec::of(own, record.ty, own.text(record.access), what));
    let member = spec.and_then(|spec| spec.member_name().map(|name| format!("`{name}` of "))).unwrap_or_default();
    format!("{member}`{word}{name}` cannot be fitted to the kernel's types")
}
