//! Packages on disk: all below a folder, or one by its name.
//!
//! Reads folders and probes for BUILD files; parses nothing.

use std::fs;
use std::sync::Arc;

use ouro_rules::diagnostic::{Diagnostic, nearest};
use ouro_rules::label::{Label, join};

use super::Reads;
use super::crew::Crew;
use super::folder::{self, BUILD_FILES};
use crate::workspace::{SETTINGS_FILE, Workspace};

/// A package that exists.
pub(super) struct Found {
    pub(super) package: Arc<str>,
    pub(super) build_file: &'static str,
    /// The names of the files in its folder, sorted.
    pub(super) files: Vec<String>,
}

/// Every package in the folder `root` and below, sorted by nothing in particular. Folders are listed in parallel, one depth
/// after the other.
pub(super) fn below(
    workspace: &Workspace,
    crew: &Crew,
    root: &str,
    reads: &mut Reads,
    findings: &mut Vec<Diagnostic>,
) -> Vec<Found> {
    let mut found = Vec::new();
    let mut depth: Vec<Arc<str>> = vec![root.into()];
    while !depth.is_empty() {
        reads.folders.append(&mut depth.iter().cloned().collect());
        let visits = crew.map(depth, |path| visit(workspace, root, path));
        depth = Vec::new();
        for visit in visits {
            match visit {
                Ok(visit) => {
                    reads.links("", &visit.links);
                    found.extend(visit.found);
                    depth.extend(visit.folders);
                }
                Err(finding) => findings.push(finding),
            }
        }
    }
    found
}

#[derive(Default)]
struct Visit {
    found: Option<Found>,
    folders: Vec<Arc<str>>,
    links: Vec<(String, bool)>,
}

fn visit(workspace: &Workspace, root: &str, path: Arc<str>) -> Result<Visit, Diagnostic> {
    let listing = match folder::list(&workspace.root.join(&*path)) {
        Ok(listing) => listing,
        // The folder a pattern names may be missing; that is told with the pattern.
        Err(error) if *path == *root && super::parse::is_absent(&error) => return Ok(Visit::default()),
        Err(error) => return Err(folder::unreadable(&path, &error)),
    };
    // A workspace inside this one has its own root, so its labels mean nothing here.
    if *path != *root && listing.entries.iter().any(|(name, _)| name == SETTINGS_FILE) {
        return Ok(Visit::default());
    }
    let inner = listing.folders().into_iter().map(|name| join(&path, name));
    let is_ours = |path: &String| !workspace.ignores(path) && !workspace.settings.repositories.contains(path);
    let folders = inner.filter(is_ours).map(Arc::from).collect();
    let links = listing.links.iter().map(|(name, is_file)| (join(&path, name), *is_file)).collect();
    let found = listing.build_file().map(|build_file| Found { package: path, build_file, files: listing.into_files() });
    Ok(Visit { found, folders, links })
}

/// Whether a walk that lists this folder anew finds what it found before: that folders below it, and this BUILD file or none.
pub(crate) fn is_walked_alike(workspace: &Workspace, path: &str, folders: &[&str], build_file: Option<&str>) -> bool {
    let Ok(visit) = visit(workspace, path, path.into()) else { return false };
    // Whether a workspace of its own begins here depends on where the walk began; and what links lead to is looked at besides.
    let is_root = !workspace.root.join(path).join(SETTINGS_FILE).exists() || path.is_empty();
    let found = visit.found.map(|found| join(path, found.build_file));
    is_root
        && visit.links.is_empty()
        && visit.folders.iter().map(|folder| &**folder).eq(folders.iter().copied())
        && found.as_deref() == build_file
}

/// Why there is no package of this name, and what was meant. `asked` is the label or pattern that needs it.
pub(super) fn no_package(workspace: &Workspace, package: &str, asked: Option<&Label>) -> Diagnostic {
    if let Some(root) = package.strip_suffix("...") {
        return Diagnostic::bare(format!("no package `//{package}`: `...` stands for all packages below a folder"))
            .help(format!("write `//{root}...`, which selects their targets, or `//package:name` for one"));
    }
    if workspace.root.join(package).is_file() {
        return Diagnostic::bare(format!("no package `//{package}`: it is a file"))
            .help(format!("name the target that uses it; `ouro query 'owner({package})'` tells which"));
    }
    if !workspace.root.join(package).is_dir() {
        let near = near_folder(workspace, package).map(|near| format!("did you mean `//{near}`?"));
        return Diagnostic::bare(format!("no package `//{package}`: there is no such folder")).maybe_help(near);
    }
    let finding = Diagnostic::bare(format!("no package `//{package}`: the folder has no `BUILD.ouro` or `BUILD`"));
    match (enclosing(workspace, package), asked) {
        (Some(above), Some(label)) => {
            let inner = label.path();
            let name = inner.strip_prefix(above).map_or(&*inner, |rest| rest.trim_start_matches('/'));
            finding.help(format!("the folder belongs to the package `//{above}`; write `//{above}:{name}`"))
        }
        _ => finding.help(format!("create `{}`", join(package, "BUILD.ouro"))),
    }
}

/// What names a target on the command line and was meant to name a folder of packages: `ingress`, or nearly so, from the root.
pub(super) fn folder_meant(workspace: &Workspace, label: &Label) -> Option<String> {
    let is_package = |path: &str| BUILD_FILES.iter().any(|build| workspace.root.join(path).join(build).is_file());
    let told = |path: &str| match is_package(path) {
        true => Some(format!("did you mean the package `//{path}:all`?")),
        false => None,
    };
    let path = label.path();
    if workspace.root.join(&path).is_dir() {
        return Some(told(&path).unwrap_or_else(|| format!("did you mean all packages below: `//{path}/...`?")));
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
    let listing = folder::list(&workspace.root.join(folder)).ok()?;
    told(&join(folder, nearest(name, listing.folders())?))
}

/// The targets of a name that is looked for where no package is: what other BUILD files give it, as far as their texts tell.
pub(super) fn elsewhere(workspace: &Workspace, crew: &Crew, label: &Label) -> Option<String> {
    let found = below(workspace, crew, "", &mut Reads::default(), &mut Vec::new());
    let written = [format!("name = \"{}\"", label.name), format!("name=\"{}\"", label.name)];
    let labels = crew.map(found, |Found { package, build_file, .. }| {
        let text = fs::read_to_string(workspace.root.join(join(&package, build_file))).unwrap_or_default();
        written.iter().any(|words| text.contains(words)).then(|| format!("`//{package}:{}`", label.name))
    });
    let mut labels: Vec<String> = labels.into_iter().flatten().collect();
    labels.sort();
    (1..=FEW).contains(&labels.len()).then(|| format!("did you mean {}?", labels.join(" or ")))
}

/// So many targets of one name are told.
const FEW: usize = 3;

/// The nearest package above a folder.
fn enclosing<'p>(workspace: &Workspace, package: &'p str) -> Option<&'p str> {
    let above = package.rmatch_indices('/').map(|(at, _)| &package[..at]).chain([""]);
    above.into_iter().find(|folder| BUILD_FILES.iter().any(|build| workspace.root.join(folder).join(build).is_file()))
}

/// The path with its first missing part replaced by the folder of the nearest name.
fn near_folder(workspace: &Workspace, package: &str) -> Option<String> {
    let mut known = String::new();
    let mut parts = package.split('/');
    for part in parts.by_ref() {
        let path = join(&known, part);
        if !workspace.root.join(&path).is_dir() {
            let listing = folder::list(&workspace.root.join(&known)).ok()?;
            let near = join(&known, nearest(part, listing.folders())?);
            return Some(parts.fold(near, |path, part| join(&path, part)));
        }
        known = path;
    }
    None
}
