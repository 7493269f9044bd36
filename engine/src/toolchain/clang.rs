//! What a compiler says of itself, and where it has its parts.
//!
//! Knows nothing of identities. It is asked without anything of the user's environment, as it will be run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::ToolchainError;

/// The oldest one whose objects are the same in every folder: it was the first to know `-ffile-compilation-dir`.
pub const OLDEST_CLANG: u32 = 13;

/// A compiler's answers.
pub(super) struct Clang {
    /// The program itself, links followed: the one behind a script that says where it is installed.
    pub(super) program: PathBuf,
    /// `clang --version`, whole.
    pub(super) version: String,
    /// The folder of its own headers and libraries.
    pub(super) resources: PathBuf,
    /// The folders it searches `#include <...>` in.
    pub(super) includes: Vec<PathBuf>,
    /// Every library it loads; none when it is a script, or linked statically.
    pub(super) loaded: BTreeSet<PathBuf>,
}

impl Clang {
    /// Asks it.
    pub(super) fn ask(clang: &Path) -> Result<Clang, ToolchainError> {
        let version = ask(clang, &["--version"])?.0;
        check_version(clang, &version)?;
        let search: Vec<&str> = no_configuration(&version).iter().copied().chain(SEARCH.iter().copied()).collect();
        std::thread::scope(|scope| {
            let resources = scope.spawn(|| ask(clang, &["-print-resource-dir"]));
            let targets = scope.spawn(|| ask(clang, &["-print-targets"]));
            let includes = scope.spawn(|| ask(clang, &search));
            let program = behind(clang, &version);
            let loaded = loaded(&program);
            let joined = |answer: std::thread::ScopedJoinHandle<'_, Answer>| answer.join().expect("BUG: asking does not panic");
            let (resources, targets, includes) = (joined(resources)?.0, joined(targets), joined(includes)?.1);
            check_targets(clang, targets.map(|(said, _)| said).unwrap_or_default().as_str())?;
            Ok(Clang { program, version, resources: resources.into(), includes: folders_in(&includes), loaded })
        })
    }

    /// The libraries of its LLVM, links followed: those it loads, or of one that does not tell what it loads those that lie where
    /// LLVM's own packages have them.
    pub(super) fn llvm(&self) -> BTreeSet<PathBuf> {
        let major = major(&self.version);
        let is_llvm = |path: &&PathBuf| path.file_name().is_some_and(|name| is_llvm_library(&name.to_string_lossy(), major));
        let loaded: BTreeSet<PathBuf> =
            self.loaded.iter().filter(is_llvm).filter_map(|path| fs::canonicalize(path).ok()).collect();
        if loaded.is_empty() { libraries(&self.program, major) } else { loaded }
    }
}

/// Has it tell where it looks for headers.
const SEARCH: &[&str] = &["-target", "bpf", "-E", "-v", "-x", "c", "/dev/null"];

type Answer = Result<(String, String), ToolchainError>;

/// What keeps configuration files unread, which distributions use to harden programs. Before clang 16 there were none by default,
/// and no flag against them.
pub(super) fn no_configuration(version: &str) -> &'static [&'static str] {
    if major(version).parse::<u32>().is_ok_and(|major| major < 16) { &[] } else { &["--no-default-config"] }
}

/// `19` of `Debian clang version 19.1.7 (3~deb12u1)`; empty, which every name contains, when it is worded otherwise.
fn major(version: &str) -> &str {
    let number = version.split_once("clang version ").map_or("", |(_, number)| number);
    &number[..number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len())]
}

fn check_version(clang: &Path, version: &str) -> Result<(), ToolchainError> {
    let (clang, said) = (clang.display().to_string(), version.lines().next().unwrap_or_default().to_owned());
    match major(version).parse::<u32>() {
        Ok(major) if major < OLDEST_CLANG => Err(ToolchainError::TooOld { clang, version: said }),
        Ok(_) => Ok(()),
        Err(_) => Err(ToolchainError::NotClang { clang, said }),
    }
}

/// Compilers may be built for some machines only. What is no list says nothing.
fn check_targets(clang: &Path, targets: &str) -> Result<(), ToolchainError> {
    let mut lines = targets.lines().skip_while(|line| !line.contains("Registered Targets")).skip(1).peekable();
    let names_bpf = |line: &str| line.split_whitespace().next() == Some("bpf");
    let is_list = lines.peek().is_some();
    if is_list && !lines.any(names_bpf) { Err(ToolchainError::NoBpf { clang: clang.display().to_string() }) } else { Ok(()) }
}

/// What it says to standard output and error.
fn ask(clang: &Path, question: &[&str]) -> Answer {
    let failed =
        |reason: String| ToolchainError::Broken { command: format!("{} {}", clang.display(), question.join(" ")), reason };
    let output = plain(clang).args(question).output().map_err(|error| failed(error.to_string()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        let words = Some(text(&output.stderr)).filter(|words| !words.is_empty());
        return Err(failed(words.unwrap_or_else(|| format!("it said nothing and ended with {}", output.status))));
    }
    Ok((text(&output.stdout), text(&output.stderr)))
}

fn plain(clang: &Path) -> Command {
    let mut command = Command::new(clang);
    command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

/// The folders between the words around them.
fn folders_in(said: &str) -> Vec<PathBuf> {
    let lines = said.lines().skip_while(|line| !line.starts_with("#include <...>")).skip(1);
    let lines = lines.take_while(|line| *line != "End of search list.");
    lines.map(str::trim).filter(|line| line.starts_with('/')).map(PathBuf::from).collect()
}

/// The loader of the GNU C library lists what a program loads when this variable is set, and does not start it. Whoever has another
/// loader is started, and only says its version.
fn loaded(clang: &Path) -> BTreeSet<PathBuf> {
    let said = plain(clang).arg("--version").env("LD_TRACE_LOADED_OBJECTS", "1").output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let path =
        |line: &str| line.split_once("=> ").map(|(_, rest)| rest.rsplit_once(" (").map_or(rest, |(path, _)| path).to_owned());
    said.lines().filter_map(path).filter(|path| path.starts_with('/')).map(PathBuf::from).collect()
}

fn behind(clang: &Path, version: &str) -> PathBuf {
    let folder = version.lines().find_map(|line| line.strip_prefix("InstalledDir: "));
    let installed = folder.and_then(|folder| fs::canonicalize(Path::new(folder).join("clang")).ok());
    installed.or_else(|| fs::canonicalize(clang).ok()).unwrap_or_else(|| clang.to_owned())
}

/// In the `lib` folder beside the program's `bin`, and wherever links from there lead (Debian keeps libLLVM in the system's folder,
/// beside those of other versions).
fn libraries(program: &Path, major: &str) -> BTreeSet<PathBuf> {
    let prefix = program.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    let own: BTreeSet<PathBuf> = ["lib", "lib64"].iter().flat_map(|lib| libraries_in(&prefix.join(lib), major)).collect();
    let folders: BTreeSet<&Path> = own.iter().filter_map(|library| library.parent()).collect();
    let beside: BTreeSet<PathBuf> = folders.into_iter().flat_map(|folder| libraries_in(folder, major)).collect();
    &own | &beside
}

fn libraries_in(folder: &Path, major: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let of_llvm = entries.filter(|entry| is_llvm_library(&entry.file_name().to_string_lossy(), major));
    of_llvm.filter_map(|entry| fs::canonicalize(entry.path()).ok()).collect()
}

fn is_llvm_library(name: &str, major: &str) -> bool {
    (name.starts_with("libLLVM") || name.starts_with("libclang-cpp")) && name.contains(".so") && name.contains(major)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With Debian 12's own clang nothing could be built: it did not know the flag.
    #[test]
    fn only_compilers_that_read_configuration_are_told_not_to() {
        assert!(no_configuration("Debian clang version 14.0.6").is_empty());
        for version in ["Debian clang version 19.1.7 (3~deb12u1)", "clang version 16.0.0", "something of a vendor"] {
            assert_eq!(no_configuration(version), ["--no-default-config"], "{version}");
        }
    }

    #[test]
    fn what_is_too_old_or_no_clang_or_knows_no_bpf_is_told_apart() {
        let check = |version: &str| check_version(Path::new("/bin/cc"), version).map_err(|error| error.to_string());
        assert_eq!(check("clang version 13.0.1\nTarget: x"), Ok(()));
        assert!(check("clang version 12.0.1").unwrap_err().contains("clang version 12.0.1"));
        assert!(check("gcc (Debian 12.2.0-14) 12.2.0").unwrap_err().contains("does not say that it is clang"));
        let targets = |text: &str| check_targets(Path::new("/bin/cc"), text).is_ok();
        assert!(targets("\n  Registered Targets:\n    aarch64 - AArch64\n    bpf     - BPF (host endian)\n"));
        assert!(!targets("  Registered Targets:\n    bpfel   - BPF (little endian)\n    x86-64 - 64-bit\n"));
        assert!(targets("") && targets("/some/folder"), "it did not answer");
    }

    #[test]
    fn folders_are_those_between_the_words() {
        let said = "#include \"...\" search starts here:\n /quoted\n#include <...> search starts here:\n /usr/local/include\n /usr/lib/clang/include\nEnd of search list.\n /no\n";
        assert_eq!(folders_in(said), [PathBuf::from("/usr/local/include"), PathBuf::from("/usr/lib/clang/include")]);
        assert!(folders_in("clang: something else").is_empty());
    }
}
