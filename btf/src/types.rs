//! Types as BTF has them, each known by its number.
//!
//! Knows what types are made of, not what is done with them.

/// Longer chains of typedefs and qualifiers than C has use for; also ends those that bite their tail.
pub(crate) const MAX_CHAIN: usize = 64;
/// No name is longer; a damaged file must not make every name a search through all of it.
const MAX_TEXT: usize = 4096;
/// Of the kernels whose types are read here.
pub(crate) const POINTER_BYTES: u32 = 8;
/// `BTF_INT_SIGNED`, of the encoding in `Type::first` of an int.
const INT_SIGNED: u32 = 1;
/// `Type::first` of a forward declaration that is of an enum.
pub(crate) const FORWARD_ENUM: u32 = 1;

/// The types of a kernel, a module on it, or an object. A type's id is its place; 0 is `void`.
#[derive(Debug, Clone)]
pub struct Btf {
    pub(crate) types: Vec<Type>,
    /// Of structs, unions, prototypes and sections, one behind the other.
    pub(crate) members: Vec<Member>,
    /// Of enums, one behind the other.
    pub(crate) enumerators: Vec<Enumerator>,
    pub(crate) strings: String,
}

/// One type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Type {
    /// Where its name stands.
    pub(crate) name: u32,
    /// What it is.
    pub kind: Kind,
    /// Of an enum, whether it has a sign; of a forward declaration, whether it is of a union; of a struct or union, whether its
    /// members say themselves how many bits they have; of a type tag, whether it is any attribute.
    pub(crate) flag: bool,
    /// Bytes, or the id of another type, as `kind` has it. Of an array, what it is of.
    pub size_or_type: u32,
    /// Of what has members or enumerators, the place of the first; of an int, what its bits mean.
    pub(crate) first: u32,
    /// How many of them; of an array, how many elements.
    pub(crate) count: u32,
}

/// What a type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing at all.
    Void,
    /// A number, a character or a truth value.
    Int,
    /// A pointer.
    Pointer,
    /// An array.
    Array,
    /// A struct.
    Struct,
    /// A union.
    Union,
    /// An enum, of 64 bits or fewer.
    Enum,
    /// A struct, union or enum that is only named.
    Forward,
    /// Another name for a type.
    Typedef,
    /// Another type, volatile.
    Volatile,
    /// Another type, constant.
    Const,
    /// A pointer that no other points beside.
    Restrict,
    /// A function.
    Function,
    /// What a function takes and returns.
    Prototype,
    /// A variable.
    Variable,
    /// The variables of a section.
    Section,
    /// A number with a fraction.
    Float,
    /// A word about a declaration.
    DeclTag,
    /// A word about what a pointer points to.
    TypeTag,
}

/// A member of a struct or union, a parameter, or a variable of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub(crate) name: u32,
    /// Its type's id.
    pub ty: u32,
    /// In bits from the start.
    pub offset: u32,
    /// In bits; 0 for all that are no bitfields.
    pub bits: u8,
}

/// A named number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enumerator {
    pub(crate) name: u32,
    /// Of an enum without a sign to be taken for a `u64`.
    pub value: i64,
}

impl Kind {
    /// Whether it is another type with a word beside it.
    pub fn is_modifier(self) -> bool {
        matches!(self, Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag)
    }

    pub(crate) fn is_record(self) -> bool {
        matches!(self, Kind::Struct | Kind::Union)
    }
}

impl Btf {
    /// The text at an offset of the string section; empty when there is none.
    pub fn text(&self, offset: u32) -> &str {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        let end = rest.bytes().take(MAX_TEXT).position(|byte| byte == 0).unwrap_or(0);
        &rest[..end]
    }

    /// A type's name; empty when it has none.
    pub fn name(&self, ty: Type) -> &str {
        self.text(ty.name)
    }

    /// A member's name; empty when it has none.
    pub fn member_name(&self, member: &Member) -> &str {
        self.text(member.name)
    }

    /// An enumerator's name.
    pub fn enumerator_name(&self, enumerator: &Enumerator) -> &str {
        self.text(enumerator.name)
    }

    /// The type of this id.
    pub fn get(&self, id: u32) -> Option<Type> {
        self.types.get(id as usize).copied()
    }

    /// Every id.
    pub fn ids(&self) -> std::ops::Range<u32> {
        0..self.types.len() as u32
    }

    /// The type behind typedefs, qualifiers and tags.
    pub fn resolve(&self, id: u32) -> Option<Type> {
        let mut ty = self.get(id)?;
        for _ in 0..MAX_CHAIN {
            if !ty.kind.is_modifier() {
                return Some(ty);
            }
            ty = self.get(ty.size_or_type)?;
        }
        None
    }

    /// Bytes of a type.
    pub fn size(&self, id: u32) -> Option<u32> {
        let (mut id, mut count) = (id, 1u32);
        for _ in 0..MAX_CHAIN {
            let ty = self.resolve(id)?;
            match ty.kind {
                Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Float => return count.checked_mul(ty.size_or_type),
                Kind::Pointer => return count.checked_mul(POINTER_BYTES),
                Kind::Array => (id, count) = (ty.size_or_type, count.checked_mul(ty.count)?),
                _ => return None,
            }
        }
        None
    }

    /// The members of a struct, union or section, or a prototype's parameters.
    pub fn members(&self, ty: Type) -> &[Member] {
        match ty.kind {
            Kind::Struct | Kind::Union | Kind::Prototype | Kind::Section => part(&self.members, ty),
            _ => &[],
        }
    }

    /// Where a member is, in bits, and how many a bitfield has. The first BTF had bitfields as types of their own: ints of fewer
    /// bits than their size.
    pub fn place(&self, record: Type, member: &Member) -> (u64, Option<u64>) {
        let offset = u64::from(member.offset);
        match (member.bits, self.resolve(member.ty)) {
            (0, Some(Type { kind: Kind::Int, size_or_type, first, .. })) if !record.flag => {
                let (shift, bits) = (first >> 16 & 0xff, first & 0xff);
                let is_whole = shift == 0 && bits == size_or_type.saturating_mul(8);
                if is_whole || bits == 0 { (offset, None) } else { (offset + u64::from(shift), Some(bits.into())) }
            }
            (0, _) => (offset, None),
            (bits, _) => (offset, Some(bits.into())),
        }
    }

    /// The enumerators of an enum.
    pub fn enumerators(&self, ty: Type) -> &[Enumerator] {
        if ty.kind == Kind::Enum { part(&self.enumerators, ty) } else { &[] }
    }

    /// A type that refers to one that is not there.
    pub(crate) fn dangling(&self) -> Option<u32> {
        let is_there = |id: u32| (id as usize) < self.types.len();
        let is_whole = |ty: Type| ty.target().is_none_or(is_there) && self.members(ty).iter().all(|member| is_there(member.ty));
        self.ids().find(|id| self.get(*id).is_some_and(|ty| !is_whole(ty)))
    }

    /// The ids of the variables of a section.
    pub fn variables(&self, section: &str) -> Vec<u32> {
        let is_it = |ty: &&Type| ty.kind == Kind::Section && self.name(**ty) == section;
        self.types.iter().filter(is_it).flat_map(|ty| self.members(*ty)).map(|variable| variable.ty).collect()
    }

    /// What `id` points to.
    pub fn pointee(&self, id: u32) -> Option<u32> {
        let ty = self.resolve(id)?;
        (ty.kind == Kind::Pointer).then_some(ty.size_or_type)
    }
}

impl Type {
    /// Of a number or an enum, whether it has a sign.
    pub fn is_signed(self) -> bool {
        match self.kind {
            Kind::Int => self.first >> 24 & INT_SIGNED != 0,
            _ => self.flag,
        }
    }

    /// Of an array, the element's type id and the number of elements.
    pub fn array(self) -> Option<(u32, u32)> {
        (self.kind == Kind::Array).then_some((self.size_or_type, self.count))
    }

    /// Whether it is a truth value.
    pub fn is_bool(self) -> bool {
        self.kind == Kind::Int && self.first >> 24 & 4 != 0
    }
}

impl Type {
    /// What it refers to itself, not through members; none of what has a size instead.
    pub(crate) fn target(self) -> Option<u32> {
        use Kind::{Array, DeclTag, Function, Pointer, Prototype, Variable};
        let refers = self.kind.is_modifier() || matches!(self.kind, Pointer | Array | Prototype | Function | Variable | DeclTag);
        refers.then_some(self.size_or_type)
    }

    /// Of a forward declaration, the kind of what it is of.
    pub fn declared_kind(self) -> Kind {
        match (self.first, self.flag) {
            (FORWARD_ENUM, _) => Kind::Enum,
            (_, true) => Kind::Union,
            (_, false) => Kind::Struct,
        }
    }
}

fn part<T>(all: &[T], ty: Type) -> &[T] {
    all.get(ty.first as usize..).and_then(|rest| rest.get(..ty.count as usize)).unwrap_or_default()
}
