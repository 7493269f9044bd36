//! `genrule`: files made by a shell command.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::action::{Action, ActionKind, Artifact, Tool};
use crate::attr::{AttrSpec, AttrType, EdgeKind, Spanned, Value};
use crate::diagnostic::{Diagnostic, nearest};
use crate::label::Label;
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
             output), `$(@D)` (the package's output folder) and `$(location label)` (of a program its object) are replaced; `$$` is a dollar sign.",
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
            mnemonic: "genrule".into(),
            owner: ctx.target.label.clone(),
            kind: ActionKind::Run {
                tool: Tool::Shell,
                args: vec!["-e".to_owned(), "-c".to_owned(), command].into(),
                env: BTreeMap::new(),
                depfile: None,
                fallback: None,
                check: None,
            },
            inputs,
            outputs: files.clone(),
        };
        let providers = Providers { files, ..Providers::default() };
        Ok(Analysis { actions: vec![Arc::new(action)], providers, ..Analysis::default() })
    }
}

fn outputs(ctx: &Context<'_>) -> Result<Vec<String>, Vec<Diagnostic>> {
    let outs = ctx.target.get("outs").items();
    if outs.is_empty() {
        return Err(vec![
            Diagnostic::error(ctx.target.span_of("outs"), "`outs` is empty").help("name at least one file the command makes"),
        ]);
    }
    let mut paths: BTreeMap<&str, &Spanned> = BTreeMap::new();
    let mut findings: Vec<Diagnostic> = outs.iter().filter_map(|out| bad_name(ctx, out)).collect();
    for out in outs {
        let name = out.value.as_str().unwrap_or_default();
        if let Some(first) = paths.insert(name, out) {
            findings.push(
                Diagnostic::error(&out.span, format!("output `{name}` is named twice"))
                    .related(&first.span, "first named here")
                    .help("remove one"),
            );
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    Ok(outs.iter().filter_map(|out| out.value.as_str()).map(|name| ctx.output(name)).collect())
}

/// An output must be something a label can name.
fn bad_name(ctx: &Context<'_>, out: &Spanned) -> Option<Diagnostic> {
    let name = out.value.as_str().unwrap_or_default();
    let error = Label::parse(&format!(":{name}"), "", &ctx.target.label.package).err()?;
    let finding = Diagnostic::error(&out.span, format!("output `{}` is no plain path inside the package", name.escape_debug()));
    Some(finding.note(error.to_string()).help("name it relative to the package, without `..`"))
}

fn expand(ctx: &Context<'_>, inputs: &[Artifact], outs: &[String]) -> Result<String, Vec<Diagnostic>> {
    let text = ctx.target.get("cmd").as_str().unwrap_or_default();
    let finding = |message: String| Diagnostic::error(ctx.target.span_of("cmd"), message);
    if text.contains('\0') {
        return Err(vec![finding("`cmd` has a NUL character, which no command can hold".to_owned()).help("remove it")]);
    }
    let mut findings = Vec::new();
    let mut command = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        command.push_str(&rest[..at]);
        let (variable, after) = rest[at + 1..].split_at(variable_len(&rest[at + 1..]));
        rest = after;
        match replacement(ctx, variable, inputs, outs) {
            Ok(value) => command.push_str(&value),
            Err(message) => findings.push(finding(message).help(remedy(variable))),
        }
    }
    command.push_str(rest);
    if findings.is_empty() { Ok(command) } else { Err(findings) }
}

/// How much of what follows a `$` belongs to the variable: all of `(SRCS)`, `(location a(1).c)`, `{HOME}` and `HOME`, or a single
/// character.
pub(super) fn variable_len(rest: &str) -> usize {
    let mut depth = 0;
    let mut closes = |c: char| {
        depth += i32::from("({".contains(c)) - i32::from(")}".contains(c));
        depth == 0
    };
    match rest.chars().next() {
        Some('(' | '{') => rest.find(&mut closes).map_or(1, |end| end + 1),
        Some(c) if c.is_ascii_alphabetic() || c == '_' => {
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())
        }
        first => first.map_or(0, char::len_utf8),
    }
}

/// What a command may say behind a dollar sign.
fn remedy(variable: &str) -> String {
    let near = nearest(variable, ["(SRCS)", "(OUTS)"]).filter(|near| *near != variable);
    let near = near.map(|near| format!("did you mean `${near}`? ")).unwrap_or_default();
    format!(
        "{near}known are `$(SRCS)`, `$(OUTS)`, `$(@D)`, `$<`, `$@` and `$(location LABEL)`; write `$$` for a dollar sign the shell \
         should see"
    )
}

fn replacement(ctx: &Context<'_>, variable: &str, inputs: &[Artifact], outs: &[String]) -> Result<String, String> {
    let sources: Vec<String> = inputs.iter().map(|input| shell_word(input.path())).collect();
    let outs: Vec<String> = outs.iter().map(|path| shell_word(path)).collect();
    match variable {
        "$" => Ok("$".to_owned()),
        "(SRCS)" => Ok(sources.join(" ")),
        "(OUTS)" => Ok(outs.join(" ")),
        "<" => only(&sources, "`$<` stands for the only source"),
        "@" => only(&outs, "`$@` stands for the only output"),
        "(@D)" => Ok(shell_word(ctx.output("").trim_end_matches('/'))),
        _ => match variable.strip_prefix("(location ").and_then(|label| label.strip_suffix(')')) {
            Some(label) => location(ctx, label.trim()),
            None => Err(format!("unknown variable `${variable}` in `cmd`")),
        },
    }
}

/// A path as one word of the shell: labels may hold `(`, `!` and `~`.
fn shell_word(path: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    if path.chars().all(is_plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

fn only(paths: &[String], what: &str) -> Result<String, String> {
    match paths {
        [path] => Ok(path.clone()),
        _ => Err(format!("{what}, and there are {}", paths.len())),
    }
}

/// Only what `srcs` lists is waited for, whatever else the graph holds.
fn location(ctx: &Context<'_>, text: &str) -> Result<String, String> {
    let here = &ctx.target.label;
    let label = ctx.config.repositories.label(text, &here.repo, &here.package).map_err(|finding| finding.message)?;
    let found = ctx.listed("srcs").into_iter().find(|(_, listed, _)| **listed == label).and_then(|(_, _, providers)| providers);
    if let Some(program) = found.and_then(|providers| providers.program.as_ref()) {
        return Ok(shell_word(program.object.path()));
    }
    match found.map(|providers| &providers.files[..]).unwrap_or_default() {
        [file] => Ok(shell_word(file.path())),
        [] => Err(format!("`$(location {text})` names nothing of `srcs`")),
        files => Err(format!("`$(location {text})` names {} files; it must be one", files.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_word_for_the_shell() {
        assert_eq!(shell_word("fw/parse-2.c"), "fw/parse-2.c");
        assert_eq!(shell_word("fw/größe.c"), "fw/größe.c");
        for odd in ["fw/a(1).c", "!", "~a/b", "a=b"] {
            assert_eq!(shell_word(odd), format!("'{odd}'"));
        }
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }

    #[test]
    fn variables_are_told_as_they_are_written() {
        let variable = |text: &'static str| &text[..variable_len(text)];
        assert_eq!(variable("(SRCS) x"), "(SRCS)");
        assert_eq!(variable("HOME/x"), "HOME");
        assert_eq!(variable("{HOME}x"), "{HOME}");
        assert_eq!(variable("(location a(1).c))"), "(location a(1).c)");
        assert_eq!((variable("@x"), variable("$(A)"), variable("1x"), variable("")), ("@", "$", "1", ""));
        assert_eq!((variable("(open"), variable("é")), ("(", "é"));
    }
}
