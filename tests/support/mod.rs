//! Running the real command in workspaces of its own.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod damage;
pub mod random;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// The command under test.
pub const OURO: &str = env!("CARGO_BIN_EXE_ouro");

/// A workspace in a temporary folder, with a cache of its own.
pub struct Workspace {
    folder: TempDir,
}

/// Where a kernel offers its types.
pub const HOST_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Whether the kernel that runs does; says so if not.
#[expect(clippy::print_stderr, reason = "who skips says why")]
pub fn has_btf() -> bool {
    let has = Path::new(HOST_BTF).is_file();
    if !has {
        eprintln!("skipped: this kernel offers no BTF ({HOST_BTF} is not there; it needs CONFIG_DEBUG_INFO_BTF)");
    }
    has
}

/// What a command said.
pub struct Said {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Workspace {
    /// An empty one: `ouro.toml` alone.
    pub fn new() -> Workspace {
        let workspace = Workspace { folder: tempfile::tempdir().expect("a temporary folder") };
        fs::create_dir(workspace.root()).expect("a folder");
        workspace.write("ouro.toml", "");
        workspace
    }

    /// With these files.
    pub fn with(files: &[(&str, &str)]) -> Workspace {
        let workspace = Workspace::new();
        files.iter().for_each(|(path, text)| workspace.write(path, text));
        workspace
    }

    /// A copy of an example.
    pub fn example(name: &str) -> Workspace {
        let workspace = Workspace { folder: tempfile::tempdir().expect("a temporary folder") };
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name), &workspace.root());
        workspace
    }

    /// Its root.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("ws")
    }

    /// The path of something in it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// Writes a file.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    /// Reads a file.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Changes a file.
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "`{path}` has no `{from}`");
        self.write(path, &text.replace(from, to));
    }

    /// A command for ouro, run in the root.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(OURO);
        command.args(arguments).current_dir(self.root()).stdin(Stdio::null());
        command.env("XDG_CACHE_HOME", self.folder.path().join("cache")).env_remove("OURO_CACHE").env_remove("CLICOLOR_FORCE");
        command
    }

    /// Runs ouro.
    pub fn ouro(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().expect("ouro runs"))
    }

    /// Runs ouro, which must succeed.
    pub fn ok(&self, arguments: &[&str]) -> Said {
        let said = self.ouro(arguments);
        assert_eq!(said.code, 0, "ouro {arguments:?}\n{}{}", said.out, said.err);
        said
    }

    /// Builds by this command until nothing in the workspace is so fresh that a change of it might not show: from then on builds
    /// go by the snapshot.
    pub fn settle(&self, arguments: &[&str]) {
        let is_settled = |_| {
            thread::sleep(Duration::from_millis(50));
            self.ok(arguments).err.contains("nothing to do")
        };
        assert!((0..10).any(is_settled), "there is always something to do");
    }

    /// Runs ouro, which must fail with this code.
    pub fn fails(&self, code: i32, arguments: &[&str]) -> Said {
        let said = self.ouro(arguments);
        assert_eq!(said.code, code, "ouro {arguments:?}\n{}{}", said.out, said.err);
        assert!(!said.err.contains("panicked"), "{}", said.err);
        said
    }
}

impl Said {
    /// From a finished process.
    pub fn of(output: Output) -> Said {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The targets whose sources were compiled, in the order told.
    pub fn compiled(&self) -> Vec<&str> {
        let ran = |line: &&str| !line.ends_with(" cached") && !line.ends_with(" up to date");
        let lines = self.err.lines().filter(ran).filter_map(|line| line.strip_prefix("compile "));
        let mut targets: Vec<&str> = lines.filter_map(|line| line.split(' ').next()).collect();
        targets.sort_unstable();
        targets
    }

    /// Standard error must hold this.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Said {
        assert!(self.err.contains(text), "`{text}` is missing in:\n{}", self.err);
        self
    }
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a readable folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name();
        match entry.file_type().expect("a type").is_dir() {
            // What a build by hand left in the checkout is no part of the example.
            true if name == "ouro-out" || name == ".ouro" => {}
            true => copy(&entry.path(), &to.join(name)),
            false => drop(fs::copy(entry.path(), to.join(name)).expect("a copy")),
        }
    }
}
