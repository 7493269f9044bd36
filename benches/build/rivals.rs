//! What ouro is measured beside: `xargs`, ninja, and the least that any tool must do.

use std::ffi::CStr;
use std::fmt::Write as _;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::measure::{Cost, run};
use crate::workspace::Workspace;

/// Runs these clang commands with `xargs -P`, in a workspace whose headers are made.
pub fn xargs(workspace: &Workspace, commands: &[Vec<String>]) -> Cost {
    let lines = workspace.root.join(".commands");
    let line = |words: &Vec<String>| words[1..].iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    fs::write(&lines, commands.iter().map(line).collect::<Vec<_>>().join("\n") + "\n").expect("the command lines");
    let jobs = format!("-P{}", cores());
    run(Command::new("xargs").args(["-a", ".commands", "-L1", &jobs, &commands[0][0]]).current_dir(&workspace.root))
}

/// Writes a `build.ninja` with these clang commands.
pub fn write_ninja(workspace: &Workspace, commands: &[Vec<String>]) {
    let mut text = "rule cc\n  command = $words\n  depfile = $out.d\n  deps = gcc\n".to_owned();
    for words in commands {
        let after = |flag: &str| &words[words.iter().position(|word| word == flag).expect("the flag") + 1];
        let quoted: Vec<String> = words.iter().map(|word| format!("'{}'", word.replace('$', "$$"))).collect();
        writeln!(text, "build {}: cc {}\n  words = {}", after("-o"), after("-c"), quoted.join(" ")).expect("memory");
    }
    fs::write(workspace.root.join("build.ninja"), text).expect("build.ninja");
}

/// A compiler's cache, in a folder of its own.
pub struct Ccache {
    words: [String; 3],
}

impl Ccache {
    /// None when it is not installed.
    pub fn find(folder: &Path) -> Option<Ccache> {
        Command::new("ccache").arg("--version").output().ok()?;
        Some(Ccache {
            words: ["env".to_owned(), format!("CCACHE_DIR={}", folder.join("ccache-cache").display()), "ccache".to_owned()],
        })
    }

    /// Writes a `build.ninja` with these clang commands, each through the cache.
    pub fn write_ninja(&self, workspace: &Workspace, commands: &[Vec<String>]) {
        let through = |words: &Vec<String>| self.words.iter().chain(words).cloned().collect();
        write_ninja(workspace, &commands.iter().map(through).collect::<Vec<_>>());
    }
}

/// Builds everything with ninja.
pub fn ninja(workspace: &Workspace) -> Cost {
    run(Command::new("ninja").arg("--quiet").current_dir(&workspace.root))
}

/// Writes the list that [`look_at_all`] reads: every file and folder of the workspace, besides what ouro and ninja keep for
/// themselves.
pub fn write_list(workspace: &Workspace) {
    let mut list = String::new();
    add_folder(&workspace.root, "", &mut list);
    fs::write(workspace.root.join(".list"), list).expect("the list");
}

fn add_folder(root: &Path, path: &str, list: &mut String) {
    for entry in fs::read_dir(root.join(path)).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a plain name");
        if !name.starts_with('.') {
            writeln!(list, "{path}{name}").expect("memory");
            if entry.file_type().expect("a kind").is_dir() {
                add_folder(root, &format!("{path}{name}/"), list);
            }
        }
    }
}

/// This program again, doing the least that a piece of work takes: [`look_at_all`], [`link_all`].
pub fn least(workspace: &Workspace, what: &str) -> Cost {
    let program = std::env::current_exe().expect("this program");
    run(Command::new(program).arg(what).current_dir(&workspace.root))
}

/// Writes the list that [`link_all`] reads: every output and the folders above it; and keeps an output to link to.
pub fn write_outputs(workspace: &Workspace) {
    let mut list = String::new();
    add_folder(&workspace.root, "ouro-out/", &mut list);
    let file = list.lines().find(|path| workspace.root.join(path).is_file()).expect("an output");
    fs::copy(workspace.root.join(file), workspace.root.join(".output")).expect("a copy");
    fs::write(workspace.root.join(".outputs"), list).expect("the list");
}

/// Makes every folder of outputs, and a link in place of every output: one thread goes ahead with the folders. Outputs cannot be
/// put back with less, wherever they come from.
pub fn link_all() {
    let list = fs::read_to_string(".outputs").expect("the list");
    let paths: Vec<&str> = list.lines().collect();
    let is_folder = |path: &&str| !path.ends_with(".o");
    let (made, next) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let link = || {
        while let Some((number, part)) = paths.chunks(64).enumerate().nth(next.fetch_add(1, Relaxed)) {
            while made.load(Relaxed) < 64 * number + part.len() {
                std::thread::yield_now();
            }
            part.iter().filter(|path| !is_folder(path)).for_each(|path| fs::hard_link(".output", path).expect("a link"));
        }
    };
    fs::create_dir("ouro-out").expect("a folder");
    std::thread::scope(|scope| {
        (1..cores()).for_each(|_| drop(scope.spawn(link)));
        for (place, path) in paths.iter().enumerate() {
            if is_folder(path) {
                fs::create_dir(path).expect("a folder");
            }
            made.store(place + 1, Relaxed);
        }
        link();
    });
}

/// Reads the list of all files and looks at each, with as many threads as there are cores: whoever wants to know that nothing
/// changed, without being told of changes, does at least this. Folders are not opened: in these workspaces they hold so few
/// files that it would cost more than it saves.
pub fn look_at_all() {
    let mut list = fs::read(".list").expect("the list");
    list.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = 0);
    let paths: Vec<&CStr> =
        list.split_inclusive(|byte| *byte == 0).map(|path| CStr::from_bytes_with_nul(path).expect("a path")).collect();
    let root = fs::File::open(".").expect("the root");
    std::thread::scope(|scope| {
        for part in paths.chunks(paths.len().div_ceil(cores())) {
            scope.spawn(|| part.iter().for_each(|path| look_at(&root, path)));
        }
    });
}

fn look_at(root: &fs::File, path: &CStr) {
    let mut found = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `path` ends with a zero byte, and the buffer has room for one `stat`.
    let result = unsafe { libc::fstatat(root.as_raw_fd(), path.as_ptr(), found.as_mut_ptr(), 0) };
    assert_eq!(result, 0, "{path:?}");
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
