//! Whether an extension can take the place of a function: whether that is there, is run, and takes and gives the same.
//!
//! Knows objects, not chains. What the kernel compares beyond that, it says itself.

use ouro_btf::{Btf, Kind, Type};

use super::decoded::{self, Decoded};
use super::elf::Image;
use super::endian;
use super::unreadable::Unreadable;
use crate::diagnostic::{Diagnostic, did_you_mean};

/// A program and its object.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// Its label, for messages.
    pub label: &'a str,
    /// Its object.
    pub object: &'a [u8],
    /// Its C function.
    pub function: &'a str,
}

/// What is wrong with `extension` in the place of the function `replaced` of `target`.
pub fn check_replaced(target: Side<'_>, replaced: &str, extension: Side<'_>) -> Option<Diagnostic> {
    let unreadable =
        |side: Side<'_>, error: Unreadable| Diagnostic::bare(format!("`{}`: {}", side.label, error.finding().message));
    let found = with(target, |decoded, program| target_prototype(decoded, program, target.label, replaced));
    let wanted = match found.map_err(|error| unreadable(target, error)) {
        Ok(Some(Ok(prototype))) => prototype,
        Ok(Some(Err(finding))) | Err(finding) => return Some(finding),
        Ok(None) => return None,
    };
    let own = with(extension, prototype).map(Option::flatten);
    match own.map_err(|error| unreadable(extension, error)) {
        Ok(Some(own)) if own != wanted => Some(differs(&wanted, target.label, replaced, &own, extension.label)),
        Ok(_) => None,
        Err(finding) => Some(finding),
    }
}

/// Has `look` look at the object and its program; none if it has no such function.
fn with<T>(side: Side<'_>, look: impl FnOnce(&Decoded<'_>, usize) -> T) -> Result<Option<T>, Unreadable> {
    let object = endian::little(side.object);
    let image = Image::read(&object)?;
    let btf = decoded::types(&image)?;
    let decoded = Decoded::read(image, btf.as_ref())?;
    let program = decoded.programs().into_iter().find(|function| decoded.function(*function).name == side.function);
    Ok(program.map(|program| look(&decoded, program)))
}

/// The function must be there, visible to others, and part of the program.
fn target_prototype(decoded: &Decoded<'_>, program: usize, label: &str, name: &str) -> Result<Prototype, Diagnostic> {
    let functions = decoded.reachable([program]);
    let named = |function: &usize| decoded.function(*function).name == name;
    let weak = format!("declare it `__weak int {name}(...)`, and call it: so the compiler keeps it as it is");
    if let Some(function) = functions.iter().copied().find(named) {
        if decoded.function(function).is_local {
            let finding =
                Diagnostic::bare(format!("`{name}` of `{label}` is static: the kernel lets only global functions be replaced"));
            return Err(finding.help(weak));
        }
        return prototype(decoded, function).ok_or_else(|| {
            Diagnostic::bare(format!("the object of `{label}` has no types for `{name}`")).help("compile it with `-g`")
        });
    }
    if (0..decoded.image.functions.len()).any(|function| named(&function)) {
        let finding =
            Diagnostic::bare(format!("`{label}` never calls its function `{name}`: nothing would run what replaces it"));
        return Err(finding.note("the compiler may have put it into its callers").help(weak));
    }
    let others = functions.iter().map(|function| decoded.function(*function)).filter(|function| !function.is_local);
    let others: Vec<&str> = others.map(|function| function.name).collect();
    let all = format!("it has `{}`", others.join("`, `"));
    let finding = Diagnostic::bare(format!("`{label}` has no function `{name}` that could be replaced"));
    Err(finding.help(did_you_mean(name, others.iter().copied()).unwrap_or(all)))
}

/// What a function gives and takes, as far as two objects can be compared.
#[derive(Debug, PartialEq, Eq)]
struct Prototype {
    result: String,
    parameters: Vec<String>,
}

fn prototype(decoded: &Decoded<'_>, function: usize) -> Option<Prototype> {
    let btf = decoded.btf?;
    let own = btf.get(decoded.function_type(function)?)?;
    let prototype = btf.get(own.size_or_type).filter(|ty| ty.kind == Kind::Prototype)?;
    let parameters = btf.members(prototype).iter().map(|parameter| words(btf, parameter.ty)).collect();
    Some(Prototype { result: words(btf, prototype.size_or_type), parameters })
}

/// A type as the kernel compares it: numbers by size, pointers by the name of what they lead to.
fn words(btf: &Btf, id: u32) -> String {
    let record = |ty: Type| match btf.name(ty) {
        "" => "a struct without a name".to_owned(),
        name => format!("struct {name}"),
    };
    match btf.resolve(id) {
        Some(ty) if matches!(ty.kind, Kind::Int | Kind::Enum) => format!("a number of {} bytes", ty.size_or_type),
        Some(ty) if ty.kind == Kind::Pointer => match btf.resolve(ty.size_or_type) {
            Some(to) if matches!(to.kind, Kind::Struct | Kind::Union | Kind::Forward) => format!("{} *", record(to)),
            _ => "a pointer".to_owned(),
        },
        Some(ty) if matches!(ty.kind, Kind::Struct | Kind::Union) => record(ty),
        Some(ty) if ty.kind == Kind::Void => "nothing".to_owned(),
        _ => "something else".to_owned(),
    }
}

fn differs(wanted: &Prototype, target: &str, replaced: &str, own: &Prototype, extension: &str) -> Diagnostic {
    let shown = |prototype: &Prototype| format!("takes ({}) and gives {}", prototype.parameters.join(", "), prototype.result);
    Diagnostic::bare(format!("`{extension}` cannot replace `{replaced}` of `{target}`: they have other types"))
        .note(format!("`{replaced}` {}", shown(wanted)))
        .note(format!("`{extension}` {}", shown(own)))
        .help("give both the same parameters and result")
}
