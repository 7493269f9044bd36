//! What a build needs, and what makes one faster or stricter.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ouro_engine::execute::SandboxMode;
use ouro_engine::execute::sandbox::landlock_version;
use ouro_engine::toolchain::{ToolchainError, host, system_includes};
use ouro_rules::Tool;

use super::distribution::Package;
use super::{Answer, Machine};

pub(super) fn clang(machine: &Machine) -> Answer {
    match &machine.toolchain {
        Ok(toolchain) => match toolchain.tool(&Tool::Clang) {
            Ok(clang) => Answer::ok(format!("{}: {}, makes BPF code", clang.path.display(), toolchain.version)),
            Err(error) => Answer::missing(error.to_string(), error.remedy().unwrap_or_default()),
        },
        Err(error @ ToolchainError::NoClang { .. }) => {
            Answer::missing(error.to_string(), machine.distribution.install(Package::Clang, ""))
        }
        Err(error) => {
            Answer::missing(error.to_string(), error.remedy().unwrap_or_else(|| "repair it, or name another one".to_owned()))
        }
    }
}

/// Those that a `bpf_toolchain` could name, each by the first of its names in the search path: `/bin` is often a link to `/usr/bin`.
pub(super) fn others(machine: &Machine) -> Answer {
    let version = |name: &str| name == "clang" || name.strip_prefix("clang-").is_some_and(|rest| rest.parse::<u32>().is_ok());
    let folders = std::env::split_paths(&machine.search_path).filter(|folder| folder.is_absolute());
    let found = folders.flat_map(|folder| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.filter(|entry| entry.file_name().to_str().is_some_and(version));
        names.map(|entry| entry.path()).collect::<BTreeSet<_>>()
    });
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let own = machine.toolchain.as_ref().ok().and_then(|toolchain| toolchain.tool(&Tool::Clang).ok());
    let mut told: BTreeSet<PathBuf> = own.iter().map(|clang| real(&clang.path)).collect();
    let others: Vec<String> = found.filter(|path| told.insert(real(path))).map(|path| path.display().to_string()).collect();
    Answer::ok(if others.is_empty() { "none".to_owned() } else { others.join(", ") })
}

pub(super) fn llvm_link(machine: &Machine) -> Answer {
    let Ok(toolchain) = &machine.toolchain else { return Answer::ok("not looked for") };
    match toolchain.tool(&Tool::LlvmLink) {
        Ok(found) => Answer::ok(found.path.display().to_string()),
        Err(error) => {
            let remedy = machine.distribution.install(Package::Llvm, &suffix(machine));
            Answer::warning(format!("{error}; programs with one source need none"), remedy)
        }
    }
}

pub(super) fn llvm_strip(machine: &Machine) -> Answer {
    let Some(clang) = machine.toolchain.as_ref().ok().and_then(|toolchain| toolchain.tool(&Tool::Clang).ok()) else {
        return Answer::ok("not looked for");
    };
    let beside = fs::canonicalize(&clang.path).unwrap_or(clang.path).with_file_name("llvm-strip");
    match beside.is_file() {
        true => Answer::ok(beside.display().to_string()),
        false => Answer::warning(
            format!("not beside the compiler (`{}`); only rules of your own may need it", beside.display()),
            machine.distribution.install(Package::Llvm, &suffix(machine)),
        ),
    }
}

/// `-19` of a compiler that is called `clang-19`.
fn suffix(machine: &Machine) -> String {
    let clang = machine.toolchain.as_ref().ok().and_then(|toolchain| toolchain.tool(&Tool::Clang).ok());
    let name = clang.and_then(|clang| Some(clang.path.file_name()?.to_str()?.to_owned())).unwrap_or_default();
    name.strip_prefix("clang").unwrap_or_default().to_owned()
}

pub(super) fn libbpf(machine: &Machine) -> Answer {
    match find(machine, "bpf/bpf_helpers.h") {
        Some(path) => Answer::ok(path.display().to_string()),
        None => Answer::missing(
            "no `bpf/bpf_helpers.h` where the compiler searches",
            machine.distribution.install(Package::Libbpf, "") + ", or name its folder in `includes` of a `bpf_toolchain`",
        ),
    }
}

pub(super) fn kernel_headers(machine: &Machine) -> Answer {
    let missing: Vec<&str> = ["linux/bpf.h", "asm/types.h"].into_iter().filter(|name| find(machine, name).is_none()).collect();
    match find(machine, "linux/bpf.h") {
        Some(path) if missing.is_empty() => Answer::ok(path.display().to_string()),
        _ => Answer::missing(
            format!(
                "no {} where the compiler searches",
                missing.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            ),
            machine.distribution.install(Package::KernelHeaders, ""),
        ),
    }
}

/// A header where compilers of BPF code look for it.
fn find(machine: &Machine, name: &str) -> Option<PathBuf> {
    let own = machine.toolchain.iter().flat_map(|toolchain| toolchain.folders().to_vec());
    let folders = own.chain(system_includes(host()).into_iter().map(PathBuf::from)).chain(["/usr/include".into()]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

pub(super) fn cache(machine: &Machine) -> Answer {
    let Some(cache) = &machine.cache else {
        return Answer::missing("there is no folder for the action cache", "set `HOME`, or name one with `OURO_CACHE`");
    };
    let there = existing(cache);
    match tempfile::Builder::new().prefix(".ouro-doctor-").tempfile_in(&there) {
        Ok(_) => Answer::ok(format!("{} ({})", cache.display(), file_system(&there))),
        Err(error) => Answer::missing(
            format!("cannot write to {}: {error}", there.display()),
            "name another folder with `OURO_CACHE`, or `[cache] dir` in ouro.toml",
        ),
    }
}

/// How outputs come out of the cache.
pub(super) fn copies(machine: &Machine) -> Answer {
    let Some(cache) = machine.cache.as_deref().map(existing) else { return Answer::ok("not looked at") };
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    if device(&cache) != device(&machine.root) {
        return Answer::warning(
            "the cache and the workspace are on two file systems: outputs are copied",
            "name a folder on the workspace's file system: `[cache] dir` in ouro.toml",
        );
    }
    match can_share(&cache) {
        true => Answer::ok("outputs share their blocks with the cache (reflink)"),
        false => Answer::ok("outputs are links to the cache, or copies: this file system has no reflinks"),
    }
}

/// Whether one file can share the blocks of another.
fn can_share(folder: &Path) -> bool {
    const FICLONE: libc::c_ulong = 0x4004_9409;
    let file = || tempfile::Builder::new().prefix(".ouro-doctor-").tempfile_in(folder).ok();
    let (Some(from), Some(to)) = (file(), file()) else { return false };
    if fs::write(from.path(), b"shared").is_err() {
        return false;
    }
    // SAFETY: both descriptors are open; the call takes numbers alone.
    unsafe { libc::ioctl(File::as_raw_fd(to.as_file()), FICLONE, File::as_raw_fd(from.as_file())) == 0 }
}

/// The folder, or the nearest one above it that is there.
fn existing(folder: &Path) -> PathBuf {
    folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// The type of the mount that a folder lies in.
fn file_system(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let real = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let entries = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let around = entries.filter(|(place, _)| real.starts_with(place));
    around.max_by_key(|(place, _)| place.len()).map_or("unknown file system", |(_, kind)| kind).to_owned()
}

pub(super) fn landlock(_: &Machine) -> Answer {
    match (landlock_version(), SandboxMode::Landlock.obstacle()) {
        (Some(version), _) => Answer::ok(format!("version {version}: actions see what they declare")),
        (None, obstacle) => {
            let (why, remedy) = obstacle.unwrap_or_default();
            Answer::warning(format!("{why}: only what compilers say they read is looked at"), remedy)
        }
    }
}

pub(super) fn namespaces(_: &Machine) -> Answer {
    match SandboxMode::Namespace.obstacle() {
        None => Answer::ok("allowed: `--sandbox=namespace` works"),
        Some((why, remedy)) => Answer::warning(why, remedy),
    }
}
