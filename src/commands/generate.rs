//! `ouro generate`

use std::fs;
use std::path::Path;
use std::sync::Arc;

use ouro_engine::build::{BuildError, headers_of};
use ouro_engine::execute::{self, Options, Site};
use ouro_engine::plan::{self, Plan};
use ouro_engine::state::{Lock, State};
use ouro_engine::toolchain::Toolchain;
use ouro_engine::workspace::Workspace;
use ouro_rules::{Action, ActionKind, Diagnostic, Tool};
use serde_json::json;

use crate::cli::Generate;
use crate::commands::analysed::analysed;
use crate::commands::build::{failure, sandbox};
use crate::error::CliError;
use crate::files;
use crate::render::progress::Progress;
use crate::session::{self, Session};

/// clangd adds arguments for the host unless told what the code is for.
const CLANGD: &str = "# written by `ouro generate`\nCompileFlags:\n  CompilationDatabase: .\n  Add: [-target, bpf]\n";

/// Writes `compile_commands.json` and `.clangd`, and makes the generated headers that editors would miss.
pub fn run(session: &Session, args: &Generate) -> Result<(), CliError> {
    let workspace = session.workspace()?;
    let patterns = session::patterns(&workspace, &args.patterns)?;
    analysed(session, &workspace, &patterns, (&args.config, "`ouro generate`"), |view| {
        let plan = plan::plan(&view.analysis.graph, &view.analysis.analysed)?;
        let toolchain = view.toolchain(&plan.actions)?;
        make_headers(session, &workspace, toolchain, &headers_of(&plan))?;
        let commands = commands(&workspace.root, toolchain, &plan)?;
        let count = commands.as_array().map_or(0, Vec::len);
        let wrote = write(&workspace, "compile_commands.json", &format!("{commands:#}\n"))?;
        let verb = if wrote { "wrote compile_commands.json with" } else { "compile_commands.json is current:" };
        session.output.status(&format!("{verb} {count} commands\n"));
        configure_clangd(session, &workspace)
    })
}

/// Writes `.clangd` where there is none. One that people wrote stays theirs: they are told what it lacks.
fn configure_clangd(session: &Session, workspace: &Workspace) -> Result<(), CliError> {
    let Ok(own) = fs::read_to_string(workspace.root.join(".clangd")) else {
        return write(workspace, ".clangd", CLANGD).map(drop);
    };
    // Whatever else it says, it must say this; which of several ways it chose cannot be told from the text.
    let lacks = |word: &&str| !own.lines().any(|line| line.split('#').next().unwrap_or_default().contains(word));
    if ["CompilationDatabase", "bpf"].iter().any(lacks) {
        let note = Diagnostic::bare("`.clangd` is your own, and does not name the compilation database or the target `bpf`")
            .warning()
            .help(format!("add to it:\n{}", CLANGD.split_once('\n').map_or(CLANGD, |(_, settings)| settings).trim_end()));
        session.findings(&[note])?;
    }
    Ok(())
}

fn make_headers(session: &Session, workspace: &Workspace, toolchain: &Toolchain, plan: &Plan) -> Result<(), CliError> {
    let progress = Progress::new(&session.output, session.sources());
    let events = |event| progress.event(&event);
    let cache = session::cache_folder(workspace, None)?;
    let store = execute::open_store(&cache, session::interrupted(), &events).map_err(|error| failure(error.into()))?;
    let lock = Lock::acquire(&workspace.root, session::interrupted(), &events).map_err(|error| failure(error.into()))?;
    let site = Site { lock: &lock, toolchain, store: &store };
    let (color, sandbox) = (session.output.settings().err.color, sandbox(workspace, None)?);
    let options = Options { jobs: 1, keep_going: true, color, warm: true, sandbox, cancelled: session::interrupted() };
    let summary = execute::execute(&site, plan, &options, &mut State::load(&workspace.root), &events);
    progress.finish();
    let summary = summary.map_err(|error| failure(error.into()))?;
    if summary.failed > 0 { Err(failure(BuildError::Failed(summary))) } else { Ok(()) }
}

/// One entry for each compiled source, as clang's JSON compilation database format wants it.
fn commands(root: &Path, toolchain: &Toolchain, plan: &Plan) -> Result<serde_json::Value, CliError> {
    let entry = |action: &Arc<Action>| match &action.kind {
        ActionKind::Run { tool: tool @ Tool::Clang, args, depfile: Some(_), fallback, .. } => {
            let clang = toolchain.of(action).tool(tool).ok()?;
            // An editor wants to know what may be written, not only what is there already: all types of a kernel.
            let more = fallback.iter().flat_map(|fallback| &fallback.args).map(String::as_str).chain(args.iter());
            let arguments: Vec<String> =
                std::iter::once(clang.path.display().to_string()).chain(more.map(str::to_owned)).collect();
            let (file, output) = (action.inputs.first()?.path(), action.outputs.first()?.path());
            Some(json!({ "directory": root.to_string_lossy(), "file": file, "arguments": arguments, "output": output }))
        }
        _ => None,
    };
    Ok(plan.actions.iter().filter_map(entry).collect())
}

/// Writes a file unless it is there and the same; says whether it wrote. Editors load everything anew when the file changes.
fn write(workspace: &Workspace, name: &str, text: &str) -> Result<bool, CliError> {
    let path = workspace.root.join(name);
    if fs::read(&path).is_ok_and(|before| before == text.as_bytes()) {
        return Ok(false);
    }
    files::replace(&path, text.as_bytes()).map(|()| true)
}
