//! Which toolchain each configuration has: the machine's own, or the one that a target describes.

use ouro_rules::builtin::{ProgramSpec, TOOLCHAIN_RULE, ToolchainSpec};
use ouro_rules::diagnostic::{Diagnostic, did_you_mean};
use ouro_rules::label::Label;

use super::{BuildError, Request};
use crate::load::Loaded;
use crate::toolchain::Toolchain;

/// The machine's own toolchain, or the compiler that `ouro.toml` names; none when every configuration has chosen another.
pub(super) fn own(request: &Request<'_>) -> Option<Toolchain> {
    let is_wanted = request.configurations.iter().any(|one| one.toolchain.is_none());
    is_wanted.then(|| find(request, &of_settings(request)))
}

/// The toolchains of all configurations; `own` is the machine's own, if that was found already. One that lacks a compiler says so when
/// it is asked for it.
pub fn tools(request: &Request<'_>, loaded: &Loaded, own: Option<Toolchain>) -> Result<Toolchain, BuildError> {
    let mut tools = own;
    for configuration in request.configurations {
        let Some(label) = &configuration.toolchain else {
            if tools.is_none() {
                tools = Some(find(request, &of_settings(request)));
            }
            continue;
        };
        let found = find(request, &spec(request, loaded, label)?);
        match &mut tools {
            None => tools = Some(found),
            Some(tools) => tools.add_other(&configuration.folder, found),
        }
    }
    tools.ok_or_else(|| BuildError::Findings(vec![Diagnostic::bare("there is nothing to build for")]))
}

fn find(request: &Request<'_>, spec: &ToolchainSpec) -> Toolchain {
    let found = Toolchain::find(&request.workspace.root, spec, request.search_path);
    found.unwrap_or_else(|why| Toolchain::without_clang(why, spec, request.search_path))
}

fn of_settings(request: &Request<'_>) -> ToolchainSpec {
    let clang = request.workspace.settings.toolchain.clang.as_deref().map(|clang| match clang {
        path if path.starts_with('/') => ProgramSpec::Path(path.to_owned()),
        path if path.contains('/') => ProgramSpec::File(path.into()),
        name => ProgramSpec::Name(name.to_owned()),
    });
    ToolchainSpec { clang, ..ToolchainSpec::default() }
}

/// What the target says.
fn spec(request: &Request<'_>, loaded: &Loaded, label: &Label) -> Result<ToolchainSpec, Vec<Diagnostic>> {
    match loaded.target(label) {
        Some(target) if *target.rule == *TOOLCHAIN_RULE => ToolchainSpec::of(target, &request.workspace.settings.repositories),
        Some(target) => {
            let finding = Diagnostic::error(&target.span, format!("`{label}` is a `{}`, which is no toolchain", target.rule));
            Err(vec![finding.help("name a `bpf_toolchain`")])
        }
        None => {
            let targets = loaded.packages.get(&label.package).into_iter().flat_map(|package| package.targets.values());
            let names = targets.filter(|target| *target.rule == *TOOLCHAIN_RULE).map(|target| &*target.label.name);
            let declare = || format!("declare a `bpf_toolchain` of this name in `//{}`", label.package);
            let help = did_you_mean(&label.name, names).unwrap_or_else(declare);
            Err(vec![Diagnostic::bare(format!("there is no toolchain `{label}`")).help(help).named_at(None)])
        }
    }
}
