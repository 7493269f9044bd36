//! What a header is worth: compiled back by the real clang, its types must be those it was printed from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ouro_btf::{Btf, Kind, Member, Type};

/// How deep types without a name are looked into.
const DEPTH: usize = 24;

/// The compiler: `clang`, or the newest `clang-<n>`.
pub fn clang() -> PathBuf {
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").expect("a search path")).collect();
    let plain = folders.iter().map(|folder| folder.join("clang")).find(|path| path.is_file());
    let versions = (11..40).rev().flat_map(|n| folders.iter().map(move |folder| folder.join(format!("clang-{n}"))));
    plain.or_else(|| versions.into_iter().find(|path| path.is_file())).expect("clang is installed")
}

/// Compiles a source for BPF; returns the object.
pub fn compiled(folder: &Path, name: &str, source: &str, flags: &[&str]) -> Vec<u8> {
    let (input, output) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.o")));
    fs::write(&input, source).expect("a source");
    let mut command = Command::new(clang());
    command.args(["-target", "bpf", "-g", "-c", "-Werror", "-Wno-unknown-attributes", "-I"]).arg(folder).args(flags);
    let said = command.arg(&input).arg("-o").arg(&output).output().expect("clang runs");
    assert!(said.status.success(), "{name}: {}", String::from_utf8_lossy(&said.stderr).chars().take(4000).collect::<String>());
    fs::read(output).expect("an object")
}

/// Programs that point to one of each type that a header defines, so that the compiler tells of all of them. Several, because the
/// time it takes grows faster than their number.
pub fn with_all_types(header: &str) -> Vec<String> {
    let word = |line: &str, at: usize| line.split(' ').nth(at).unwrap_or_default().to_owned();
    let is_type = |line: &&str| matches!(&*word(line, 0), "struct" | "union" | "enum") && word(line, 2) == "{";
    let types: Vec<&str> = header.lines().filter(is_type).collect();
    let pointer = |(count, line): (usize, &&str)| format!("{} {} *one_{count};\n", word(line, 0), word(line, 1));
    let text = |types: &[&str]| types.iter().enumerate().map(pointer).collect::<String>();
    types.chunks(1000).map(|types| format!("#include \"vmlinux.h\"\n{}", text(types))).collect()
}

/// Compiles a header back: what its types are in objects, by name.
pub fn compiled_back(header: &str, flags: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("vmlinux.h"), header).expect("a header");
    let mut all = BTreeMap::<String, BTreeSet<String>>::new();
    for source in with_all_types(header) {
        let object = compiled(folder.path(), "all", &source, flags);
        for (name, shapes) in shapes(&Btf::read(&object).expect("BTF of the object")) {
            all.entry(name).or_default().extend(shapes);
        }
    }
    all
}

/// The shapes of all types with a name, by that name without what follows `___`.
pub fn shapes(btf: &Btf) -> BTreeMap<String, BTreeSet<String>> {
    let mut shapes = BTreeMap::<String, BTreeSet<String>>::new();
    for (id, ty) in btf.ids().filter_map(|id| Some((id, btf.get(id)?))) {
        let kind = match ty.kind {
            Kind::Struct => "struct",
            Kind::Union => "union",
            Kind::Enum => "enum",
            _ => continue,
        };
        if !btf.name(ty).is_empty() {
            let name = format!("{kind} {}", base(btf.name(ty)));
            shapes.entry(name).or_default().insert(shape(btf, id, ty, DEPTH));
        }
    }
    shapes
}

/// Types that are other ones in `printed`, for people.
pub fn differences(original: &Btf, printed: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let none = BTreeSet::new();
    let differs = |(name, shapes): (&String, &BTreeSet<String>)| {
        let found = printed.get(name).unwrap_or(&none);
        (found != shapes).then(|| format!("{name}\n  is      {shapes:?}\n  printed {found:?}"))
    };
    shapes(original).iter().filter_map(differs).collect()
}

fn base(name: &str) -> &str {
    match name.rsplit_once("___") {
        Some((base, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => base,
        _ => name,
    }
}

fn shape(btf: &Btf, id: u32, ty: Type, depth: usize) -> String {
    if depth == 0 {
        return "?".to_owned();
    }
    let size = btf.size(id);
    let members: String = match ty.kind {
        Kind::Enum => {
            let values = btf.enumerators(ty).iter().map(|one| (base(btf.enumerator_name(one)), one.value));
            format!("{:?}", values.collect::<Vec<_>>())
        }
        _ => btf.members(ty).iter().map(|member| self::member(btf, ty, member, depth)).collect(),
    };
    format!("{size:?} {{{members}}}")
}

fn member(btf: &Btf, record: Type, member: &Member, depth: usize) -> String {
    let (offset, bits) = btf.place(record, member);
    // What makes a union as large as an attribute made it.
    if btf.member_name(member).starts_with("__filler_") {
        return String::new();
    }
    let ty = match btf.resolve(member.ty) {
        // A record without a name is looked into, for its members are the outer one's; C demands that its type has none, either.
        Some(ty) if matches!(ty.kind, Kind::Struct | Kind::Union) && btf.member_name(member).is_empty() => {
            shape(btf, member.ty, ty, depth.saturating_sub(1))
        }
        _ => type_of(btf, member.ty, depth),
    };
    format!("{}@{offset}:{bits:?} {ty} {:?}; ", btf.member_name(member), btf.size(member.ty))
}

/// A type as it is mentioned: by name where it has one.
fn type_of(btf: &Btf, id: u32, depth: usize) -> String {
    let Some(ty) = btf.get(id).filter(|_| depth > 0) else { return "?".to_owned() };
    let inner = |id: u32| type_of(btf, id, depth - 1);
    let name = base(btf.name(ty));
    match ty.kind {
        Kind::Void => "void".to_owned(),
        Kind::Int => format!("int{}", ty.size_or_type),
        Kind::Float => format!("float{}", ty.size_or_type),
        Kind::Pointer => format!("*{}", inner(ty.size_or_type)),
        Kind::Array => format!("[{:?}]{}", ty.array().map(|(_, count)| count), inner(ty.size_or_type)),
        Kind::Struct | Kind::Union | Kind::Forward if !name.is_empty() => format!("record {name}"),
        Kind::Enum if !name.is_empty() => format!("enum {name}"),
        Kind::Struct | Kind::Union | Kind::Enum => shape(btf, id, ty, depth - 1),
        // An enum without a name that several types share has got one.
        Kind::Typedef if name.starts_with("__enum_of_") => inner(ty.size_or_type),
        Kind::Typedef => name.to_owned(),
        Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => inner(ty.size_or_type),
        Kind::Prototype => {
            let parameters: Vec<String> = btf.members(ty).iter().map(|parameter| inner(parameter.ty)).collect();
            format!("({parameters:?}) -> {}", inner(ty.size_or_type))
        }
        _ => format!("{:?}", ty.kind),
    }
}
