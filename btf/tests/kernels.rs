//! Whole kernels: every type of a real one, printed and compiled back, is the same.
//!
//! Runs on the BTF of the running kernel, and on those files that `OURO_BTF_FILES` names (separated by `:`).

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use ouro_btf::{Btf, Header};
use support::{compiled_back, differences};

const HOST: &str = "/sys/kernel/btf/vmlinux";

#[test]
#[expect(clippy::print_stderr, reason = "who skips says why")]
fn every_type_of_a_kernel_is_the_same_in_its_header() {
    let more = std::env::var_os("OURO_BTF_FILES").unwrap_or_default();
    let files: Vec<PathBuf> = std::env::split_paths(&more).chain([PathBuf::from(HOST)]).filter(|path| path.is_file()).collect();
    if files.is_empty() {
        eprintln!("skipped: this kernel offers no BTF ({HOST} is not there; it needs CONFIG_DEBUG_INFO_BTF)");
    }
    files.iter().for_each(|file| check(file));
}

fn check(file: &Path) {
    let bytes = fs::read(file).expect("a readable file");
    let original = Btf::read(&bytes).expect("BTF");
    let header = Header::of(original.clone()).expect("types").whole().expect("a header");
    let endian: &[&str] = if bytes.starts_with(&[0xeb]) { &["-target", "bpfeb"] } else { &[] };
    let found = differences(&original, &compiled_back(&header, endian));
    let shown = found.iter().take(5).map(|one| one.chars().take(2000).collect::<String>()).collect::<Vec<_>>().join("\n");
    assert!(found.is_empty(), "{}: {} types differ\n{shown}", file.display(), found.len());
}
