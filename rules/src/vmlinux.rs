//! `vmlinux.h`: the types of a kernel for CO-RE programs, all of them or those that one program can reach.
//!
//! Knows nothing of where BTF and sources come from. What BTF is and how it reads in C is [`ouro_btf`]'s.

mod clash;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ouro_btf::{Btf, Damaged, Header, HeaderText, Words};
use ouro_cache::Digest;

pub use self::clash::clash;
use crate::diagnostic::Diagnostic;
use crate::native::Input;

/// The name under which programs include it.
pub const HEADER: &str = "vmlinux.h";

/// Names in headers of libbpf that are not in the program's own: what their macros and functions take for granted.
const TAKEN_FOR_GRANTED: &[&str] = &[
    "__be16",
    "__be32",
    "__be64",
    "__le16",
    "__le32",
    "__le64",
    "__s16",
    "__s32",
    "__s64",
    "__s8",
    "__sum16",
    "__u16",
    "__u32",
    "__u64",
    "__u8",
    "__wsum",
    "bool",
    "bpf_iter_num",
    "pt_regs",
    "s16",
    "s32",
    "s64",
    "s8",
    "size_t",
    "u16",
    "u32",
    "u64",
    "u8",
    "user_pt_regs",
    "user_regs_struct",
];

/// What libbpf's macros paste to words of the program: `bpf_for_each(task, ...)` declares a `struct bpf_iter_task`.
const PASTED: &[&str] = &["bpf_iter_", "trace_event_raw_"];

/// Helpers that return what few programs name, with what that is.
const RETURNED: &[(&str, &str)] = &[
    ("bpf_get_current_task_btf", "task_struct"),
    ("bpf_get_listener_sock", "bpf_sock"),
    ("bpf_sk_fullsock", "bpf_sock"),
    ("bpf_sk_lookup_tcp", "bpf_sock"),
    ("bpf_sk_lookup_udp", "bpf_sock"),
    ("bpf_skc_lookup_tcp", "bpf_sock"),
    ("bpf_skc_to_mptcp_sock", "mptcp_sock"),
    ("bpf_skc_to_tcp6_sock", "tcp6_sock"),
    ("bpf_skc_to_tcp_request_sock", "tcp_request_sock"),
    ("bpf_skc_to_tcp_sock", "tcp_sock"),
    ("bpf_skc_to_tcp_timewait_sock", "tcp_timewait_sock"),
    ("bpf_skc_to_udp6_sock", "udp6_sock"),
    ("bpf_skc_to_unix_sock", "unix_sock"),
    ("bpf_sock_from_file", "socket"),
    ("bpf_tcp_sock", "bpf_tcp_sock"),
];

/// Kernels whose types were read, by the digest of where they were read from, and whether that is text.
#[derive(Debug, Default)]
pub struct Kernels {
    known: Mutex<BTreeMap<(Digest, bool), Place>>,
}

/// Where a kernel is kept; empty until someone has read it.
type Place = Arc<OnceLock<Result<Kernel, Damaged>>>;

#[derive(Debug)]
enum Kernel {
    Btf(Box<Header>),
    Text(HeaderText),
}

impl Kernel {
    fn read(path: &str, bytes: &[u8]) -> Result<Kernel, Damaged> {
        match is_text(path) {
            true => Ok(Kernel::Text(HeaderText::of(String::from_utf8_lossy(bytes).into_owned()))),
            false => Ok(Kernel::Btf(Box::new(Header::of(Btf::read(bytes)?)?))),
        }
    }

    fn slim(&self, words: &Words) -> Result<String, Damaged> {
        match self {
            Kernel::Btf(header) => header.slim(words),
            Kernel::Text(header) => Ok(header.slim(words)),
        }
    }

    fn whole(&self) -> Result<String, Damaged> {
        match self {
            Kernel::Btf(header) => header.whole(),
            Kernel::Text(header) => Ok(header.whole().to_owned()),
        }
    }
}

/// Whether types are read from C and not from BTF.
fn is_text(path: &str) -> bool {
    path.ends_with(".h")
}

impl Kernels {
    /// Whether one has been read.
    pub(crate) fn has(&self, path: &str, digest: &Digest) -> bool {
        self.place(path, digest).get().is_some()
    }

    fn place(&self, path: &str, digest: &Digest) -> Place {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry((*digest, is_text(path))).or_default())
    }

    /// Reads it, unless someone has or does; then waits for that.
    fn with<T>(&self, path: &str, types: &Input, work: impl FnOnce(&Kernel) -> Result<T, Damaged>) -> Result<T, Damaged> {
        let place = self.place(path, &types.digest);
        work(place.get_or_init(|| Kernel::read(path, &types.bytes)).as_ref().map_err(Damaged::clone)?)
    }
}

/// All types of a kernel; `path` is where its BTF is, for messages.
pub(crate) fn whole(path: &str, types: &Input, kernels: &Kernels) -> Result<Vec<u8>, Vec<Diagnostic>> {
    kernels.with(path, types, Kernel::whole).map(String::into_bytes).map_err(|damaged| unreadable(path, &damaged))
}

/// Those that a program of these sources and headers can reach.
pub(crate) fn slim(
    path: &str,
    defines: &[String],
    types: &Input,
    texts: &[Input],
    kernels: &Kernels,
) -> Result<Vec<u8>, Vec<Diagnostic>> {
    let words = words(defines, texts);
    let header = kernels.with(path, types, |kernel| kernel.slim(&words));
    header.map(String::into_bytes).map_err(|damaged| unreadable(path, &damaged))
}

fn words(defines: &[String], texts: &[Input]) -> Words {
    let mut words = Words::default();
    words.extend(TAKEN_FOR_GRANTED.iter().copied());
    PASTED.iter().for_each(|piece| words.add_piece(piece));
    defines.iter().for_each(|define| words.add(define));
    texts.iter().for_each(|text| words.add(&String::from_utf8_lossy(&text.bytes)));
    let returned = RETURNED.iter().filter(|(helper, _)| words.has(helper)).map(|(_, ty)| *ty);
    let returned: Vec<&str> = returned.collect();
    words.extend(returned);
    words
}

fn unreadable(path: &str, damaged: &Damaged) -> Vec<Diagnostic> {
    let finding = Diagnostic::bare(format!("cannot read the types of `{path}`: {damaged}"));
    vec![finding.help("name a BTF file, such as a copy of `/sys/kernel/btf/vmlinux`, an ELF file with BTF, or a header (`.h`)")]
}
