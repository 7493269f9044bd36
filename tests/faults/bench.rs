//! The workspace that faults are injected into, and what each of its variants must become.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::disk::{damage, files, overwrite, with_mount};
use crate::support::random::Random;
use crate::support::{Said, Workspace};

/// How many sources there are to switch between.
const VARIANTS: usize = 3;

/// Small enough that an object does not fit beside the store's folders.
const FULL: &str = "mount -t tmpfs -o size=24k,mode=777 none \"$1\"";
const READ_ONLY: &str = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\"";

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A workspace, a copy of it in another folder, and the cache they share.
pub struct Bench {
    own: Workspace,
    other: Workspace,
    /// What a clean build of each variant makes.
    expected: Vec<Files>,
    variant: Cell<usize>,
    injected: Cell<usize>,
    /// What the last build said.
    said: RefCell<String>,
}

fn workspace() -> Workspace {
    let program = |name: &str, jump: &str| {
        format!(
            "#include <ouro/program.h>\n#include \"lib.h\"\nSEC(\"xdp\") int {name}(struct xdp_md *ctx)\n{{\n\t{jump}return VERDICT;\n}}\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n"
        )
    };
    let script = |name: &str, from: &str| {
        format!("genrule(name = \"{name}\", srcs = [\"{from}\"], outs = [\"{name}.out\"], cmd = \"sort $(SRCS) > $@\")\n")
    };
    let scripts = script("first", "a.txt") + &script("second", ":first") + &script("third", "a.txt");
    Workspace::with(&[
        (
            "fw/BUILD.ouro",
            "bpf_library(name = \"lib\", hdrs = [\"lib.h\"])\nbpf_program(name = \"parse\", srcs = [\"parse.c\"], type = \"xdp\", deps = [\":lib\"], jumps = [\":drop\"], on_miss = \"pass\")\nbpf_program(name = \"drop\", srcs = [\"drop.c\"], type = \"xdp\", deps = [\":lib\"])\nbpf_chain(name = \"fw\", entry = \":parse\", attach = [xdp(interface = \"eth0\")])\n",
        ),
        ("fw/parse.c", &program("parse", "OURO_JUMP(ctx, drop);\n\t")),
        ("fw/drop.c", &program("drop", "")),
        ("text/BUILD.ouro", &scripts),
    ])
}

/// Has the sources of a variant.
fn switch(workspace: &Workspace, variant: usize) {
    workspace.write("fw/lib.h", &format!("#define VERDICT {}\n", ["XDP_PASS", "XDP_DROP", "XDP_TX"][variant]));
    workspace.write("text/a.txt", &format!("b{variant}\na\n"));
}

fn outputs(workspace: &Workspace) -> Files {
    let root = workspace.path("ouro-out");
    let relative = |path: &PathBuf| path.strip_prefix(&root).expect("below the root").to_owned();
    files(&root).into_iter().map(|path| (relative(&path), fs::read(&path).expect("an output"))).collect()
}

impl Bench {
    pub fn new() -> Bench {
        let clean = workspace();
        let built = |variant: usize| {
            switch(&clean, variant);
            for left in ["ouro-out", ".ouro", "../cache"] {
                let _ = fs::remove_dir_all(clean.path(left));
            }
            clean.ok(&["build", "//..."]);
            outputs(&clean)
        };
        let expected = (0..VARIANTS).map(built).collect();
        let (variant, injected, said) = (Cell::new(0), Cell::new(0), RefCell::default());
        let bench = Bench { own: workspace(), other: workspace(), expected, variant, injected, said };
        for variant in 0..VARIANTS {
            bench.to(variant);
            bench.is_right("at first");
        }
        bench
    }

    /// How many faults were injected.
    pub fn injected(&self) -> usize {
        self.injected.get()
    }

    fn cache(&self) -> PathBuf {
        self.own.path("../cache/ouro/v1")
    }

    fn command(&self, workspace: &Workspace, arguments: &[&str]) -> Command {
        let mut command = workspace.command(arguments);
        command.env("OURO_CACHE", self.cache()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn start(&self) -> Child {
        self.command(&self.own, &["build", "//..."]).stderr(Stdio::null()).spawn().expect("ouro starts")
    }

    fn to(&self, variant: usize) {
        self.variant.set(variant);
        switch(&self.own, variant);
    }

    /// Another variant than the one that was built.
    fn to_any(&self, random: &mut Random) {
        self.to((self.variant.get() + 1 + random.below(VARIANTS - 1)) % VARIANTS);
    }

    /// Has everything made again: from the snapshot, or without any memory of the workspace.
    fn forget(&self, random: &mut Random) {
        let _ = fs::remove_dir_all(self.own.path("ouro-out"));
        if random.below(2) == 0 {
            let _ = fs::remove_dir_all(self.own.path(".ouro"));
        }
    }

    fn inject(&self, faults: usize) {
        self.injected.set(self.injected.get() + faults);
    }

    /// A build ends well, and with every byte of a clean one.
    #[track_caller]
    fn is_right(&self, what: &str) {
        let said = Said::of(self.command(&self.own, &["build", "//..."]).output().expect("ouro runs"));
        assert_eq!(said.code, 0, "{what}: {}", said.err);
        self.is_as_clean(&self.own, what);
        self.said.replace(said.err);
    }

    #[track_caller]
    fn is_as_clean(&self, workspace: &Workspace, what: &str) {
        let (ours, theirs) = (outputs(workspace), &self.expected[self.variant.get()]);
        for (path, bytes) in theirs {
            assert!(ours.get(path) == Some(bytes), "{what}: `{}` differs from a clean build's", path.display());
        }
    }

    fn kill_after(&self, mut child: Child, micros: usize) {
        std::thread::sleep(Duration::from_micros(micros as u64));
        child.kill().expect("a kill");
        child.wait().expect("it ends");
        self.inject(1);
    }

    pub fn killed(&self, random: &mut Random) {
        self.to_any(random);
        if random.below(3) == 0 {
            let _ = fs::remove_dir_all(self.cache());
        }
        self.kill_after(self.start(), random.below(250_000));
        self.is_right("killed");
    }

    pub fn killed_while_restoring(&self, random: &mut Random) {
        let _ = fs::remove_dir_all(self.own.path("ouro-out"));
        self.kill_after(self.start(), random.below(30_000));
        self.is_right("killed while restoring");
    }

    pub fn damaged_blobs(&self, random: &mut Random) {
        self.inject(damage(&files(&self.cache().join("cas")), random));
        self.forget(random);
        if random.below(2) == 0 {
            self.to_any(random);
        }
        self.is_right("damaged blobs");
        // Everything is asked for: what was damaged and not removed is found, and told.
        let all = files(&self.cache().join("cas"));
        overwrite(&all[random.below(all.len())], b"not what its name says");
        let said = Said::of(self.command(&self.own, &["cache", "verify"]).output().expect("ouro runs"));
        assert!(said.code == 0 && said.err.contains("had other bytes; it was removed"), "{}", said.err);
        self.inject(1);
        self.forget(random);
        self.is_right("a blob that is gone");
    }

    pub fn damaged_records(&self, random: &mut Random) {
        self.inject(damage(&files(&self.cache().join("ac")), random));
        self.forget(random);
        self.is_right("damaged records");
    }

    pub fn damaged_bookkeeping(&self, random: &mut Random) {
        let own = ["used", "grown", "lock"].map(|name| self.cache().join(name));
        let there: Vec<PathBuf> = own.into_iter().filter(|path| path.is_file()).collect();
        self.inject(damage(&there, random));
        self.forget(random);
        self.is_right("damaged bookkeeping");
        let said = Said::of(self.command(&self.own, &["cache", "gc"]).output().expect("ouro runs"));
        assert_eq!(said.code, 0, "{}", said.err);
        self.is_right("collected after damage");
    }

    pub fn damaged_state(&self, random: &mut Random) {
        self.inject(damage(&files(&self.own.path(".ouro")), random));
        if random.below(2) == 0 {
            let _ = fs::remove_dir_all(self.own.path("ouro-out"));
        }
        self.is_right("damaged state");
    }

    pub fn edited_outputs(&self, random: &mut Random) {
        let made = files(&self.own.path("ouro-out"));
        let chosen: Vec<&PathBuf> = (0..=random.below(3)).map(|_| &made[random.below(made.len())]).collect();
        for path in &chosen {
            forged(path, random);
        }
        self.inject(chosen.len());
        if random.below(2) == 0 {
            self.forget(random);
        }
        self.is_right("edited outputs");
    }

    pub fn full_cache(&self, random: &mut Random) {
        self.forget(random);
        let command = self.command(&self.own, &["build", "//..."]);
        let said = Said::of(with_mount(FULL, &self.cache(), &command).output().expect("unshare runs"));
        assert!(said.code == 0 && said.err.contains("No space left on device"), "a full cache: {}", said.err);
        self.inject(1);
        self.is_as_clean(&self.own, "a full cache");
        self.is_right("after a full cache");
    }

    pub fn read_only_cache(&self, random: &mut Random) {
        self.forget(random);
        if random.below(2) == 0 {
            self.to_any(random);
        }
        let command = self.command(&self.own, &["build", "//..."]);
        let said = Said::of(with_mount(READ_ONLY, &self.cache(), &command).output().expect("unshare runs"));
        assert_eq!(said.code, 0, "a read-only cache: {}", said.err);
        self.inject(1);
        self.is_as_clean(&self.own, "a read-only cache");
        self.is_right("after a read-only cache");
    }

    pub fn full_outputs(&self, random: &mut Random) {
        self.to_any(random);
        self.forget(random);
        fs::create_dir(self.own.path("ouro-out")).expect("a folder");
        let command = self.command(&self.own, &["build", "//..."]);
        let mounted = with_mount(FULL, &self.own.path("ouro-out"), &command).output().expect("unshare runs");
        let said = Said::of(mounted);
        assert!(said.code == 1 && said.err.contains("No space left on device"), "full outputs: {} {}", said.code, said.err);
        self.inject(1);
        self.is_right("after full outputs");
    }

    /// So many builds at once, each of which must end well.
    fn crowd(&self, workspaces: &[&Workspace], what: &str) {
        let start = |workspace: &&Workspace| self.command(workspace, &["build", "//..."]).spawn().expect("ouro starts");
        let children: Vec<Child> = workspaces.iter().map(start).collect();
        self.inject(children.len());
        for child in children {
            let said = Said::of(child.wait_with_output().expect("it ends"));
            assert_eq!(said.code, 0, "{what}: {}", said.err);
        }
        workspaces.iter().for_each(|workspace| self.is_as_clean(workspace, what));
    }

    pub fn crowded_workspace(&self, random: &mut Random) {
        self.to_any(random);
        self.forget(random);
        self.crowd(&vec![&self.own; 2 + random.below(7)], "a crowded workspace");
    }

    pub fn crowded_cache(&self, random: &mut Random) {
        self.to_any(random);
        switch(&self.other, self.variant.get());
        for workspace in [&self.own, &self.other] {
            let _ = fs::remove_dir_all(workspace.path("ouro-out"));
            let _ = fs::remove_dir_all(workspace.path(".ouro"));
        }
        if random.below(2) == 0 {
            let _ = fs::remove_dir_all(self.cache());
        }
        let crowd = [&self.own, &self.other, &self.own, &self.other];
        self.crowd(&crowd[..2 + random.below(3)], "a crowded cache");
    }

    pub fn collected(&self, random: &mut Random) {
        self.to_any(random);
        self.forget(random);
        let size = ["0", "5KB", "20KB", "1GB"][random.below(4)];
        let mut build = self.start();
        std::thread::sleep(Duration::from_micros(random.below(60_000) as u64));
        let said = Said::of(self.command(&self.own, &["cache", "gc", "--max-size", size]).output().expect("ouro runs"));
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(build.wait().expect("it ends").success());
        self.inject(1);
        self.is_as_clean(&self.own, "collected meanwhile");
        self.is_right("after collecting");
    }

    pub fn edited_meanwhile(&self, random: &mut Random) {
        self.to_any(random);
        let mut build = self.start();
        for _ in 0..4 {
            std::thread::sleep(Duration::from_micros(random.below(80_000) as u64));
            self.to_any(random);
            self.inject(1);
        }
        build.wait().expect("it ends");
        self.is_right("edited meanwhile");
        self.forget(random);
        self.is_right("edited meanwhile, from the cache");
    }
}

/// Turns a byte over where it lies, or writes something else; half the time nobody could tell by size and time.
fn forged(path: &Path, random: &mut Random) {
    let time = fs::metadata(path).and_then(|found| found.modified()).expect("a time");
    let mut bytes = fs::read(path).expect("an output");
    if random.below(2) == 0 && !bytes.is_empty() {
        let at = random.below(bytes.len());
        bytes[at] ^= 1;
        overwrite(path, &bytes);
        fs::File::open(path).and_then(|file| file.set_modified(time)).expect("another time");
    } else {
        overwrite(path, b"edited");
    }
}
