//! Targets that a source names and its own target does not list, by what a compiler says of the source.
//!
//! Knows nothing of what such names are: `ouro_rules::header` reads them from the compiler's words.

use std::collections::BTreeSet;

use ouro_rules::diagnostic::nearest;
use ouro_rules::header::{self, Wanted};
use ouro_rules::{Diagnostic, Label, Span, Target};

use super::owners::relative;
use crate::load::Loaded;

/// Something that is wanted, and where.
pub(super) type Place<'p> = (Span, Wanted<'p>);

/// What a compiler missed, each once; `printed` has no colours.
pub(super) fn missed(printed: &str) -> Vec<Place<'_>> {
    let mut told = BTreeSet::new();
    let places = printed.lines().filter_map(|line| {
        let (place, said) = line.split_once(": error: ")?;
        Some((span(place)?, header::wanted(said)?))
    });
    places.filter(|(_, wanted)| told.insert((wanted.attr, wanted.name))).collect()
}

/// `parse.c:3:1` as a place.
pub(super) fn span(place: &str) -> Option<Span> {
    let (rest, column) = place.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    Some(Span::point(file.strip_prefix("./").unwrap_or(file), line.parse().ok()?, column.parse().ok()?))
}

/// The finding for it, if it is what it seems to be and `user` could list it.
pub(super) fn finding(loaded: &Loaded, user: &Target, (place, wanted): &Place<'_>) -> Option<Diagnostic> {
    let Wanted { attr, name, certain, .. } = *wanted;
    let found = best(loaded, user, wanted);
    if !user.attrs.contains_key(attr) || (found.is_none() && !certain) {
        return None;
    }
    let finding = Diagnostic::error(place, format!("`{}` names `{name}`, which is not among its `{attr}`", user.label));
    let Some(found) = found else {
        let listed = user.get(attr).items().iter().filter_map(|item| item.value.as_label());
        let near = nearest(name, listed.map(|label| &*label.name)).map(|near| format!("did you mean `{near}`?"));
        return Some(finding.help(near.unwrap_or_else(|| format!("declare it, and add it to `{attr}` of `{}`", user.label))));
    };
    let finding = finding.related(&found.span, format!("`{}` is declared here", found.label));
    Some(finding.help(add(loaded, user, attr, found)))
}

/// The target of this name: in the same package rather than in another.
fn best<'l>(loaded: &'l Loaded, user: &Target, wanted: &Wanted<'_>) -> Option<&'l Target> {
    best_of(loaded, user, wanted.name, wanted.rule)
}

/// The map of this name that a target lists, or else the best one.
pub(super) fn best_map<'l>(loaded: &'l Loaded, user: &Target, name: &str) -> Option<&'l Target> {
    let listed = user.get("maps").items().iter().filter_map(|item| loaded.target(item.value.as_label()?));
    listed.into_iter().find(|target| *target.label.name == *name).or_else(|| best_of(loaded, user, name, "bpf_map"))
}

fn best_of<'l>(loaded: &'l Loaded, user: &Target, name: &str, rule: &str) -> Option<&'l Target> {
    let named = loaded.packages.values().filter_map(|package| package.targets.get(name));
    let fitting = named.filter(|target| *target.rule == *rule);
    fitting.min_by_key(|target| (target.label.package != user.label.package, &target.label))
}

fn add(loaded: &Loaded, user: &Target, attr: &str, found: &Target) -> String {
    let Label { package, .. } = &user.label;
    let entry = relative(user, &found.label);
    let help = format!("add `\"{entry}\"` to `{attr}` of `{}`", user.label);
    match loaded.allows(&found.visibility, &found.label.package, package) {
        true => help,
        false => format!("{help}, and `//{package}:__pkg__` to `visibility` of `{}`", found.label),
    }
}
