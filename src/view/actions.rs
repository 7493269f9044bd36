//! Answers about actions: as text, as JSON, or as boxes and arrows.
//!
//! Knows nothing of whether and how they run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use ouro_cache::Digest;
use ouro_engine::execute::key;
use ouro_engine::toolchain::Toolchain;
use ouro_rules::{Action, ActionKind, Artifact, Label, Tool};
use serde::Serialize;

use super::network::{Arrow, Box, Network};

/// An action with what this machine adds to it.
#[derive(Serialize)]
pub struct Shown<'a> {
    mnemonic: &'a str,
    label: &'a Label,
    /// `process`, `function` or `write`.
    work: &'static str,
    /// The program and its arguments; empty but for processes.
    argv: Vec<String>,
    /// All of it; empty but for processes.
    environment: BTreeMap<&'a str, &'a str>,
    inputs: Vec<&'a str>,
    outputs: Vec<&'a str>,
    depfile: Option<&'a str>,
    /// Arguments put before the others when it is run again, having failed.
    fallback: &'a [String],
    key: Option<String>,
    /// Inputs that are not there yet, for want of which there is no key.
    missing: Vec<Arc<str>>,
}

impl<'a> Shown<'a> {
    /// An action, with its key or else the inputs that are missing.
    pub fn of(action: &'a Action, toolchain: &Toolchain, key: Result<Digest, Vec<Arc<str>>>) -> Shown<'a> {
        let (key, missing) = match key {
            Ok(key) => (Some(key.to_string()), Vec::new()),
            Err(missing) => (None, missing),
        };
        let paths = |files: &'a [Artifact]| files.iter().map(|file| &**file.path()).collect();
        let mut shown = Shown {
            mnemonic: &action.mnemonic,
            label: &action.owner,
            work: "process",
            argv: Vec::new(),
            environment: BTreeMap::new(),
            inputs: paths(&action.inputs),
            outputs: paths(&action.outputs),
            depfile: None,
            fallback: &[],
            key,
            missing,
        };
        match &action.kind {
            ActionKind::Run { tool, args, env, depfile, fallback, .. } => {
                shown.argv = std::iter::once(program(tool, toolchain.of(action))).chain(args.iter().map(str::to_owned)).collect();
                shown.environment = key::environment(env);
                shown.depfile = depfile.as_deref();
                shown.fallback = fallback.as_ref().map_or(&[], |fallback| &fallback.args);
            }
            ActionKind::Native(_) => shown.work = "function",
            ActionKind::Write { .. } => shown.work = "write",
        }
        shown
    }
}

/// The program as it is run. One that is missing, or is a file of the build, is named as the BUILD files name it.
fn program(tool: &Tool, toolchain: &Toolchain) -> String {
    match (tool, toolchain.tool(tool)) {
        (Tool::File(file), _) => file.path().to_string(),
        (_, Ok(found)) => found.path.display().to_string(),
        (Tool::Clang, Err(_)) => "clang".to_owned(),
        (Tool::LlvmLink, Err(_)) => "llvm-link".to_owned(),
        (Tool::Shell, Err(_)) => "sh".to_owned(),
        (Tool::Program(name), Err(_)) => name.to_string(),
    }
}

/// A block for each action, with an empty line between them.
pub fn text(shown: &[Shown<'_>]) -> String {
    shown.iter().map(block).collect::<Vec<_>>().join("\n")
}

fn block(action: &Shown<'_>) -> String {
    let mut text = format!("{} {}\n", action.mnemonic, action.label);
    let mut line = |name: &str, value: &str| writeln!(text, "  {name}: {value}").expect("BUG: a string takes everything");
    match &action.key {
        Some(key) => line("key", key),
        None => line("key", &format!("not known before `{}` is built", action.missing.join("`, `"))),
    }
    match action.work {
        "process" => line("command", &action.argv.iter().map(|argument| shell(argument)).collect::<Vec<_>>().join(" ")),
        work => line("work", work),
    }
    action.environment.iter().for_each(|(name, value)| line("environment", &format!("{name}={}", shell(value))));
    action.depfile.iter().for_each(|path| line("depfile", path));
    action.fallback.iter().for_each(|argument| line("fallback", &shell(argument)));
    action.inputs.iter().for_each(|path| line("input", path));
    action.outputs.iter().for_each(|path| line("output", path));
    text
}

/// An argument as a shell reads it.
fn shell(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,+@%".contains(c);
    match !argument.is_empty() && argument.chars().all(is_plain) {
        true => argument.to_owned(),
        false => format!("'{}'", argument.replace('\'', "'\\''")),
    }
}

/// An object with `actions`: objects with `mnemonic`, `label` (whose it is), `work` (`"process"`, `"function"` of ouro itself, or
/// `"write"`), `argv` and `environment` (empty but for processes), `inputs`, `outputs`, `depfile` (or null), `fallback`
/// (arguments put before the others when it is run again, having failed), `key` (or null) and
/// `missing` (the inputs for want of which there is no key). Keys are only ever added.
pub fn json(shown: &[Shown<'_>]) -> String {
    let mut text = serde_json::to_string_pretty(&BTreeMap::from([("actions", shown)])).expect("BUG: actions are plain data");
    text.push('\n');
    text
}

/// The actions; an arrow leads from each to those that make its inputs.
pub fn network(shown: &[Shown<'_>], title: &str) -> Network {
    let makers = shown.iter().zip(0..).flat_map(|(action, place)| action.outputs.iter().map(move |path| (*path, place)));
    let makers: HashMap<&str, usize> = makers.collect();
    let boxes = shown.iter().map(|action| Box { text: format!("{}\n{}", action.mnemonic, action.label), small: false }).collect();
    let mut arrows = Vec::new();
    for (action, from) in shown.iter().zip(0..) {
        let needs: BTreeSet<usize> = action.inputs.iter().filter_map(|path| makers.get(path).copied()).collect();
        arrows.extend(needs.into_iter().map(|to| Arrow { from, to, text: String::new() }));
    }
    Network { title: title.to_owned(), boxes, arrows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_where_a_shell_needs_it() {
        assert_eq!(shell("-DX=1"), "-DX=1");
        assert_eq!(shell("a b"), "'a b'");
        assert_eq!(shell("it's"), "'it'\\''s'");
        assert_eq!(shell(""), "''");
    }
}
