//! What `ouro run` does with a target that is no chain: becomes the program that it offers.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use ouro_engine::runfiles::{self, WORKSPACE_FOLDER};
use ouro_engine::state::Lock;
use ouro_engine::workspace::Workspace;
use ouro_rules::diagnostic::nearest;
use ouro_rules::label::{Label, Pattern, Scope};
use ouro_rules::{Artifact, RunInfo};

use crate::cli::{ConfigFlags, Run};
use crate::commands::analysed::analysed;
use crate::commands::build::{build, failure};
use crate::commands::graph::only;
use crate::configurations;
use crate::error::{CliError, Kind, io};
use crate::render::progress::Progress;
use crate::session::{self, Session};

/// What a label that can be run came to.
pub enum Built {
    /// A program.
    Program(Box<Program>),
    /// A chain's bundle.
    Chain(Vec<u8>),
}

/// A program with everything it gets.
pub struct Program {
    label: Label,
    command: Command,
}

/// Builds what is to be run.
pub fn built(session: &Session, args: &Run, label: &str) -> Result<Built, CliError> {
    let workspace = session.workspace()?;
    let label = session::label(&workspace, label)?;
    configurations::one(&workspace, &args.what.how.config, "`ouro run`")?;
    let built = build(session, &workspace, &[only(&label)], &args.what.how)?;
    let target = built.targets.first();
    if let Some((run, files)) = target.and_then(|target| target.run.as_ref()) {
        refuse_flags(args, &label)?;
        return program(session, &workspace, &label, run, files, &args.args).map(|program| Built::Program(Box::new(program)));
    }
    match target.map(|target| &target.files[..]).unwrap_or_default() {
        [file] if file.ends_with(".bundle") && args.args.is_empty() => {
            let path = workspace.root.join(file);
            fs::read(&path).map(Built::Chain).map_err(io(format!("cannot read `{}`", path.display())))
        }
        [file] if file.ends_with(".bundle") => {
            Err(CliError::new(Kind::Usage, format!("`{label}` is a chain and takes no arguments")))
        }
        _ => Err(not_runnable(session, &workspace, &args.what.how.config, &label)),
    }
}

/// What only makes sense for chains.
fn refuse_flags(args: &Run, label: &Label) -> Result<(), CliError> {
    let flags = [
        ("--interface", !args.what.interface.is_empty()),
        ("--bpffs", args.place.bpffs.is_some()),
        ("--netns", args.place.netns.is_some()),
        ("--json", args.place.json),
    ];
    match flags.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(CliError::new(Kind::Usage, format!("`{flag}` is for chains, and `{label}` is a program"))
            .help("what the program itself shall get stands behind `--`")),
        None => Ok(()),
    }
}

fn program(
    session: &Session,
    workspace: &Workspace,
    label: &Label,
    run: &RunInfo,
    files: &[Artifact],
    args: &[OsString],
) -> Result<Program, CliError> {
    let folder = workspace.root.join(runfiles::place(label));
    let progress = Progress::new(&session.output, session.sources());
    let lock = Lock::acquire(&workspace.root, session::interrupted(), &|event| progress.event(&event));
    let lock = lock.map_err(|error| failure(error.into()))?;
    runfiles::lay(lock.root(), &folder, files).map_err(io(format!("cannot link the files of `{label}`")))?;
    let mut command = Command::new(folder.join(WORKSPACE_FOLDER).join(&**run.executable.path()));
    command.args(&run.args).args(args).envs(&run.env);
    command.env("RUNFILES_DIR", &folder).env("BUILD_WORKSPACE_DIRECTORY", &workspace.root);
    command.env("BUILD_WORKING_DIRECTORY", workspace.root.join(&workspace.cwd));
    Ok(Program { label: label.clone(), command })
}

impl Program {
    /// Takes this process's place; comes back only when that cannot be done.
    pub fn become_it(mut self) -> CliError {
        session::leave_interrupts();
        let error = self.command.exec();
        let program = PathBuf::from(self.command.get_program());
        let failed = CliError::new(Kind::Failed, format!("cannot run `{}`: {error}", self.label));
        match error.kind() {
            std::io::ErrorKind::PermissionDenied => failed.help("make its file executable: `chmod +x`"),
            std::io::ErrorKind::NotFound if program.exists() => failed.help("what the script's first line names is not there"),
            _ => failed,
        }
    }
}

/// The error for a label that names something else: what could be meant instead.
fn not_runnable(session: &Session, workspace: &Workspace, flags: &ConfigFlags, label: &Label) -> CliError {
    let error = CliError::new(Kind::Usage, format!("`{label}` is neither a chain nor an executable, so it cannot be run"));
    let names: Vec<Arc<str>> = runnable(session, workspace, flags, &label.package).unwrap_or_default();
    let near = nearest(&label.name, names.iter().map(|name| &**name));
    let list = || names.iter().map(|name| format!("`{}`", label.sibling(name))).collect::<Vec<_>>().join(", ");
    match near {
        Some(near) => error.help(format!("did you mean `{}`?", label.sibling(near))),
        None if names.is_empty() => error.help("name a `bpf_chain`, `sh_binary` or other target that can be run"),
        None => error.help(format!("what can be run here: {}", list())),
    }
}

/// The names of all that can be run in a package; none when it has findings of its own.
fn runnable(session: &Session, workspace: &Workspace, flags: &ConfigFlags, package: &str) -> Option<Vec<Arc<str>>> {
    let patterns = [Pattern { negative: false, scope: Scope::Package(package.into()) }];
    let names = analysed(session, workspace, &patterns, (flags, "`ouro run`"), |view| {
        let offers = |label: &&Label| view.analysis.providers(label);
        let can_run = |label: &&Label| offers(label).is_some_and(|offers| offers.run.is_some() || offers.chain.is_some());
        Ok(view.loaded.requested.iter().filter(can_run).map(|label| label.name.clone()).collect())
    });
    names.ok()
}
