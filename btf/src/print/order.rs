//! In which order types are declared: each after all it holds by value, and behind a forward declaration of what it points to.

use super::{BEGUN, DECLARED, DEFINED, MAX_DEPTH, Printer};
use crate::Damaged;
use crate::names::Owner;
use crate::types::{Kind, Type};
use crate::word;

/// What of a type must stand before something that uses it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Name,
    Whole,
}

impl Printer<'_> {
    /// Prints a type, and before it what it needs.
    pub(super) fn root(&mut self, id: u32) -> Result<(), Damaged> {
        self.visit(id, Need::Whole, 0)
    }

    /// Prints what must stand before something that mentions the type.
    pub(super) fn mention(&mut self, id: u32) -> Result<(), Damaged> {
        self.visit(id, Need::Name, 0)
    }

    /// Prints an enum that nothing printed holds: it is there for its enumerators.
    pub(super) fn lone_enum(&mut self, id: u32) -> Result<(), Damaged> {
        let ty = self.ty(id)?;
        if ty.kind != Kind::Enum || !self.names.name(self.btf, id).is_empty() || self.is(id, DEFINED) {
            return Ok(());
        }
        match self.names.owner(id) {
            Some(Owner::One(owner)) if self.ty(owner)?.kind == Kind::Typedef => self.visit(owner, Need::Name, 0),
            Some(Owner::Many) => self.visit(id, Need::Whole, 0),
            _ => self.plain_enum(id, ty),
        }
    }

    fn ty(&self, id: u32) -> Result<Type, Damaged> {
        self.btf.get(id).ok_or(Damaged::Dangling(id))
    }

    fn visit(&mut self, id: u32, need: Need, depth: usize) -> Result<(), Damaged> {
        if depth > MAX_DEPTH {
            return Err(Damaged::TooDeep);
        }
        let (mut id, mut need) = (id, need);
        loop {
            self.spend(1)?;
            id = self.names.canonical(id);
            let ty = self.ty(id)?;
            match ty.kind {
                Kind::Typedef => return self.typedef(id, ty, need, depth),
                Kind::Pointer => need = Need::Name,
                // Also behind a pointer: C knows no arrays of what is not defined.
                Kind::Array => need = Need::Whole,
                Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => {}
                Kind::Prototype => return self.visit_prototype(ty, depth),
                Kind::Struct | Kind::Union => return self.visit_record(id, ty, need, depth),
                Kind::Forward => return self.forward(id, ty),
                Kind::Enum => return self.visit_enum(id, ty),
                _ => return Ok(()),
            }
            id = ty.size_or_type;
        }
    }

    fn visit_prototype(&mut self, ty: Type, depth: usize) -> Result<(), Damaged> {
        let btf = self.btf;
        self.visit(ty.size_or_type, Need::Name, depth + 1)?;
        btf.members(ty).iter().try_for_each(|parameter| self.visit(parameter.ty, Need::Name, depth + 1))
    }

    fn visit_record(&mut self, id: u32, ty: Type, need: Need, depth: usize) -> Result<(), Damaged> {
        match (self.btf.name(ty).is_empty(), need) {
            (true, _) => self.visit_members(ty, depth),
            (false, Need::Name) => self.forward(id, ty),
            (false, Need::Whole) => self.define(id, ty, depth),
        }
    }

    fn visit_members(&mut self, ty: Type, depth: usize) -> Result<(), Damaged> {
        let btf = self.btf;
        btf.members(ty).iter().try_for_each(|member| self.visit(member.ty, Need::Whole, depth + 1))
    }

    fn define(&mut self, id: u32, ty: Type, depth: usize) -> Result<(), Damaged> {
        if self.is(id, BEGUN) {
            return Ok(());
        }
        self.set(id, BEGUN);
        self.visit_members(ty, depth)?;
        self.record(id, ty, 0)?;
        self.text.push_str(";\n\n");
        self.set(id, DECLARED | DEFINED);
        Ok(())
    }

    fn forward(&mut self, id: u32, ty: Type) -> Result<(), Damaged> {
        let id = self.meant(id, ty);
        if let Some(defined @ Type { kind: Kind::Enum, .. }) = self.btf.get(id) {
            // Unlike records, enums cannot be declared before they are defined.
            return self.visit_enum(id, defined);
        }
        if !self.is(id, DECLARED) {
            self.set(id, DECLARED);
            self.tag(id)?;
            self.text.push_str(";\n\n");
        }
        Ok(())
    }

    /// What a forward declaration is of, if it is defined anywhere.
    pub(super) fn meant(&self, id: u32, ty: Type) -> u32 {
        match ty.kind {
            Kind::Forward => self.names.definition(self.btf, ty).map_or(id, |id| self.names.canonical(id)),
            _ => self.names.canonical(id),
        }
    }

    fn visit_enum(&mut self, id: u32, ty: Type) -> Result<(), Damaged> {
        if self.is(id, DEFINED) {
            return Ok(());
        }
        match self.names.owner(id) {
            _ if !self.btf.name(ty).is_empty() => self.plain_enum(id, ty),
            Some(Owner::Many) => {
                self.text.push_str("typedef ");
                self.enumeration(id, ty, 0)?;
                self.text.push(' ');
                self.push_enum_name(ty);
                self.text.push_str(";\n\n");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn plain_enum(&mut self, id: u32, ty: Type) -> Result<(), Damaged> {
        let is_new = self.btf.enumerators(ty).iter().any(|enumerator| word::is_new(self.btf.text(enumerator.name)));
        self.guarded(is_new, |printer| {
            printer.enumeration(id, ty, 0)?;
            printer.text.push_str(";\n\n");
            Ok(())
        })
    }

    fn typedef(&mut self, id: u32, ty: Type, need: Need, depth: usize) -> Result<(), Damaged> {
        if !self.is(id, BEGUN) {
            self.set(id, BEGUN);
            self.visit(ty.size_or_type, Need::Name, depth + 1)?;
            let name = self.names.name(self.btf, id);
            self.guarded(word::is_new(name), |printer| {
                printer.text.push_str("typedef ");
                printer.declare(ty.size_or_type, name, 0)?;
                printer.text.push_str(";\n\n");
                Ok(())
            })?;
        }
        match need {
            Need::Whole => self.visit(ty.size_or_type, Need::Whole, depth + 1),
            Need::Name => Ok(()),
        }
    }
}
