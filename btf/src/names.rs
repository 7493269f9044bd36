//! What types are called in C, where two of them may not share a name.
//!
//! BTF has types from all of a kernel's sources, and each of those was compiled by itself. Of two with one name the second is called
//! `name___2`: whatever follows `___` is no part of the name when a program is loaded, so its relocations find both.

use std::collections::HashMap;

use crate::index::{Index, Space};
use crate::same;
use crate::types::{Btf, Kind, Type};
use crate::word;

/// With how many earlier types of its name one is compared.
const MOST_COMPARED: usize = 16;

/// The names of all types and enumerators.
#[derive(Debug, Default)]
pub(crate) struct Names {
    index: Index,
    /// By id, what is not called as in BTF.
    types: HashMap<u32, String>,
    /// By place among all enumerators, what is not called as in BTF.
    enumerators: HashMap<u32, String>,
    /// Types that are the same as an earlier one, with that one.
    same: HashMap<u32, u32>,
    /// Enums without a name, with who refers to them.
    owners: HashMap<u32, Owner>,
    /// Functions that programs may call.
    functions: Vec<u32>,
}

/// Who refers to an enum without a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A typedef, or a record with a name: the enum is printed inside of it.
    One(u32),
    /// Several, or something that may be printed several times. The enum must have a name, or its enumerators would be defined
    /// as often.
    Many,
}

impl Names {
    pub fn of(btf: &Btf) -> Names {
        let index = Index::with_room(btf.types.len() / 4 + btf.enumerators.len());
        let mut names = Names { index, ..Names::default() };
        btf.ids().for_each(|id| names.add(btf, id));
        names.add_forwards(btf);
        names.add_functions(btf);
        names.own(btf);
        names
    }

    fn add(&mut self, btf: &Btf, id: u32) {
        let ty = btf.types[id as usize];
        let space = match ty.kind {
            Kind::Struct | Kind::Union | Kind::Enum => Space::Tag,
            Kind::Typedef => Space::Plain,
            _ => return,
        };
        if !btf.name(ty).is_empty() {
            if let Some(first) = self.first_same(btf, space, id) {
                self.same.insert(id, first);
                return;
            }
            let before = self.index.add(btf, space, ty.name, id);
            self.types.extend(other_name(btf.name(ty), before).map(|name| (id, name)));
        }
        for (place, enumerator) in (ty.first..).zip(btf.enumerators(ty)) {
            let before = self.index.add(btf, Space::Plain, enumerator.name, id);
            let name = other_name(btf.text(enumerator.name), before);
            self.enumerators.extend(name.map(|name| (place, name)));
        }
    }

    /// An earlier type that C could not tell from this one.
    fn first_same(&self, btf: &Btf, space: Space, id: u32) -> Option<u32> {
        let name = btf.name(btf.get(id)?);
        let mut earlier = self.index.find(btf, space, name).take(MOST_COMPARED);
        earlier.find(|other| same::are_same(btf, *other, id))
    }

    /// A forward declaration is of the type that is defined elsewhere, if it is.
    fn add_forwards(&mut self, btf: &Btf) {
        for id in btf.ids().filter(|id| btf.types[*id as usize].kind == Kind::Forward) {
            let ty = btf.types[id as usize];
            let is_it = |other: &u32| btf.get(*other).is_some_and(|other| other.kind == ty.declared_kind());
            if btf.name(ty).is_empty() || self.index.find(btf, Space::Tag, btf.name(ty)).any(|other| is_it(&other)) {
                continue;
            }
            let before = self.index.add(btf, Space::Tag, ty.name, id);
            self.types.extend(other_name(btf.name(ty), before).map(|name| (id, name)));
        }
    }

    /// The functions that programs may call.
    fn add_functions(&mut self, btf: &Btf) {
        for tag in btf.types.iter().filter(|ty| ty.kind == Kind::DeclTag && btf.name(**ty) == "bpf_kfunc") {
            let Some(function) = btf.get(tag.size_or_type).filter(|ty| ty.kind == Kind::Function) else { continue };
            // Under another name it would be another function.
            let name = btf.name(function);
            if word::is_plain(name) && self.index.find(btf, Space::Plain, name).next().is_none() {
                self.index.add(btf, Space::Plain, function.name, tag.size_or_type);
                self.functions.push(tag.size_or_type);
            }
        }
    }

    fn own(&mut self, btf: &Btf) {
        for id in btf.ids() {
            let ty = btf.types[id as usize];
            let is_printed_once = (ty.kind.is_record() && !btf.name(ty).is_empty()) || ty.kind == Kind::Typedef;
            let owner = if is_printed_once && !self.same.contains_key(&id) { Owner::One(id) } else { Owner::Many };
            for target in ty.target().into_iter().chain(btf.members(ty).iter().map(|member| member.ty)) {
                if btf.get(target).is_some_and(|ty| ty.kind == Kind::Enum && btf.name(ty).is_empty()) {
                    self.owners.entry(target).and_modify(|known| *known = Owner::Many).or_insert(owner);
                }
            }
        }
    }

    /// The type that stands for this one.
    pub fn canonical(&self, id: u32) -> u32 {
        self.same.get(&id).copied().unwrap_or(id)
    }

    /// What a type is called; empty when it has no name.
    pub fn name<'a>(&'a self, btf: &'a Btf, id: u32) -> &'a str {
        let id = self.canonical(id);
        self.types.get(&id).map_or_else(|| btf.get(id).map_or("", |ty| btf.name(ty)), String::as_str)
    }

    /// What the enumerator at this place among all is called.
    pub fn enumerator<'a>(&'a self, btf: &'a Btf, place: u32) -> &'a str {
        let own = || btf.enumerators.get(place as usize).map_or("", |enumerator| btf.text(enumerator.name));
        self.enumerators.get(&place).map_or_else(own, String::as_str)
    }

    /// The functions that programs may call.
    pub fn functions(&self) -> &[u32] {
        &self.functions
    }

    /// Who refers to an enum without a name.
    pub fn owner(&self, id: u32) -> Option<Owner> {
        self.owners.get(&id).copied()
    }

    /// Everything a word of a program may mean: types, the enums of enumerators, functions.
    pub fn meanings<'a>(&'a self, btf: &'a Btf, word: &'a str) -> impl Iterator<Item = u32> + 'a {
        // Who writes `name___2` has seen that there are several; all of them are meant.
        let base = word.rsplit_once("___").filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()));
        let texts = [Some(word), base.map(|(base, _)| base)].into_iter().flatten();
        let find = |text| self.index.find(btf, Space::Tag, text).chain(self.index.find(btf, Space::Plain, text));
        texts.flat_map(find)
    }

    /// The definition of what is only named here, if there is one.
    pub fn definition(&self, btf: &Btf, forward: Type) -> Option<u32> {
        let mut found = self.index.find(btf, Space::Tag, btf.name(forward));
        found.find(|id| btf.get(*id).is_some_and(|ty| ty.kind == forward.declared_kind()))
    }
}

/// What something must be called when it cannot have its own name, because `before` others had it or C would not take it.
fn other_name(name: &str, before: u32) -> Option<String> {
    let plain = (!word::is_plain(name)).then(|| word::plain(name));
    match (plain, before) {
        (None, 0) => None,
        (plain, before) => Some(format!("{}___{}", plain.as_deref().unwrap_or(name), before + 1)),
    }
}
