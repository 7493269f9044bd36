//! What all commands share: the output, the workspace, and whether Ctrl-C was pressed.
//!
//! With `main` the only place that reads the environment.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, OnceLock};

use ouro_engine::state::STATE_FOLDER;
use ouro_engine::workspace::{SETTINGS_FILE, Workspace};
use ouro_rules::label::{Label, Pattern, Scope};
use ouro_rules::{Diagnostic, RuleTable, builtin};

use crate::cli::{Global, MessageFormat, When};
use crate::error::{CliError, Kind, io};
use crate::render::output::{ColorChoice, Output, Settings, Verbosity};
use crate::render::sources::Sources;

/// What all commands share.
pub struct Session {
    /// Where everything is written.
    pub output: Output,
    sources: OnceLock<Sources>,
}

impl Session {
    /// For these flags.
    pub fn new(global: &Global) -> Session {
        let color = match global.color {
            When::Auto => ColorChoice::Auto,
            When::Always => ColorChoice::Always,
            When::Never => ColorChoice::Never,
        };
        let verbosity = match (global.quiet, global.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        let settings = Settings::detect(color, verbosity, global.message_format == MessageFormat::Json);
        Session { output: Output::standard(settings), sources: OnceLock::new() }
    }

    /// The workspace around the current folder.
    pub fn workspace(&self) -> Result<Workspace, CliError> {
        let cwd = current_folder()?;
        // Findings in `ouro.toml` itself are drawn with its lines, too.
        if let Some(root) = root_around(&cwd) {
            self.sources.get_or_init(|| Sources::new(root));
        }
        Workspace::find(&cwd).map_err(|findings| CliError { kind: Kind::Usage, findings })
    }

    /// The workspace around the current folder, for commands that work without one, too.
    pub fn workspace_if_any(&self) -> Result<Option<Workspace>, CliError> {
        match env::current_dir() {
            Ok(cwd) if root_around(&cwd).is_some() => self.workspace().map(Some),
            _ => Ok(None),
        }
    }

    /// Says something that only those who asked for more want to know.
    pub fn detail(&self, text: &str) {
        if self.output.settings().verbosity == Verbosity::Verbose {
            self.output.status(&format!("  {text}\n"));
        }
    }

    /// The source files findings point to.
    pub fn sources(&self) -> &Sources {
        self.sources.get_or_init(|| Sources::new("."))
    }

    /// Shows findings.
    pub fn findings(&self, findings: &[Diagnostic]) -> Result<(), CliError> {
        self.output.findings(findings, self.sources()).map_err(io("cannot write to standard output"))
    }

    /// Writes facts to standard output. A reader that has gone away (`ouro status | head -1`) is no failure of ours.
    pub fn fact(&self, text: &str) -> Result<(), CliError> {
        match self.output.fact(text) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(io("cannot write to standard output")),
        }
    }
}

/// Reads target patterns as seen from the workspace's current folder.
pub fn patterns(workspace: &Workspace, texts: &[String]) -> Result<Vec<Pattern>, CliError> {
    texts.iter().map(|text| pattern(workspace, text).map_err(bad_label)).collect()
}

/// Reads one, also as shells complete paths: `./fw/...`, `../lib:packet`, `fw/`.
fn pattern(workspace: &Workspace, text: &str) -> Result<Pattern, Diagnostic> {
    let meant = plain(text, &workspace.cwd);
    workspace.settings.repositories.pattern(meant.as_deref().unwrap_or(text), &workspace.cwd)
}

/// A pattern without `.`, `..` and a `/` at the end, if it has any and stays in the workspace.
fn plain(text: &str, cwd: &str) -> Option<String> {
    let (minus, body) = text.strip_prefix('-').map_or(("", text), |body| ("-", body));
    let (path, name) = body.split_once(':').map_or((body, None), |(path, name)| (path, Some(name)));
    let is_odd = path.ends_with('/') || path.split('/').any(|part| matches!(part, "." | ".."));
    if body.starts_with(['/', '@']) || !is_odd {
        return None;
    }
    let mut parts: Vec<&str> = cwd.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match part {
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    // `./parse` may be a target here; what ends like a folder is one.
    let here = path.strip_prefix("./").filter(|rest| !rest.contains('/') && !rest.starts_with('.') && name.is_none());
    let name = name.or_else(|| path.ends_with(['/', '.']).then_some("all").filter(|_| !path.ends_with("...")));
    Some(match here.filter(|rest| !rest.is_empty()) {
        Some(rest) => format!("{minus}{rest}"),
        None => format!("{minus}//{}{}", parts.join("/"), name.map(|name| format!(":{name}")).unwrap_or_default()),
    })
}

fn bad_label(finding: Diagnostic) -> CliError {
    CliError { kind: Kind::Usage, findings: vec![finding] }
}

/// Reads one label as seen from the workspace's current folder, in all the forms patterns have.
pub fn label(workspace: &Workspace, text: &str) -> Result<Label, CliError> {
    match pattern(workspace, text) {
        Ok(Pattern { negative: false, scope: Scope::Target(label) }) => Ok(label),
        Ok(_) => {
            Err(CliError::new(Kind::Usage, format!("`{text}` selects more than one target")).help("name one: `//package:name`"))
        }
        Err(finding) => Err(bad_label(finding)),
    }
}

/// The folder with `ouro.toml` at or above `folder`.
fn root_around(folder: &Path) -> Option<&Path> {
    folder.ancestors().find(|folder| folder.join(SETTINGS_FILE).exists())
}

/// The folder of the action cache: a flag or `OURO_CACHE`, `[cache] dir` of ouro.toml (from the workspace root), or the user's own.
pub fn cache_folder(workspace: &Workspace, flag: Option<&PathBuf>) -> Result<PathBuf, CliError> {
    cache_folder_of(Some(workspace), flag)
}

/// The same, outside of any workspace, too.
pub fn cache_folder_of(workspace: Option<&Workspace>, flag: Option<&PathBuf>) -> Result<PathBuf, CliError> {
    if let Some(folder) = flag.cloned().or_else(|| non_empty("OURO_CACHE")) {
        return std::path::absolute(&folder).map_err(io(format!("cannot use `{}` as cache", folder.display())));
    }
    if let Some(workspace) = workspace
        && let Some(folder) = &workspace.settings.cache.dir
    {
        return Ok(workspace.root.join(folder));
    }
    let of_workspace = || workspace.map(|workspace| workspace.root.join(STATE_FOLDER).join("cache"));
    own_cache_folder().or_else(of_workspace).ok_or_else(|| CliError { kind: Kind::Usage, findings: vec![no_cache_folder()] })
}

/// The same, for a build: it is told that it shares nothing with others where the user has no folder.
pub fn cache_folder_to_fill(session: &Session, workspace: &Workspace, flag: Option<&PathBuf>) -> Result<PathBuf, CliError> {
    let folder = cache_folder(workspace, flag)?;
    if own_cache_folder().is_none() && folder.starts_with(workspace.root.join(STATE_FOLDER)) {
        let warning = no_cache_folder().warning().note("this workspace has a cache of its own, which `ouro clean` removes");
        session.findings(&[warning])?;
    }
    Ok(folder)
}

fn no_cache_folder() -> Diagnostic {
    Diagnostic::bare("there is no folder for the action cache: neither `XDG_CACHE_HOME` nor `HOME` is set")
        .help("name one with `--cache-dir DIR`, `OURO_CACHE`, or `[cache] dir` in ouro.toml")
}

/// The same without a flag, where there may be no workspace; nothing when there is no such folder.
pub fn any_cache_folder(workspace: Option<&Workspace>) -> Option<PathBuf> {
    match workspace {
        Some(workspace) => cache_folder(workspace, None).ok(),
        None => non_empty("OURO_CACHE").or_else(own_cache_folder),
    }
}

fn own_cache_folder() -> Option<PathBuf> {
    let base = non_empty("XDG_CACHE_HOME").or_else(|| non_empty("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("ouro/v1"))
}

fn non_empty(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A variable of the environment, to be passed on.
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// The folder ouro was started in.
pub fn current_folder() -> Result<PathBuf, CliError> {
    env::current_dir().map_err(io("cannot tell the current folder"))
}

/// Where folders for what is temporary are made.
pub fn temporary_folder() -> Result<PathBuf, CliError> {
    std::path::absolute(env::temp_dir()).map_err(io("cannot tell the folder for temporary files"))
}

/// What BUILD files can call. Telling it all takes as long as looking at a thousand files, so it is told to who reads a BUILD file.
pub fn rules() -> &'static LazyLock<RuleTable> {
    static RULES: LazyLock<RuleTable> = LazyLock::new(builtin::table);
    &RULES
}

/// Where tools are searched.
pub fn search_path() -> OsString {
    env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

/// This program's own file.
pub fn program() -> Option<PathBuf> {
    env::current_exe().ok()
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether Ctrl-C (or a polite kill) came since [`catch_interrupts`].
pub fn interrupted() -> &'static AtomicBool {
    &INTERRUPTED
}

/// From now on Ctrl-C ends the process again.
pub fn leave_interrupts() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: sets the default action; no handler is involved.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// From now on the process outlives its terminal: a connection that is lost takes nothing with it.
pub fn outlive_terminal() {
    // SAFETY: ignores a signal; no handler is involved.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
}

/// From now on Ctrl-C sets a flag; a second one ends the process.
pub fn catch_interrupts() {
    extern "C" fn remember(signal: libc::c_int) {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            // SAFETY: `_exit` may be called in a signal handler.
            unsafe { libc::_exit(128 + signal) }
        }
    }
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only touches an atomic and `_exit`.
        unsafe { libc::signal(signal, remember as *const () as libc::sighandler_t) };
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn patterns_are_taken_as_shells_complete_them() {
        let from_fw = |text: &str| plain(text, "fw").unwrap_or_else(|| text.to_owned());
        let meant = [
            ("./...", "//fw/..."),
            ("./tests/...", "//fw/tests/..."),
            ("-./tests/...", "-//fw/tests/..."),
            ("../lib:packet", "//lib:packet"),
            ("../lib", "//lib"),
            ("../lib/", "//lib:all"),
            ("./parse", "parse"),
            ("./tests/parse", "//fw/tests/parse"),
            ("tests/", "//fw/tests:all"),
            (".", "//fw:all"),
            ("..", "//:all"),
            ("./:parse", "//fw:parse"),
        ];
        for (text, wanted) in meant {
            assert_eq!(from_fw(text), wanted, "{text}");
        }
        for same in ["parse", ":parse", "...", "//fw/../lib", "@foo//./x", "../../x", "tests/..."] {
            assert_eq!(plain(same, "fw"), None, "{same}");
        }
    }
}
