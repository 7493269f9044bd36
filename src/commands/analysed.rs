//! Targets loaded, configured and analysed for commands that look and build nothing, or little.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::PathBuf;
use std::slice;
use std::sync::Arc;

use ouro_engine::build::{self, Analysis, BuildError, Request, config};
use ouro_engine::configure::{self, Configured, configure};
use ouro_engine::load::Loaded;
use ouro_engine::toolchain::Toolchain;
use ouro_engine::workspace::Workspace;
use ouro_rules::label::Pattern;
use ouro_rules::{Action, Configuration, Diagnostic, Label};

use crate::cli::ConfigFlags;
use crate::commands::build::{failure, no_toolchain};
use crate::configurations;
use crate::error::CliError;
use crate::session::{self, Session};

/// A command that wants to look at targets.
pub struct Asker<'a> {
    pub(super) session: &'a Session,
    pub(super) workspace: &'a Workspace,
    pub(super) configuration: Configuration,
    pub(super) program: Option<PathBuf>,
}

/// What there is to look at.
pub struct View<'a> {
    /// The packages.
    pub loaded: &'a Loaded,
    /// The targets and what they mean.
    pub analysis: Analysis<'a>,
    toolchain: Toolchain,
}

impl<'a> Asker<'a> {
    /// Looks at the one configuration that the flags of `command` choose.
    pub fn new(
        session: &'a Session,
        workspace: &'a Workspace,
        flags: &ConfigFlags,
        command: &str,
    ) -> Result<Asker<'a>, CliError> {
        session::catch_interrupts();
        let configuration = configurations::one(workspace, flags, command)?;
        Ok(Asker { session, workspace, configuration, program: session::program() })
    }

    /// The packages that the patterns name, and all they depend on. Says what loading said.
    pub fn load(&self, patterns: &[Pattern]) -> Result<Loaded, CliError> {
        let loaded = self.load_quietly(patterns).map_err(failure)?;
        self.session.findings(&loaded.warnings)?;
        Ok(loaded)
    }

    /// The same, saying nothing.
    pub(super) fn load_quietly(&self, patterns: &[Pattern]) -> Result<Loaded, BuildError> {
        self.ask(patterns, |request| build::load(request, (false, session::interrupted())))
    }

    fn ask<T>(&self, patterns: &[Pattern], work: impl FnOnce(&Request<'_>) -> Result<T, BuildError>) -> Result<T, BuildError> {
        let (rules, search_path) = (session::rules(), session::search_path());
        let configurations = slice::from_ref(&self.configuration);
        let (workspace, rules, search_path) = (self.workspace, rules, search_path.as_os_str());
        work(&Request { workspace, patterns, configurations, rules, search_path, program: None })
    }

    /// What was loaded and leaves nothing to choose; says so.
    pub fn impossible<'l>(&self, loaded: &'l Loaded) -> BTreeSet<&'l Label> {
        let impossible = configure::impossible(loaded, &self.configuration);
        self.tell_left_out(&impossible);
        impossible
    }

    /// Says which targets leave nothing to choose.
    pub(super) fn tell_left_out<L: Display>(&self, labels: impl IntoIterator<Item = L>) {
        let names = labels.into_iter().map(|label| label.to_string()).collect::<Vec<_>>().join(", ");
        if !names.is_empty() {
            self.session.output.status(&format!("left out, for no branch of a `select()` holds: {names}\n"));
        }
    }

    /// What was loaded, with every choice made.
    pub fn configure<'l>(&self, loaded: &'l Loaded) -> Result<Configured<'l>, CliError> {
        Ok(configure(loaded, &self.configuration)?)
    }

    /// What that means. Says what was found besides what loading said.
    pub fn analyse<'c>(&self, configured: &'c Configured<'_>) -> Result<View<'c>, CliError> {
        let toolchain = self.ask(&[], |request| build::tools(request, configured.loaded(), None)).map_err(failure)?;
        let config = config(self.workspace, &self.configuration, toolchain.facts());
        let analysis = Analysis::of(&self.workspace.root, configured, &config, session::interrupted()).map_err(failure)?;
        let (loaded, warnings) = (configured.loaded(), analysis.analysed.warnings());
        let new: Vec<Diagnostic> = warnings.into_iter().filter(|warning| !loaded.warnings.contains(warning)).collect();
        self.session.findings(&new)?;
        Ok(View { loaded, analysis, toolchain })
    }
}

impl View<'_> {
    /// The tools of these actions. Whoever only looks at targets does not care whether there is a compiler.
    pub fn toolchain<'t>(&self, actions: impl IntoIterator<Item = &'t Arc<Action>>) -> Result<&Toolchain, CliError> {
        self.toolchain.serves(actions).map(|()| &self.toolchain).map_err(|error| no_toolchain(&error))
    }
}

/// Analyses what the patterns need, as `command` with its flags wants it, and shows it to `look`.
pub fn analysed<T>(
    session: &Session,
    workspace: &Workspace,
    patterns: &[Pattern],
    (flags, command): (&ConfigFlags, &str),
    look: impl FnOnce(&View<'_>) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let asker = Asker::new(session, workspace, flags, command)?;
    let loaded = asker.load(patterns)?;
    let configured = asker.configure(&loaded)?;
    look(&asker.analyse(&configured)?)
}
