//! What an object wants of the kernel it is loaded into: functions and variables (`__ksym`), and settings (`__kconfig`).
//!
//! Knows what is asked for and how an answer is written, not where answers come from.

use ouro_btf::{Btf, Kind};

use super::Reason;
use super::elf::Elf;

/// Something that is declared, and defined elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extern {
    /// Its name.
    pub(crate) name: String,
    /// Whether it may be missing, and is 0 then.
    pub(crate) is_weak: bool,
    /// What it is.
    pub(crate) kind: ExternKind,
}

/// What an extern is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExternKind {
    /// A function of the kernel, with the type it is declared with.
    Function(u32),
    /// A variable of the kernel, with its type.
    Variable,
    /// The address of anything in the kernel.
    Address,
    /// A setting of the kernel, in a map of settings.
    Setting {
        /// Where in the map.
        offset: u32,
        /// Bytes.
        size: u32,
        /// How it is written.
        form: Form,
    },
    /// Nobody says.
    Unknown,
    /// It was looked for in vain.
    Missing(Reason),
}

/// How a setting is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `y` or `n`.
    Bool,
    /// `y`, `n` or `m`, as a number.
    Tristate,
    /// The letter itself, or a number.
    Number,
    /// A text with its end mark.
    Text,
}

/// The externs that code may refer to.
pub(super) fn read(elf: &Elf<'_>, types: Option<&Btf>) -> Result<Vec<Extern>, Reason> {
    let mut externs: Vec<Extern> = elf
        .symbols
        .iter()
        .filter(|symbol| symbol.is_wanted())
        .map(|symbol| Extern { name: symbol.name.to_owned(), is_weak: symbol.is_weak, kind: ExternKind::Unknown })
        .collect();
    externs.sort_by(|a, b| a.name.cmp(&b.name));
    let Some(types) = types else { return Ok(externs) };
    let mut end = 0;
    for found in &mut externs {
        found.kind = kind(types, &found.name, &mut end)?;
    }
    Ok(externs)
}

/// `end` is where the settings end so far.
fn kind(types: &Btf, name: &str, end: &mut u32) -> Result<ExternKind, Reason> {
    let find = |section| types.variables(section).into_iter().find(|id| types.get(*id).is_some_and(|ty| types.name(ty) == name));
    if let Some(ty) = find(".ksyms").and_then(|id| types.get(id)) {
        return Ok(match (ty.kind, types.resolve(ty.size_or_type).map(|ty| ty.kind)) {
            (Kind::Function, _) => ExternKind::Function(ty.size_or_type),
            (_, None | Some(Kind::Void)) => ExternKind::Address,
            _ => ExternKind::Variable,
        });
    }
    let Some(ty) = find(".kconfig").and_then(|id| types.get(id)) else { return Ok(ExternKind::Unknown) };
    let unknown = || format!("the type of the setting `{name}` is none that settings have");
    let form = form(types, ty.size_or_type).ok_or_else(unknown)?;
    let size = types.size(ty.size_or_type).filter(|size| *size <= 4096).ok_or_else(unknown)?;
    let align = if form == Form::Text { 1 } else { size.max(1) };
    let offset = end.next_multiple_of(align);
    *end = offset + size;
    Ok(ExternKind::Setting { offset, size, form })
}

fn form(types: &Btf, id: u32) -> Option<Form> {
    let ty = types.resolve(id)?;
    match ty.kind {
        Kind::Int if ty.is_bool() => Some(Form::Bool),
        Kind::Int => Some(Form::Number),
        Kind::Enum if types.name(ty) == "libbpf_tristate" => Some(Form::Tristate),
        Kind::Array => types.size(ty.array()?.0).filter(|size| *size == 1).map(|_| Form::Text),
        _ => None,
    }
}

/// The name without a flavour: `bpf_x` of `bpf_x___old`, and `bpf_x___v2` of `bpf_x___v2___compat`.
pub(crate) fn essential(name: &str) -> &str {
    match name.rsplit_once("___") {
        Some((essential, flavour)) if !essential.is_empty() && !flavour.is_empty() => essential,
        _ => name,
    }
}

impl Form {
    /// The bytes of a setting as the kernel's configuration writes it: `y`, `"text"`, `-12`, `0x10`.
    pub(crate) fn encode(self, text: &str, size: u32) -> Result<Vec<u8>, Reason> {
        let unfit = || format!("`{text}` does not fit its type");
        let number = match (self, text) {
            (Form::Bool, "y") | (Form::Tristate, "y") => 1,
            (Form::Bool, "n") | (Form::Tristate, "n") => 0,
            (Form::Tristate, "m") => 2,
            (Form::Number, "y" | "n" | "m") if size == 1 => i128::from(text.as_bytes()[0]),
            (Form::Number | Form::Bool, _) => parse(text).ok_or_else(unfit)?,
            (Form::Text, _) => {
                let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or_else(unfit)?;
                let mut bytes = text.as_bytes().to_vec();
                bytes.truncate((size as usize).saturating_sub(1));
                bytes.resize(size as usize, 0);
                return Ok(bytes);
            }
            (Form::Tristate, _) => return Err(unfit()),
        };
        let bits = size.min(8) * 8;
        if self == Form::Bool && !(0..=1).contains(&number) || number >= 1 << bits || number < -(1 << (bits - 1)) {
            return Err(unfit());
        }
        let bytes = number.to_le_bytes();
        let mut bytes = bytes[..size.min(8) as usize].to_vec();
        if cfg!(target_endian = "big") {
            bytes.reverse();
        }
        Ok(bytes)
    }
}

fn parse(text: &str) -> Option<i128> {
    match text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavours_are_what_stands_behind_the_last_three_lines() {
        let names = ["bpf_x", "bpf_x___old", "bpf_x___v2___compat", "___x", "x___"];
        assert_eq!(names.map(essential), ["bpf_x", "bpf_x", "bpf_x___v2", "___x", "x___"]);
    }

    #[test]
    fn settings_are_written_as_their_type_has_them() {
        assert_eq!(Form::Bool.encode("y", 1), Ok(vec![1]));
        assert_eq!(Form::Tristate.encode("m", 4), Ok(2u32.to_ne_bytes().to_vec()));
        assert_eq!(Form::Number.encode("m", 1), Ok(vec![b'm']));
        assert_eq!(Form::Number.encode("0x10", 4), Ok(16u32.to_ne_bytes().to_vec()));
        assert_eq!(Form::Number.encode("-2", 2), Ok((-2i16).to_ne_bytes().to_vec()));
        assert_eq!(Form::Text.encode("\"(none)\"", 4), Ok(b"(no\0".to_vec()));
        for (form, text, size) in [(Form::Bool, "m", 1), (Form::Number, "256", 1), (Form::Text, "y", 8), (Form::Tristate, "3", 4)]
        {
            assert!(form.encode(text, size).is_err(), "{form:?} {text}");
        }
    }
}
