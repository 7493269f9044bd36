//! The maps of an object, as their BTF describes them, compared with the declared ones.
//!
//! Knows types and declarations, not instructions.

use std::collections::{BTreeMap, BTreeSet};

use ouro_btf::{Btf, Kind, Type};

use super::Expected;
use super::arguments;
use super::decoded::Decoded;
use super::layout;
use super::unreadable::Unreadable;
use super::value::Atom;
use crate::diagnostic::Diagnostic;
use crate::manifest::{COUNTS_MAP, Layout, MapSpec, PLACES_MAP, SPECS_MAP, TABLE_MAP};
use crate::map_type::{self, MAP_TYPES, Need};

/// `BPF_MAP_TYPE_PROG_ARRAY`.
const PROG_ARRAY: u32 = 3;
/// What the kernel takes for the value of a map of maps: a descriptor or an id.
const MAP_BYTES: u32 = 4;
/// The section of maps, and the one of libbpf's first years.
const SECTIONS: [&str; 2] = [".maps", "maps"];

/// The declared maps the object holds, with sizes; everything else about its maps is a finding. `functions` are asked for places.
pub(super) fn check(
    decoded: &Decoded<'_>,
    functions: &BTreeSet<usize>,
    expected: &Expected,
    findings: &mut Vec<Diagnostic>,
) -> Result<Vec<MapSpec>, Unreadable> {
    let uses = first_uses(decoded, functions);
    let mut maps = Vec::new();
    for definition in definitions(decoded)? {
        let declared = expected.maps.iter().find(|map| map.name == definition.name);
        let found = match declared {
            _ if definition.ty == Some(PROG_ARRAY) => table(&definition, expected),
            _ if [TABLE_MAP, COUNTS_MAP, PLACES_MAP].contains(&definition.name) => Ok(None),
            _ if definition.name == SPECS_MAP => decoded.btf.map_or(Ok(None), |btf| arguments::of_types(btf).map(|_| None)),
            None => Err(undeclared(&definition, expected)),
            Some(declared) => definition.sized(declared).map(Some),
        };
        match found {
            Ok(map) => maps.extend(map),
            Err(finding) => {
                let span = uses.get(definition.name).and_then(|(function, at)| decoded.span(*function, *at));
                findings.push(Diagnostic { span, ..finding });
            }
        }
    }
    Ok(maps)
}

/// Whether any of these functions uses the map. A header may define maps that nothing uses.
pub(super) fn is_used(decoded: &Decoded<'_>, functions: &BTreeSet<usize>, map: &str) -> bool {
    first_uses(decoded, functions).contains_key(map)
}

/// The first use of each symbol, as function and instruction; BTF does not say where maps are defined.
fn first_uses<'a>(decoded: &'a Decoded<'_>, functions: &BTreeSet<usize>) -> BTreeMap<&'a str, (usize, usize)> {
    let mut uses = BTreeMap::new();
    for function in functions {
        for (atom, at) in &decoded.flows[*function].references {
            if let Atom::Address(symbol) = atom {
                uses.entry(decoded.image.symbols[*symbol].name).or_insert((*function, *at));
            }
        }
    }
    uses
}

/// A map as the source defines it.
#[derive(Default)]
struct Definition<'a> {
    name: &'a str,
    /// The kernel's number; none for maps that are not defined through BTF.
    ty: Option<u32>,
    max_entries: u32,
    flags: u32,
    key: Part,
    value: Part,
    /// What the maps of a map of maps are like.
    inner: Option<Box<Definition<'a>>>,
    /// Whether the source fills it: `.values = { ... }`.
    has_values: bool,
}

/// A key or value as the source defines it.
#[derive(Default)]
struct Part {
    /// Its bytes; none where the source does not say, 0 where there is none.
    size: Option<u32>,
    layout: Option<Layout>,
}

impl Part {
    fn of(btf: &Btf, member: u32) -> Part {
        let ty = btf.pointee(member);
        Part { size: ty.and_then(|ty| btf.size(ty)), layout: ty.and_then(|ty| layout::of(btf, ty)) }
    }
}

fn definitions<'a>(decoded: &Decoded<'a>) -> Result<Vec<Definition<'a>>, Unreadable> {
    let is_map = |name: Option<&str>| name.is_some_and(|name| SECTIONS.contains(&name));
    let symbols = decoded.image.symbols.iter().filter(|symbol| !symbol.name.is_empty());
    let mut names: Vec<&'a str> =
        symbols.filter(|symbol| is_map(decoded.image.section_of(symbol))).map(|symbol| symbol.name).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let btf = decoded.btf.as_ref().ok_or(Unreadable::NoBtf)?;
    let variables = btf.variables(SECTIONS[0]).into_iter().filter_map(|id| btf.get(id)).filter(|ty| ty.kind == Kind::Variable);
    let variables: BTreeMap<&str, u32> = variables.map(|ty| (btf.name(ty), ty.size_or_type)).collect();
    Ok(names.into_iter().map(|name| Definition::read(name, btf, &variables)).collect())
}

impl<'a> Definition<'a> {
    fn read(name: &'a str, btf: &'a Btf, types: &BTreeMap<&str, u32>) -> Definition<'a> {
        let definition = types.get(name).and_then(|ty| btf.resolve(*ty));
        definition.map_or_else(|| Definition { name, ..Definition::empty() }, |ty| Definition::members(name, btf, ty, true))
    }

    /// What has neither key nor value.
    fn empty() -> Definition<'a> {
        let nothing = || Part { size: Some(0), layout: None };
        Definition { key: nothing(), value: nothing(), ..Definition::default() }
    }

    /// `outermost` maps may hold others.
    fn members(name: &'a str, btf: &'a Btf, definition: Type, outermost: bool) -> Definition<'a> {
        let mut map = Definition { name, ..Definition::empty() };
        if definition.kind != Kind::Struct {
            return map;
        }
        for (member, ty) in btf.members(definition).iter().map(|member| (btf.member_name(member), member.ty)) {
            // `__uint(name, N)` is a pointer to an array of N, `__type(name, T)` a pointer to T.
            let number = || btf.pointee(ty).and_then(|array| btf.resolve(array)?.array()).map(|(_, count)| count);
            match member {
                "type" => map.ty = number(),
                "max_entries" => map.max_entries = number().unwrap_or(0),
                "map_flags" => map.flags = number().unwrap_or(0),
                "key_size" => map.key.size = number(),
                "value_size" => map.value.size = number(),
                "key" => map.key = Part::of(btf, ty),
                "value" => map.value = Part::of(btf, ty),
                "values" => (map.has_values, map.inner) = (true, inner(btf, ty).filter(|_| outermost)),
                _ => {}
            }
        }
        map
    }

    /// The declared map with the sizes found, if it is the same map.
    fn sized(&self, declared: &MapSpec) -> Result<MapSpec, Diagnostic> {
        let ty = map_type::find(&declared.ty);
        let number = ty.map(|ty| ty.number);
        let is_same = self.ty == number && self.max_entries == declared.max_entries && self.flags == declared.flags;
        if !is_same {
            return Err(self.differs(declared));
        }
        let size = |need: Need, part: &Part, what: &str, c_type: &str| match (need, part.size) {
            (Need::Nothing, _) => Ok(0),
            (Need::Maps, _) => Ok(MAP_BYTES),
            (Need::U32, Some(size)) if size > 0 && size != 4 => Err(not_four_bytes(declared, what, size)),
            (_, Some(size)) if size > 0 => Ok(size),
            _ => Err(unsized_type(self.name, what, c_type)),
        };
        let (key, value) = ty.map_or((Need::Any, Need::Any), |ty| (ty.key, ty.value));
        let inner = match (&self.inner, &declared.inner) {
            (Some(inner), Some(declared)) => Some(Box::new(inner.sized(declared)?)),
            (None, Some(_)) => return Err(self.differs(declared)),
            _ => None,
        };
        Ok(MapSpec {
            key_size: size(key, &self.key, "key", &declared.key)?,
            value_size: size(value, &self.value, "value", &declared.value)?,
            key_layout: self.key.layout.clone().filter(|_| key != Need::Nothing),
            value_layout: self.value.layout.clone().filter(|_| !matches!(value, Need::Nothing | Need::Maps)),
            inner,
            ..declared.clone()
        })
    }

    fn differs(&self, declared: &MapSpec) -> Diagnostic {
        let known = MAP_TYPES.iter().find(|ty| Some(ty.number) == self.ty);
        let ty = known.map_or_else(|| "another type".to_owned(), |ty| format!("`{}`", ty.name));
        let shown = |ty: &str, entries: u32, flags: u32| format!("{ty}, {entries} entries, flags {flags:#x}");
        Diagnostic::bare(format!("map `{}` is not defined in the source as it is declared", self.name))
            .note(format!("declared: {}", shown(&format!("`{}`", declared.ty), declared.max_entries, declared.flags)))
            .note(format!("in the source: {}", shown(&ty, self.max_entries, self.flags)))
            .help("include `<ouro/program.h>`, which defines it, and remove the definition in the source")
    }
}

/// What the maps of a map of maps are like: `__array(values, struct { ... })` is an array of pointers to that.
fn inner<'a>(btf: &'a Btf, values: u32) -> Option<Box<Definition<'a>>> {
    let (pointer, _) = btf.resolve(values)?.array()?;
    let definition = btf.resolve(btf.pointee(pointer)?)?;
    (definition.kind == Kind::Struct).then(|| Box::new(Definition::members("inner", btf, definition, false)))
}

fn unsized_type(map: &str, what: &str, c_type: &str) -> Diagnostic {
    let finding = Diagnostic::bare(format!("the size of `{c_type}`, the {what} of map `{map}`, is not known in the source"))
        .help(format!("list the header that declares it in `hdrs` of the `bpf_map` `{map}`"));
    Diagnostic { about: Some(format!("{what} of map {map}").into()), ..finding }
}

fn not_four_bytes(map: &MapSpec, what: &str, size: u32) -> Diagnostic {
    Diagnostic::bare(format!("the {what} of map `{}` has {size} bytes, and `{}` maps take one of 4", map.name, map.ty))
        .help(format!("give the `bpf_map` `{}` a {what} such as `__u32`", map.name))
}

fn undeclared(map: &Definition<'_>, expected: &Expected) -> Diagnostic {
    Diagnostic::bare(format!("map `{}` is not declared", map.name))
        .note("declared maps are shared by the programs of a chain and survive a redeploy")
        .help(format!(
            "declare a `bpf_map` named `{0}`, add `:{0}` to `maps` of `{1}`, and remove it from the source",
            map.name, expected.label
        ))
}

/// A program array; only ouro's own is allowed, and only empty.
fn table(map: &Definition<'_>, expected: &Expected) -> Result<Option<MapSpec>, Diagnostic> {
    let help = "list the programs in `jumps` and write `OURO_JUMP(ctx, name);`, ouro makes and fills the table";
    match map.name {
        TABLE_MAP if !map.has_values => Ok(None),
        name if map.has_values => {
            Err(Diagnostic::bare(format!("the source of `{}` fills the jump table `{name}` itself", expected.label)).help(help))
        }
        name => {
            Err(Diagnostic::bare(format!("the source of `{}` defines the jump table `{name}` itself", expected.label)).help(help))
        }
    }
}
