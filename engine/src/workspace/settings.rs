//! What `ouro.toml` says.
//!
//! Knows nothing of what the settings are used for, and reads no file.

mod config;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use ouro_cache::{Age, ParseLimitError, Size};
use ouro_rules::configuration::KernelVersion;
use ouro_rules::diagnostic::{Diagnostic, Span, did_you_mean, sorted};
use ouro_rules::repository::Repositories;
use ouro_rules::signature::PublicKey;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use self::config::{ConfigSettings, FlagSetting};
use super::SETTINGS_FILE;
use crate::execute::SandboxMode;

/// The tables of `ouro.toml`; every one, and every key, may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `[workspace]`
    pub workspace: WorkspaceSettings,
    /// `[toolchain]`
    pub toolchain: ToolchainSettings,
    /// `[sandbox]`
    pub sandbox: SandboxSettings,
    /// `[cache]`
    pub cache: CacheSettings,
    /// `[build]`
    pub build: BuildSettings,
    /// `[deploy]`
    pub deploy: DeploySettings,
    /// `[config.*]` by name.
    pub config: BTreeMap<String, ConfigSettings>,
    /// `[repositories]`
    pub repositories: Repositories,
}

/// `[workspace]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkspaceSettings {
    /// A name for people.
    pub name: Option<String>,
    /// Folders, from the root, in which no package is looked for and into which no glob descends.
    pub ignore: Vec<String>,
}

/// `[toolchain]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToolchainSettings {
    /// The C compiler: a path, or a name looked up in `PATH`.
    pub clang: Option<String>,
    /// The label of a `bpf_toolchain`, for all builds that choose no other.
    pub label: Option<String>,
}

/// `[sandbox]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxSettings {
    /// How processes are kept from what they do not declare.
    pub mode: SandboxMode,
    /// Folders and files outside of the workspace that all processes may read.
    pub read: Vec<PathBuf>,
}

/// `[cache]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// The folder of the store; a relative path starts at the root.
    pub dir: Option<PathBuf>,
    /// How large it may become.
    pub max_size: Option<Size>,
    /// How long something may be of no use.
    pub max_age: Option<Age>,
}

/// `[build]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuildSettings {
    /// How many actions run at once.
    pub jobs: Option<u32>,
    /// The oldest kernel that must run what is built.
    pub min_kernel: Option<KernelVersion>,
}

/// `[deploy]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeploySettings {
    /// The mount point of the bpffs that holds ouro's folder.
    pub bpffs: Option<PathBuf>,
    /// Whose signatures are trusted: lines with keys, or files of such lines; a relative path starts at the root.
    pub trusted_keys: Vec<String>,
}

/// What a key of `ouro.toml` takes.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Label,
    Sandbox,
    Folders,
    Places,
    Keys,
    Count,
    Kernel,
    Size,
    Age,
}

/// Every table with its keys. Checked before serde sees the text, because serde stops at the first thing it dislikes.
const TABLES: &[(&str, &[(&str, Kind)])] = &[
    ("workspace", &[("name", Kind::Text), ("ignore", Kind::Folders)]),
    ("toolchain", &[("clang", Kind::Text), ("label", Kind::Label)]),
    ("sandbox", &[("mode", Kind::Sandbox), ("read", Kind::Places)]),
    ("cache", &[("dir", Kind::Text), ("max_size", Kind::Size), ("max_age", Kind::Age)]),
    ("build", &[("jobs", Kind::Count), ("min_kernel", Kind::Kernel)]),
    ("deploy", &[("bpffs", Kind::Text), ("trusted_keys", Kind::Keys)]),
    ("config", &[]),
    ("repositories", &[]),
];

/// Reads the text of an `ouro.toml`.
pub(super) fn parse(text: &str) -> Result<Settings, Vec<Diagnostic>> {
    let place = |range: Range<usize>| span(text, range);
    let broken = |error: toml::de::Error| {
        let at = place(error.span().unwrap_or_default());
        vec![Diagnostic::error(&at, error.message().lines().next().unwrap_or("not valid TOML").to_owned())]
    };
    let document = DeTable::parse(text).map_err(broken)?;
    let mut findings = Vec::new();
    for (name, value) in document.get_ref() {
        findings.extend(
            check_table(name, value).into_iter().map(|(range, finding)| Diagnostic { span: Some(place(range)), ..finding }),
        );
    }
    if !findings.is_empty() {
        return Err(sorted(findings));
    }
    let mut settings: Settings = toml::from_str(text).map_err(broken)?;
    config::place_flags(&mut settings.config, document.get_ref(), &place);
    Ok(settings)
}

type Found = Vec<(Range<usize>, Diagnostic)>;

fn check_table(name: &Spanned<Cow<'_, str>>, value: &Spanned<DeValue<'_>>) -> Found {
    let Some((_, keys)) = TABLES.iter().find(|(table, _)| *table == name.get_ref()) else {
        let known = TABLES.iter().map(|(table, _)| *table);
        return vec![(name.span(), unknown("table", name.get_ref(), known))];
    };
    let Some(table) = value.get_ref().as_table() else {
        return vec![(
            name.span(),
            Diagnostic::bare(format!("`{}` is a table", name.get_ref())).help(format!("write `[{}]`", name.get_ref())),
        )];
    };
    match &**name.get_ref() {
        "config" => config::check_configs(table),
        "repositories" => config::check_repositories(table),
        _ => table.iter().flat_map(|(key, value)| check_key(keys, key, value)).collect(),
    }
}

fn check_key(keys: &[(&str, Kind)], key: &Spanned<Cow<'_, str>>, value: &Spanned<DeValue<'_>>) -> Found {
    match keys.iter().find(|(known, _)| *known == key.get_ref()) {
        None => vec![(key.span(), unknown("key", key.get_ref(), keys.iter().map(|(known, _)| *known)))],
        Some((_, kind)) => check_value(*kind, key.get_ref(), value),
    }
}

fn check_value(kind: Kind, key: &str, value: &Spanned<DeValue<'_>>) -> Found {
    let expected = match (kind, value.get_ref()) {
        (Kind::Text, DeValue::String(_)) => return Vec::new(),
        (Kind::Folders, DeValue::Array(items)) => return items.iter().flat_map(|item| check_folder(key, item)).collect(),
        (Kind::Count, DeValue::Integer(n)) if u32::from_str_radix(n.as_str(), n.radix()).is_ok_and(|n| n > 0) => {
            return Vec::new();
        }
        (Kind::Kernel, _) => return config::check_kernel(key, value),
        (Kind::Size, DeValue::String(text)) => return check_limit::<Size>(value, text),
        (Kind::Age, DeValue::String(text)) => return check_limit::<Age>(value, text),
        (Kind::Size, _) => "a string such as `\"10GB\"`",
        (Kind::Age, _) => "a string such as `\"30d\"`",
        (Kind::Label, _) => return config::check_label(key, value),
        (Kind::Sandbox, _) => return check_mode(key, value),
        (Kind::Places, DeValue::Array(items)) => return items.iter().flat_map(|item| check_place(key, item)).collect(),
        (Kind::Keys, DeValue::Array(items)) => return items.iter().flat_map(|item| check_trusted(key, item)).collect(),
        (Kind::Text, _) => "a string",
        (Kind::Folders, _) => "a list of folders",
        (Kind::Places, _) => "a list of absolute paths",
        (Kind::Keys, _) => "a list of public keys, or of files with such",
        (Kind::Count, _) => "a whole number from 1",
    };
    vec![(value.span(), Diagnostic::bare(format!("`{key}` is {expected}")))]
}

fn check_limit<T: FromStr<Err = ParseLimitError>>(value: &Spanned<DeValue<'_>>, text: &str) -> Found {
    text.parse::<T>().err().map(|error| (value.span(), Diagnostic::bare(error.to_string()))).into_iter().collect()
}

fn check_folder(key: &str, item: &Spanned<DeValue<'_>>) -> Found {
    let plain = |folder: &str| folder.split('/').all(|part| !matches!(part, "" | "." | ".."));
    match item.get_ref().as_str() {
        Some(folder) if plain(folder) => Vec::new(),
        Some(folder) => vec![(
            item.span(),
            Diagnostic::bare(format!("`{folder}` is no plain path from the workspace root"))
                .help("write it as `third_party/sources`"),
        )],
        None => vec![(item.span(), Diagnostic::bare(format!("`{key}` is a list of folders")))],
    }
}

fn check_mode(key: &str, value: &Spanned<DeValue<'_>>) -> Found {
    let names = SandboxMode::ALL.iter().map(|(name, _)| *name);
    let Some(text) = value.get_ref().as_str() else {
        return vec![(value.span(), Diagnostic::bare(format!("`{key}` is a string")))];
    };
    let finding = || Diagnostic::bare(format!("`{text}` is no value of `{key}`"));
    let help = || did_you_mean(text, names).unwrap_or_else(|| "use `landlock`, `namespace` or `off`".to_owned());
    if SandboxMode::find(text).is_some() { Vec::new() } else { vec![(value.span(), finding().help(help()))] }
}

/// What is in the workspace is declared, target by target.
fn check_place(key: &str, item: &Spanned<DeValue<'_>>) -> Found {
    match item.get_ref().as_str() {
        Some(path) if path.starts_with('/') => Vec::new(),
        _ => vec![(item.span(), Diagnostic::bare(format!("`{key}` is a list of absolute paths")))],
    }
}

/// A line with a public key, which must be one, or a file.
fn check_trusted(key: &str, item: &Spanned<DeValue<'_>>) -> Found {
    let finding = match item.get_ref().as_str() {
        Some(text) if text.contains(' ') => match text.parse::<PublicKey>() {
            Ok(_) => return Vec::new(),
            Err(error) => Diagnostic::bare(format!("`{text}` is no public key: {error}")).help(error.help()),
        },
        Some(path) if !path.is_empty() => return Vec::new(),
        _ => Diagnostic::bare(format!("`{key}` is a list of public keys, or of files with such")),
    };
    vec![(item.span(), finding)]
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Diagnostic {
    let list = known.clone().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    Diagnostic::bare(format!("unknown {what} `{name}`"))
        .help(did_you_mean(name, known).unwrap_or_else(|| format!("known here: {list}")))
}

/// The place of a byte range of `ouro.toml`.
fn span(text: &str, range: Range<usize>) -> Span {
    let (line, column) = position(text, range.start);
    let (end_line, end_column) = position(text, range.end.max(range.start + 1));
    Span { file: SETTINGS_FILE.into(), line, column, end_line, end_column }
}

fn position(text: &str, at: usize) -> (u32, u32) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = before.matches('\n').count() + 1;
    (line as u32, before[line_start..].chars().count() as u32 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let show = |d: Diagnostic| {
            let at = d.span.expect("findings of a file have a place");
            format!("{}:{}-{}: {} ({})", at.line, at.column, at.end_column, d.message, d.help.unwrap_or_default())
        };
        parse(text).map_or_else(|found| found.into_iter().map(show).collect(), |_| Vec::new())
    }

    #[test]
    fn every_key_is_read_and_all_are_optional() {
        assert_eq!(parse("").unwrap(), Settings::default());
        let all = "[repositories]\nfoo = 'a/foo'\n[config.small]\nplatform = 'amd64'\nmode = 'dbg'\nmin_kernel = '6.1'\ncopts = ['-Wextra']\ndefines = ['A=1']\nflags = { '//fw:x' = true }\n[workspace]\nname = 'w'\nignore = ['a/b']\n[toolchain]\nclang = 'clang-19'\n[cache]\ndir = '/c'\nmax_size = '2GB'\nmax_age = '30d'\n[build]\njobs = 4\nmin_kernel = '5.15'\n[deploy]\nbpffs = '/b'\ntrusted_keys = ['keys.pub']\n";
        let settings = parse(all).unwrap();
        assert_eq!(settings.workspace.ignore, ["a/b"]);
        assert_eq!((settings.build.jobs, settings.toolchain.clang.as_deref()), (Some(4), Some("clang-19")));
        assert_eq!(settings.cache.max_size, Some(Size(2_000_000_000)));
        assert_eq!(settings.cache.max_age.unwrap().0.as_secs(), 30 * 86_400);
        assert_eq!((settings.cache.dir, settings.deploy.bpffs), (Some("/c".into()), Some("/b".into())));
        assert_eq!(settings.deploy.trusted_keys, ["keys.pub"]);
        assert_eq!(settings.build.min_kernel.unwrap().to_string(), "5.15");
        assert!(settings.repositories.contains("a/foo"));
        let small = &settings.config["small"];
        assert_eq!((small.platform.as_deref(), small.mode), (Some("amd64"), Some(ouro_rules::configuration::Mode::Dbg)));
        assert_eq!((small.copts.len(), small.defines.len()), (1, 1));
        let flag = &small.flags["//fw:x"];
        assert_eq!((flag.value.as_str(), flag.span.as_ref().map(|span| (span.line, span.column))), ("true", Some((9, 11))));
    }

    #[test]
    fn configurations_and_repositories_are_checked_key_by_key() {
        let text = "[config.a]\nplatfrom = 'x86'\nplatform = 'aarch46'\nmode = 'debug'\nmin_kernel = 5.15\nflags = { fast = true, '//fw:x' = 1 }\ncopts = ['-o']\n[config]\ndbg = {}\n1 = {}\nb = 3\n[repositories]\nouro = 'x'\nfoo = '../foo'\nbar = 1\n[build]\nmin_kernel = '5'\n";
        assert_eq!(
            findings(text),
            [
                "2:1-9: unknown key `platfrom` (did you mean `platform`?)",
                "3:12-21: `aarch46` is no value of `platform` (did you mean `aarch64`?)",
                "4:8-15: `debug` is no value of `mode` (did you mean `dbg`?)",
                "5:14-18: `min_kernel` is a string (put it in quotes: `\"5.15\"`)",
                "6:11-15: `fast` is no label of a flag (write it with its package: `//fw:trace`)",
                "6:35-36: `//fw:x` is a string or a boolean ()",
                "7:10-14: `-o` cannot be one of `copts` (remove it; ouro names the files clang writes)",
                "9:1-4: `dbg` cannot name a configuration (it is a mode: `--mode`; choose another name)",
                "10:1-2: `1` cannot name a configuration (use letters, digits and `_`, a letter first)",
                "11:1-2: `b` is a table (write `[config.b]`)",
                "13:1-5: `ouro` cannot name a repository (it comes with ouro; choose another name)",
                "14:7-15: `../foo` is no plain path from the workspace root (write it as `third_party/sources`)",
                "15:7-8: `bar` is a folder, from the root ()",
                "17:14-17: `5` is no value of `min_kernel` (write its first two numbers: `5.15`)",
            ]
        );
    }

    #[test]
    fn all_findings_come_at_once_with_place_and_near_match() {
        let found = findings("[workspce]\nname = 'é'\n[build]\njbos = 4\njobs = 0\n[workspace]\nignore = ['../x', 3]\n");
        assert_eq!(
            found,
            [
                "1:2-10: unknown table `workspce` (did you mean `workspace`?)",
                "4:1-5: unknown key `jbos` (did you mean `jobs`?)",
                "5:8-9: `jobs` is a whole number from 1 ()",
                "7:11-17: `../x` is no plain path from the workspace root (write it as `third_party/sources`)",
                "7:19-20: `ignore` is a list of folders ()",
            ]
        );
        assert_eq!(
            findings("[cache]\nmax_size = 'huge'\nmax_age = 3\n"),
            ["2:12-18: `huge` is no size; write it as `10GB` ()", "3:11-12: `max_age` is a string such as `\"30d\"` ()"]
        );
        assert_eq!(
            findings("[deploy]\ntrusted_keys = ['ssh-rsa AAAA', 1]\n"),
            [
                "2:17-31: `ssh-rsa AAAA` is no public key: it is no line `ssh-ed25519 AAAA...` (`ouro key new FILE` writes it to `FILE.pub`; `ouro key public FILE` shows it again)",
                "2:33-34: `trusted_keys` is a list of public keys, or of files with such ()",
            ]
        );
        assert_eq!(findings("workspace = 3\n"), ["1:1-10: `workspace` is a table (write `[workspace]`)"]);
        assert!(findings("[build\njobs = 1\n")[0].starts_with("1:7"), "{:?}", findings("[build\njobs = 1\n"));
    }
}
