//! `[config.*]` and `[repositories]` of `ouro.toml`: tables whose keys people choose.
//!
//! Knows nothing of which flags and folders there are.

use std::collections::BTreeMap;
use std::ops::Range;

use ouro_rules::builtin::copt_finding;
use ouro_rules::configuration::{KERNEL_FORM, KernelVersion, Mode};
use ouro_rules::diagnostic::{Diagnostic, Span};
use ouro_rules::label::Label;
use ouro_rules::{platform, repository};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Found, check_folder, unknown};

/// `[config.NAME]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigSettings {
    /// The machine; any of its names.
    pub platform: Option<String>,
    /// What compilers are asked for.
    pub mode: Option<Mode>,
    /// The oldest kernel that must run it.
    pub min_kernel: Option<KernelVersion>,
    /// The label of a `bpf_toolchain`.
    pub toolchain: Option<String>,
    /// What flags are set to, by their labels.
    pub flags: BTreeMap<String, FlagSetting>,
    /// More arguments for every compile.
    pub copts: Vec<String>,
    /// `NAME` or `NAME=value` for every compile.
    pub defines: Vec<String>,
}

/// What a flag is set to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Word")]
pub struct FlagSetting {
    /// As text.
    pub value: String,
    /// Where it stands.
    pub span: Option<Span>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Text(String),
    Bool(bool),
}

impl From<Word> for FlagSetting {
    fn from(word: Word) -> FlagSetting {
        let value = match word {
            Word::Text(text) => text,
            Word::Bool(value) => value.to_string(),
        };
        FlagSetting { value, span: None }
    }
}

/// Adds the places of flags, which serde does not tell.
pub(super) fn place_flags(
    configs: &mut BTreeMap<String, ConfigSettings>,
    document: &DeTable<'_>,
    place: &dyn Fn(Range<usize>) -> Span,
) {
    let Some(tables) = document.get("config").and_then(|config| config.get_ref().as_table()) else { return };
    for (name, config) in configs {
        let flags =
            tables.get(name.as_str()).and_then(|table| table.get_ref().get("flags")).and_then(|it| it.get_ref().as_table());
        for (key, _) in flags.into_iter().flat_map(|flags| flags.iter()) {
            if let Some(flag) = config.flags.get_mut(&**key.get_ref()) {
                flag.span = Some(place(key.span()));
            }
        }
    }
}

const KEYS: &[&str] = &["platform", "mode", "min_kernel", "toolchain", "flags", "copts", "defines"];

/// What is wrong with all of `[config.*]`.
pub(super) fn check_configs(table: &DeTable<'_>) -> Found {
    let mut found = Found::new();
    for (name, value) in table.iter() {
        if let Some(finding) = bad_name(name.get_ref()) {
            found.push((name.span(), finding));
        }
        match value.get_ref().as_table() {
            Some(table) => found.extend(table.iter().flat_map(|(key, value)| check_key(key.get_ref(), key.span(), value))),
            None => {
                let finding = Diagnostic::bare(format!("`{}` is a table", name.get_ref()));
                found.push((name.span(), finding.help(format!("write `[config.{}]`", name.get_ref()))));
            }
        }
    }
    found
}

/// Names are parts of folders' names, joined with `-`; see [`Configuration::name`](ouro_rules::Configuration::name).
fn bad_name(name: &str) -> Option<Diagnostic> {
    let plain =
        name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let finding = || Diagnostic::bare(format!("`{name}` cannot name a configuration"));
    match name {
        _ if !plain => Some(finding().help("use letters, digits and `_`, a letter first")),
        "dbg" | "opt" => Some(finding().help("it is a mode: `--mode`; choose another name")),
        _ => None,
    }
}

fn check_key(key: &str, at: Range<usize>, value: &Spanned<DeValue<'_>>) -> Found {
    let text = value.get_ref().as_str();
    match key {
        "platform" => word(key, value, text.map(|text| platform::find(text).ok_or_else(|| platform::remedy(text)))),
        "mode" => word(key, value, text.map(|text| Mode::find(text).ok_or_else(|| Mode::remedy(text)))),
        "min_kernel" => check_kernel(key, value),
        "toolchain" => check_label(key, value),
        "flags" => check_flags(value),
        "copts" => check_words(key, value, &copt_finding),
        "defines" => check_words(key, value, &|_| None),
        _ => vec![(at, unknown("key", key, KEYS.iter().copied()))],
    }
}

/// A string that must mean something.
fn word<T>(key: &str, value: &Spanned<DeValue<'_>>, read: Option<Result<T, String>>) -> Found {
    let text = value.get_ref().as_str().unwrap_or_default();
    match read {
        Some(Ok(_)) => Vec::new(),
        Some(Err(help)) => vec![(value.span(), Diagnostic::bare(format!("`{text}` is no value of `{key}`")).help(help))],
        None => vec![(value.span(), Diagnostic::bare(format!("`{key}` is a string")))],
    }
}

/// A kernel version, in any table.
pub(super) fn check_kernel(key: &str, value: &Spanned<DeValue<'_>>) -> Found {
    let text = value.get_ref().as_str();
    match text {
        // `5.15` without quotes is a number, and the same as `5.150`.
        None => vec![(value.span(), Diagnostic::bare(format!("`{key}` is a string")).help("put it in quotes: `\"5.15\"`"))],
        Some(text) => word(key, value, Some(text.parse::<KernelVersion>().map_err(|_| KERNEL_FORM.to_owned()))),
    }
}

/// The label of a target.
pub(super) fn check_label(key: &str, value: &Spanned<DeValue<'_>>) -> Found {
    match value.get_ref().as_str() {
        Some(text) if text.starts_with(['/', '@']) => match Label::parse(text, "", "") {
            Ok(_) => Vec::new(),
            Err(error) => vec![(value.span(), Diagnostic::bare(error.to_string()))],
        },
        _ => {
            let finding = Diagnostic::bare(format!("`{key}` is the label of a target"));
            vec![(value.span(), finding.help("write it with its package: `//tools:clang17`"))]
        }
    }
}

fn check_flags(value: &Spanned<DeValue<'_>>) -> Found {
    let Some(table) = value.get_ref().as_table() else {
        let finding = Diagnostic::bare("`flags` is a table").help("write `flags = { \"//fw:trace\" = \"on\" }`");
        return vec![(value.span(), finding)];
    };
    let mut found = Found::new();
    for (key, value) in table.iter() {
        if !key.get_ref().starts_with(['/', '@']) {
            let finding = Diagnostic::bare(format!("`{}` is no label of a flag", key.get_ref()));
            found.push((key.span(), finding.help("write it with its package: `//fw:trace`")));
        } else if let Err(error) = Label::parse(key.get_ref(), "", "") {
            found.push((key.span(), Diagnostic::bare(error.to_string())));
        }
        if !matches!(value.get_ref(), DeValue::String(_) | DeValue::Boolean(_)) {
            found.push((value.span(), Diagnostic::bare(format!("`{}` is a string or a boolean", key.get_ref()))));
        }
    }
    found
}

fn check_words(key: &str, value: &Spanned<DeValue<'_>>, check: &dyn Fn(&str) -> Option<Diagnostic>) -> Found {
    let expected = |at| vec![(at, Diagnostic::bare(format!("`{key}` is a list of strings")))];
    let Some(items) = value.get_ref().as_array() else { return expected(value.span()) };
    let item = |item: &Spanned<DeValue<'_>>| match item.get_ref().as_str() {
        Some(text) => check(text).map(|finding| (item.span(), finding)).into_iter().collect(),
        None => expected(item.span()),
    };
    items.iter().flat_map(item).collect()
}

/// What is wrong with `[repositories]`.
pub(super) fn check_repositories(table: &DeTable<'_>) -> Found {
    let mut found = Found::new();
    for (name, folder) in table.iter() {
        let plain = name.get_ref().chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        let finding = || Diagnostic::bare(format!("`{}` cannot name a repository", name.get_ref()));
        if name.get_ref() == repository::STANDARD {
            found.push((name.span(), finding().help("it comes with ouro; choose another name")));
        } else if !plain || name.get_ref().is_empty() {
            found.push((name.span(), finding().help("use letters, digits, `_`, `-` and `.`")));
        }
        match folder.get_ref().as_str() {
            Some(_) => found.extend(check_folder(name.get_ref(), folder)),
            None => found.push((folder.span(), Diagnostic::bare(format!("`{}` is a folder, from the root", name.get_ref())))),
        }
    }
    found
}
