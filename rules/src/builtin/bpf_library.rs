//! `bpf_library`: headers that programs share.

use std::sync::Arc;

use crate::action::Artifact;
use crate::attr::{AttrSpec, AttrType, EdgeKind, Spanned, Value};
use crate::diagnostic::Diagnostic;
use crate::label::{Label, join};
use crate::provider::{Headers, Providers};
use crate::rule::{Analysis, Context, Rule};

pub(super) struct BpfLibrary {
    attrs: Vec<AttrSpec>,
}

impl BpfLibrary {
    pub(super) fn new() -> BpfLibrary {
        let empty = || Value::List(Vec::new());
        let attrs = vec![
            AttrSpec::new("hdrs", AttrType::Label.list(), "The headers.").default(empty()).edge(EdgeKind::Source),
            AttrSpec::new("deps", AttrType::Label.list(), "Libraries its headers include, and the `vmlinux_header`.")
                .default(empty())
                .edge(EdgeKind::Dep),
            AttrSpec::new("includes", AttrType::String.list(), "Folders of the package that `#include <...>` searches.")
                .default(empty()),
            AttrSpec::new("defines", AttrType::String.list(), "`NAME` or `NAME=value`, for everything that depends on it.")
                .default(empty()),
        ];
        BpfLibrary { attrs }
    }
}

impl Rule for BpfLibrary {
    fn name(&self) -> &str {
        "bpf_library"
    }

    fn doc(&self) -> &str {
        "Headers that programs share. A program sees the headers of the libraries in its `deps`, and of theirs."
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        let mut findings = Vec::new();
        let files = ctx.files("hdrs");
        let mut headers = Headers { files: files.clone(), includes: repository_roots(ctx), ..Headers::default() };
        for include in ctx.target.get("includes").items() {
            match include_folder(ctx, include) {
                Ok(folder) => headers.includes.extend(folder),
                Err(finding) => findings.push(finding),
            }
        }
        headers.defines = strings(ctx, "defines");
        match merge_deps(ctx, "deps", &mut headers) {
            Ok(()) if findings.is_empty() => Ok(Analysis {
                providers: Providers { files, headers: Some(Arc::new(headers)), ..Providers::default() },
                ..Analysis::default()
            }),
            Ok(()) => Err(findings),
            Err(more) => Err(findings.into_iter().chain(more).collect()),
        }
    }
}

/// The folder of sources and its twin among the outputs, where generated headers lie.
fn include_folder(ctx: &Context<'_>, include: &Spanned) -> Result<[String; 2], Diagnostic> {
    let text = include.value.as_str().unwrap_or_default().trim_end_matches('/');
    if text.starts_with('/') || text.split('/').any(|part| part == "..") {
        return Err(Diagnostic::error(&include.span, format!("include folder `{text}` leaves the package"))
            .help("name a folder of the package; `.` is the package itself"));
    }
    let name = if text == "." { "" } else { text };
    let source = join(&ctx.target.label.package, name);
    let source = source.trim_end_matches('/');
    let source = if source.is_empty() { "." } else { source };
    Ok([source.to_owned(), ctx.output(name).trim_end_matches('/').to_owned()])
}

/// Where files of a repository inside the workspace find each other: its folder, and its twin among the outputs.
pub(super) fn repository_roots(ctx: &Context<'_>) -> Vec<String> {
    match ctx.config.repositories.root_of(&ctx.target.label.package) {
        "" => Vec::new(),
        root => vec![root.to_owned(), join(&ctx.config.out_dir, root)],
    }
}

/// The strings of a list attribute.
pub(super) fn strings(ctx: &Context<'_>, name: &str) -> Vec<String> {
    ctx.target.get(name).items().iter().filter_map(|item| item.value.as_str()).map(str::to_owned).collect()
}

/// Adds the headers of every library listed in the attribute `name`.
pub(super) fn merge_deps(ctx: &Context<'_>, name: &str, into: &mut Headers) -> Result<(), Vec<Diagnostic>> {
    let mut findings = Vec::new();
    for (item, label, providers) in ctx.listed(name) {
        match providers.and_then(|providers| providers.headers.as_ref()) {
            Some(headers) => into.merge(headers),
            None => findings.push(no_library(item, label)),
        }
    }
    if findings.is_empty() { Ok(()) } else { Err(findings) }
}

fn no_library(item: &Spanned, label: &Label) -> Diagnostic {
    Diagnostic::error(&item.span, format!("`{label}` has no headers to offer"))
        .help("list a `bpf_library` here; sources belong in `srcs`")
}

impl Headers {
    /// Adds what `other` has and `self` has not, in order.
    pub(super) fn merge(&mut self, other: &Headers) {
        extend_unique(&mut self.files, &other.files);
        extend_unique(&mut self.includes, &other.includes);
        extend_unique(&mut self.defines, &other.defines);
        extend_unique(&mut self.kernels, &other.kernels);
    }
}

fn extend_unique<T: Clone + PartialEq>(into: &mut Vec<T>, from: &[T]) {
    for item in from {
        if !into.contains(item) {
            into.push(item.clone());
        }
    }
}

/// The files of `srcs`-like attributes that are no headers and no C sources, as findings.
pub(super) fn unknown_endings(ctx: &Context<'_>, name: &str, endings: &[&str]) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for (item, _, providers) in ctx.listed(name) {
        for file in providers.iter().flat_map(|providers| &providers.files) {
            if !has_ending(file, endings) {
                let message = format!("`{}` in `{name}` does not end in {}", file.path(), endings.join(" or "));
                findings.push(Diagnostic::error(&item.span, message));
            }
        }
    }
    findings
}

fn has_ending(file: &Artifact, endings: &[&str]) -> bool {
    endings.iter().any(|ending| file.path().ends_with(ending))
}
