//! `sh_binary`: a script that `ouro run` starts; and what it has in common with `sh_test`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::genrule::variable_len;
use crate::action::Artifact;
use crate::attr::{AttrSpec, AttrType, EdgeKind, Spanned, Value};
use crate::diagnostic::Diagnostic;
use crate::provider::{Providers, RunInfo};
use crate::rule::{Analysis, Context, Rule};

pub(super) struct ShBinary {
    attrs: Vec<AttrSpec>,
}

impl ShBinary {
    pub(super) fn new() -> ShBinary {
        ShBinary { attrs: attrs() }
    }
}

impl Rule for ShBinary {
    fn name(&self) -> &str {
        "sh_binary"
    }

    fn doc(&self) -> &str {
        "A script, or any other program, that `ouro run` starts in the folder you stand in. It finds its `data` below \
         `$RUNFILES_DIR/_main`."
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        Ok(Analysis { providers: runnable(ctx)?, ..Analysis::default() })
    }
}

/// What every program has.
pub(super) fn attrs() -> Vec<AttrSpec> {
    let empty = || Value::List(Vec::new());
    let data = "Files it reads when it runs, and targets that make them or are run themselves. Each is found under its path from \
                the workspace root; a file that is made also without the folders of outputs: `fw/parse.o`.";
    vec![
        AttrSpec::new("srcs", AttrType::Label.list(), "The program: one file that may be run, such as a script with `#!`.")
            .required()
            .edge(EdgeKind::Source),
        AttrSpec::new("data", AttrType::Label.list(), data).default(empty()).edge(EdgeKind::Data),
        AttrSpec::new(
            "args",
            AttrType::String.list(),
            "Its first arguments. `$(location label)` is the path of a file of `srcs` or `data`, of a program its object; `$$` is a \
             dollar sign.",
        )
        .default(empty()),
        AttrSpec::new("env", AttrType::Dict, "Variables of its environment; `$(location label)` as in `args`.")
            .default(Value::Dict(Vec::new())),
    ]
}

/// What a target with [`attrs`] offers.
pub(super) fn runnable(ctx: &Context<'_>) -> Result<Providers, Vec<Diagnostic>> {
    let mut findings = Vec::new();
    let executable = executable(ctx).map_err(|finding| findings.push(finding)).ok();
    let args = args(ctx, &mut findings);
    let env = env(ctx, &mut findings);
    let Some(executable) = executable.filter(|_| findings.is_empty()) else { return Err(findings) };
    Ok(Providers {
        files: vec![executable.clone()],
        runfiles: ctx.runfiles(&["srcs", "data"]),
        run: Some(Arc::new(RunInfo { executable, args, env })),
        ..Providers::default()
    })
}

fn executable(ctx: &Context<'_>) -> Result<Artifact, Diagnostic> {
    let files = ctx.files("srcs");
    match &files[..] {
        [file] => Ok(file.clone()),
        files => Err(Diagnostic::error(ctx.target.span_of("srcs"), format!("`srcs` must be one file, and has {}", files.len()))
            .help("name the program itself; what it reads belongs in `data`")),
    }
}

fn args(ctx: &Context<'_>, findings: &mut Vec<Diagnostic>) -> Vec<String> {
    ctx.target.get("args").items().iter().filter_map(|item| expand(ctx, item, findings)).collect()
}

fn env(ctx: &Context<'_>, findings: &mut Vec<Diagnostic>) -> BTreeMap<String, String> {
    let Value::Dict(entries) = ctx.target.get("env") else { return BTreeMap::new() };
    let mut env = BTreeMap::new();
    for (name, value) in entries {
        let text = name.value.as_str().unwrap_or_default();
        if text.is_empty() || text.contains(['=', '\0']) {
            let finding = Diagnostic::error(&name.span, format!("`{}` cannot name a variable", text.escape_debug()));
            findings.push(finding.help("use a name without `=`"));
        } else if let Some(value) = expand(ctx, value, findings) {
            env.insert(text.to_owned(), value);
        }
    }
    env
}

/// The text with its variables replaced; none when a finding was reported.
fn expand(ctx: &Context<'_>, item: &Spanned, findings: &mut Vec<Diagnostic>) -> Option<String> {
    let text = item.value.as_str().unwrap_or_default();
    let (before, mut rest, mut expanded) = (findings.len(), text, String::new());
    if text.contains('\0') {
        findings.push(Diagnostic::error(&item.span, "no program can be given a NUL character").help("remove it"));
    }
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let (variable, after) = rest[at + 1..].split_at(variable_len(&rest[at + 1..]));
        rest = after;
        match replacement(ctx, variable) {
            Ok(value) => expanded.push_str(&value),
            Err((message, help)) => findings.push(Diagnostic::error(&item.span, message).help(help)),
        }
    }
    (findings.len() == before).then(|| expanded + rest)
}

/// What stands for a variable; else what is wrong with it, and what to do.
fn replacement(ctx: &Context<'_>, variable: &str) -> Result<String, (String, &'static str)> {
    match variable.strip_prefix("(location ").and_then(|label| label.strip_suffix(')')) {
        _ if variable == "$" => Ok("$".to_owned()),
        Some(label) => location(ctx, label.trim()).map_err(|message| (message, "name one file of `srcs` or `data`")),
        None => Err((format!("unknown variable `${variable}`"), "write `$$` for a dollar sign")),
    }
}

fn location(ctx: &Context<'_>, text: &str) -> Result<String, String> {
    let here = &ctx.target.label;
    let label = ctx.config.repositories.label(text, &here.repo, &here.package).map_err(|finding| finding.message)?;
    let listed = ["srcs", "data"].iter().flat_map(|name| ctx.listed(name));
    let found = listed.filter(|(_, listed, _)| **listed == label).find_map(|(_, _, providers)| providers);
    if let Some(program) = found.and_then(|providers| providers.program.as_ref()) {
        return Ok(program.object.short_path().to_owned());
    }
    match found.map(|providers| &providers.files[..]).unwrap_or_default() {
        [file] => Ok(file.short_path().to_owned()),
        [] => Err(format!("`$(location {text})` names nothing of `srcs` and `data`")),
        files => Err(format!("`$(location {text})` names {} files; it must be one", files.len())),
    }
}
