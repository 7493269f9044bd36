//! `ouro explain`

use ouro_engine::execute;
use ouro_engine::explain::{self, Ground};
use ouro_engine::plan::{self, Plan};
use ouro_engine::testing;
use ouro_engine::workspace::Workspace;
use ouro_rules::Label;
use ouro_rules::label::{Pattern, Scope};

use crate::cli::Explain;
use crate::commands::analysed::analysed;
use crate::commands::build::{failure, sandbox};
use crate::commands::graph::only;
use crate::commands::output;
use crate::error::{CliError, Kind};
use crate::render::progress::Progress;
use crate::render::reasons::Reasons;
use crate::session::{self, Session};

/// What is asked about.
enum Asked {
    Target(Label),
    /// An output by its path from the root.
    File(String),
}

/// Says why the actions of a target ran the last time, and why they would run now. Builds nothing.
pub fn run(session: &Session, args: &Explain) -> Result<(), CliError> {
    let workspace = session.workspace()?;
    let asked = asked(&workspace, &args.what)?;
    let patterns = [pattern(&workspace, &asked)];
    analysed(session, &workspace, &patterns, (&args.config, "`ouro explain`"), |view| {
        let mut plan = plan::plan(&view.analysis.graph, &view.analysis.analysed)?;
        let uncached = testing::add_to(&mut plan, &view.analysis);
        let chosen = chosen(&plan, &asked)?;
        let cache = session::cache_folder(&workspace, args.cache.as_ref())?;
        let progress = Progress::new(&session.output, session.sources());
        let store = execute::open_store(&cache, session::interrupted(), &|event| progress.event(&event));
        let store = store.map_err(|error| failure(error.into()))?;
        let sandbox = sandbox(&workspace, None)?;
        let toolchain = view.toolchain(&plan.actions)?;
        let ground = Ground { root: &workspace.root, toolchain, store: &store, sandbox, uncached: &uncached };
        let reasons = Reasons::new(&plan, explain::explain(&ground, &plan));
        let text = if args.json { reasons.json(&chosen) } else { reasons.text(&chosen, session.output.settings().out.color) };
        session.fact(&text)
    })
}

/// A path below the folder of outputs is a file; all else is a label.
fn asked(workspace: &Workspace, text: &str) -> Result<Asked, CliError> {
    match output::named(workspace, text) {
        Some(path) => Ok(Asked::File(path)),
        None => session::label(workspace, text).map(Asked::Target),
    }
}

/// What must be loaded: the target, or the package an output is of.
fn pattern(workspace: &Workspace, asked: &Asked) -> Pattern {
    match asked {
        Asked::Target(label) => only(label),
        Asked::File(path) => Pattern { negative: false, scope: Scope::Package(output::package(workspace, path).into()) },
    }
}

/// The places of the actions that are asked about: those of the target, or else those that make its files.
fn chosen(plan: &Plan, asked: &Asked) -> Result<Vec<usize>, CliError> {
    let makers = explain::makers(plan);
    let target = match asked {
        Asked::File(path) => {
            let made = makers.get(path.as_str()).map(|place| vec![*place]);
            return made.ok_or_else(|| no_action(&format!("makes `{path}`")));
        }
        Asked::Target(label) => label,
    };
    let places = |wanted: &dyn Fn(&Label) -> bool| {
        let of_target = |place: &usize| wanted(&plan.actions[*place].owner);
        (0..plan.actions.len()).filter(of_target).collect::<Vec<usize>>()
    };
    let own = places(&|owner| owner == target);
    if !own.is_empty() {
        return Ok(own);
    }
    let of_files = plan.requested.iter().filter_map(|file| makers.get(&**file.path()));
    let owners: Vec<&Label> = of_files.map(|place| &plan.actions[*place].owner).collect();
    let of_others = places(&|owner| owners.contains(&owner));
    if of_others.is_empty() { Err(no_action(&format!("makes the files of `{target}`"))) } else { Ok(of_others) }
}

fn no_action(what: &str) -> CliError {
    CliError::new(Kind::Usage, format!("no action {what}"))
        .help("name a target that is built, or one of its files as `ouro -v build` lists them")
}
