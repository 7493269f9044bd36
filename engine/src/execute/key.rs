//! The key of an action: the digest of everything its result depends on and that is known before it runs.
//!
//! Knows nothing of caches. This file is the only author of keys: [`ingredients`] lists what goes in, [`digest`] hashes that
//! list, and whoever explains why an action ran compares two such lists.
//!
//! | ingredient | of | why |
//! |---|---|---|
//! | version | all | [`KEY_VERSION`]: what an engine does besides running the tool |
//! | mnemonic | all | two kinds of work never share a result |
//! | tool | processes | another compiler makes other objects; for a file of the build its path, beside its bytes as input |
//! | argument | processes | in order |
//! | environment | processes | the action's own and [`FIXED_ENVIRONMENT`] |
//! | dependency file | processes | whether headers are found or declared |
//! | fallback | processes | the arguments of the second way, and what it does without |
//! | work | functions | [`ouro_rules::native::VERSION`], and the function with its arguments |
//! | check | processes whose outputs are looked at | the same version, and what the outputs must be |
//! | content | writes | the bytes (writes need no cache; this is for whoever explains) |
//! | input | all | path and digest, in the action's order |
//! | executable | copies, processes without a dependency file | the path of an input that may be run: so may its copy |
//! | output | all | path: results are put there |
//!
//! Processes that write a dependency file have two levels. Here only the inputs named in their arguments, also behind `=`, count, the others are
//! permissions. What was really read (also system headers) stands with its digest in the entries under the key, beside the names
//! that were looked for in vain before it was found. An entry holds only while all of it is unchanged, nothing has appeared under
//! those names (see [`ouro_cache::Entry`]), and the action may read all of it. So a header that is declared and not included makes
//! nothing run, and one that would be found before another does. This trusts the compiler to name all it reads; clang does so for
//! `#include`, `#embed` and precompiled headers. For the assembler's `.incbin` it does not: whoever reads a text with that word is taken
//! to have read all its inputs. And it takes knowing where the compiler looks: where arguments or variables say that in a way that is
//! not understood, or a script may (see `includes::is_understood`), all inputs count here.
//!
//! Tests have keys, too: they are processes whose program is an input, whose tool is what runs a script (`#!`), and whose outputs
//! are the log and what else is told of the run.
//!
//! Not in the key, because they do not change results: the number of jobs, colours, the place of the workspace, the sandbox, and where
//! `HOME` and `TMPDIR` are, which every process has to itself and finds empty.

use std::collections::BTreeMap;
use std::sync::Arc;

use ouro_cache::{Digest, Hasher};
use ouro_rules::native::Native;
use ouro_rules::{Action, ActionKind, Fallback, Tool, native};
use serde::Serialize;

use super::includes;
use crate::fast::FastSet;

/// Changes when the engine runs actions in another way, so that results of earlier versions are not used.
pub const KEY_VERSION: u32 = 4;

/// What every process finds in its environment. Nothing of the user's is passed on.
pub const FIXED_ENVIRONMENT: [(&str, &str); 3] = [("LC_ALL", "C"), ("PATH", "/usr/bin:/bin"), ("SOURCE_DATE_EPOCH", "0")];

/// An input and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// From the workspace root.
    pub path: Arc<str>,
    /// Of its bytes.
    pub digest: Digest,
    /// Whether it may be run.
    pub executable: bool,
}

/// One thing a result depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ingredient<'a> {
    /// [`KEY_VERSION`].
    Version(u32),
    /// The kind of work.
    Mnemonic(&'a str),
    /// The identity of the program that runs.
    Tool(Digest),
    /// One argument.
    Argument(&'a str),
    /// One variable of the environment.
    Environment(&'a str, &'a str),
    /// Where the process writes what it read.
    Depfile(&'a str),
    /// An argument of the second way, and the input that this does without.
    Fallback(&'a str, &'a str),
    /// A function of this process: its version, and itself as JSON.
    Work(u32, String),
    /// What the outputs must be: the version of the functions of this process that look at them, and which it is, as JSON.
    Check(u32, String),
    /// The bytes that are written, and whether the file may be run.
    Content(Digest, bool),
    /// A file by path and bytes.
    Input(&'a str, Digest),
    /// A file that may be run.
    Executable(&'a str),
    /// A file that is made.
    Output(&'a str),
}

/// Everything `action` depends on; `tool` is the identity of its program, if it runs one.
pub fn ingredients<'a>(action: &'a Action, tool: Option<Digest>, inputs: &'a [Input]) -> Vec<Ingredient<'a>> {
    let mut list = vec![Ingredient::Version(KEY_VERSION), Ingredient::Mnemonic(&action.mnemonic)];
    list.extend(tool.map(Ingredient::Tool));
    let mut named = None;
    match &action.kind {
        ActionKind::Run { tool, args, env, depfile, fallback, check } => {
            list.extend(args.iter().map(Ingredient::Argument));
            list.extend(environment(env).into_iter().map(|(name, value)| Ingredient::Environment(name, value)));
            list.extend(depfile.iter().map(|path| Ingredient::Depfile(path)));
            if let Some(Fallback { args, instead_of, .. }) = fallback.as_deref() {
                list.extend(args.iter().map(|arg| Ingredient::Fallback(arg, instead_of.path())));
            }
            list.extend(check.iter().map(|check| Ingredient::Check(native::VERSION, json(check))));
            let program = if let Tool::File(file) = tool { Some(&**file.path()) } else { None };
            let values = args.iter().filter_map(|arg| Some(arg.split_once('=')?.1));
            let words = || args.iter().chain(values).chain(program).collect::<FastSet<&str>>();
            named = depfile.as_ref().filter(|_| includes::is_understood(tool, args.iter(), env)).map(|_| words());
        }
        ActionKind::Native(native) => list.push(Ingredient::Work(native::VERSION, json(native))),
        ActionKind::Write { content, executable } => list.push(Ingredient::Content(Digest::of(content), *executable)),
    }
    let by_bytes = |input: &Input| named.as_ref().is_none_or(|named| named.contains(&*input.path));
    list.extend(inputs.iter().filter(|input| by_bytes(input)).map(|input| Ingredient::Input(&input.path, input.digest)));
    // A compiler does not ask whether it might run what it reads; who copies or runs files does.
    let may_run = match &action.kind {
        ActionKind::Run { depfile, .. } => depfile.is_none(),
        ActionKind::Native(work) => *work == Native::Copy,
        ActionKind::Write { .. } => false,
    };
    if may_run {
        list.extend(inputs.iter().filter(|input| input.executable).map(|input| Ingredient::Executable(&input.path)));
    }
    list.extend(action.outputs.iter().map(|output| Ingredient::Output(output.path())));
    list
}

/// A function of this process with its arguments.
fn json(function: &impl Serialize) -> String {
    serde_json::to_string(function).expect("BUG: functions and their arguments are plain data")
}

/// The key.
pub fn digest(ingredients: &[Ingredient<'_>]) -> Digest {
    let mut hasher = Hasher::new("ouro action key");
    for ingredient in ingredients {
        ingredient.with_parts(|kind, parts| {
            hasher.field(kind.as_bytes());
            parts.iter().for_each(|part| hasher.field(part));
        });
    }
    hasher.finish()
}

/// The whole environment of a process with these variables of its own.
pub fn environment(own: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    FIXED_ENVIRONMENT.into_iter().chain(own.iter().map(|(name, value)| (&**name, &**value))).collect()
}

impl Ingredient<'_> {
    /// Gives `f` the word for its kind and its parts: what is hashed, and what whoever explains writes down and compares. No two
    /// kinds, and no two splits into parts, give the same.
    pub fn with_parts<T>(&self, f: impl FnOnce(&'static str, [&[u8]; 2]) -> T) -> T {
        match self {
            Ingredient::Version(version) => f("version", [&version.to_le_bytes(), b""]),
            Ingredient::Mnemonic(mnemonic) => f("mnemonic", [mnemonic.as_bytes(), b""]),
            Ingredient::Tool(identity) => f("tool", [identity.as_bytes(), b""]),
            Ingredient::Argument(argument) => f("argument", [argument.as_bytes(), b""]),
            Ingredient::Environment(name, value) => f("environment", [name.as_bytes(), value.as_bytes()]),
            Ingredient::Depfile(path) => f("depfile", [path.as_bytes(), b""]),
            Ingredient::Fallback(argument, input) => f("fallback", [argument.as_bytes(), input.as_bytes()]),
            Ingredient::Work(version, json) => f("work", [&version.to_le_bytes(), json.as_bytes()]),
            Ingredient::Check(version, json) => f("check", [&version.to_le_bytes(), json.as_bytes()]),
            Ingredient::Content(digest, executable) => f("content", [digest.as_bytes(), &[u8::from(*executable)]]),
            Ingredient::Input(path, digest) => f("input", [path.as_bytes(), digest.as_bytes()]),
            Ingredient::Executable(path) => f("executable", [path.as_bytes(), b""]),
            Ingredient::Output(path) => f("output", [path.as_bytes(), b""]),
        }
    }
}

#[cfg(test)]
mod tests {
    use ouro_rules::object::Expected;
    use ouro_rules::{Artifact, Label};

    use super::*;

    static BASE: std::sync::LazyLock<Action> = std::sync::LazyLock::new(|| run(|_, _, _| {}));

    fn action(kind: ActionKind) -> Action {
        let file = |path: &str| Artifact::Source(path.into());
        let outputs = vec![Artifact::Output("out/a.o".into())];
        Action { mnemonic: "compile".into(), owner: Label::new("fw", "a"), kind, inputs: vec![file("a.c"), file("a.h")], outputs }
    }

    fn run(change: impl FnOnce(&mut Vec<String>, &mut BTreeMap<String, String>, &mut Option<Arc<str>>)) -> Action {
        let mut args = ["-c", "a.c", "-o", "out/a.o"].map(str::to_owned).to_vec();
        let (mut env, mut depfile) = (BTreeMap::from([("A".to_owned(), "1".to_owned())]), None);
        change(&mut args, &mut env, &mut depfile);
        action(ActionKind::Run { tool: Tool::Clang, args: args.into(), env, depfile, fallback: None, check: None })
    }

    fn compiled() -> Action {
        run(|_, env, depfile| {
            env.clear();
            *depfile = Some("out/a.d".into());
        })
    }

    fn inspect(label: &str) -> Action {
        let expected =
            Expected { label: label.to_owned(), ty: "xdp".to_owned(), function: None, jumps: Vec::new(), maps: Vec::new() };
        action(ActionKind::Native(Native::Inspect(expected)))
    }

    fn input(path: &str, bytes: &str) -> Input {
        Input { path: path.into(), digest: Digest::of(bytes.as_bytes()), executable: false }
    }

    fn inputs() -> Vec<Input> {
        vec![input("a.c", "source"), input("a.h", "header")]
    }

    fn key_of(action: &Action, tool: &str, inputs: &[Input]) -> Digest {
        digest(&ingredients(action, Some(Digest::of(tool.as_bytes())), inputs))
    }

    fn key(action: &Action) -> Digest {
        key_of(action, "clang", &inputs())
    }

    #[test]
    fn same_actions_have_the_same_key() {
        assert_eq!(key(&run(|_, _, _| {})), key(&run(|_, _, _| {})));
        assert_eq!(key(&inspect("//fw:a")), key(&inspect("//fw:a")));
    }

    #[test]
    fn the_owner_is_no_ingredient() {
        let mut other = compiled();
        other.owner = Label::new("fw", "b");
        assert_eq!(key(&other), key(&compiled()));
    }

    #[test]
    fn version_differs() {
        let list = ingredients(&BASE, None, &[]);
        let next: Vec<_> = [Ingredient::Version(KEY_VERSION + 1)].into_iter().chain(list[1..].iter().cloned()).collect();
        assert_eq!(list[0], Ingredient::Version(KEY_VERSION));
        assert_ne!(digest(&list), digest(&next));
    }

    #[test]
    fn mnemonic_differs() {
        let mut other = run(|_, _, _| {});
        other.mnemonic = "link".into();
        assert_ne!(key(&other), key(&BASE));
    }

    #[test]
    fn tool_differs() {
        assert_ne!(key_of(&BASE, "clang 18", &inputs()), key_of(&BASE, "clang 19", &inputs()));
    }

    #[test]
    fn argument_differs() {
        assert_ne!(key(&run(|args, _, _| args.push("-O2".to_owned()))), key(&BASE));
        assert_ne!(key(&run(|args, _, _| args.swap(0, 2))), key(&BASE));
        assert_ne!(key(&run(|args, _, _| args[0] = "-ca.c".to_owned())), key(&BASE));
    }

    #[test]
    fn environment_differs() {
        assert_ne!(key(&run(|_, env, _| drop(env.insert("A".to_owned(), "2".to_owned())))), key(&BASE));
        assert_ne!(key(&run(|_, env, _| drop(env.insert("PATH".to_owned(), "/bin".to_owned())))), key(&BASE));
        let list = ingredients(&BASE, None, &[]);
        assert!(FIXED_ENVIRONMENT.iter().all(|(name, value)| list.contains(&Ingredient::Environment(name, value))));
    }

    #[test]
    fn depfile_differs() {
        assert_ne!(key(&compiled()), key(&run(|_, _, depfile| *depfile = Some("out/b.d".into()))));
        assert_ne!(key(&compiled()), key(&BASE));
    }

    #[test]
    fn fallback_differs() {
        let with = |arg: &str, path: &str| {
            let mut action = compiled();
            if let ActionKind::Run { fallback, .. } = &mut action.kind {
                let instead_of = Artifact::Output(path.into());
                *fallback = Some(Box::new(Fallback { args: vec![arg.to_owned()], instead_of, note: "".into() }));
            }
            key(&action)
        };
        assert_ne!(with("-Ia", "b.h"), key(&compiled()));
        assert_ne!(with("-Ia", "b.h"), with("-Ib", "b.h"));
        assert_ne!(with("-Ia", "b.h"), with("-Ia", "c.h"));
    }

    #[test]
    fn work_differs() {
        assert_ne!(key(&inspect("//fw:a")), key(&inspect("//fw:b")));
        let versions = [1, 2].map(|version| digest(&[Ingredient::Work(version, "{}".to_owned())]));
        assert_ne!(versions[0], versions[1]);
    }

    #[test]
    fn content_differs() {
        let write = |text: &str| action(ActionKind::Write { content: text.as_bytes().into(), executable: false });
        assert_ne!(key(&write("a")), key(&write("b")));
    }

    #[test]
    fn input_differs() {
        let with = |second: Input| key_of(&BASE, "clang", &[input("a.c", "source"), second]);
        assert_ne!(with(input("a.h", "changed")), key(&BASE));
        assert_ne!(with(input("b.h", "header")), key(&BASE));
        let swapped: Vec<Input> = inputs().into_iter().rev().collect();
        assert_ne!(key_of(&BASE, "clang", &swapped), key(&BASE));
    }

    #[test]
    fn executable_differs_for_those_who_copy_or_run() {
        let copy = action(ActionKind::Native(Native::Copy));
        let runnable: Vec<Input> = inputs().into_iter().map(|input| Input { executable: true, ..input }).collect();
        assert_ne!(key_of(&copy, "", &runnable), key_of(&copy, "", &inputs()));
        assert_ne!(key_of(&BASE, "clang", &runnable), key(&BASE));
        assert_eq!(key_of(&compiled(), "clang", &runnable), key(&compiled()));
    }

    #[test]
    fn the_file_that_runs_counts_by_its_bytes_although_no_argument_names_it() {
        let mut script = compiled();
        if let ActionKind::Run { tool, .. } = &mut script.kind {
            *tool = Tool::File(Artifact::Source("a.h".into()));
        }
        let changed = [input("a.c", "source"), input("a.h", "changed")];
        assert_ne!(key_of(&script, "", &changed), key_of(&script, "", &inputs()));
    }

    #[test]
    fn a_header_that_may_be_read_is_no_ingredient() {
        let with = |list: &[Input]| key_of(&compiled(), "clang", list);
        assert_eq!(with(&[input("a.c", "source"), input("a.h", "changed")]), key(&compiled()));
        assert_eq!(with(&[input("a.c", "source"), input("b.h", "header")]), key(&compiled()));
        assert_eq!(with(&[input("a.c", "source")]), key(&compiled()));
        assert_ne!(with(&[input("a.c", "changed"), input("a.h", "header")]), key(&compiled()));
    }

    #[test]
    fn a_header_counts_where_it_is_not_known_how_headers_are_found() {
        let counts = |change: fn(&mut Tool, &mut Vec<String>, &mut BTreeMap<String, String>)| {
            let mut action = compiled();
            if let ActionKind::Run { tool, args, env, .. } = &mut action.kind {
                let mut words = std::mem::take(args).into();
                change(tool, &mut words, env);
                *args = words.into();
            }
            key_of(&action, "clang", &[input("a.c", "source"), input("a.h", "changed")]) != key(&action)
        };
        assert!(!counts(|_, args, _| args.push("-Ia".to_owned())));
        assert!(counts(|_, args, _| args.push("--sysroot=a".to_owned())));
        assert!(counts(|_, args, _| args.push("-fplugin-arg=a.h".to_owned())));
        assert!(counts(|_, _, env| drop(env.insert("CPATH".to_owned(), "a".to_owned()))));
        assert!(counts(|tool, _, _| *tool = Tool::File(Artifact::Source("cc.sh".into()))));
    }

    #[test]
    fn output_differs() {
        let mut other = run(|_, _, _| {});
        other.outputs = vec![Artifact::Output("out/b.o".into())];
        assert_ne!(key(&other), key(&BASE));
    }
}
