//! Tables of functions for the kernel to call: variables in `.struct_ops`, of one of the kernel's own types.
//!
//! Knows types; which kernel's they are is others' business.

use ouro_btf::{Btf, Kind, Type};
use ouro_rules::diagnostic::did_you_mean;

use super::Reason;
use super::elf::{Elf, Symbol};

const SECTIONS: [&str; 2] = [".struct_ops", ".struct_ops.link"];

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StructOps {
    /// The variable.
    pub(crate) name: String,
    /// The kernel's type: `tcp_congestion_ops`.
    pub(crate) ty: String,
    /// The programs by the names of the members that they stand for.
    pub(crate) programs: Vec<(String, String)>,
    /// What else the members hold, by their names; not those that hold nothing but zeros.
    pub(crate) values: Vec<(String, Vec<u8>)>,
}

/// The tables of an object.
pub(super) fn read(elf: &Elf<'_>, types: Option<&Btf>) -> Result<Vec<StructOps>, Reason> {
    let Some(types) = types else { return Ok(Vec::new()) };
    let is_table = |symbol: &&Symbol<'_>| {
        // A `?` before the name says that the table is made on request only.
        elf.section_of(symbol).is_some_and(|name| SECTIONS.contains(&name.trim_start_matches('?'))) && !symbol.name.is_empty()
    };
    elf.symbols.iter().filter(is_table).filter_map(|symbol| table(elf, types, symbol).transpose()).collect()
}

fn table(elf: &Elf<'_>, types: &Btf, symbol: &Symbol<'_>) -> Result<Option<StructOps>, Reason> {
    let Some((section, number)) = elf.section_of(symbol).zip(symbol.section) else { return Ok(None) };
    let is_it = |ty: &Type| ty.kind == Kind::Variable && types.name(*ty) == symbol.name;
    let variable = types.variables(section).into_iter().filter_map(|id| types.get(id)).find(is_it);
    let Some(ty) = variable.and_then(|ty| types.resolve(ty.size_or_type)).filter(|ty| ty.kind == Kind::Struct) else {
        return Ok(None);
    };
    let mut programs = Vec::new();
    let end = symbol.value.saturating_add(symbol.size);
    let relocations = elf.sections[number].relocations.iter();
    for (offset, target) in relocations.filter(|(offset, _)| (symbol.value..end).contains(offset)) {
        let member = types.members(ty).iter().find(|member| u64::from(member.offset) == (offset - symbol.value) * 8);
        let program = elf.symbols.get(*target).filter(|target| target.is_function);
        let (Some(member), Some(program)) = (member, program) else {
            return Err(format!("`{}` has something else than a program for a function", symbol.name));
        };
        programs.push((types.member_name(member).to_owned(), program.name.to_owned()));
    }
    let start = usize::try_from(symbol.value).unwrap_or(usize::MAX);
    let data = elf.sections[number].data.get(start..).unwrap_or_default();
    let values = values(types, ty, data, &programs).map_err(|reason| format!("`{}`: {reason}", symbol.name))?;
    // What follows three underscores tells versions of a type apart, and is no part of its name.
    let of = types.name(ty).split("___").next().unwrap_or_default().to_owned();
    Ok(Some(StructOps { name: symbol.name.to_owned(), ty: of, programs, values }))
}

/// The members that are no programs and hold something.
fn values(types: &Btf, ty: Type, data: &[u8], programs: &[(String, String)]) -> Result<Vec<(String, Vec<u8>)>, Reason> {
    let mut found = Vec::new();
    let members = types.members(ty);
    for (index, member) in members.iter().enumerate() {
        let name = types.member_name(member);
        let start = (member.offset / 8) as usize;
        // A member of bits ends where the next one begins, and so does one whose size nobody tells.
        let next = members.get(index + 1).map_or(ty.size_or_type, |next| next.offset.div_ceil(8)) as usize;
        let size = types.size(member.ty).map_or(next.saturating_sub(start), |size| size as usize);
        let bytes = data.get(start..start.saturating_add(size)).unwrap_or_default();
        if bytes.iter().all(|byte| *byte == 0) || programs.iter().any(|(program, _)| program == name) {
            continue;
        }
        if name.is_empty() || types.place(ty, member).1.is_some() {
            return Err(format!("its member `{name}` is of bits, or has no name; only whole members can be set"));
        }
        found.push((name.to_owned(), bytes.to_vec()));
    }
    Ok(found)
}

/// A table as the running kernel has it, but for the programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Translated {
    /// The value of the map that the table becomes.
    pub(crate) value: Vec<u8>,
    /// Where each program's descriptor goes, as eight bytes.
    pub(crate) programs: Vec<(usize, String)>,
}

/// What the kernel puts around its type: counts of its own, then the table in a member of this name.
pub(crate) fn wrapper(ty: &str) -> String {
    format!("bpf_struct_ops_{ty}")
}

impl StructOps {
    /// Lays the members out as the kernel does, found by their names: older and newer kernels have them elsewhere. `wrapper` is the
    /// kernel's type of this name.
    pub(crate) fn translate(&self, kernel: &Btf, wrapper: Type) -> Result<Translated, Reason> {
        let data = kernel.members(wrapper).iter().find(|member| kernel.member_name(member) == "data");
        let inner = data.and_then(|data| Some((data.offset / 8, kernel.resolve(data.ty)?)));
        let unknown = || format!("the kernel's `struct {}` has no `data`", kernel.name(wrapper));
        let (start, inner) = inner.filter(|(_, ty)| ty.kind == Kind::Struct).ok_or_else(unknown)?;
        let place = |name: &str| {
            let found = kernel.members(inner).iter().find(|member| kernel.member_name(member) == name);
            let member = found.ok_or_else(|| self.missing(kernel, inner, name))?;
            match kernel.place(inner, member).1 {
                Some(_) => Err(format!("`{name}` of the kernel's `struct {}` is of bits", self.ty)),
                None => Ok(((start + member.offset / 8) as usize, kernel.size(member.ty).unwrap_or(0) as usize)),
            }
        };
        let mut value = vec![0; wrapper.size_or_type as usize];
        for (name, bytes) in &self.values {
            let (at, size) = place(name)?;
            let room = value.get_mut(at..at + bytes.len()).filter(|_| size == bytes.len());
            let other = || format!("`{name}` of the kernel's `struct {}` has {size} bytes, not {}", self.ty, bytes.len());
            room.ok_or_else(other)?.copy_from_slice(bytes);
        }
        let programs = self.programs.iter().map(|(name, program)| {
            let (at, size) = place(name)?;
            let is_function = size == 8 && at + size <= value.len();
            is_function.then(|| (at, program.clone())).ok_or_else(|| format!("`{name}` of `struct {}` is no function", self.ty))
        });
        let programs = programs.collect::<Result<_, Reason>>()?;
        Ok(Translated { value, programs })
    }

    fn missing(&self, kernel: &Btf, inner: Type, name: &str) -> Reason {
        let names = kernel.members(inner).iter().map(|member| kernel.member_name(member));
        let near = did_you_mean(name, names).map_or_else(String::new, |near| format!("; {near}"));
        format!("the kernel's `struct {}` has no `{name}`, which `{}` sets{near}", self.ty, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BTF of a kernel whose table has a reserved number before the members of ours, and one more function.
    fn kernel() -> Btf {
        let mut strings = vec![0u8];
        let mut name = |text: &str| {
            let at = strings.len() as u32;
            strings.extend(text.bytes().chain([0]));
            at
        };
        let mut words: Vec<u32> = Vec::new();
        // 1: u32, 2: what functions take and give, 3: a pointer to one, 4: char, 5: char[16]
        words.extend([name("u32"), 1 << 24, 4, 32]);
        words.extend([0, 13 << 24, 1]);
        words.extend([0, 2 << 24, 2]);
        words.extend([name("char"), 1 << 24, 1, 1 << 24 | 8]);
        words.extend([0, 3 << 24, 0, 4, 1, 16]);
        // 6: the table, 7: what is around it
        words.extend([name("ops"), 4 << 24 | 5, 48]);
        words.extend([name("reserved"), 1, 0, name("flags"), 1, 32, name("newer"), 3, 64, name("call"), 3, 128]);
        words.extend([name("name"), 5, 192]);
        words.extend([name("bpf_struct_ops_ops"), 4 << 24 | 2, 128, name("common"), 1, 0, name("data"), 6, 512]);
        let (types, rest) = (words.len() as u32 * 4, strings.len() as u32);
        let mut bytes = [0x9f, 0xeb, 1, 0].to_vec();
        bytes.extend([24, 0, types, types, rest].iter().chain(&words).flat_map(|word| word.to_le_bytes()));
        bytes.extend(strings);
        Btf::read(&bytes).unwrap()
    }

    fn ours(values: &[(&str, &[u8])], programs: &[(&str, &str)]) -> StructOps {
        StructOps {
            name: "mine".to_owned(),
            ty: "ops".to_owned(),
            programs: programs.iter().map(|(name, program)| ((*name).to_owned(), (*program).to_owned())).collect(),
            values: values.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect(),
        }
    }

    fn translated(table: &StructOps) -> Result<Translated, Reason> {
        let kernel = kernel();
        let wrapper = kernel.get(7).unwrap();
        assert_eq!(kernel.name(wrapper), super::wrapper("ops"));
        table.translate(&kernel, wrapper)
    }

    #[test]
    fn members_are_found_by_name() {
        let mut name = [0; 16];
        name[..4].copy_from_slice(b"mine");
        let done = translated(&ours(&[("flags", &[7, 0, 0, 0]), ("name", &name)], &[("call", "f")])).unwrap();
        assert_eq!(
            (done.value.len(), &done.value[64 + 4..64 + 8], &done.value[64 + 24..64 + 28]),
            (128, &[7, 0, 0, 0][..], &b"mine"[..])
        );
        assert_eq!(done.programs, [(64 + 16, "f".to_owned())]);
        assert_eq!(done.value.iter().filter(|byte| **byte != 0).count(), 5);
    }

    #[test]
    fn what_the_kernel_lacks_is_named() {
        let said = |values: &[(&str, &[u8])], programs: &[(&str, &str)]| translated(&ours(values, programs)).unwrap_err();
        let near = "the kernel's `struct ops` has no `cal`, which `mine` sets; did you mean `call`?";
        assert_eq!(said(&[], &[("cal", "f")]), near);
        assert_eq!(said(&[("flags", &[1; 8])], &[]), "`flags` of the kernel's `struct ops` has 4 bytes, not 8");
        assert_eq!(said(&[], &[("flags", "f")]), "`flags` of `struct ops` is no function");
    }
}
