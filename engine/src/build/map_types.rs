//! C types that maps name and that no header of theirs declares: told where the map is declared, for no source is to blame.
//!
//! Knows what compilers say of generated headers, in which every map has a line for its key and one for its value.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ouro_rules::{Diagnostic, Span, Target};

use super::unlisted::{best_map, span};
use crate::load::Loaded;

/// How the generated header of a program ends.
const HEADER: &str = ".program.h";

/// A type in a generated header.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    /// Of the map: `key` or `value`.
    attr: &'static str,
    map: String,
    c_type: String,
}

/// The types of maps that a compiler did not know, each once; `printed` has no colours.
pub(super) fn unknown(root: &Path, printed: &str) -> BTreeSet<Named> {
    printed.lines().filter_map(complained_of).filter_map(|place| named(root, &place)).collect()
}

/// The line of a generated header that is an error, or declares what an error says is incomplete.
fn complained_of(line: &str) -> Option<Span> {
    let (place, _) = line.split_once(": error: ").or_else(|| line.split_once(": note: forward declaration of "))?;
    span(place).filter(|place| place.file.ends_with(HEADER))
}

fn named(root: &Path, place: &Span) -> Option<Named> {
    let text = fs::read_to_string(root.join(&*place.file)).ok()?;
    let mut lines = text.lines().skip(place.line.checked_sub(1)? as usize);
    let (attr, c_type) = lines.next()?.trim().strip_prefix("__type(")?.strip_suffix(");")?.split_once(", ")?;
    let attr = ["key", "value"].into_iter().find(|known| *known == attr)?;
    let map = lines.find_map(|line| line.trim().strip_prefix("} ")?.split(' ').next())?;
    Some(Named { attr, map: map.to_owned(), c_type: c_type.to_owned() })
}

/// The finding for it.
pub(super) fn finding(loaded: &Loaded, user: &Target, named: &Named) -> Option<Diagnostic> {
    let Named { attr, map, c_type } = named;
    let declared = best_map(loaded, user, map)?;
    let label = &declared.label;
    let message = format!("`{c_type}`, the {attr} of `{label}`, is no type that `{}` knows", user.label);
    let finding = Diagnostic::error(declared.span_of(attr), message);
    Some(declared.blamed(finding.help(format!("correct it, or list the header that declares it in `hdrs` of `{label}`"))))
}

/// Puts a finding about a part of a map (see `Diagnostic::about`) where that is declared; says whether it is one.
pub(super) fn place(finding: &mut Diagnostic, loaded: &Loaded, user: &Target) -> bool {
    let part = finding.about.as_deref().and_then(|about| about.split_once(" of map "));
    let Some((attr, map)) = part.filter(|(attr, _)| matches!(*attr, "key" | "value")) else { return false };
    let Some(declared) = best_map(loaded, user, map) else { return true };
    if let Some(used) = finding.span.replace(declared.span_of(attr).clone()) {
        finding.related.push((used, "it is used here".to_owned()));
    }
    finding.help = Some(format!("correct it, or list the header that declares it in `hdrs` of `{}`", declared.label));
    true
}
