//! Compiles C for BPF as ouro does, with the real compiler, into a folder that vanishes.
//!
//! Knows command lines, not what the objects are for.

use std::path::Path;
use std::process::Command;

use ouro_rules::header::{self, HeaderSpec};
use tempfile::TempDir;

/// The flags of `bpf_program`.
const FLAGS: &[&str] = &[
    "-target",
    "bpf",
    "-mcpu=v3",
    "-O2",
    "-g",
    "-gdwarf-4",
    "-fno-stack-protector",
    "-ffile-compilation-dir=.",
    "-Wall",
    "-Wextra",
    "-Werror",
];

/// What clang made: the object, or its complaints.
pub type Compiled = Result<Vec<u8>, String>;

/// Compiles one source, `fw/parse.c`, beside the header of `spec`; later flags win.
pub fn compile(spec: &HeaderSpec, source: &str, flags: &[&str]) -> Compiled {
    let folder = workspace(spec, &[source]);
    run(&folder, &tool("clang"), &clang_args("fw/parse.c", "parse.o", flags))?;
    Ok(std::fs::read(folder.path().join("parse.o")).unwrap())
}

/// Compiles sources to bitcode, links that and makes one object of it.
pub fn compile_many(spec: &HeaderSpec, sources: &[&str]) -> Compiled {
    let folder = workspace(spec, sources);
    let clang = tool("clang");
    let mut parts = Vec::new();
    for index in 0..sources.len() {
        parts.push(format!("{index}.bc"));
        run(&folder, &clang, &clang_args(&file(index), &parts[index], &["-emit-llvm"]))?;
    }
    parts.extend(["-o".to_owned(), "all.bc".to_owned()]);
    run(&folder, &clang.replace("clang", "llvm-link"), &parts)?;
    run(&folder, &clang, &clang_args("all.bc", "parse.o", &[]))?;
    Ok(std::fs::read(folder.path().join("parse.o")).unwrap())
}

fn file(index: usize) -> String {
    if index == 0 { "fw/parse.c".to_owned() } else { format!("fw/part{index}.c") }
}

fn workspace(spec: &HeaderSpec, sources: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for sub in ["fw", "include/ouro"] {
        std::fs::create_dir_all(folder.path().join(sub)).unwrap();
    }
    std::fs::write(folder.path().join("include/ouro/program.h"), header::SHARED).unwrap();
    std::fs::write(folder.path().join("own.h"), header::own(spec).unwrap_or_default()).unwrap();
    for (index, source) in sources.iter().enumerate() {
        std::fs::write(folder.path().join(file(index)), source).unwrap();
    }
    folder
}

fn clang_args(source: &str, output: &str, flags: &[&str]) -> Vec<String> {
    let system = format!("-idirafter/usr/include/{}-linux-gnu", std::env::consts::ARCH);
    let header = format!("-D{}=\"own.h\"", header::OWN);
    let own = ["-Iinclude", "-iquote.", header.as_str(), system.as_str()];
    let places = ["-c", source, "-o", output];
    // A linked bitcode file has no use for flags about headers.
    let own = if source.ends_with(".bc") { &[][..] } else { &own[..] };
    FLAGS.iter().chain(own).chain(flags).chain(&places).map(|arg| (*arg).to_string()).collect()
}

fn run(folder: &TempDir, program: &str, args: &[String]) -> Result<(), String> {
    let output = Command::new(program).args(args).current_dir(folder.path()).output().unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// The tool of this name, or the newest with a version behind it: Debian installs `clang-19` without `clang`.
fn tool(name: &str) -> String {
    let names = [name.to_owned()].into_iter().chain((14..40).rev().map(|version| format!("{name}-{version}")));
    let folders = std::env::var("PATH").unwrap();
    let exists = |name: &String| folders.split(':').any(|folder| Path::new(folder).join(name).exists());
    names.into_iter().find(exists).expect("clang must be installed")
}
