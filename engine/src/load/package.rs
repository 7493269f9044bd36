//! One BUILD file to one package.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use ouro_rules::Target;
use ouro_rules::diagnostic::{Diagnostic, Severity, Span};
use ouro_rules::label::{Label, join};
use ouro_rules::named::Named;
use starlark::environment::Globals;

use super::context::{Build, Context};
use super::evaluate::evaluate;
use super::folder::BUILD_FILES;
use super::modules::Modules;
use super::parse::{self, Language, Parsed};
use super::places::Places;
use super::request::Wanted;
use super::{Export, Package, Reads, groups};
use crate::workspace::Workspace;

/// A package whose BUILD file was looked for.
pub(super) struct Opened {
    pub(super) package: Arc<str>,
    pub(super) reads: Reads,
    pub(super) text: Text,
}

/// What became of a BUILD file.
pub(super) enum Text {
    Parsed(Box<Parsed>),
    /// It needed nothing that was not there, and is evaluated.
    Built(Box<Built>),
    /// There is none.
    Missing,
    /// It cannot be read or parsed.
    Bad(Diagnostic),
}

impl Opened {
    /// Evaluates the file now if every module it loads is there: then nobody waits, and its tree is soon gone.
    pub(super) fn build_if_ready(self, workspace: &Workspace, globals: &Globals, modules: &Modules) -> Opened {
        let Opened { package, reads, text } = self;
        let text = match text {
            Text::Parsed(parsed) if modules.have_all(&parsed.loads) => {
                Text::Built(Box::new(build(workspace, globals, modules, package.clone(), *parsed)))
            }
            other => other,
        };
        Opened { package, reads, text }
    }
}

/// Finds, reads and parses a BUILD file.
pub(super) fn open(workspace: &Workspace, wanted: Wanted) -> Opened {
    let Wanted { package, build_file } = wanted;
    let mut reads = Reads::default();
    let names = build_file.as_slice();
    let text = if names.is_empty() {
        first_of(workspace, &package, &BUILD_FILES, &mut reads)
    } else {
        first_of(workspace, &package, names, &mut reads)
    };
    Opened { package, reads, text }
}

fn first_of(workspace: &Workspace, package: &str, names: &[&str], reads: &mut Reads) -> Text {
    for name in names {
        let file: Arc<str> = join(package, name).into();
        match parse::read(&workspace.root.join(&*file), &file) {
            Ok(None) => reads.absent(&file),
            Ok(Some(text)) => {
                reads.file(&file);
                if let Some(finding) = unnamable(package, &file) {
                    return Text::Bad(finding);
                }
                return match parse::parse(&file, text, Language::Build, ("", package), &workspace.settings.repositories) {
                    Ok(parsed) => Text::Parsed(Box::new(parsed)),
                    Err(finding) => Text::Bad(finding),
                };
            }
            Err(finding) => return Text::Bad(finding),
        }
    }
    Text::Missing
}

/// A folder that no label could name, once for all that stands in its BUILD file.
fn unnamable(package: &str, file: &Arc<str>) -> Option<Diagnostic> {
    let error = Label::parse(&format!("//{package}:x"), "", "").err()?;
    let finding = Diagnostic::error(&Span::point(file.clone(), 1, 1), format!("`{package}` cannot be a package: {error}"));
    Some(finding.help("rename the folder, or list it under `ignore` of `[workspace]` in `ouro.toml`"))
}

/// A package that was evaluated.
pub(super) struct Built {
    pub(super) package: Package,
    pub(super) reads: Reads,
    pub(super) findings: Vec<Diagnostic>,
    /// Labels of other packages in its targets' attributes, with their places.
    pub(super) outside: Vec<(Label, Span)>,
}

impl Built {
    /// Whether something was wrong with it.
    pub(super) fn is_broken(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// Evaluates a BUILD file.
pub(super) fn build(workspace: &Workspace, globals: &Globals, modules: &Modules<'_>, name: Arc<str>, parsed: Parsed) -> Built {
    let mut findings = Vec::new();
    let (imports, _) = modules.imports(&parsed.loads, &mut findings);
    let loads = modules.closure(&parsed.loads);
    let build_file = parsed.file.clone();
    let build = Build {
        workspace,
        places: Places::new(&parsed.file, &parsed.ast),
        targets: RefCell::default(),
        without_visibility: RefCell::default(),
        default_visibility: RefCell::default(),
        exports: RefCell::default(),
        package_call: RefCell::default(),
        reads: RefCell::default(),
        globs: RefCell::default(),
    };
    let context = Context {
        file: &build_file,
        repo: "",
        package: &name,
        repositories: &workspace.settings.repositories,
        cancelled: modules.cancelled,
        findings: RefCell::new(findings),
        assigned: RefCell::default(),
        build: Some(build),
    };
    evaluate(parsed, globals, &imports, &context);
    let Context { findings, build, .. } = context;
    let build = build.expect("BUG: it was put there above");
    let (reads, globs) = (build.reads.take(), build.globs.take());
    let (targets, exports) = finish(build);
    let listed = reads.folders.clone();
    let package = Package { name, build_file, loads, globs, targets, exports, listed, recalled: false };
    let outside = outside(&package);
    Built { package, reads, findings: findings.into_inner(), outside }
}

fn finish(build: Build<'_>) -> (Named<Target>, BTreeMap<Arc<str>, Export>) {
    let mut targets = build.targets.into_inner();
    let default = build.default_visibility.into_inner();
    for name in build.without_visibility.into_inner() {
        if let Some(target) = targets.get_mut(&name) {
            target.visibility = default.clone();
        }
    }
    (targets.into_iter().collect(), build.exports.into_inner())
}

/// Labels of other packages that it names, with their places.
pub(super) fn outside(package: &Package) -> Vec<(Label, Span)> {
    let mut labels: Vec<(Label, Span)> = groups::outside(package).cloned().collect();
    for attr in package.targets.values().flat_map(|target| target.attrs.values()) {
        attr.value.each_label(&attr.span, &mut |label, span| {
            if *label.package != *package.name || !label.repo.is_empty() {
                labels.push((label.clone(), span.clone()));
            }
        });
    }
    labels
}
