//! Doing one action: a function of this process, or a process whose deeds are checked.
//!
//! Knows nothing of caches: it is asked only when they had no answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use ouro_cache::{ActionResult, Digest, Entry, Output};
use ouro_rules::native::{self, Input, Native};
use ouro_rules::{Action, ActionKind, Artifact, Diagnostic, Tool};

use super::action::{Found, Ran, Stop, Work};
use super::process::{Ended, Start};
use super::spawn::Command;
use super::{SCRATCH, key, outputs};
use crate::event::{Event, How};

/// What every clang run is told besides. Always with colours, so that the cache holds what a terminal shows; they are removed where
/// nobody wants them. Outputs are written where they belong, not read back and renamed, so that nothing in their folder needs to be
/// readable.
const OWN: &[&str] = &["-fcolor-diagnostics", "-fno-temp-file"];

impl Work<'_> {
    /// Does the action. When it does not end well, none of its outputs stays.
    pub(super) fn run(&self, place: usize, action: &Action, inputs: &[Found]) -> Result<Ran, Stop> {
        if self.is_stopping() {
            return Err(Stop::Cancelled);
        }
        (self.events)(Event::Started { action: place, mnemonic: action.mnemonic.clone(), owner: action.owner.clone() });
        let ran = match &action.kind {
            ActionKind::Native(work) => self.run_native(action, work, inputs),
            _ => self.run_process(action, inputs),
        };
        if !matches!(ran, Ok(Ran::Well(..))) {
            self.remove_outputs(action);
        }
        ran
    }

    fn run_native(&self, action: &Action, work: &Native, inputs: &[Found]) -> Result<Ran, Stop> {
        let mut contents = Vec::with_capacity(inputs.len());
        for (place, (path, file)) in inputs.iter().enumerate() {
            let digest = file.digest;
            if native::is_known(work, place, &digest, &self.memory) {
                contents.push(Input { digest, bytes: Vec::new() });
                continue;
            }
            let bytes = fs::read(self.files.place(path)).map_err(|error| outputs::trouble("read", path, &error))?;
            if Digest::of(&bytes) != digest {
                return Ok(Ran::InputsChanged);
            }
            contents.push(Input { digest, bytes });
        }
        let made = native::run(work, &contents, &self.memory)?;
        let mut result = ActionResult { outputs: Vec::with_capacity(made.len()), printed: String::new() };
        let mut how = How::UpToDate;
        // A copy may be run when what it is of may be run.
        let executable = *work == Native::Copy && inputs.iter().all(|(_, file)| file.stamp.is_executable());
        for (path, bytes) in action.outputs.iter().map(Artifact::path).zip(made) {
            let (output, wrote) = self.put(path, &bytes, executable)?;
            result.outputs.push(output);
            how = if wrote { How::Ran } else { how };
        }
        Ok(Ran::Well(Entry { reads: Arc::default(), absent: Arc::default(), result }, how))
    }

    fn run_process(&self, action: &Action, inputs: &[Found]) -> Result<Ran, Stop> {
        let start = SystemTime::now();
        let (mut ended, mut given_up) = self.start_to_good_end(action, false)?;
        let mut paths = self.discovered(action, &ended)?;
        if paths.iter().any(|path| self.sight.is_anothers(action, path)) {
            (ended, given_up) = self.start_to_good_end(action, true)?;
            paths = self.discovered(action, &ended)?;
        }
        let failed = |findings| Stop::Failed { printed: ended.printed.clone(), findings };
        // Before it is asked whether inputs changed meanwhile: links to them become copies.
        self.make_plain(action).map_err(failed)?;
        self.check_declared(action, &paths).map_err(failed)?;
        let paths: Vec<Arc<str>> = paths.into_iter().chain(given_up).collect::<BTreeSet<_>>().into_iter().collect();
        let Some(mut reads) = self.digests(&paths, inputs, start).map_err(failed)? else { return Ok(Ran::InputsChanged) };
        let Some(absent) = self.looked_for(action, &mut reads, start).map_err(failed)? else { return Ok(Ran::InputsChanged) };
        self.check(action).map_err(failed)?;
        let outputs = self.gather(action).map_err(failed)?;
        let result = ActionResult { outputs, printed: ended.printed };
        Ok(Ran::Well(Entry { reads: reads.into(), absent: absent.into(), result }, How::Ran))
    }

    fn start_to_good_end(&self, action: &Action, apart: bool) -> Result<(Ended, Option<Arc<str>>), Stop> {
        let (ended, given_up) = self.start_with_fallback(action, apart)?;
        if ended.status.success() { Ok((ended, given_up)) } else { Err(self.bad_end(action, ended)) }
    }

    /// Runs the action's process; apart from what others make if it must be, or if it stops at some of that.
    pub(super) fn start_and_wait(&self, action: &Action, apart: bool) -> Result<Ended, Stop> {
        let ended = self.start_once(action, apart)?;
        let is_stopped = || ended.stopped || self.options.cancelled.load(Ordering::Relaxed);
        let again = !apart && !ended.status.success() && !is_stopped() && self.met_anothers(action, &ended.printed);
        if again { self.start_once(action, true) } else { Ok(ended) }
    }

    fn start_once(&self, action: &Action, apart: bool) -> Result<Ended, Stop> {
        let ActionKind::Run { tool, args, env, .. } = &action.kind else { unreachable!("BUG: only processes are started") };
        let root = self.site.lock.root();
        for path in made_by(action) {
            outputs::make_room(root, path)?;
            self.files.set(path, None);
        }
        let program = self.tool(action, tool)?;
        self.check_executable(tool)?;
        let own: &[&str] = if *tool == Tool::Clang { OWN } else { &[] };
        let args = own.iter().copied().chain(args.iter());
        let trouble = |error| outputs::trouble("run", &program.path.display().to_string(), &error);
        let mut slot = self.scratch.take();
        // The tools of LLVM take longer to start than to work, and have no use for a home.
        let (start, home) = match is_llvm(action) {
            true => (Start::Warm, None),
            false => (Start::Plain, Some(slot.home().map_err(|error| outputs::trouble("make a folder in", SCRATCH, &error))?)),
        };
        let home_text = home.as_ref().map(|home| home.to_string_lossy());
        let env = with_home(key::environment(env), home_text.as_deref());
        let cage = self.cage(action, &program.path, (&mut slot, home.as_deref()), apart).map_err(trouble)?;
        let (folder, start) = cage.folder.as_deref().map_or((root, start), |folder| (folder, Start::Plain));
        let command = Command::new(&program.path, args, env, folder).map_err(trouble)?.within(cage.walls);
        let ended = self.processes.run(&command, start, &|| self.look_ahead(action)).map_err(trouble)?;
        for path in made_by(action) {
            cage.staged.deliver(&root.join(&**path)).map_err(|error| outputs::trouble("write", path, &error))?;
        }
        Ok(ended)
    }

    /// A script that may not be run is the usual mistake, and what the kernel says of it names no remedy.
    fn check_executable(&self, tool: &Tool) -> Result<(), Diagnostic> {
        let Tool::File(file) = tool else { return Ok(()) };
        let path = file.path();
        match self.files.get(path) {
            Ok(Some(found)) if !found.stamp.is_executable() => {
                Err(Diagnostic::bare(format!("`{path}` is to be run and is not executable")).help(format!("`chmod +x {path}`")))
            }
            _ => Ok(()),
        }
    }

    /// Looks at what was made, where the action says what that must be.
    fn check(&self, action: &Action) -> Result<(), Vec<Diagnostic>> {
        let ActionKind::Run { check: Some(check), .. } = &action.kind else { return Ok(()) };
        let made: Result<Vec<_>, _> = action.outputs.iter().map(|output| fs::read(self.files.place(output.path()))).collect();
        // Whoever gathers the outputs tells of those that are missing.
        made.map_or(Ok(()), |made| native::check(check, &made))
    }

    fn gather(&self, action: &Action) -> Result<Vec<Output>, Vec<Diagnostic>> {
        let mut gathered = Vec::with_capacity(action.outputs.len());
        let mut findings = Vec::new();
        for path in action.outputs.iter().map(Artifact::path) {
            match outputs::gather(self.site.lock.root(), path, self.site.store) {
                Ok(Some((output, file))) => {
                    self.files.set(path, Some(file));
                    gathered.push(output);
                }
                Ok(None) => findings.push(outputs::not_made(action, path)),
                Err(finding) => findings.push(finding),
            }
        }
        if findings.is_empty() { Ok(gathered) } else { Err(findings) }
    }

    fn bad_end(&self, action: &Action, ended: Ended) -> Stop {
        if ended.stopped || self.options.cancelled.load(Ordering::Relaxed) {
            return Stop::Cancelled;
        }
        let mut findings = self.unreadable(action, &ended.printed);
        findings.extend(self.kept_out(action, &ended.printed));
        let silent = ended.printed.trim().is_empty();
        let word = if silent { " without a word" } else { "" };
        let finding = Diagnostic::bare(format!("{} of `{}` failed{word}: {}", action.mnemonic, action.owner, ended.status));
        match ended.status.signal() {
            Some(libc::SIGKILL) => {
                findings.push(finding.help("the machine may be out of memory: build with fewer jobs (`-j 1`)"))
            }
            // Compilers name the place; others mostly do not, nor how they ended.
            None if !silent && is_llvm(action) => {}
            _ => findings.push(finding),
        }
        Stop::Failed { printed: ended.printed, findings }
    }

    /// What cannot be removed is taken for no output later: its bytes are in no result.
    fn remove_outputs(&self, action: &Action) {
        for path in made_by(action) {
            let _ = outputs::remove(self.site.lock.root(), path);
            self.files.forget(path);
        }
    }
}

/// Whether the action runs one of the toolchain's own tools.
pub(super) fn is_llvm(action: &Action) -> bool {
    matches!(action.kind, ActionKind::Run { tool: Tool::Clang | Tool::LlvmLink, .. })
}

/// What is to be written by a process that is given no other place finds one here.
fn with_home<'e>(mut env: BTreeMap<&'e str, &'e str>, home: Option<&'e str>) -> BTreeMap<&'e str, &'e str> {
    for (name, home) in ["HOME", "TMPDIR"].into_iter().zip(home.into_iter().cycle()) {
        env.entry(name).or_insert(home);
    }
    env
}

/// Every path an action writes to.
pub(super) fn made_by(action: &Action) -> impl Iterator<Item = &Arc<str>> {
    let depfile = match &action.kind {
        ActionKind::Run { depfile, .. } => depfile.as_ref(),
        ActionKind::Write { .. } | ActionKind::Native(_) => None,
    };
    action.outputs.iter().map(Artifact::path).chain(depfile)
}
