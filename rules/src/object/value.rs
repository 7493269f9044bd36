//! What a register or a stack slot may hold, as far as tail calls ask: a small set, or anything.
//!
//! Knows no instructions; [`super::flow`] moves values about.

use std::rc::Rc;

/// A set that grows beyond this is as good as anything.
const MAX_ATOMS: usize = 64;

/// One thing a register may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Atom {
    /// The address of a symbol, by number.
    Address(usize),
    /// The number stored at a symbol that the bundle step links.
    Linked(usize),
    /// A number known already.
    Number(i64),
    /// The address of the function's frame, from its upper end.
    Frame(i32),
}

/// What a place may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Anything,
    One(Atom),
    /// Sorted, at least two.
    Many(Rc<[Atom]>),
}

impl Value {
    /// The set; none when it may be anything.
    pub fn atoms(&self) -> Option<&[Atom]> {
        match self {
            Value::Anything => None,
            Value::One(atom) => Some(std::slice::from_ref(atom)),
            Value::Many(atoms) => Some(atoms),
        }
    }

    /// The value each of its atoms becomes; anything if one of them becomes that.
    pub fn map(&self, change: impl Fn(Atom) -> Option<Atom>) -> Value {
        match self.atoms().map(|atoms| atoms.iter().map(|atom| change(*atom)).collect()) {
            Some(Some(atoms)) => Value::of(atoms),
            _ => Value::Anything,
        }
    }

    /// What may be here when control comes from two places.
    pub fn join(&self, other: &Value) -> Value {
        match (self.atoms(), other.atoms()) {
            _ if self == other => self.clone(),
            (Some(mine), Some(theirs)) => Value::of(mine.iter().chain(theirs).copied().collect()),
            _ => Value::Anything,
        }
    }

    fn of(mut atoms: Vec<Atom>) -> Value {
        atoms.sort_unstable();
        atoms.dedup();
        match atoms[..] {
            [atom] => Value::One(atom),
            [] => Value::Anything,
            _ if atoms.len() > MAX_ATOMS => Value::Anything,
            _ => Value::Many(atoms.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(numbers: impl IntoIterator<Item = i64>) -> Value {
        numbers.into_iter().map(|number| Value::One(Atom::Number(number))).reduce(|all, one| all.join(&one)).unwrap()
    }

    #[test]
    fn sets_join_and_grow_no_further_than_they_may() {
        assert_eq!(numbers([2, 1, 2]), numbers([1, 2]));
        assert_eq!(numbers([1, 2]).atoms().unwrap().len(), 2);
        assert_eq!(numbers([1]).join(&Value::Anything), Value::Anything);
        assert_eq!(numbers(0..64).atoms().unwrap().len(), 64);
        assert_eq!(numbers(0..65), Value::Anything);
    }

    #[test]
    fn one_lost_atom_loses_all() {
        let keep_one = |atom| (atom == Atom::Number(1)).then_some(atom);
        assert_eq!(numbers([1]).map(keep_one), numbers([1]));
        assert_eq!(numbers([1, 2]).map(keep_one), Value::Anything);
    }
}
