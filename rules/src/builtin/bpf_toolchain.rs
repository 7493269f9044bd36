//! `bpf_toolchain`: which compiler makes BPF code, and what it is told.
//!
//! Only says what is wanted; the engine finds it.

use std::sync::Arc;

use super::compile::refused_copt;
use crate::attr::{AttrSpec, AttrType, Spanned, Value};
use crate::diagnostic::{Diagnostic, Span};
use crate::label::Label;
use crate::repository::Repositories;
use crate::rule::{Analysis, Context, Role, Rule};
use crate::target::Target;

/// The name of the rule.
pub const RULE: &str = "bpf_toolchain";

pub(super) struct BpfToolchain {
    attrs: Vec<AttrSpec>,
}

/// A toolchain as it is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolchainSpec {
    /// The target that says so, and where; none for the toolchain of who says nothing.
    pub target: Option<(Label, Span)>,
    /// The compiler; the machine's own when not said.
    pub clang: Option<ProgramSpec>,
    /// The bitcode linker; the one of the compiler's LLVM when not said.
    pub llvm_link: Option<ProgramSpec>,
    /// Arguments for every compile.
    pub copts: Vec<String>,
    /// Folders of the machine with headers, searched before the system's.
    pub includes: Vec<String>,
}

/// How a program is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramSpec {
    /// By its name in the search path.
    Name(String),
    /// By an absolute path.
    Path(String),
    /// As a file of the workspace, by its path from the root.
    File(Arc<str>),
}

impl BpfToolchain {
    pub(super) fn new() -> BpfToolchain {
        let strings = |name: &str, doc: &str| AttrSpec::new(name, AttrType::String.list(), doc).default(Value::List(Vec::new()));
        let clang = "The compiler: its name in `PATH` (`clang-19`), an absolute path, or the label of a file \
                     (`//third_party/llvm:bin/clang`).";
        let attrs = vec![
            AttrSpec::new("clang", AttrType::String, clang).required(),
            AttrSpec::new(
                "llvm_link",
                AttrType::String,
                "The bitcode linker, named in the same way; by default the one beside `clang`.",
            ),
            strings("copts", "Arguments for every compile, before those of the configuration and of the target."),
            strings("includes", "Folders of the machine with headers, such as a libbpf's, searched before the system's."),
        ];
        BpfToolchain { attrs }
    }
}

impl Rule for BpfToolchain {
    fn name(&self) -> &str {
        RULE
    }

    fn doc(&self) -> &str {
        "A compiler for BPF code and what it is told, chosen by `--toolchain` or in `ouro.toml`. \
         [toolchains.md](toolchains.md) tells more."
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn role(&self) -> Role {
        Role::Toolchain
    }

    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        ToolchainSpec::of(ctx.target, &ctx.config.repositories).map(|_| Analysis::default())
    }
}

impl ToolchainSpec {
    /// What a target of the rule says.
    pub fn of(target: &Target, repositories: &Repositories) -> Result<ToolchainSpec, Vec<Diagnostic>> {
        let mut findings = Vec::new();
        let mut program = |name: &str| {
            let text = target.get(name).as_str()?;
            let found = program(text, &target.label, repositories);
            found.map_err(|finding| findings.push(Diagnostic { span: Some(target.span_of(name).clone()), ..finding })).ok()
        };
        let (clang, llvm_link) = (program("clang"), program("llvm_link"));
        let items = |name: &str| target.get(name).items().iter();
        findings.extend(items("copts").filter_map(|item| refused_copt(text(item), &item.span)));
        findings.extend(items("includes").filter_map(relative));
        if !findings.is_empty() {
            return Err(findings);
        }
        let words = |name: &str| items(name).map(|item| text(item).to_owned()).collect();
        let (copts, includes) = (words("copts"), words("includes"));
        Ok(ToolchainSpec { target: Some((target.label.clone(), target.span.clone())), clang, llvm_link, copts, includes })
    }
}

fn text(item: &Spanned) -> &str {
    item.value.as_str().unwrap_or_default()
}

fn program(text: &str, target: &Label, repositories: &Repositories) -> Result<ProgramSpec, Diagnostic> {
    match text {
        _ if text.starts_with("//") || text.starts_with([':', '@']) => {
            let label = repositories.label(text, &target.repo, &target.package)?;
            Ok(ProgramSpec::File(label.path().into()))
        }
        _ if text.starts_with('/') => Ok(ProgramSpec::Path(text.to_owned())),
        _ if text.is_empty() || text.contains(['/', '\0']) => {
            let finding = Diagnostic::bare(format!("`{}` names no program", text.escape_debug()));
            Err(finding.help("write a name in `PATH`, an absolute path, or the label of a file: `:bin/clang`"))
        }
        _ => Ok(ProgramSpec::Name(text.to_owned())),
    }
}

/// What a relative folder holds belongs to the workspace, where files are declared one by one.
fn relative(item: &Spanned) -> Option<Diagnostic> {
    let finding = || Diagnostic::error(&item.span, format!("`{}` is no absolute path", text(item)));
    (!text(item).starts_with('/')).then(|| finding().help("declare headers of the workspace in a `bpf_library`"))
}
