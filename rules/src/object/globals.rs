//! The global variables of an object that a chain may give other values, and their bytes.
//!
//! Knows types and symbols, not instructions.

use std::collections::BTreeMap;

use ouro_btf::{Btf, Kind};

use super::elf::{Image, Symbol};
use super::{decoded, endian};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::manifest::{LINK_SECTION, Scalar};

/// A global variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Global {
    /// Its name.
    pub name: String,
    /// Its section.
    pub section: String,
    /// Where in the section.
    pub offset: u64,
    /// Bytes.
    pub size: u32,
    /// What it holds.
    pub form: Form,
    big_endian: bool,
}

/// What a variable holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A truth value.
    Bool,
    /// A whole number.
    Int {
        /// Whether it may be negative.
        signed: bool,
    },
    /// Characters, with an end mark.
    Text,
    /// What no single value stands for.
    Other,
}

/// The global variables of an object, sorted by name. Static ones count as well: names in sections of data are unique in practice,
/// and where they are not, the one that others can see is meant.
pub fn globals(object: &[u8]) -> Result<Vec<Global>, Diagnostic> {
    let (big_endian, object) = (endian::is_big(object), endian::little(object));
    let image = Image::read(&object).map_err(|error| error.finding())?;
    let types = decoded::types(&image).map_err(|error| error.finding())?;
    let mut found: BTreeMap<&str, (bool, Global)> = BTreeMap::new();
    for symbol in &image.symbols {
        let Some(global) = global(&image, types.as_ref(), symbol, big_endian) else { continue };
        let known_is_visible = found.get(symbol.name).is_some_and(|(is_local, _)| !is_local);
        if !known_is_visible {
            found.insert(symbol.name, (symbol.is_local, global));
        }
    }
    Ok(found.into_values().map(|(_, global)| global).collect())
}

fn global(image: &Image<'_>, types: Option<&Btf>, symbol: &Symbol<'_>, big_endian: bool) -> Option<Global> {
    let section = image.section_of(symbol)?;
    let is = |prefix: &str| section.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let is_data = section != LINK_SECTION && (is(".rodata") || is(".data") || is(".bss"));
    if !is_data || symbol.name.is_empty() || symbol.size == 0 {
        return None;
    }
    let variables = types.map(|types| types.variables(section)).unwrap_or_default();
    let variable =
        variables.into_iter().filter_map(|id| types?.get(id)).find(|ty| types.is_some_and(|all| all.name(*ty) == symbol.name));
    Some(Global {
        name: symbol.name.to_owned(),
        section: section.to_owned(),
        offset: symbol.value,
        size: u32::try_from(symbol.size).ok()?,
        form: types.zip(variable).map_or(Form::Other, |(types, variable)| form(types, variable.size_or_type)),
        big_endian,
    })
}

fn form(types: &Btf, id: u32) -> Form {
    let Some(ty) = types.resolve(id) else { return Form::Other };
    match ty.kind {
        Kind::Int if ty.is_bool() => Form::Bool,
        Kind::Int | Kind::Enum => Form::Int { signed: ty.is_signed() },
        Kind::Array if ty.array().is_some_and(|(element, _)| types.size(element) == Some(1)) => Form::Text,
        _ => Form::Other,
    }
}

impl Global {
    /// The bytes of a value, as many as the variable has.
    pub fn encode(&self, value: &Scalar) -> Result<Vec<u8>, String> {
        let wrong = |what: &str| Err(format!("`{}` holds {what}, and cannot be {value}", self.name));
        match (self.form, value) {
            (Form::Bool, Scalar::Bool(value)) => Ok(vec![u8::from(*value)]),
            (Form::Int { .. }, Scalar::Bool(value)) => self.number(i64::from(*value)),
            (Form::Int { .. }, Scalar::Int(value)) => self.number(*value),
            (Form::Text, Scalar::Text(text)) => self.text(text),
            (Form::Bool, _) => wrong("a truth value"),
            (Form::Int { .. }, _) => wrong("a whole number"),
            (Form::Text, _) => wrong("a text"),
            (Form::Other, _) => wrong("more than one value"),
        }
    }

    fn number(&self, value: i64) -> Result<Vec<u8>, String> {
        let bits = self.size.min(8) * 8;
        let (least, most) = match self.form {
            Form::Int { signed: true } => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
            _ => (0, (1i128 << bits) - 1),
        };
        if !(least..=most).contains(&i128::from(value)) {
            return Err(format!("{value} does not fit `{}`, which takes {least} to {most}", self.name));
        }
        let mut bytes = value.to_le_bytes()[..self.size.min(8) as usize].to_vec();
        if self.big_endian {
            bytes.reverse();
        }
        Ok(bytes)
    }

    fn text(&self, text: &str) -> Result<Vec<u8>, String> {
        let room = self.size.saturating_sub(1) as usize;
        if text.len() > room || text.contains('\0') {
            return Err(format!("{text:?} does not fit `{}`, which takes {room} bytes without a zero", self.name));
        }
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(self.size as usize, 0);
        Ok(bytes)
    }

    /// The value that a text on a command line means for this variable.
    pub fn parse(&self, text: &str) -> Result<Scalar, String> {
        let number = || match text.strip_prefix("0x") {
            Some(digits) => i64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        };
        let value = match (self.form, text) {
            (Form::Text, _) => Scalar::Text(text.to_owned()),
            (_, "true") => Scalar::Bool(true),
            (_, "false") => Scalar::Bool(false),
            _ => number().map_or_else(|| Scalar::Text(text.to_owned()), Scalar::Int),
        };
        self.encode(&value).map(|_| value)
    }
}

/// What is wrong with the values given to the globals of an object.
pub fn check_globals(label: &str, object: &[u8], given: &BTreeMap<String, Scalar>) -> Vec<Diagnostic> {
    if given.is_empty() {
        return Vec::new();
    }
    let globals = match globals(object) {
        Ok(globals) => globals,
        Err(finding) => return vec![finding],
    };
    let wrong = |(name, value): (&String, &Scalar)| match globals.iter().find(|global| global.name == *name) {
        Some(global) => {
            let message = global.encode(value).err()?;
            Some(Diagnostic::bare(format!("`globals` of `{label}`: {message}")))
        }
        None => Some(unknown(label, name, &globals)),
    };
    given.iter().filter_map(wrong).collect()
}

/// The finding for a global that an object does not have.
pub fn unknown(label: &str, name: &str, globals: &[Global]) -> Diagnostic {
    let near = did_you_mean(name, globals.iter().map(|global| global.name.as_str()));
    let finding = Diagnostic::bare(format!("`{label}` has no global variable `{name}`"));
    finding.help(near.unwrap_or_else(|| format!("declare it outside of functions and use it: `const volatile int {name};`")))
}
