//! A place in a type: the way that an object goes, `0:1:2`, and the same way by names in another's types.
//!
//! Knows no instructions.

use ouro_btf::{Btf, Kind, Type};

use super::What;
use super::fit::{fields_fit, types_fit, types_match};
use crate::object::essential;

/// More members than the ways of any program lead by; bounds what damage can cost.
const MOST: usize = 100_000;
/// Records without a name lie in each other no deeper.
const DEEPEST: usize = 64;

/// A place.
pub(super) struct Spec<'a> {
    pub(super) types: &'a Btf,
    pub(super) root: u32,
    /// Of members, those with names; the first is an element of the array that the root may stand in.
    pub(super) steps: Vec<Step>,
    /// From the root's begin.
    pub(super) bits: u64,
    left: usize,
}

/// A step of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// The record that has the member, or the type of the element.
    pub(super) ty: u32,
    /// Which member, element or enumerator.
    pub(super) index: u32,
    pub(super) is_member: bool,
}

impl<'a> Spec<'a> {
    /// Reads a way.
    pub(super) fn of(types: &'a Btf, root: u32, access: &str, what: What) -> Option<Spec<'a>> {
        let mut numbers = access.split(':').map(|number| number.parse::<u32>().ok());
        let index = numbers.next()??;
        let mut spec = Spec { types, root, steps: Vec::new(), bits: 0, left: MOST };
        if what.is_of_type() {
            return Some(spec);
        }
        spec.begin(index)?;
        if what.is_of_enumerator() {
            let ty = types.resolve(root)?;
            return (types.enumerators(ty).len() > index as usize).then_some(spec);
        }
        let mut id = root;
        for number in numbers {
            id = spec.enter(id, number?)?;
        }
        Some(spec)
    }

    /// The same place from this type on; none if there is none.
    pub(super) fn found_in<'b>(&self, types: &'b Btf, root: u32, what: What) -> Option<Spec<'b>> {
        let mut found = Spec { types, root, steps: Vec::new(), bits: 0, left: MOST };
        if what.is_of_type() {
            let fits = if what == What::Matches { types_match } else { types_fit };
            return fits(self.types, self.root, types, root).then_some(found);
        }
        if what.is_of_enumerator() {
            let wanted = essential(self.enumerator()?);
            let same = |number: &ouro_btf::Enumerator| essential(types.enumerator_name(number)) == wanted;
            found.begin(u32::try_from(types.enumerators(types.resolve(root)?).iter().position(same)?).ok()?);
            return Some(found);
        }
        let mut id = root;
        for (number, step) in self.steps.iter().enumerate() {
            id = match (step.is_member, number) {
                (true, _) => found.find(self, *step, id, 0)?,
                (false, 0) => {
                    found.begin(step.index)?;
                    id
                }
                (false, _) => found.element(types.resolve(id)?, step.index)?,
            };
        }
        Some(found)
    }

    /// The member that the way ends at, with its record.
    pub(super) fn member(&self) -> Option<(Type, ouro_btf::Member)> {
        self.steps.last().and_then(|step| self.member_of(*step))
    }

    /// The name of the last member on the way, or of the enumerator.
    pub(super) fn member_name(&self) -> Option<&'a str> {
        let named = self.steps.iter().rev().find_map(|step| self.member_of(*step));
        named.map(|(_, member)| self.types.member_name(&member)).or_else(|| self.enumerator())
    }

    fn enumerator(&self) -> Option<&'a str> {
        let all = self.types.enumerators(self.types.resolve(self.root)?);
        all.get(self.steps.first()?.index as usize).map(|number| self.types.enumerator_name(number))
    }

    fn member_of(&self, step: Step) -> Option<(Type, ouro_btf::Member)> {
        let record = self.types.resolve(step.ty).filter(|_| step.is_member)?;
        Some((record, *members(self.types, record).get(step.index as usize)?))
    }

    fn begin(&mut self, index: u32) -> Option<()> {
        self.steps.push(Step { ty: self.root, index, is_member: false });
        self.go(index, self.types.size(self.root).unwrap_or(0))
    }

    /// Over so many elements. No type is so large that the numbers of all steps come near to their end.
    fn go(&mut self, count: u32, bytes: u32) -> Option<()> {
        self.bits += u64::from(count.checked_mul(bytes)?) * 8;
        Some(())
    }

    /// A step further in the object's own types.
    fn enter(&mut self, id: u32, index: u32) -> Option<u32> {
        let ty = self.types.resolve(id)?;
        if ty.kind == Kind::Array {
            return self.element(ty, index);
        }
        let member = members(self.types, ty).get(index as usize)?;
        self.bits += self.types.place(ty, member).0;
        if !self.types.member_name(member).is_empty() {
            self.steps.push(Step { ty: id, index, is_member: true });
        }
        Some(member.ty)
    }

    /// An element. Arrays without an end are the last member of a record.
    fn element(&mut self, array: Type, index: u32) -> Option<u32> {
        let (element, count) = array.array()?;
        if index >= count && !(count == 0 && self.is_at_end()) {
            return None;
        }
        self.steps.push(Step { ty: element, index, is_member: false });
        self.go(index, self.types.size(element)?)?;
        Some(element)
    }

    fn is_at_end(&self) -> bool {
        let last = self.steps.last().filter(|step| step.is_member);
        let count = last.and_then(|step| self.types.resolve(step.ty)).map(|record| members(self.types, record).len());
        last.is_some_and(|step| Some(step.index as usize + 1) == count)
    }

    /// Finds the member of the other way's step in a record, or in those without a name that lie in it.
    fn find(&mut self, other: &Spec<'_>, step: Step, id: u32, depth: usize) -> Option<u32> {
        let (_, wanted) = other.member_of(step)?;
        let (types, record) = (self.types, self.types.resolve(id)?);
        for (index, member) in members(types, record).iter().enumerate() {
            self.left = self.left.checked_sub(1)?;
            let (at, name) = (types.place(record, member).0, types.member_name(member));
            if name.is_empty() && depth < DEEPEST {
                self.bits += at;
                if let Some(found) = self.find(other, step, member.ty, depth + 1) {
                    return Some(found);
                }
                self.bits -= at;
            } else if !name.is_empty() && name == other.types.member_name(&wanted) {
                if !fields_fit(other.types, wanted.ty, types, member.ty) {
                    return None;
                }
                self.bits += at;
                self.steps.push(Step { ty: id, index: u32::try_from(index).ok()?, is_member: true });
                return Some(member.ty);
            }
        }
        None
    }
}

/// The members of a record; of nothing else.
pub(super) fn members(types: &Btf, ty: Type) -> &[ouro_btf::Member] {
    if matches!(ty.kind, Kind::Struct | Kind::Union) { types.members(ty) } else { &[] }
}
