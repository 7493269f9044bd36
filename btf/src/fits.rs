//! Whether a function that is declared in one place can be the one that is defined in another.
//!
//! Knows kinds of types alone: what structs are called and hold may differ.

use crate::types::{Btf, Kind};

/// More types than any prototype needs; bounds what circles and damage can cost.
const MOST: usize = 1000;

impl Btf {
    /// Whether the function or prototype `own` takes and returns what the one of `theirs` does. A pointer to nothing in particular
    /// fits any other, a record that is only named fits any record.
    pub fn fits(&self, own: u32, other: &Btf, theirs: u32) -> bool {
        let (mut open, mut left) = (vec![(own, theirs)], MOST);
        while let Some((own, theirs)) = open.pop() {
            let (Some(ours), Some(found)) = (self.resolve(own), other.resolve(theirs)) else { return false };
            left -= 1;
            match (ours.kind, found.kind) {
                _ if left == 0 => return false,
                (Kind::Pointer, Kind::Pointer) if is_open(self, ours.size_or_type) || is_open(other, found.size_or_type) => {}
                (Kind::Prototype, Kind::Prototype) => {
                    let (ours_take, found_take) = (self.members(ours), other.members(found));
                    if ours_take.len() != found_take.len() {
                        return false;
                    }
                    open.push((ours.size_or_type, found.size_or_type));
                    open.extend(ours_take.iter().zip(found_take).map(|(one, two)| (one.ty, two.ty)));
                }
                (Kind::Pointer | Kind::Array | Kind::Function, kind) if kind == ours.kind => {
                    open.push((ours.size_or_type, found.size_or_type));
                }
                (one, two) if one == two => {}
                _ => return false,
            }
        }
        true
    }
}

/// Whether nobody says what it is.
fn is_open(btf: &Btf, id: u32) -> bool {
    btf.resolve(id).is_none_or(|ty| matches!(ty.kind, Kind::Void | Kind::Forward))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Member, Type};

    /// `void`, `int`, `struct` (3 forms of it), pointers to these, and prototypes of them.
    fn btf() -> Btf {
        let ty = |kind, size_or_type| Type { name: 0, kind, flag: false, size_or_type, first: 0, count: 0 };
        let member = |ty| Member { name: 0, ty, offset: 0, bits: 0 };
        let takes = |first, count| Type { first, count, ..ty(Kind::Prototype, 1) };
        let types = vec![
            ty(Kind::Void, 0),
            ty(Kind::Int, 4),
            ty(Kind::Struct, 8),
            ty(Kind::Forward, 0),
            ty(Kind::Pointer, 0),
            ty(Kind::Pointer, 1),
            ty(Kind::Pointer, 2),
            ty(Kind::Pointer, 3),
            ty(Kind::Const, 6),
            takes(0, 1),
            takes(1, 1),
            takes(1, 2),
            ty(Kind::Pointer, 12),
        ];
        Btf { types, members: vec![member(6), member(1), member(1)], enumerators: Vec::new(), strings: String::new() }
    }

    #[test]
    fn kinds_are_compared_and_pointers_to_nothing_fit_all() {
        let btf = btf();
        let fits = |own, theirs| btf.fits(own, &btf, theirs);
        assert!(
            fits(4, 5) && fits(6, 7) && fits(6, 8),
            "pointers to anything, to a record that is only named, and constant ones"
        );
        assert!(!fits(5, 6) && !fits(1, 6), "numbers are no records and no pointers");
        assert!(fits(9, 9) && !fits(9, 10) && !fits(10, 11), "other parameters, and more of them");
        assert!(!fits(12, 12), "a pointer to itself comes to an end");
    }
}
