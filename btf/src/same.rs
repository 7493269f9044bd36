//! Whether two types would read the same in C.
//!
//! Deduplication leaves types that differ only in what their pointers lead to; C knows that by name alone.

use crate::types::{Btf, Kind, Type};

/// How many pairs of types one comparison may look at: types without names can be nested so that there is no end to them.
const MOST_PAIRS: u32 = 4096;
/// How deep.
const MAX_DEPTH: u32 = 64;

/// Whether two types of one name are the same.
pub(crate) fn are_same(btf: &Btf, one: u32, other: u32) -> bool {
    let (Some(one_type), Some(other_type)) = (btf.get(one), btf.get(other)) else { return false };
    Comparison { btf, these: (one, other), left: MOST_PAIRS, depth: 0 }.definitions(one_type, other_type)
}

struct Comparison<'a> {
    btf: &'a Btf,
    /// What is compared: a list's items point to each other.
    these: (u32, u32),
    left: u32,
    depth: u32,
}

impl Comparison<'_> {
    /// What stands between the braces, or behind `typedef`.
    fn definitions(&mut self, one: Type, other: Type) -> bool {
        let btf = self.btf;
        if one.kind != other.kind || one.flag != other.flag || one.count != other.count {
            return false;
        }
        match one.kind {
            Kind::Struct | Kind::Union => one.size_or_type == other.size_or_type && self.members(one, other),
            Kind::Prototype => self.types(one.size_or_type, other.size_or_type) && self.members(one, other),
            Kind::Enum => {
                one.size_or_type == other.size_or_type && {
                    let pairs = btf.enumerators(one).iter().zip(btf.enumerators(other));
                    pairs.into_iter().all(|(one, other)| one.value == other.value && btf.text(one.name) == btf.text(other.name))
                }
            }
            Kind::Int | Kind::Float => one == other || (one.size_or_type, one.first) == (other.size_or_type, other.first),
            Kind::Void => true,
            Kind::Forward => btf.name(one) == btf.name(other),
            _ => self.types(one.size_or_type, other.size_or_type),
        }
    }

    fn members(&mut self, one: Type, other: Type) -> bool {
        let btf = self.btf;
        let mut pairs = btf.members(one).iter().zip(btf.members(other));
        pairs.all(|(one, other)| {
            let is_there = (one.offset, one.bits) == (other.offset, other.bits) && btf.text(one.name) == btf.text(other.name);
            is_there && self.types(one.ty, other.ty)
        })
    }

    /// What is meant where a type is only mentioned.
    fn types(&mut self, one: u32, other: u32) -> bool {
        self.left = self.left.saturating_sub(1);
        let (Some(one_type), Some(other_type)) = (self.btf.get(one), self.btf.get(other)) else { return false };
        let names = (self.btf.name(one_type), self.btf.name(other_type));
        match one_type.kind {
            _ if one == other || (one, other) == self.these => true,
            _ if self.left == 0 || self.depth == MAX_DEPTH || names.0 != names.1 => false,
            // Behind one name may be two types; then they are called `name` and `name___2`, and these differ, too.
            Kind::Struct | Kind::Union | Kind::Enum | Kind::Typedef if !names.0.is_empty() => false,
            _ => {
                self.depth += 1;
                let are_same = self.definitions(one_type, other_type);
                self.depth -= 1;
                are_same
            }
        }
    }
}
