//! What the execution tests share: workspaces in temporary folders, plans made by hand, builds with real tools.

#![expect(dead_code, reason = "every test file compiles this module and uses a part of it")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock, Mutex};

use ouro_cache::Store;
use ouro_engine::event::{Event, How};
use ouro_engine::execute::{ExecuteError, Options, Sandbox, SandboxMode, Site, Summary, execute};
use ouro_engine::plan::Plan;
use ouro_engine::state::{Lock, State};
use ouro_engine::toolchain::{Toolchain, host, system_includes};
use ouro_rules::builtin::ToolchainSpec;
use ouro_rules::native::{Check, Native};
use ouro_rules::object::Expected;
use ouro_rules::{Action, ActionKind, Artifact, Label, Tool};
use tempfile::TempDir;

pub static NEVER: AtomicBool = AtomicBool::new(false);

/// The toolchain of this machine, found once: it is hundreds of megabytes.
pub static TOOLCHAIN: LazyLock<Toolchain> = LazyLock::new(|| {
    let dir = TempDir::new().unwrap();
    Toolchain::find(dir.path(), &ToolchainSpec::default(), OsStr::new("/usr/bin:/bin")).unwrap()
});

/// A workspace and a store, both in temporary folders.
pub struct Workspace {
    _dir: Option<TempDir>,
    pub root: PathBuf,
    pub cache: PathBuf,
    pub jobs: usize,
    pub keep_going: bool,
    pub color: bool,
    pub warm: bool,
    pub sandbox: Sandbox<'static>,
}

/// How a build went.
#[derive(Debug)]
pub struct Built {
    pub result: Result<Summary, ExecuteError>,
    pub events: Vec<Event>,
}

impl Workspace {
    pub fn new() -> Workspace {
        let dir = TempDir::new().unwrap();
        let (root, cache) = (dir.path().join("workspace"), dir.path().join("cache"));
        fs::create_dir(&root).unwrap();
        Workspace { _dir: Some(dir), ..Workspace::at(root, cache) }
    }

    /// A workspace and a store in folders of someone else.
    pub fn at(root: PathBuf, cache: PathBuf) -> Workspace {
        Workspace { _dir: None, root, cache, jobs: 2, keep_going: false, color: false, warm: true, sandbox: Sandbox::default() }
    }

    /// Another workspace with the same store.
    pub fn sharing(other: &Workspace) -> Workspace {
        Workspace { cache: other.cache.clone(), ..Workspace::new() }
    }

    /// Lets actions do what only tests want of them: look at and change what is not theirs.
    pub fn open(mut self) -> Workspace {
        self.sandbox.mode = SandboxMode::Off;
        self
    }

    pub fn write(&self, path: &str, text: &str) {
        let place = self.root.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
    }

    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// Every file that is in the folder of outputs.
    pub fn outputs(&self) -> Vec<String> {
        let mut found: Vec<String> = files(&self.root.join("ouro-out")).iter().map(|path| relative(&self.root, path)).collect();
        found.sort();
        found
    }

    pub fn overwrite(&self, path: &str, bytes: &[u8]) {
        overwrite(&self.root.join(path), bytes);
    }

    pub fn build(&self, actions: Vec<Action>) -> Built {
        self.build_until(actions, &NEVER, &|_| {})
    }

    pub fn build_until(&self, actions: Vec<Action>, cancelled: &AtomicBool, listen: &(dyn Fn(&Event) + Sync)) -> Built {
        let events = Mutex::new(Vec::new());
        let plan = plan(actions);
        let lock = Lock::acquire(&self.root, &NEVER, &|_| {}).unwrap();
        let store = Store::open(&self.cache).unwrap();
        let site = Site { lock: &lock, toolchain: &TOOLCHAIN, store: &store };
        let (jobs, keep_going, color, warm, sandbox) = (self.jobs, self.keep_going, self.color, self.warm, self.sandbox);
        let options = Options { jobs, keep_going, color, warm, sandbox, cancelled };
        let result = execute(&site, &plan, &options, &mut State::load(&self.root), &|event| {
            listen(&event);
            events.lock().unwrap().push(event);
        });
        Built { result, events: events.into_inner().unwrap() }
    }
}

impl Built {
    pub fn summary(&self) -> &Summary {
        self.result.as_ref().unwrap()
    }

    /// Each action's owner with how it ended, sorted.
    pub fn ends(&self) -> Vec<(String, String)> {
        let mut ends: Vec<_> = self.events.iter().filter_map(end).collect();
        ends.sort();
        ends
    }

    /// Owners of actions that ended this way, sorted.
    pub fn which(&self, how: &str) -> Vec<String> {
        self.ends().into_iter().filter(|(_, end)| end == how).map(|(owner, _)| owner).collect()
    }

    /// Owners of actions in the order they began to run.
    pub fn started(&self) -> Vec<&str> {
        let mut started = Vec::new();
        for event in &self.events {
            if let Event::Started { owner, .. } = event {
                started.push(&*owner.name);
            }
        }
        started
    }

    /// Everything that failed actions said.
    pub fn complaints(&self) -> String {
        let mut text = String::new();
        for event in &self.events {
            if let Event::Failed { output, findings, .. } = event {
                text += output;
                for finding in findings {
                    text += &format!("{}\n{}\n", finding.message, finding.help.as_deref().unwrap_or("no help"));
                }
            }
        }
        text
    }

    /// What the action of this owner printed.
    pub fn printed(&self, name: &str) -> &str {
        let of = |event: &'_ Event| match event {
            Event::Finished { owner, .. } => *owner.name == *name,
            _ => false,
        };
        match self.events.iter().find(|event| of(event)) {
            Some(Event::Finished { output, .. }) => output,
            _ => panic!("`{name}` did not finish: {:?}", self.events),
        }
    }
}

fn end(event: &Event) -> Option<(String, String)> {
    match event {
        Event::Finished { owner, how: How::UpToDate, .. } => Some((owner.name.to_string(), "up to date".to_owned())),
        Event::Finished { owner, how: How::Cached, .. } => Some((owner.name.to_string(), "cached".to_owned())),
        Event::Finished { owner, how: How::Ran, .. } => Some((owner.name.to_string(), "ran".to_owned())),
        Event::Failed { owner, .. } => Some((owner.name.to_string(), "failed".to_owned())),
        Event::Stopped { owner, .. } => Some((owner.name.to_string(), "stopped".to_owned())),
        Event::Waiting { .. }
        | Event::WaitingForCache
        | Event::Began(_)
        | Event::Ended(_)
        | Event::Configured { .. }
        | Event::Planned { .. }
        | Event::Restored { .. }
        | Event::Troubled(_)
        | Event::Started { .. } => None,
    }
}

pub fn overwrite(place: &Path, bytes: &[u8]) {
    fs::set_permissions(place, Permissions::from_mode(0o644)).unwrap();
    fs::write(place, bytes).unwrap();
}

pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()
}

/// Actions in a good order, with what they need found by their inputs.
pub fn plan(actions: Vec<Action>) -> Plan {
    let maker = |input: &Artifact| actions.iter().position(|action| action.outputs.contains(input)).map(|place| place as u32);
    let needs = actions.iter().map(|action| action.inputs.iter().filter_map(maker).collect()).collect();
    Plan { needs, requested: Vec::new(), actions: actions.into_iter().map(Arc::new).collect() }
}

/// `ouro-out/x/...` is an output, anything else a source.
pub fn artifact(path: &str) -> Artifact {
    let path: Arc<str> = path.into();
    if path.starts_with("ouro-out/") { Artifact::Output(path) } else { Artifact::Source(path) }
}

fn action(mnemonic: &str, name: &str, kind: ActionKind, inputs: &[&str], outputs: &[&str]) -> Action {
    let artifacts = |paths: &[&str]| paths.iter().map(|path| artifact(path)).collect();
    Action {
        mnemonic: mnemonic.into(),
        owner: Label::new("fw", name),
        kind,
        inputs: artifacts(inputs),
        outputs: artifacts(outputs),
    }
}

/// Compiles `fw/<name>.c` to `ouro-out/x/fw/<name>.o`; `headers` are its other inputs.
pub fn compile(name: &str, headers: &[&str]) -> Action {
    let (source, object, depfile) =
        (format!("fw/{name}.c"), format!("ouro-out/x/fw/{name}.o"), format!("ouro-out/x/fw/{name}.o.d"));
    let flags = "-target bpf -O2 -g -gdwarf-4 -ffile-compilation-dir=. -Wall -iquote . -iquote ouro-out/x";
    let mut args: Vec<String> = flags.split(' ').map(str::to_owned).collect();
    args.extend(system_includes(host()).iter().map(|folder| format!("-idirafter{folder}")));
    args.extend(["-MD", "-MF", &depfile, "-c", &source, "-o", &object].map(str::to_owned));
    let depfile = Some(depfile.as_str().into());
    let kind =
        ActionKind::Run { tool: Tool::Clang, args: args.into(), env: BTreeMap::new(), depfile, fallback: None, check: None };
    let inputs: Vec<&str> = [source.as_str()].into_iter().chain(headers.iter().copied()).collect();
    action("compile", name, kind, &inputs, &[&object])
}

/// Runs a shell script.
pub fn script(name: &str, script: &str, inputs: &[&str], outputs: &[&str]) -> Action {
    let args = ["-e", "-c", script].map(str::to_owned).to_vec();
    let kind = ActionKind::Run {
        tool: Tool::Shell,
        args: args.into(),
        env: BTreeMap::new(),
        depfile: None,
        fallback: None,
        check: None,
    };
    action("genrule", name, kind, inputs, outputs)
}

/// Looks into an object.
pub fn inspect(name: &str, object: &str, facts: &str) -> Action {
    action("inspect", name, ActionKind::Native(Native::Inspect(expected(name))), &[object], &[facts])
}

/// A script whose output must be an object.
pub fn checked(name: &str, text: &str, object: &str) -> Action {
    let mut action = script(name, text, &[], &[object]);
    if let ActionKind::Run { check, .. } = &mut action.kind {
        *check = Some(Box::new(Check::Object(expected(name))));
    }
    action
}

fn expected(name: &str) -> Expected {
    let label = format!("//fw:{name}");
    Expected { label, ty: "xdp".to_owned(), function: None, jumps: Vec::new(), maps: Vec::new() }
}

/// Writes a file.
pub fn write(name: &str, text: &str, output: &str) -> Action {
    action("header", name, ActionKind::Write { content: text.as_bytes().into(), executable: false }, &[], &[output])
}

/// `a.c` and `b.c` include `lib.h`, `c.c` does not, though all may.
pub fn three_programs(workspace: &Workspace) -> Vec<Action> {
    workspace.write("fw/lib.h", "#define LIMIT 7\n");
    for (name, header) in [("a", "#include \"lib.h\"\n"), ("b", "#include \"fw/lib.h\"\n"), ("c", "#define LIMIT 9\n")] {
        workspace.write(
            &format!("fw/{name}.c"),
            &format!("#include <linux/bpf.h>\n{header}int {name}(struct __sk_buff *skb) {{ return LIMIT; }}\n"),
        );
    }
    ["a", "b", "c"].map(|name| compile(name, &["fw/lib.h"])).to_vec()
}
