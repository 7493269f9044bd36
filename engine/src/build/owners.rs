//! Who offers a file that is used and not declared, and the line that declares it.
//!
//! Only after a failure, and then everything is loaded: the library that is missing is mostly none of those that were asked for.

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use ouro_rules::attr::Value;
use ouro_rules::{Diagnostic, Label, Pattern, Target, vmlinux};

use super::{Request, map_types, unlisted};
use crate::event::Event;
use crate::execute::without_colors;
use crate::load::{self, BUILD_FILES, Loaded};
use crate::workspace::is_output;

/// Completes findings about files.
pub(crate) struct Owners<'r> {
    request: &'r Request<'r>,
    /// The whole workspace; none when it cannot be loaded.
    loaded: OnceLock<Option<Loaded>>,
}

impl<'r> Owners<'r> {
    pub(crate) fn new(request: &'r Request<'r>) -> Owners<'r> {
        Owners { request, loaded: OnceLock::new() }
    }

    /// The event, its findings completed.
    pub(crate) fn told(&self, mut event: Event) -> Event {
        if let Event::Failed { owner, output, findings, .. } = &mut event {
            findings.iter_mut().filter(|finding| finding.about.is_some()).for_each(|finding| self.complete(finding, owner));
            let printed = without_colors(output);
            findings.extend(self.unlisted(owner, &printed));
            findings.extend(self.unknown_types(owner, &printed));
            findings.extend(vmlinux::clash(&owner.to_string(), &printed));
        }
        event
    }

    /// What the source names in C and its target does not list.
    fn unlisted(&self, user: &Label, printed: &str) -> Vec<Diagnostic> {
        let missed = unlisted::missed(printed);
        let loaded = if missed.is_empty() { None } else { self.loaded() };
        let Some((loaded, target)) = loaded.and_then(|loaded| Some((loaded, loaded.target(user)?))) else { return Vec::new() };
        missed.iter().filter_map(|place| unlisted::finding(loaded, target, place)).collect()
    }

    /// What maps name and no header declares.
    fn unknown_types(&self, user: &Label, printed: &str) -> Vec<Diagnostic> {
        let unknown = map_types::unknown(&self.request.workspace.root, printed);
        let loaded = if unknown.is_empty() { None } else { self.loaded() };
        let Some((loaded, target)) = loaded.and_then(|loaded| Some((loaded, loaded.target(user)?))) else { return Vec::new() };
        unknown.iter().filter_map(|named| map_types::finding(loaded, target, named)).collect()
    }

    fn complete(&self, finding: &mut Diagnostic, user: &Label) {
        let Some(file) = finding.about.clone().filter(|file| !file.starts_with('/')) else { return };
        let Some((loaded, target)) = self.loaded().and_then(|loaded| Some((loaded, loaded.target(user)?))) else { return };
        if map_types::place(finding, loaded, target) {
            return;
        }
        let is_there = self.request.workspace.root.join(&*file).is_file();
        let offers = best(loaded, target, &file);
        match offers {
            Some(offer) => offer.tell(finding, loaded, target),
            // What is searched by its name alone may be anywhere.
            None if is_there => finding.help = Some(self.declare(loaded, target, &file)),
            None => {}
        }
    }

    fn loaded(&self) -> Option<&Loaded> {
        let load = || {
            let Request { workspace, rules, .. } = *self.request;
            let everything = Pattern::parse("//...", "").ok()?;
            let options = load::Options { also: &[], cancelled: &AtomicBool::new(false), recall: None, keep_going: false };
            load::load_with(workspace, &[everything], rules, &options).ok()
        };
        self.loaded.get_or_init(load).as_ref()
    }

    /// What to write for a file that no target has.
    fn declare(&self, loaded: &Loaded, user: &Target, file: &str) -> String {
        if is_output(file) {
            return "no target makes it any more: include what is meant in its place".to_owned();
        }
        let folders = file.rmatch_indices('/').map(|(at, _)| &file[..at]).chain([""]);
        let root = &self.request.workspace.root;
        let is_package = |folder: &&str| BUILD_FILES.iter().any(|name| root.join(folder).join(name).is_file());
        let package = folders.into_iter().find(is_package).unwrap_or_default();
        let name = file.strip_prefix(package).unwrap_or(file).trim_start_matches('/');
        let libraries = loaded.packages.get(package).into_iter().flat_map(|package| package.targets.values());
        match libraries.into_iter().find(|target| is_library(target)) {
            Some(library) => {
                let hdrs = list(library, "hdrs", &format!("\"{name}\""));
                let deps =
                    if names(user, "deps", &library.label) { String::new() } else { format!("; {}", dep(user, &library.label)) };
                format!("no target has it: in `{}` write `{hdrs}`{deps}", library.label)
            }
            None => {
                let stem = name.rsplit('/').next().and_then(|name| name.split('.').next()).unwrap_or(name);
                let label = Label::new(package, stem);
                let library = format!("bpf_library(name = \"{stem}\", hdrs = [\"{name}\"])");
                format!("no target has it: write `{library}` in `//{package}`, and {}", dep(user, &label))
            }
        }
    }
}

/// A target with a file.
struct Offer<'l> {
    target: &'l Target,
    /// Whether others can take the file from its `deps`.
    is_library: bool,
}

impl Offer<'_> {
    fn tell(&self, finding: &mut Diagnostic, loaded: &Loaded, user: &Target) {
        let label = &self.target.label;
        finding.related.push((self.target.span.clone(), format!("`{label}` has it")));
        let visible = loaded.allows(&self.target.visibility, &label.package, &user.label.package);
        if !visible {
            finding.notes.push(format!("`{label}` is not visible to `//{}`", user.label.package));
        }
        finding.help = Some(match (self.is_library, names(user, "deps", label)) {
            (true, false) if visible => dep(user, label),
            (true, false) => {
                format!("{}, and add `//{}:__pkg__` to `visibility` of `{label}`", dep(user, label), user.label.package)
            }
            // It is among the libraries, and yet is not found by that name.
            (true, true) => {
                format!("include it by its path from the workspace root, or add its folder to `includes` of `{label}`")
            }
            (false, _) => {
                format!("`{label}` makes it: list `\"{}\"` in `hdrs` of a `bpf_library` of `deps`", relative(user, label))
            }
        });
    }
}

/// The target with the file, or with one whose path ends like it; a library rather than another, a near one rather than a far one.
fn best<'l>(loaded: &'l Loaded, user: &Target, file: &str) -> Option<Offer<'l>> {
    let targets = loaded.packages.values().flat_map(|package| package.targets.values());
    let offers =
        targets.filter(|target| target.label != user.label).filter_map(|target| Some((target, offered(loaded, target, file)?)));
    let rank = |target: &Target, exact: bool| (exact, is_library(target), target.label.package == user.label.package);
    let best =
        offers.max_by(|(a, exact_a), (b, exact_b)| rank(a, *exact_a).cmp(&rank(b, *exact_b)).then_with(|| b.label.cmp(&a.label)));
    best.map(|(target, _)| Offer { target, is_library: is_library(target) })
}

/// Whether a target has the file, by its whole path or by the end of one.
fn offered(loaded: &Loaded, target: &Target, file: &str) -> Option<bool> {
    let file = made(file);
    let attr = if is_library(target) { "hdrs" } else { "outs" };
    let path = |value: &Value| match value {
        Value::Label(label) => Some(label.path()),
        Value::Str(name) => Some(target.label.sibling(name).path()),
        _ => None,
    };
    let own = target.get(attr).items().iter().filter_map(|item| path(&item.value));
    // A library may name the target that makes its headers.
    let makers = target.get(attr).items().iter().filter_map(|item| loaded.target(item.value.as_label()?));
    let through = makers.flat_map(|maker| {
        maker.get("outs").items().iter().filter_map(|out| Some(maker.label.sibling(out.value.as_str()?).path()))
    });
    let paths: Vec<String> = own.chain(through).collect();
    let ends = |path: &String| path.strip_suffix(file).is_some_and(|before| before.ends_with('/'));
    if paths.iter().any(|path| path == file) { Some(true) } else { paths.iter().any(ends).then_some(false) }
}

/// The path of a file that is made, without the folders of outputs.
fn made(file: &str) -> &str {
    let below = file.strip_prefix(crate::workspace::OUT_FOLDER).and_then(|path| path.strip_prefix('/'));
    below.and_then(|path| path.split_once('/')).map_or(file, |(_, path)| path)
}

/// Rules of users may have headers, too.
fn is_library(target: &Target) -> bool {
    !target.get("hdrs").items().is_empty()
}

fn names(user: &Target, attr: &str, label: &Label) -> bool {
    user.get(attr).items().iter().any(|item| item.value.as_label() == Some(label))
}

fn dep(user: &Target, label: &Label) -> String {
    format!("in `{}` write `{}`", user.label, list(user, "deps", &format!("\"{}\"", relative(user, label))))
}

/// As it is written in the user's package.
pub(super) fn relative(user: &Target, label: &Label) -> String {
    if user.label.package == label.package { format!(":{}", label.name) } else { label.to_string() }
}

/// The attribute's line with one more entry; what it lists now goes before, as far as that is a plain list.
fn list(target: &Target, attr: &str, more: &str) -> String {
    let entry = |value: &Value| match value {
        Value::Label(label) if label.package == target.label.package && attr == "hdrs" => Some(format!("\"{}\"", label.name)),
        Value::Label(label) => Some(format!("\"{}\"", relative(target, label))),
        _ => None,
    };
    let now = target.get(attr).items().iter().filter_map(|item| entry(&item.value));
    let all: Vec<String> = now.chain([more.to_owned()]).collect();
    format!("{attr} = [{}],", all.join(", "))
}
