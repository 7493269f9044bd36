//! Golden workspaces: a folder each, with what is expected beside it.
//!
//! An `ok` workspace has `expected.txt`, the dump of what the phase makes of it. A `fail` workspace says what is found in
//! comments at the lines that are wrong, see [`super::comments`]. `patterns.txt` holds target patterns, one a line; without
//! it everything is asked for. `config.txt` says for what configuration, as on the command line: `--platform aarch64`, one a
//! line; without it for the plain one of `x86`.

use std::path::{Path, PathBuf};

use ouro_engine::workspace::{ConfigurationRequest, Workspace, configurations};
use ouro_rules::configuration::Mode;
use ouro_rules::label::Pattern;
use ouro_rules::{Configuration, Diagnostic, Span, platform};

use super::comments;

/// The file with the patterns of a workspace.
pub const PATTERNS: &str = "patterns.txt";

/// The file with the configuration of a workspace.
const CONFIG: &str = "config.txt";

const EXPECTED: &str = "expected.txt";

/// A golden workspace.
pub struct Case {
    root: PathBuf,
}

impl Case {
    /// The workspace.
    pub fn workspace(&self) -> Result<Workspace, Vec<Diagnostic>> {
        Workspace::find(&self.root)
    }

    /// What it is for.
    pub fn configuration(&self, workspace: &Workspace) -> Result<Configuration, Vec<Diagnostic>> {
        let text = std::fs::read_to_string(self.root.join(CONFIG)).unwrap_or_default();
        let mut request = ConfigurationRequest::default();
        for line in text.lines() {
            let (flag, value) = line.split_once(' ').expect("a flag and its value");
            match flag {
                "--platform" => request.platforms.push(value.to_owned()),
                "--config" => request.configs.push(value.to_owned()),
                "--toolchain" => request.toolchains.push(value.to_owned()),
                "--flag" => request.flags.push(value.to_owned()),
                "--mode" => request.mode = Mode::find(value),
                "--min-kernel" => request.min_kernel = value.parse().ok(),
                other => panic!("{CONFIG} says `{other}`"),
            }
        }
        let all = configurations(workspace, &request, platform::find("x86").expect("a platform"))?;
        Ok(all.into_iter().next().expect("there is always one"))
    }

    /// What is asked for, seen from the root.
    pub fn patterns(&self, workspace: &Workspace) -> Result<Vec<Pattern>, Vec<Diagnostic>> {
        let text = std::fs::read_to_string(self.root.join(PATTERNS)).unwrap_or_else(|_| "//...".to_owned());
        let lines = text.lines().enumerate().map(|(index, line)| (index, line.split('#').next().unwrap_or_default().trim()));
        lines
            .filter(|(_, line)| !line.is_empty())
            .map(|(index, line)| {
                let at = Span::point(PATTERNS, index as u32 + 1, 1);
                let bad = |finding| vec![Diagnostic { span: Some(at), ..finding }];
                workspace.settings.repositories.pattern(line, &workspace.cwd).map_err(bad)
            })
            .collect()
    }
}

/// Runs every workspace of a phase; `produce` makes the dump of a workspace, or its findings.
pub fn run(phase: &str, produce: impl Fn(&Case) -> Result<String, Vec<Diagnostic>>) {
    let bless = std::env::var_os("OURO_BLESS").is_some();
    let mut failures = Vec::new();
    let cases = cases(phase);
    assert!(!cases.is_empty(), "no golden workspace begins with `{phase}-`");
    for (name, case) in cases {
        let result = produce(&case);
        let verdict = if name.starts_with(&format!("{phase}-ok-")) {
            accept(&case.root, result, bless)
        } else {
            refuse(&case.root, result)
        };
        failures.extend(verdict.err().map(|reason| format!("--- {name}\n{reason}")));
    }
    assert!(
        failures.is_empty(),
        "\n{}\nto accept new dumps: OURO_BLESS=1 cargo test -p ouro-engine --test golden {phase}\n",
        failures.join("\n")
    );
}

fn cases(phase: &str) -> Vec<(String, Case)> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let entries = std::fs::read_dir(&golden).expect("tests/golden is there");
    let names = entries.map(|entry| entry.expect("a readable folder").file_name().into_string().expect("a UTF-8 name"));
    let is_ours = |name: &String| ["ok", "fail"].iter().any(|kind| name.starts_with(&format!("{phase}-{kind}-")));
    let mut cases: Vec<_> = names.filter(is_ours).map(|name| (name.clone(), Case { root: golden.join(name) })).collect();
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    cases
}

fn accept(root: &Path, result: Result<String, Vec<Diagnostic>>, bless: bool) -> Result<(), String> {
    let dump = result.map_err(|findings| findings.iter().map(comments::show).collect::<String>())?;
    let path = root.join(EXPECTED);
    if bless {
        return std::fs::write(&path, &dump).map_err(|error| format!("cannot write {EXPECTED}: {error}"));
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if dump == expected { Ok(()) } else { Err(difference(&expected, &dump)) }
}

fn refuse(root: &Path, result: Result<String, Vec<Diagnostic>>) -> Result<(), String> {
    match result {
        Ok(dump) => Err(format!("findings were expected, but the phase succeeded:\n{dump}")),
        Err(findings) => comments::compare(root, &findings),
    }
}

/// The lines that only one side has.
fn difference(expected: &str, actual: &str) -> String {
    let only = |mark: char, these: &str, those: &str| -> String {
        these.lines().filter(|line| !those.lines().any(|other| other == *line)).map(|line| format!("{mark} {line}\n")).collect()
    };
    let lines = only('-', expected, actual) + &only('+', actual, expected);
    if lines.is_empty() { "the same lines in another order, or other blank lines\n".to_owned() } else { lines }
}
