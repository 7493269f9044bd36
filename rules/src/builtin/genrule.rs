//! `genrule`: files made by a shell command.

use std::collections::BTreeMap;

use crate::action::{Action, ActionKind, Artifact, Tool};
use crate::attr::{AttrSpec, AttrType, EdgeKind, Spanned, Value};
use crate::diagnostic::Diagnostic;
use crate::provider::Providers;
use crate::rule::{Analysis, Context, Rule};

pub(super) struct Genrule {
    attrs: Vec<AttrSpec>,
}

impl Genrule {
    pub(super) fn new() -> Genrule {
        let srcs = AttrSpec::new("srcs", AttrType::Label.list(), "Files the command reads.")
            .default(Value::List(Vec::new()))
            .edge(EdgeKind::Source);
        let outs = AttrSpec::new("outs", AttrType::String.list(), "Files the command makes, relative to the package.").required();
        let cmd = AttrSpec::new(
            "cmd",
            AttrType::String,
            "The command for `/bin/sh -e`, run in the workspace root. `$(SRCS)`, `$(OUTS)`, `$<` (the only source), `$@` (the only \
             output), `$(@D)` (the package's output folder) and `$(location label)` are replaced; `$$` is a dollar sign.",
        )
        .required();
        Genrule { attrs: vec![srcs, outs, cmd] }
    }
}

impl Rule for Genrule {
    fn name(&self) -> &str {
        "genrule"
    }

    fn doc(&self) -> &str {
        "Files made by a shell command. The command sees an empty environment, so that its result depends on its inputs alone."
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        let outs = outputs(ctx)?;
        let inputs = ctx.files("srcs");
        let command = expand(ctx, &inputs, &outs)?;
        let files: Vec<Artifact> = outs.iter().map(|path| Artifact::Output(path.as_str().into())).collect();
        let action = Action {
            mnemonic: "genrule",
            owner: ctx.target.label.clone(),
            kind: ActionKind::Run {
                tool: Tool::Shell,
                args: vec!["-e".to_owned(), "-c".to_owned(), command],
                env: BTreeMap::new(),
                depfile: None,
            },
            inputs,
            outputs: files.clone(),
        };
        Ok(Analysis { actions: vec![action], providers: Providers { files, ..Providers::default() }, ..Analysis::default() })
    }
}

fn outputs(ctx: &Context<'_>) -> Result<Vec<String>, Vec<Diagnostic>> {
    let outs = ctx.target.get("outs").items();
    if outs.is_empty() {
        return Err(vec![Diagnostic::error(ctx.target.span_of("outs"), "`outs` is empty").help("name at least one file the command makes")]);
    }
    let (good, bad): (Vec<&Spanned>, Vec<&Spanned>) = outs.iter().partition(|out| stays_inside(out.value.as_str().unwrap_or_default()));
    if !bad.is_empty() {
        return Err(bad.iter().map(|out| leaves_package(out)).collect());
    }
    Ok(good.iter().filter_map(|out| out.value.as_str()).map(|name| ctx.output(name)).collect())
}

fn stays_inside(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('/') && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn leaves_package(out: &Spanned) -> Diagnostic {
    let name = out.value.as_str().unwrap_or_default();
    Diagnostic::error(&out.span, format!("output `{name}` is no plain path inside the package")).help("name it relative to the package, without `..`")
}

fn expand(ctx: &Context<'_>, inputs: &[Artifact], outs: &[String]) -> Result<String, Vec<Diagnostic>> {
    let text = ctx.target.get("cmd").as_str().unwrap_or_default();
    let mut findings = Vec::new();
    let mut command = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        command.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (word, after) = variable(rest);
        rest = after;
        match replacement(ctx, word, inputs, outs) {
            Ok(value) => command.push_str(&value),
            Err(message) => findings.push(
                Diagnostic::error(ctx.target.span_of("cmd"), message).help("write `$$` for a dollar sign the shell should see"),
            ),
        }
    }
    command.push_str(rest);
    if findings.is_empty() { Ok(command) } else { Err(findings) }
}

/// Splits what follows a `$`: the variable and the rest.
fn variable(rest: &str) -> (&str, &str) {
    if let Some(inner) = rest.strip_prefix('(')
        && let Some(end) = inner.find(')')
    {
        return (&inner[..end], &inner[end + 1..]);
    }
    let end = rest.chars().next().map_or(0, char::len_utf8);
    rest.split_at(end)
}

fn replacement(ctx: &Context<'_>, word: &str, inputs: &[Artifact], outs: &[String]) -> Result<String, String> {
    let sources = || inputs.iter().map(|input| input.path().to_string()).collect::<Vec<_>>();
    match word {
        "$" => Ok("$".to_owned()),
        "SRCS" => Ok(sources().join(" ")),
        "OUTS" => Ok(outs.join(" ")),
        "<" => only(&sources(), "`$<` stands for the only source"),
        "@" => only(outs, "`$@` stands for the only output"),
        "@D" => Ok(ctx.output("").trim_end_matches('/').to_owned()),
        _ => match word.strip_prefix("location ") {
            Some(label) => location(ctx, label.trim()),
            None => Err(format!("unknown variable `$({word})` in `cmd`")),
        },
    }
}

fn only(paths: &[String], what: &str) -> Result<String, String> {
    match paths {
        [path] => Ok(path.clone()),
        _ => Err(format!("{what}, and there are {}", paths.len())),
    }
}

fn location(ctx: &Context<'_>, text: &str) -> Result<String, String> {
    let here = &ctx.target.label;
    let label = crate::label::Label::parse(text, &here.repo, &here.package).map_err(|error| error.to_string())?;
    let files = (ctx.deps)(&label).map(|providers| providers.files.clone()).unwrap_or_default();
    match files.as_slice() {
        [file] => Ok(file.path().to_string()),
        [] => Err(format!("`$(location {text})` names nothing of `srcs`")),
        _ => Err(format!("`$(location {text})` names {} files; it must be one", files.len())),
    }
}
