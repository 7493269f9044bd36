//! Targets loaded, configured and analysed for commands that look and build nothing, or little.

use std::slice;

use ouro_engine::build::{self, Analysis, Request, config};
use ouro_engine::configure::configure;
use ouro_engine::load::Loaded;
use ouro_engine::toolchain::{Toolchain, ToolchainError};
use ouro_engine::workspace::Workspace;
use ouro_rules::builtin;
use ouro_rules::label::Pattern;

use crate::cli::ConfigFlags;
use crate::commands::build::{failure, no_toolchain};
use crate::configurations;
use crate::error::CliError;
use crate::session::{self, Session};

/// What there is to look at.
pub struct View<'a> {
    /// The packages.
    pub loaded: &'a Loaded,
    /// The targets and what they mean.
    pub analysis: &'a Analysis<'a>,
    toolchain: Result<Toolchain, ToolchainError>,
}

impl View<'_> {
    /// The tools their actions run. Whoever only looks at targets does not care whether there is a compiler.
    pub fn toolchain(&self) -> Result<&Toolchain, CliError> {
        self.toolchain.as_ref().map_err(no_toolchain)
    }
}

/// Analyses what the patterns need, in the one configuration that the flags of `command` choose, and shows it to `look`.
pub fn analysed<T>(
    session: &Session,
    workspace: &Workspace,
    patterns: &[Pattern],
    (flags, command): (&ConfigFlags, &str),
    look: impl FnOnce(&View<'_>) -> Result<T, CliError>,
) -> Result<T, CliError> {
    session::catch_interrupts();
    let (rules, search_path) = (builtin::table(), session::search_path());
    let configuration = configurations::one(workspace, flags, command)?;
    let configurations = slice::from_ref(&configuration);
    let request = Request { workspace, patterns, configurations, rules: &rules, search_path: &search_path, program: None };
    let toolchain = Toolchain::find(&workspace.root, &workspace.settings.toolchain, &search_path);
    let clang_flags = toolchain.as_ref().map(Toolchain::clang_flags).unwrap_or_default();
    let loaded = build::load(&request, session::interrupted()).map_err(failure)?;
    session.findings(&loaded.warnings)?;
    let configured = configure(&loaded, &configuration)?;
    let analysis = Analysis::of(&request, &configured, &config(workspace, &configuration, clang_flags))?;
    look(&View { loaded: &loaded, analysis: &analysis, toolchain })
}
