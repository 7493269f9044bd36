//! `ouro graph`

use std::sync::Arc;

use ouro_engine::build::{Analysis, Request};
use ouro_engine::load;
use ouro_engine::toolchain;
use ouro_engine::workspace::OUT_FOLDER;
use ouro_rules::chain::ChainSpec;
use ouro_rules::label::{Label, Pattern, Scope};
use ouro_rules::{Config, builtin};

use crate::cli::{Graph, GraphFormat};
use crate::error::{CliError, Kind};
use crate::session::{self, Session};
use crate::view::{self, Format};

/// Draws a chain. Needs no compiler's output: a chain is known once the BUILD files are.
pub fn run(session: &Session, args: &Graph) -> Result<(), CliError> {
    let chain = chain(session, &args.chain)?;
    let format = match args.format {
        GraphFormat::Text => Format::Text,
        GraphFormat::Dot => Format::Dot,
        GraphFormat::Mermaid => Format::Mermaid,
        GraphFormat::Json => Format::Json,
        GraphFormat::Svg => Format::Svg,
    };
    session.fact(&view::draw(&chain, format, session.output.settings().out.color))
}

fn chain(session: &Session, text: &str) -> Result<Arc<ChainSpec>, CliError> {
    let workspace = session.workspace()?;
    let label = session::label(&workspace, text)?;
    let patterns = [only(&label)];
    let (rules, search_path) = (builtin::table(), session::search_path());
    let request = Request { workspace: &workspace, patterns: &patterns, rules: &rules, search_path: &search_path, program: None };
    let loaded = load::load(&workspace, &patterns, &rules)?;
    // Nothing is built, so it matters to nobody where outputs would go and where the compiler finds its headers.
    let name = workspace.settings.workspace.name.clone();
    let config = Config {
        workspace: name,
        out_dir: OUT_FOLDER.to_owned(),
        arch: toolchain::arch().to_owned(),
        system_includes: Vec::new(),
        clang_flags: Vec::new(),
    };
    let analysis = Analysis::of(&request, &loaded, &config)?;
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
