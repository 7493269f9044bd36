//! Which types a program can reach, by the words of its sources and headers.
//!
//! A program reaches the types it names, all they hold by value, and what a pointer leads to if it names the member that is the
//! pointer: who never says `mm` does not look behind `task->mm`. Of all else the name is enough.

use crate::names::Names;
use crate::types::{Btf, Kind, MAX_CHAIN};
use crate::words::Words;

/// The ids of the types that must be defined.
pub(crate) fn reached(btf: &Btf, names: &Names, words: &Words) -> Vec<u32> {
    let mut closure = Closure { btf, names, words, is_reached: vec![false; btf.types.len()], open: Vec::new() };
    words.iter().for_each(|word| closure.name(word));
    words.pasted().for_each(|word| closure.name(&word));
    while let Some(id) = closure.open.pop() {
        closure.look_into(id);
    }
    let is_reached = closure.is_reached;
    btf.ids().filter(|id| is_reached[*id as usize]).collect()
}

struct Closure<'a> {
    btf: &'a Btf,
    names: &'a Names,
    words: &'a Words,
    is_reached: Vec<bool>,
    open: Vec<u32>,
}

impl Closure<'_> {
    fn name(&mut self, word: &str) {
        let names = self.names;
        for id in names.meanings(self.btf, word) {
            self.add(id);
            // Of what is named itself, what it leads to is seen at once.
            match self.btf.get(id).map(|ty| (ty.kind, ty.size_or_type)) {
                Some((Kind::Typedef, target)) => self.refer(target, true),
                Some((Kind::Function, prototype)) => self.refer(prototype, true),
                _ => {}
            }
        }
    }

    fn add(&mut self, id: u32) {
        let id = self.names.canonical(id);
        if let Some(is_reached @ false) = self.is_reached.get_mut(id as usize) {
            *is_reached = true;
            self.open.push(id);
        }
    }

    fn look_into(&mut self, id: u32) {
        let btf = self.btf;
        let Some(ty) = btf.get(id) else { return };
        match ty.kind {
            Kind::Struct | Kind::Union => {
                for member in btf.members(ty) {
                    self.refer(member.ty, self.words.has(btf.member_name(member)));
                }
            }
            Kind::Typedef => self.refer(ty.size_or_type, false),
            _ => {}
        }
    }

    /// Something is of this type; `is_followed` says whether pointers are.
    fn refer(&mut self, id: u32, is_followed: bool) {
        let mut id = id;
        for _ in 0..MAX_CHAIN {
            let Some(ty) = self.btf.get(id) else { return };
            match ty.kind {
                Kind::Pointer if !is_followed => return,
                Kind::Struct | Kind::Union | Kind::Enum => return self.add(id),
                Kind::Forward => return self.names.definition(self.btf, ty).into_iter().for_each(|id| self.add(id)),
                Kind::Prototype => return self.prototype(id, is_followed),
                Kind::Typedef => self.add(id),
                Kind::Pointer | Kind::Array | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => {}
                _ => return,
            }
            id = ty.size_or_type;
        }
    }

    /// Who calls a function uses what it returns; what it takes, who calls has. Both are looked at once, for prototypes may take
    /// prototypes.
    fn prototype(&mut self, id: u32, is_followed: bool) {
        let btf = self.btf;
        let Some(ty) = btf.get(id).filter(|_| is_followed) else { return };
        let types = std::iter::once(ty.size_or_type).chain(btf.members(ty).iter().map(|parameter| parameter.ty));
        let targets: Vec<u32> = types.filter_map(|id| self.behind_pointers(id)).collect();
        targets.into_iter().for_each(|target| self.add(target));
    }

    /// The type with members that a value leads to.
    fn behind_pointers(&self, id: u32) -> Option<u32> {
        let mut id = id;
        for _ in 0..MAX_CHAIN {
            let ty = self.btf.get(id)?;
            match ty.kind {
                Kind::Struct | Kind::Union | Kind::Enum => return Some(id),
                Kind::Forward => return self.names.definition(self.btf, ty),
                Kind::Pointer => {}
                kind if kind.is_modifier() => {}
                _ => return None,
            }
            id = ty.size_or_type;
        }
        None
    }
}
