//! What ouro is measured beside: `xargs`, ninja, and the least that any tool must do.

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

/// Builds everything with ninja.
pub fn ninja(workspace: &Workspace) -> Cost {
    run(Command::new("ninja").arg("--quiet").current_dir(&workspace.root))
}

/// The list [`look_at_all`] reads: the files of each folder after the folder, which ends in `/`.
pub fn write_list(workspace: &Workspace) {
    let mut list = String::new();
    add_folder(&workspace.root, "", &mut list);
    fs::write(workspace.root.join(".list"), list).expect("the list");
}

fn add_folder(root: &Path, path: &str, list: &mut String) {
    let (mut files, mut folders) = (String::new(), Vec::new());
    for entry in fs::read_dir(root.join(path)).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a plain name");
        match entry.file_type().expect("a kind").is_dir() {
            _ if name.starts_with('.') => {}
            true => folders.push(format!("{path}{name}/")),
            false => writeln!(files, "{name}").expect("memory"),
        }
    }
    if !files.is_empty() {
        writeln!(list, "{}\n{files}", if path.is_empty() { "./" } else { path }.trim_end()).expect("memory");
    }
    folders.iter().for_each(|folder| add_folder(root, folder, list));
}

/// This program again, doing the least that a null build must: [`look_at_all`].
pub fn floor(workspace: &Workspace) -> Cost {
    let program = std::env::current_exe().expect("this program");
    run(Command::new(program).arg(super::FLOOR).current_dir(&workspace.root))
}

/// Reads the list of all files and looks at each in its folder, with as many threads as there are cores: whoever wants to know
/// that nothing changed, without being told of changes, does at least this.
pub fn look_at_all() {
    let list = fs::read_to_string(".list").expect("the list");
    let folders: Vec<&str> = list.split("\n\n").collect();
    std::thread::scope(|scope| {
        for part in folders.chunks(folders.len().div_ceil(cores())) {
            scope.spawn(move || part.iter().for_each(|folder| look_at_folder(folder)));
        }
    });
}

fn look_at_folder(text: &str) {
    let mut names = text.lines().filter(|line| !line.is_empty()).map(|name| format!("{name}\0"));
    let Some(folder) = names.next() else { return };
    let folder = fs::File::open(&folder[..folder.len() - 1]).expect("a folder");
    for name in names {
        let mut found = std::mem::MaybeUninit::<libc::stat>::uninit();
        // SAFETY: `name` ends with a zero byte, and the buffer has room for one `stat`.
        let result = unsafe { libc::fstatat(folder.as_raw_fd(), name.as_ptr().cast(), found.as_mut_ptr(), 0) };
        assert_eq!(result, 0, "{name}");
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
