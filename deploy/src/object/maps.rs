//! The maps of an object: those it declares, and its sections of data.
//!
//! Knows declarations, not what the kernel makes of them.

use ouro_btf::{Btf, Kind, Type};

use super::elf::{Elf, Section, Symbol};
use super::{Extern, ExternKind, Reason};

/// `BPF_MAP_TYPE_ARRAY`.
const ARRAY: u32 = 2;
/// `BPF_MAP_TYPE_ARENA`.
const ARENA: u32 = 33;
/// The section of variables in an arena: those in address space 1.
pub(super) const IN_ARENA: &str = ".addr_space.1";
/// `BPF_MAX_VAR_OFF`: variables lie below in their map.
const FARTHEST: u64 = 1 << 29;
/// `BPF_F_RDONLY_PROG`.
const READ_ONLY: u32 = 1 << 7;
/// The map that settings of the kernel are put into.
pub(crate) const SETTINGS: &str = ".kconfig";
/// Bytes of the first `struct bpf_map_def`: type, sizes, entries, flags.
const OLD_DEFINITION: usize = 20;

/// A map as an object declares it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MapDef {
    /// Its name; of data, the section's.
    pub(crate) name: String,
    /// `enum bpf_map_type`.
    pub(crate) ty: u32,
    /// Bytes of a key.
    pub(crate) key_size: u32,
    /// Bytes of a value.
    pub(crate) value_size: u32,
    /// Entries.
    pub(crate) max_entries: u32,
    /// `BPF_F_*` bits.
    pub(crate) flags: u32,
    /// What only some types have.
    pub(crate) extra: u64,
    /// The memory it is to be in; said by a flag.
    pub(crate) numa_node: u32,
    /// The BTF type of a key; 0 is none.
    pub(crate) key_type: u32,
    /// The BTF type of a value.
    pub(crate) value_type: u32,
    /// Of a map of maps, what those are.
    pub(crate) inner: Option<Box<MapDef>>,
    /// What it holds from the start: programs or maps by their names.
    pub(crate) values: Vec<(u32, Value)>,
    /// Of a declared map, its section and its offset in there.
    pub(super) place: Option<(usize, u64)>,
    /// Of a section of data, what is in it.
    pub(crate) data: Option<Data>,
    /// The index of the network device whose card is to have it, which no object says.
    pub(crate) card: Option<u32>,
    /// Of an arena, the variables that lie in it.
    pub(crate) variables: Option<Data>,
}

impl MapDef {
    /// Where the variables of an arena begin, in bytes: in its last pages that programs can name, as a variable in the first place
    /// would be taken for none. None if the arena has no room for them.
    pub(crate) fn variables_at(&self, page: u32) -> Option<u64> {
        let (page, room) = (u64::from(page), u64::from(self.max_entries) * u64::from(page));
        let size = (self.variables.as_ref()?.bytes.len() as u64).next_multiple_of(page);
        room.min(FARTHEST).checked_sub(size)
    }
}

/// What stands behind a key from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// A program of the object, by its name.
    Program(String),
    /// A map of the object, by its name.
    Map(String),
}

/// A section of data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Data {
    /// Its number.
    pub(super) section: usize,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// Whether it never changes.
    pub(crate) is_constant: bool,
}

/// All maps of an object.
pub(super) fn read(elf: &Elf<'_>, types: Option<&Btf>, externs: &[Extern]) -> Result<Vec<MapDef>, Reason> {
    let mut maps = Vec::new();
    for (number, section) in elf.sections.iter().enumerate() {
        let symbols = || elf.symbols.iter().filter(move |symbol| symbol.section == Some(number) && !symbol.name.is_empty());
        match section.name {
            ".maps" => {
                let types = types.ok_or("its maps are declared by types, and it has no BTF")?;
                for symbol in symbols() {
                    maps.extend(declared(elf, types, section, symbol)?);
                }
            }
            "maps" => maps.extend(symbols().filter_map(|symbol| old(section, symbol))),
            _ => maps.extend(data(number, section, types)?),
        }
    }
    maps.extend(settings(externs));
    place_variables(elf, &mut maps);
    Ok(maps)
}

/// Puts the variables in address space 1 into the object's arena. Who refers to them where there is no such arena, or several, is told.
fn place_variables(elf: &Elf<'_>, maps: &mut [MapDef]) {
    let found = elf.sections.iter().enumerate().find(|(_, section)| section.name == IN_ARENA && !section.data.is_empty());
    let mut arenas: Vec<&mut MapDef> = maps.iter_mut().filter(|map| map.ty == ARENA && map.data.is_none()).collect();
    if let (Some((section, found)), [arena]) = (found, arenas.as_mut_slice()) {
        arena.variables = Some(Data { section, bytes: found.data.to_vec(), is_constant: false });
    }
}

/// A map declared through its type: `struct { __uint(type, N); __type(key, T); ... } name SEC(".maps");`.
fn declared(elf: &Elf<'_>, types: &Btf, section: &Section<'_>, symbol: &Symbol<'_>) -> Result<Option<MapDef>, Reason> {
    let is_it = |ty: &Type| ty.kind == Kind::Variable && types.name(*ty) == symbol.name;
    let variable = types.variables(".maps").into_iter().filter_map(|id| types.get(id)).find(is_it);
    let Some(definition) = variable.and_then(|ty| types.resolve(ty.size_or_type)).filter(|ty| ty.kind == Kind::Struct) else {
        return Ok(None);
    };
    let in_map = |reason: Reason| format!("map `{}`: {reason}", symbol.name);
    let mut map = definition_of(types, definition, symbol.name, true).map_err(in_map)?;
    map.place = symbol.section.map(|number| (number, symbol.value));
    if let Some(member) = types.members(definition).iter().find(|member| types.member_name(member) == "values") {
        map.values = values(elf, section, symbol, u64::from(member.offset / 8));
    }
    Ok(Some(map))
}

/// `outer`: whether it may be a map of maps.
fn definition_of(types: &Btf, definition: Type, name: &str, outer: bool) -> Result<MapDef, Reason> {
    let mut map = MapDef { name: name.to_owned(), ..MapDef::default() };
    for member in types.members(definition) {
        let field = types.member_name(member);
        let number = || number(types, member.ty).ok_or_else(|| format!("`{field}` is no number"));
        let small = || number().and_then(|value| u32::try_from(value).map_err(|_| format!("`{field}` is too large")));
        let sized = || {
            let ty = types.pointee(member.ty).ok_or_else(|| format!("`{field}` is no type"))?;
            types.size(ty).map(|size| (ty, size)).ok_or_else(|| format!("the size of its {field} is not known"))
        };
        match field {
            "type" => map.ty = small()?,
            "max_entries" => map.max_entries = small()?,
            "map_flags" => map.flags = small()?,
            "map_extra" => map.extra = number()?,
            "numa_node" => map.numa_node = small()?,
            "key_size" => map.key_size = small()?,
            "value_size" => map.value_size = small()?,
            "key" => (map.key_type, map.key_size) = sized()?,
            "value" => (map.value_type, map.value_size) = sized()?,
            "values" => {
                map.value_size = 4;
                map.inner = inner(types, member.ty, name, outer)?.map(Box::new);
            }
            // How others pin it is nothing to us, and what is new is the kernel's to miss.
            _ => {}
        }
    }
    Ok(map)
}

/// What the members of `values` point to; none if these are programs.
fn inner(types: &Btf, values: u32, name: &str, outer: bool) -> Result<Option<MapDef>, Reason> {
    let element = types.resolve(values).and_then(Type::array).and_then(|(element, _)| types.pointee(element));
    match element.and_then(|id| types.resolve(id)) {
        Some(ty) if ty.kind == Kind::Struct && outer => definition_of(types, ty, name, false).map(Some),
        Some(ty) if ty.kind == Kind::Struct => Err("maps of maps of maps are known to no kernel".to_owned()),
        _ => Ok(None),
    }
}

/// `__uint(name, N)` is a pointer to an array of N; `__ulong(name, N)` an enum of one value.
fn number(types: &Btf, id: u32) -> Option<u64> {
    let ty = types.resolve(id)?;
    match ty.kind {
        Kind::Pointer => types.resolve(ty.size_or_type)?.array().map(|(_, count)| u64::from(count)),
        Kind::Enum => types.enumerators(ty).first().map(|enumerator| enumerator.value as u64),
        _ => None,
    }
}

fn values(elf: &Elf<'_>, section: &Section<'_>, map: &Symbol<'_>, first: u64) -> Vec<(u32, Value)> {
    let start = map.value.saturating_add(first);
    let end = map.value.saturating_add(map.size);
    let inside = section.relocations.iter().filter(|(offset, _)| (start..end).contains(offset));
    let value = |symbol: &Symbol<'_>| match symbol.is_function {
        true => Value::Program(symbol.name.to_owned()),
        false => Value::Map(symbol.name.to_owned()),
    };
    inside
        .filter_map(|(offset, symbol)| Some((u32::try_from((offset - start) / 8).ok()?, value(elf.symbols.get(*symbol)?))))
        .collect()
}

/// A map declared as a number of numbers.
fn old(section: &Section<'_>, symbol: &Symbol<'_>) -> Option<MapDef> {
    let start = usize::try_from(symbol.value).ok()?;
    let words = section.data.get(start..start.checked_add(OLD_DEFINITION)?)?.as_chunks().0;
    let [ty, key_size, value_size, max_entries, flags] = <[[u8; 4]; 5]>::try_from(words).ok()?.map(u32::from_ne_bytes);
    let place = symbol.section.map(|number| (number, symbol.value));
    Some(MapDef { name: symbol.name.to_owned(), ty, key_size, value_size, max_entries, flags, place, ..MapDef::default() })
}

/// A section of variables is an array of one element.
fn data(number: usize, section: &Section<'_>, types: Option<&Btf>) -> Result<Option<MapDef>, Reason> {
    let is = |prefix: &str| section.name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let is_constant = is(".rodata");
    if section.size == 0 || !(is_constant || is(".data") || is(".bss")) {
        return Ok(None);
    }
    let value_size = u32::try_from(section.size).ok().filter(|size| *size <= i32::MAX as u32 / 2);
    let value_size = value_size.ok_or_else(|| format!("section `{}` is too large", section.name))?;
    let mut bytes = section.data.to_vec();
    bytes.resize(value_size as usize, 0);
    let of_name = |types: &Btf| {
        let is_it = |id: &u32| types.get(*id).is_some_and(|ty| ty.kind == Kind::Section && types.name(ty) == section.name);
        types.ids().find(is_it)
    };
    Ok(Some(MapDef {
        name: section.name.to_owned(),
        ty: ARRAY,
        key_size: 4,
        value_size,
        max_entries: 1,
        flags: if is_constant { READ_ONLY } else { 0 },
        value_type: types.and_then(of_name).unwrap_or(0),
        data: Some(Data { section: number, bytes, is_constant }),
        ..MapDef::default()
    }))
}

/// The settings of the kernel that the object asks for; what they are is found when it is loaded.
fn settings(externs: &[Extern]) -> Option<MapDef> {
    let end = |found: &Extern| match &found.kind {
        ExternKind::Setting { offset, size, .. } => offset + size,
        _ => 0,
    };
    let size = externs.iter().map(end).max().unwrap_or(0);
    let data = Data { section: usize::MAX, bytes: vec![0; size as usize], is_constant: true };
    (size > 0).then(|| MapDef {
        name: SETTINGS.to_owned(),
        ty: ARRAY,
        key_size: 4,
        value_size: size,
        max_entries: 1,
        flags: READ_ONLY,
        data: Some(data),
        ..MapDef::default()
    })
}
