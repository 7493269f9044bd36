//! `ouro generate`

use std::path::Path;
use std::slice;
use std::sync::Arc;

use ouro_cache::Store;
use ouro_engine::build::{self, Analysis, BuildError, Request, config, headers_of};
use ouro_engine::configure::configure;
use ouro_engine::execute::{self, Options, Site};
use ouro_engine::plan::{self, Plan};
use ouro_engine::state::{Lock, State};
use ouro_engine::toolchain::Toolchain;
use ouro_engine::workspace::Workspace;
use ouro_rules::{Action, ActionKind, Tool, builtin};
use serde_json::json;

use crate::cli::Generate;
use crate::commands::build::failure;
use crate::configurations;
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
    let (rules, search_path) = (builtin::table(), session::search_path());
    let configuration = configurations::one(&workspace, &args.config, "`ouro generate`")?;
    let configurations = slice::from_ref(&configuration);
    let request = Request {
        workspace: &workspace,
        patterns: &patterns,
        configurations,
        rules: &rules,
        search_path: &search_path,
        program: None,
    };
    let toolchain =
        Toolchain::find(&workspace.root, &workspace.settings.toolchain, &search_path).map_err(|error| failure(error.into()))?;
    session::catch_interrupts();
    let loaded = build::load(&request, session::interrupted()).map_err(failure)?;
    let configured = configure(&loaded, &configuration)?;
    let analysis = Analysis::of(&request, &configured, &config(&workspace, &configuration, toolchain.clang_flags()))?;
    let plan = plan::plan(&analysis.graph, &analysis.analysed)?;
    make_headers(session, &workspace, &toolchain, &headers_of(&plan))?;
    let commands = commands(&workspace.root, &toolchain, &plan)?;
    let count = commands.as_array().map_or(0, Vec::len);
    write(&workspace, "compile_commands.json", &format!("{commands:#}\n"))?;
    if !workspace.root.join(".clangd").exists() {
        write(&workspace, ".clangd", CLANGD)?;
    }
    session.output.status(&format!("wrote compile_commands.json with {count} commands\n"));
    Ok(())
}

fn make_headers(session: &Session, workspace: &Workspace, toolchain: &Toolchain, plan: &Plan) -> Result<(), CliError> {
    let progress = Progress::new(&session.output, session.sources());
    let events = |event| progress.event(&event);
    let store = Store::open(&session::cache_folder(workspace, None)?).map_err(|error| failure(error.into()))?;
    let lock = Lock::acquire(&workspace.root, session::interrupted(), &events).map_err(|error| failure(error.into()))?;
    let site = Site { lock: &lock, toolchain, store: &store };
    let options =
        Options { jobs: 1, keep_going: true, color: session.output.settings().err.color, cancelled: session::interrupted() };
    let summary = execute::execute(&site, plan, &options, &mut State::load(&workspace.root), &events);
    progress.finish();
    let summary = summary.map_err(|error| failure(error.into()))?;
    if summary.failed > 0 { Err(failure(BuildError::Failed(summary))) } else { Ok(()) }
}

/// One entry for each compiled source, as clang's JSON compilation database format wants it.
fn commands(root: &Path, toolchain: &Toolchain, plan: &Plan) -> Result<serde_json::Value, CliError> {
    let clang = toolchain.tool(&Tool::Clang).map_err(|error| failure(error.into()))?;
    let entry = |action: &Arc<Action>| match &action.kind {
        ActionKind::Run { tool: Tool::Clang, args, depfile: Some(_), .. } => {
            let arguments: Vec<String> = std::iter::once(clang.path.display().to_string()).chain(args.iter().cloned()).collect();
            let (file, output) = (action.inputs.first()?.path(), action.outputs.first()?.path());
            Some(json!({ "directory": root.to_string_lossy(), "file": file, "arguments": arguments, "output": output }))
        }
        _ => None,
    };
    Ok(plan.actions.iter().filter_map(entry).collect())
}

fn write(workspace: &Workspace, name: &str, text: &str) -> Result<(), CliError> {
    files::replace(&workspace.root.join(name), text.as_bytes())
}
