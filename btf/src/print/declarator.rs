//! A type with a name as C writes it: `int (*name[3])(void)`.

use std::fmt::Write as _;

use super::Printer;
use crate::Damaged;
use crate::names::Owner;
use crate::types::{Kind, MAX_CHAIN, Type};

/// `Type::first` of ints.
const SIGNED: u32 = 1 << 24;
const BOOL: u32 = 4 << 24;

/// What stands between a type and a name, from the name on.
#[derive(Clone, Copy)]
enum Piece {
    Pointer(Qualifiers),
    Array(u32),
    /// A function with the parameters of this prototype.
    Function(Type),
}

#[derive(Clone, Copy, Default)]
struct Qualifiers {
    is_const: bool,
    is_volatile: bool,
    is_restrict: bool,
    /// Where the text of a type tag stands; 0 for none.
    tag: u32,
}

impl Qualifiers {
    fn add(&mut self, ty: Type) {
        match ty.kind {
            Kind::Const => self.is_const = true,
            Kind::Volatile => self.is_volatile = true,
            Kind::Restrict => self.is_restrict = true,
            // Others are attributes of any kind, which say nothing of how a type is laid out.
            Kind::TypeTag if !ty.flag => self.tag = ty.name,
            _ => {}
        }
    }
}

impl Printer<'_> {
    /// Prints a type and a name; without a name, the type as a parameter.
    pub(super) fn declare(&mut self, id: u32, name: &str, depth: usize) -> Result<(), Damaged> {
        let (base, qualifiers, pieces) = self.taken_apart(id)?;
        self.base(base, qualifiers, depth)?;
        if !name.is_empty() || !pieces.is_empty() {
            self.text.push(' ');
        }
        for at in (0..pieces.len()).rev() {
            if let Piece::Pointer(qualifiers) = pieces[at] {
                self.text.push_str(if is_bracketed(&pieces, at) { "(*" } else { "*" });
                self.qualifiers(qualifiers);
            }
        }
        self.text.push_str(name);
        for (at, piece) in pieces.iter().enumerate() {
            match piece {
                Piece::Pointer(_) if is_bracketed(&pieces, at) => self.text.push(')'),
                Piece::Pointer(_) => {}
                Piece::Array(count) => drop(write!(self.text, "[{count}]")),
                Piece::Function(prototype) => self.parameters(*prototype, depth)?,
            }
        }
        Ok(())
    }

    /// The type at the end of the chain, what qualifies it, and what the chain is made of.
    fn taken_apart(&self, id: u32) -> Result<(u32, Qualifiers, Vec<Piece>), Damaged> {
        let (mut id, mut qualifiers, mut pieces) = (id, Qualifiers::default(), Vec::new());
        for _ in 0..MAX_CHAIN {
            let ty = self.btf.get(id).ok_or(Damaged::Dangling(id))?;
            match ty.kind {
                Kind::Pointer => pieces.push(Piece::Pointer(std::mem::take(&mut qualifiers))),
                // A constant array is an array of constants.
                Kind::Array => pieces.push(Piece::Array(ty.count)),
                Kind::Prototype => {
                    qualifiers = Qualifiers::default();
                    pieces.push(Piece::Function(ty));
                }
                Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => qualifiers.add(ty),
                _ => {
                    pieces.extend(odd_size(ty).map(Piece::Array));
                    return Ok((id, Qualifiers { is_restrict: false, ..qualifiers }, pieces));
                }
            }
            id = ty.size_or_type;
        }
        Err(Damaged::TooDeep)
    }

    fn qualifiers(&mut self, qualifiers: Qualifiers) {
        self.text.push_str(if qualifiers.is_const { "const " } else { "" });
        self.text.push_str(if qualifiers.is_volatile { "volatile " } else { "" });
        self.text.push_str(if qualifiers.is_restrict { "restrict " } else { "" });
        let tag = self.btf.text(qualifiers.tag);
        if !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            let _ = write!(self.text, "__attribute__((btf_type_tag(\"{tag}\"))) ");
        }
    }

    fn base(&mut self, id: u32, qualifiers: Qualifiers, depth: usize) -> Result<(), Damaged> {
        self.qualifiers(qualifiers);
        let ty = self.btf.get(id).ok_or(Damaged::Dangling(id))?;
        match ty.kind {
            Kind::Void => self.text.push_str("void"),
            Kind::Int => self.text.push_str(number(self.btf.name(ty), ty)),
            Kind::Float => self.text.push_str(fraction(ty.size_or_type)),
            Kind::Struct | Kind::Union if self.btf.name(ty).is_empty() => self.record(id, ty, depth)?,
            Kind::Enum if self.btf.name(ty).is_empty() => match self.names.owner(id) {
                Some(Owner::Many) => self.push_enum_name(ty),
                _ => self.enumeration(id, ty, depth)?,
            },
            Kind::Struct | Kind::Union | Kind::Enum | Kind::Forward => self.tag(self.meant(id, ty))?,
            Kind::Typedef => self.text.push_str(self.names.name(self.btf, id)),
            // Functions, variables and sections are no types of anything.
            _ => self.text.push_str("void"),
        }
        Ok(())
    }

    /// `struct name`.
    pub(super) fn tag(&mut self, id: u32) -> Result<(), Damaged> {
        let ty = self.btf.get(id).ok_or(Damaged::Dangling(id))?;
        let kind = if ty.kind == Kind::Forward { ty.declared_kind() } else { ty.kind };
        self.text.push_str(match kind {
            Kind::Union => "union ",
            Kind::Enum => "enum ",
            _ => "struct ",
        });
        self.text.push_str(self.names.name(self.btf, id));
        Ok(())
    }

    /// The name that an enum without one gets because several types refer to it.
    pub(super) fn push_enum_name(&mut self, ty: Type) {
        self.text.push_str("__enum_of_");
        self.text.push_str(self.names.enumerator(self.btf, ty.first));
    }

    fn parameters(&mut self, prototype: Type, depth: usize) -> Result<(), Damaged> {
        let btf = self.btf;
        let parameters = btf.members(prototype);
        self.spend(parameters.len() + 1)?;
        if depth > MAX_CHAIN {
            return Err(Damaged::TooDeep);
        }
        self.text.push_str(if parameters.is_empty() { "(void" } else { "(" });
        for (place, parameter) in parameters.iter().enumerate() {
            self.text.push_str(if place > 0 { ", " } else { "" });
            // The last of a function that takes any number has no type.
            match parameter.ty {
                0 => self.text.push_str("..."),
                ty => self.declare(ty, "", depth + 1)?,
            }
        }
        self.text.push(')');
        Ok(())
    }
}

/// Whether a pointer leads to an array or a function, which C would otherwise take for one of pointers, or that returns one.
fn is_bracketed(pieces: &[Piece], pointer: usize) -> bool {
    matches!(pieces.get(pointer + 1), Some(Piece::Array(_) | Piece::Function(_)))
}

/// Bytes of numbers that C has none of.
fn odd_size(ty: Type) -> Option<u32> {
    let is_usual = match ty.kind {
        Kind::Int => matches!(ty.size_or_type, 1 | 2 | 4 | 8 | 16),
        Kind::Float => matches!(ty.size_or_type, 2 | 4 | 8 | 16),
        _ => true,
    };
    (!is_usual).then_some(ty.size_or_type)
}

/// A number's own name, where C means the same by it, or else a number of its size.
fn number(name: &str, ty: Type) -> &str {
    if !name.is_empty() && size_in_c(name) == Some(ty.size_or_type) {
        return name;
    }
    match (ty.size_or_type, ty.first & SIGNED != 0) {
        (1, _) if ty.first & BOOL != 0 => "_Bool",
        (1, true) => "signed char",
        (2, true) => "short",
        (2, false) => "unsigned short",
        (4, true) => "int",
        (4, false) => "unsigned int",
        (8, true) => "long long",
        (8, false) => "unsigned long long",
        (16, true) => "__int128",
        (16, false) => "unsigned __int128",
        _ => "unsigned char",
    }
}

/// Bytes of a number of this name; nothing when C has none.
fn size_in_c(name: &str) -> Option<u32> {
    let mut size = 4;
    for word in name.split(' ') {
        size = match word {
            "char" | "_Bool" => 1,
            "short" => 2,
            "long" => 8,
            "__int128" => 16,
            "int" | "unsigned" | "signed" => size,
            _ => return None,
        };
    }
    Some(size)
}

/// BPF has no numbers with a fraction of some sizes; a whole one of the same size and alignment stands for them.
fn fraction(size: u32) -> &'static str {
    match size {
        2 => "unsigned short",
        4 => "float",
        8 => "double",
        16 => "unsigned __int128",
        _ => "unsigned char",
    }
}
