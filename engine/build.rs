//! Compiles what is preloaded into programs that are kept warm. Without a C compiler, or on a system whose C library it does
//! not fit, an empty file takes its place, and no program is kept warm.

use std::path::{Path, PathBuf};
use std::{env, fs};

const SOURCE: &str = "src/execute/warm/server.c";

fn main() {
    println!("cargo:rerun-if-changed={SOURCE}");
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names the folder"));
    let library = folder.join("warm.so");
    let fits = ["linux", "gnu"] == ["OS", "ENV"].map(|what| env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default());
    if !fits || !compile(&library) {
        fs::write(&library, "").expect("cargo's own folder can be written to");
    }
}

fn compile(library: &Path) -> bool {
    let Ok(compiler) = cc::Build::new().opt_level(2).pic(true).warnings(true).try_get_compiler() else { return false };
    let mut command = compiler.to_command();
    // Before glibc 2.34 `dlsym` was in a library of its own.
    command.args(["-std=gnu11", "-fvisibility=hidden", "-shared", "-o"]).arg(library).args([SOURCE, "-ldl"]);
    let made = command.status().is_ok_and(|status| status.success());
    if !made {
        println!("cargo:warning=no program will be kept warm: `{SOURCE}` does not compile");
    }
    made
}
