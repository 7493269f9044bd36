//! Whether a type of an object can be the kernel's: as a member, as a whole, or in all that it declares.
//!
//! Knows types, not ways.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use ouro_btf::{Btf, Kind, Type};

use super::spec::members;
use crate::object::essential;

/// More pairs of types than any comparison needs; bounds what circles and damage can cost.
const MOST: usize = 10_000;
/// Records without a name lie in each other no deeper.
const DEEPEST: usize = 16;

/// Whether a member of one type can be read as one of the other.
pub(super) fn fields_fit(own: &Btf, ours: u32, kernel: &Btf, theirs: u32) -> bool {
    let (mut ours, mut theirs) = (ours, theirs);
    for _ in 0..MOST {
        let (Some(one), Some(other)) = (own.resolve(ours), kernel.resolve(theirs)) else { return false };
        let names = || (essential(own.name(one)), essential(kernel.name(other)));
        match (one.kind, other.kind) {
            (Kind::Struct | Kind::Union, Kind::Struct | Kind::Union) => return true,
            (Kind::Array, Kind::Array) => (ours, theirs) = (one.size_or_type, other.size_or_type),
            // Where one has no name, the other's says nothing.
            (Kind::Enum | Kind::Forward, kind) if kind == one.kind => {
                let (one, other) = names();
                return one.is_empty() || other.is_empty() || one == other;
            }
            (Kind::Int | Kind::Pointer | Kind::Float, kind) => return kind == one.kind,
            _ => return false,
        }
    }
    false
}

/// Whether two types are of one kind, and what pointers, arrays and prototypes lead to as well.
pub(super) fn types_fit(own: &Btf, ours: u32, kernel: &Btf, theirs: u32) -> bool {
    let decide = |one: Type, other: Type, _| match one.kind {
        Kind::Pointer | Kind::Array => Next::Inside,
        Kind::Prototype => Next::Prototype,
        kind => Next::Decided(kind == other.kind),
    };
    Comparison { own, kernel, decide: &decide, left: Cell::new(MOST) }.holds(ours, theirs, 0)
}

/// Whether all that a type declares is so in the other: members by name and type, enumerators, sizes and signs of numbers.
pub(super) fn types_match(own: &Btf, ours: u32, kernel: &Btf, theirs: u32) -> bool {
    let decide = |one: Type, other: Type, is_behind| {
        if essential(own.name(one)) != essential(kernel.name(other)) {
            return Next::Decided(false);
        }
        match (one.kind, other.kind) {
            // Behind a pointer it is enough to be declared.
            (Kind::Forward, Kind::Forward) => Next::Decided(one.declared_kind() == other.declared_kind()),
            (Kind::Forward, kind) => Next::Decided(is_behind && one.declared_kind() == kind),
            (kind, Kind::Forward) => Next::Decided(is_behind && other.declared_kind() == kind),
            (Kind::Struct | Kind::Union, kind) if is_behind => Next::Decided(kind == one.kind),
            (Kind::Struct | Kind::Union, kind) if kind == one.kind => Next::Members,
            (Kind::Enum, Kind::Enum) => Next::Decided(enums_match(own, one, kernel, other)),
            (Kind::Int, Kind::Int) => {
                Next::Decided(one.size_or_type == other.size_or_type && one.is_signed() == other.is_signed())
            }
            (Kind::Pointer, Kind::Pointer) => Next::Inside,
            (Kind::Array, Kind::Array) if one.array().map(|(_, count)| count) == other.array().map(|(_, count)| count) => {
                Next::Inside
            }
            (Kind::Prototype, Kind::Prototype) => Next::Prototype,
            (kind, other) => Next::Decided(kind == Kind::Void && other == kind),
        }
    };
    Comparison { own, kernel, decide: &decide, left: Cell::new(MOST) }.holds(ours, theirs, 0)
}

fn enums_match(own: &Btf, ours: Type, kernel: &Btf, theirs: Type) -> bool {
    let names = kernel.enumerators(theirs).iter().map(|number| essential(kernel.enumerator_name(number)));
    let names: BTreeSet<&str> = names.collect();
    let is_there = |number: &ouro_btf::Enumerator| names.contains(essential(own.enumerator_name(number)));
    ours.size_or_type == theirs.size_or_type && own.enumerators(ours).iter().all(is_there)
}

/// What two types come to.
enum Next {
    Decided(bool),
    /// What they point to, or are made of.
    Inside,
    /// What they take and return.
    Prototype,
    /// Every member of ours is one of theirs.
    Members,
}

/// Compares pairs of types until one differs.
struct Comparison<'a> {
    own: &'a Btf,
    kernel: &'a Btf,
    /// Told whether a pointer leads there.
    decide: &'a dyn Fn(Type, Type, bool) -> Next,
    left: Cell<usize>,
}

impl Comparison<'_> {
    fn holds(&self, ours: u32, theirs: u32, depth: usize) -> bool {
        let mut open = vec![(ours, theirs, false)];
        while let Some((ours, theirs, is_behind)) = open.pop() {
            let (Some(one), Some(other)) = (self.own.resolve(ours), self.kernel.resolve(theirs)) else { return false };
            if self.left.get() == 0 || open.len() > MOST || depth > DEEPEST {
                return false;
            }
            self.left.set(self.left.get() - 1);
            match (self.decide)(one, other, is_behind) {
                Next::Decided(true) => {}
                Next::Inside if one.kind == other.kind => {
                    open.push((one.size_or_type, other.size_or_type, is_behind || one.kind == Kind::Pointer));
                }
                Next::Prototype if one.kind == other.kind => {
                    let (takes, found) = (self.own.members(one), self.kernel.members(other));
                    if takes.len() != found.len() {
                        return false;
                    }
                    open.push((one.size_or_type, other.size_or_type, is_behind));
                    open.extend(takes.iter().zip(found).map(|(ours, theirs)| (ours.ty, theirs.ty, is_behind)));
                }
                Next::Members => match self.members(one, other, depth) {
                    Some(named) => open.extend(named),
                    None => return false,
                },
                _ => return false,
            }
        }
        true
    }

    /// The pairs of members with names; none if one is not there, or one without a name is like none of theirs.
    fn members(&self, one: Type, other: Type, depth: usize) -> Option<Vec<(u32, u32, bool)>> {
        let theirs = members(self.kernel, other).iter().map(|member| (self.kernel.member_name(member), member.ty));
        let (named, others): (Vec<_>, Vec<_>) = theirs.partition(|(name, _)| !name.is_empty());
        let named: BTreeMap<&str, u32> = named.into_iter().rev().collect();
        let mut pairs = Vec::new();
        for member in members(self.own, one) {
            match self.own.member_name(member) {
                "" if others.iter().any(|(_, theirs)| self.holds(member.ty, *theirs, depth + 1)) => {}
                name => pairs.push((member.ty, *named.get(name)?, false)),
            }
        }
        Some(pairs)
    }
}
