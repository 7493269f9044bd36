//! `ouro graph`

use std::slice;
use std::sync::Arc;

use ouro_engine::build::{self, Analysis, Request};
use ouro_engine::configure::configure;
use ouro_rules::builtin;
use ouro_rules::chain::ChainSpec;
use ouro_rules::label::{Label, Pattern, Scope};

use crate::cli::{ConfigFlags, Graph, GraphFormat};
use crate::commands::build::failure;
use crate::configurations;
use crate::error::{CliError, Kind};
use crate::session::{self, Session};
use crate::view::{self, Format};

/// Draws a chain. Needs no compiler's output: a chain is known once the BUILD files are.
pub fn run(session: &Session, args: &Graph) -> Result<(), CliError> {
    let chain = chain(session, &args.chain, &args.config)?;
    let format = match args.format {
        GraphFormat::Text => Format::Text,
        GraphFormat::Dot => Format::Dot,
        GraphFormat::Mermaid => Format::Mermaid,
        GraphFormat::Json => Format::Json,
        GraphFormat::Svg => Format::Svg,
    };
    session.fact(&view::draw(&chain, format, session.output.settings().out.color))
}

fn chain(session: &Session, text: &str, flags: &ConfigFlags) -> Result<Arc<ChainSpec>, CliError> {
    let workspace = session.workspace()?;
    let label = session::label(&workspace, text)?;
    let patterns = [only(&label)];
    let (rules, search_path) = (builtin::table(), session::search_path());
    let configuration = configurations::one(&workspace, flags, "`ouro graph`")?;
    let configurations = slice::from_ref(&configuration);
    let request = Request {
        workspace: &workspace,
        patterns: &patterns,
        configurations,
        rules: &rules,
        search_path: &search_path,
        program: None,
    };
    session::catch_interrupts();
    let loaded = build::load(&request, session::interrupted()).map_err(failure)?;
    let configured = configure(&loaded, &configuration)?;
    // Nothing is built, so it matters to nobody which compiler there is.
    let analysis = Analysis::of(&request, &configured, &build::config(&workspace, &configuration, Vec::new()))?;
    let chain = analysis.providers(&label).and_then(|providers| providers.chain.clone());
    chain.map(|chain| chain.spec.clone()).ok_or_else(|| not_a_chain(&label))
}

/// The pattern that selects one target.
pub fn only(label: &Label) -> Pattern {
    Pattern { negative: false, scope: Scope::Target(label.clone()) }
}

/// The error for a label that names something else.
pub fn not_a_chain(label: &Label) -> CliError {
    CliError::new(Kind::Usage, format!("`{label}` is no chain")).help("name a `bpf_chain` target")
}
