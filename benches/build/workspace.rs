//! Workspaces of N programs, and what people do to them.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::measure::{Cost, run};

const OURO: &str = env!("CARGO_BIN_EXE_ouro");

/// Packages of programs, and a library they all include.
pub struct Workspace {
    /// Its folder.
    pub root: PathBuf,
    /// How many programs it has.
    pub count: usize,
    /// How many of them each package has.
    share: usize,
}

/// How many programs there are.
#[derive(Clone, Copy)]
pub enum Shape {
    /// Each with a package of its own: the most folders and BUILD files there can be.
    Alone(usize),
    /// Ten in each package.
    Tens(usize),
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Alone(count) => write!(f, "{count}-alone"),
            Shape::Tens(count) => write!(f, "{count}-in-tens"),
        }
    }
}

impl Workspace {
    /// Generates one in a folder of its own. `settings` goes into `ouro.toml`.
    pub fn generate(root: PathBuf, shape: Shape, settings: &str) -> Workspace {
        write(&root.join("ouro.toml"), &format!("[cache]\ndir = \".cache\"\n{settings}"));
        let library = "bpf_library(name = \"lib\", hdrs = [\"lib.h\"], visibility = [\"//visibility:public\"])\n";
        write(&root.join("lib/BUILD.ouro"), library);
        write(&root.join("lib/lib.h"), "#pragma once\n#define LIMIT 64\n");
        let workspace = Workspace::of(root, shape);
        workspace.write_programs(source);
        workspace
    }

    fn of(root: PathBuf, shape: Shape) -> Workspace {
        let (count, share) = match shape {
            Shape::Alone(count) => (count, 1),
            Shape::Tens(count) => (count, 10),
        };
        Workspace { root, count, share }
    }

    fn write_programs(&self, source: impl Fn(usize) -> String) {
        (0..self.count).for_each(|number| write(&self.source(number), &source(number)));
        (0..self.count).step_by(self.share).for_each(|first| self.write_build_file(first, |_| String::new()));
    }

    /// Writes the BUILD file that declares a program; each program in it has `more` attributes.
    fn write_build_file(&self, number: usize, more: impl Fn(usize) -> String) {
        let first = number - number % self.share;
        let programs = (first..self.count.min(first + self.share)).map(|number| declaration(number, &more(number)));
        write(&self.package(number).join("BUILD.ouro"), &programs.collect::<String>());
    }

    /// Generates one of programs that read structs of the kernel this machine runs. `more` are attributes of the header rule.
    pub fn generate_co_re(root: PathBuf, count: usize, more: &str) -> Workspace {
        write(&root.join("ouro.toml"), "[cache]\ndir = \".cache\"\n");
        let visibility = "visibility = [\"//visibility:public\"]";
        write(&root.join("lib/BUILD.ouro"), &format!("vmlinux_header(name = \"lib\", btf = \"host\", {visibility}{more})\n"));
        let workspace = Workspace::of(root, Shape::Alone(count));
        workspace.write_programs(co_re_source);
        workspace
    }

    /// ouro in this workspace.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(OURO);
        // The caller's own cache would answer for the workspace's, and the caller's variables are not part of the work.
        command.args(arguments).current_dir(&self.root).env_remove("OURO_CACHE");
        command
    }

    /// Runs ouro in it.
    pub fn ouro(&self, arguments: &[&str]) -> Cost {
        run(&mut self.command(arguments))
    }

    /// Builds everything.
    pub fn build(&self) -> Cost {
        self.ouro(&["build", "//..."])
    }

    /// Builds until nothing is left to do: a state written within the clock's grain of its files trusts none of them.
    pub fn settle(&self) {
        for _ in 0..2 {
            self.build();
            thread::sleep(Duration::from_millis(50));
        }
        self.build();
    }

    /// Gives a source new bytes.
    pub fn edit_source(&self, number: usize, round: usize) {
        let edited = source(number).replace("return XDP_PASS;", &format!("return ctx->rx_queue_index == {round} ? 1 : 2;"));
        write(&self.source(number), &edited);
    }

    /// Writes a source's own bytes again.
    pub fn touch(&self, number: usize) {
        let bytes = fs::read(self.source(number)).expect("a source");
        fs::write(self.source(number), bytes).expect("a source");
    }

    /// Gives a program another definition.
    pub fn edit_build_file(&self, number: usize, round: usize) {
        let edited = |other| if other == number { format!(", defines = [\"ROUND={round}\"]") } else { String::new() };
        self.write_build_file(number, edited);
    }

    /// Removes all that was made.
    pub fn remove_outputs(&self) {
        fs::remove_dir_all(self.root.join("ouro-out")).expect("outputs");
    }

    /// What `ouro generate` says clang is run with. The folders it writes to are there.
    pub fn compile_commands(&self) -> Vec<Vec<String>> {
        self.ouro(&["generate", "//..."]);
        let text = fs::read_to_string(self.root.join("compile_commands.json")).expect("compile_commands.json");
        let commands: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
        assert_eq!(commands.len(), self.count, "one command for each program");
        let words = |command: &serde_json::Value| command["arguments"].as_array().expect("arguments").clone();
        let text = |word: serde_json::Value| word.as_str().expect("text").to_owned();
        let commands: Vec<Vec<String>> = commands.iter().map(|command| words(command).into_iter().map(text).collect()).collect();
        for output in commands.iter().flat_map(|words| words.iter().skip_while(|word| *word != "-o").nth(1)) {
            fs::create_dir_all(self.root.join(output).parent().expect("a folder")).expect("a folder");
        }
        commands
    }

    fn package(&self, number: usize) -> PathBuf {
        self.root.join(format!("p{}", number / self.share))
    }

    fn source(&self, number: usize) -> PathBuf {
        self.package(number).join(format!("p{number}.c"))
    }
}

/// The arguments of one of the commands, ready to run: the compiler alone.
pub fn alone(root: &Path, words: &[String]) -> Cost {
    let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    run(Command::new(words[0]).args(&words[1..]).current_dir(root))
}

fn declaration(number: usize, more: &str) -> String {
    format!("bpf_program(name = \"p{number}\", srcs = [\"p{number}.c\"], type = \"xdp\", deps = [\"//lib\"]{more})\n")
}

fn source(number: usize) -> String {
    format!(
        "#include <ouro/program.h>\n#include \"lib/lib.h\"\n\nSEC(\"xdp\")\nint p{number}(struct xdp_md *ctx)\n{{\n\
         \tif (ctx->data_end - ctx->data < LIMIT + {number})\n\t\treturn XDP_DROP;\n\treturn XDP_PASS;\n}}\n\n\
         char LICENSE[] SEC(\"license\") = \"GPL\";\n"
    )
}

/// Reads a few members of each of a few structs, as tools that trace do.
fn co_re_source(number: usize) -> String {
    format!(
        "#include \"vmlinux.h\"\n#include <ouro/program.h>\n#include <bpf/bpf_core_read.h>\n\nSEC(\"xdp\")\nint p{number}(struct xdp_md *ctx)\n{{\n\
         \tstruct task_struct *task = (void *)(long)bpf_get_smp_processor_id();\n\
         \tstruct net_device *device = (void *)task;\n\
         \tif (BPF_CORE_READ(task, real_parent, tgid) == {number} || BPF_CORE_READ(task, mm, map_count) > {number})\n\t\treturn XDP_DROP;\n\
         \treturn BPF_CORE_READ(device, mtu) > {number} ? XDP_PASS : XDP_TX;\n}}\n\n\
         char LICENSE[] SEC(\"license\") = \"GPL\";\n"
    )
}

/// Writes a file and the folders above it.
pub fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}
