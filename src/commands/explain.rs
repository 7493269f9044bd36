//! `ouro explain`

use std::path::{Component, Path, PathBuf};

use ouro_engine::execute;
use ouro_engine::explain::{self, Ground};
use ouro_engine::plan::{self, Plan};
use ouro_engine::workspace::{OUT_FOLDER, Workspace};
use ouro_rules::Label;
use ouro_rules::label::{Pattern, Scope};

use crate::cli::Explain;
use crate::commands::analysed::analysed;
use crate::commands::build::{failure, sandbox};
use crate::commands::graph::only;
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
        let plan = plan::plan(&view.analysis.graph, &view.analysis.analysed)?;
        let chosen = chosen(&plan, &asked)?;
        let cache = session::cache_folder(&workspace, args.cache.as_ref())?;
        let progress = Progress::new(&session.output, session.sources());
        let store = execute::open_store(&cache, session::interrupted(), &|event| progress.event(&event));
        let store = store.map_err(|error| failure(error.into()))?;
        let sandbox = sandbox(&workspace, None)?;
        let ground = Ground { root: &workspace.root, toolchain: view.toolchain()?, store: &store, sandbox };
        let reasons = Reasons::new(&plan, explain::explain(&ground, &plan));
        let text = if args.json { reasons.json(&chosen) } else { reasons.text(&chosen, session.output.settings().out.color) };
        session.fact(&text)
    })
}

/// A path below the folder of outputs, from here or from the root, is a file; all else is a label.
fn asked(workspace: &Workspace, text: &str) -> Result<Asked, CliError> {
    let from = |folder: &Path| plain(&folder.join(text)).strip_prefix(&workspace.root).ok().map(Path::to_owned);
    let places = [from(&workspace.root.join(&workspace.cwd)), from(&workspace.root)];
    let output = places.into_iter().flatten().find(|path| path.starts_with(OUT_FOLDER));
    match output.as_deref().and_then(Path::to_str) {
        Some(path) => Ok(Asked::File(path.to_owned())),
        None => session::label(workspace, text).map(Asked::Target),
    }
}

/// The path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// What must be loaded: the target, or the package an output is of, which is the innermost one its path leads through.
fn pattern(workspace: &Workspace, asked: &Asked) -> Pattern {
    let path = match asked {
        Asked::Target(label) => return only(label),
        Asked::File(path) => path,
    };
    // The first two parts are the folder of outputs and the platform.
    let below = path.splitn(3, '/').nth(2).unwrap_or_default();
    let folders = below.rmatch_indices('/').map(|(at, _)| &below[..at]).chain([""]);
    let is_package = |folder: &&str| ["BUILD.ouro", "BUILD"].iter().any(|name| workspace.root.join(folder).join(name).is_file());
    let package = folders.into_iter().find(is_package).unwrap_or_default();
    Pattern { negative: false, scope: Scope::Package(package.into()) }
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
