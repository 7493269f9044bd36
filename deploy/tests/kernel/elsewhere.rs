//! Objects that others wrote and compiled: those of Debian's packages `libbpf-tools`, `xdp-tools` and `libxdp1`, which
//! `scripts/deps --corpus` unpacks. Each program is taken, or refused for a reason that is this kernel's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ouro_deploy::{Error, ErrorKind, VerifyOptions, verify_object};

/// What every object for BPF of 64 bits begins with, but for the order of its bytes.
const MAGIC: &[u8] = b"\x7fELF\x02";
const MACHINE: u16 = 247;

/// The folder that the packages are unpacked in; says why a test ends early.
#[expect(clippy::print_stderr, reason = "tests have nobody else to tell")]
fn unpacked() -> Option<PathBuf> {
    let named = std::env::var_os("OURO_TEST_CORPUS").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/corpus"));
    let there = folder.join("usr").is_dir();
    if !there {
        eprintln!("{}: not there; `scripts/deps --corpus` gets libbpf-tools, xdp-tools and libxdp1 of Debian", folder.display());
    }
    there.then_some(folder)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) =
        entries.filter(|path| !path.is_symlink()).partition(|path| path.is_dir());
    let mut all: Vec<PathBuf> = folders.iter().flat_map(|folder| self::files(folder)).chain(files).collect();
    all.sort();
    all
}

/// The objects in a file: itself, or those that a program has among its data. Their section headers are their last part.
fn objects(bytes: &[u8]) -> Vec<&[u8]> {
    let half = |bytes: &[u8], at: usize| bytes.get(at..at + 2).map(|two| u16::from_ne_bytes(two.try_into().expect("two")));
    let size = |bytes: &[u8]| {
        let headers = u64::from_ne_bytes(bytes.get(40..48)?.try_into().ok()?);
        Some(usize::try_from(headers).ok()? + usize::from(half(bytes, 58)?) * usize::from(half(bytes, 60)?))
    };
    let begins = bytes.windows(MAGIC.len()).enumerate().filter(|(_, window)| *window == MAGIC).map(|(at, _)| &bytes[at..]);
    begins.filter(|rest| half(rest, 18) == Some(MACHINE)).filter_map(|rest| rest.get(..size(rest)?)).collect()
}

#[test]
fn objects_of_others_are_loaded_or_the_kernel_lacks_what_they_need() {
    let Some(folder) = unpacked() else { return };
    let (mut taken, mut wrong) = (0, Vec::new());
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    for file in files(&folder) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = fs::read(&file).expect("it was unpacked");
        for object in objects(&bytes) {
            match verify_object(&name, object, &VerifyOptions::default()) {
                Err(error) => wrong.push(format!("{name}: {error}")),
                Ok(verdicts) => verdicts.iter().for_each(|verdict| match &verdict.outcome {
                    Ok(_) => taken += 1,
                    Err(error) => match reason(&name, error) {
                        Some(reason) => *refused.entry(reason.to_owned()).or_default() += 1,
                        None => wrong.push(format!("{name}: `{}`: {error}\n{}", verdict.program, verdict.log)),
                    },
                }),
            }
        }
    }
    assert!(wrong.is_empty(), "{taken} taken, {refused:?} refused, and\n{}", wrong.join("\n"));
    assert!(taken > 200, "{taken} taken, {refused:?} refused");
}

/// Whose programs choose the sizes of maps when they run, and whose look into what newer kernels have under other names: the
/// members `freebind` (until 6.5) and `nr_running` (until 6.12).
const UNFINISHED: &[(&str, &[&str])] = &[
    ("cannot create the map", &["capable", "cpudist", "offcputime", "wakeuptime", "xdp-bench", "xdp-monitor", "xdp-trafficgen"]),
    ("invalid func unknown#195896080", &["bindsnoop", "runqlen"]),
    // 6.12 forgets what a pointer on the stack points to when a helper has read it.
    ("invalid mem access 'scalar'", &["biosnoop"]),
];

/// Why a kernel may refuse what another takes.
fn reason(file: &str, error: &Error) -> Option<&'static str> {
    let said = error.to_string();
    if error.kind() == ErrorKind::NotPermitted {
        return Some("not permitted");
    }
    let known = UNFINISHED.iter().find(|(words, files)| said.contains(words) && files.contains(&file)).map(|(words, _)| *words);
    // Functions of the kernel come and go, and some are named when the program runs.
    known.or(said.contains("programs to attach to").then_some("nothing to attach to"))
}
