//! What ouro is measured beside: `xargs`, ninja, and the least that any tool must do.

use std::ffi::CStr;
use std::fmt::Write as _;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

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

/// This program again, doing the least that a null build must: [`look_at_all`].
pub fn floor(workspace: &Workspace) -> Cost {
    let program = std::env::current_exe().expect("this program");
    run(Command::new(program).arg(super::FLOOR).current_dir(&workspace.root))
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
