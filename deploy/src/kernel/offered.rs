//! Which attach constructors this kernel has. Asks it: the smallest program of each type is loaded, and a link to nothing is tried,
//! whose error tells whether the kernel looked for what it was to be attached to.
//!
//! Leaves nothing behind.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ouro_btf::Kind;
use ouro_rules::hook;
use serde::Serialize;

use super::types::KernelTypes;
use super::{attach_type, numbers, places, sys};

/// Whether a constructor can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Offered {
    /// It can.
    Available,
    /// The kernel has it, and its lockdown or the rights of this process are against it.
    Refused,
    /// The kernel does not have it.
    Missing,
}

/// An attach constructor, as this kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// Its name in BUILD files.
    pub constructor: &'static str,
    /// Whether it can be used.
    pub state: Offered,
    /// Why not.
    pub why: Option<String>,
}

/// What a program is for, in the kernel's types.
type Target = Option<(&'static str, Kind)>;

/// A constructor, the type that stands for it, what its program is for, and what is tried besides.
const PROBES: &[(&str, &str, Target, Try)] = &[
    ("xdp", "xdp", None, Try::Nothing),
    ("tc", "tc", None, Try::Nothing),
    ("tcx", "tcx/ingress", None, Try::Link("TCX_INGRESS")),
    ("netkit", "netkit/primary", None, Try::Link("NETKIT_PRIMARY")),
    ("cgroup", "cgroup_skb/egress", None, Try::Link("CGROUP_INET_EGRESS")),
    ("lsm_cgroup", "lsm_cgroup", Some(("bpf_lsm_socket_bind", Kind::Function)), Try::Link("LSM_CGROUP")),
    ("netfilter", "netfilter", None, Try::Netfilter),
    ("netns", "sk_lookup", None, Try::Link("SK_LOOKUP")),
    ("sockmap", "sk_msg", None, Try::Link("SK_MSG_VERDICT")),
    ("tracepoint", "tracepoint", None, Try::Link("PERF_EVENT")),
    ("raw_tracepoint", "raw_tracepoint", None, Try::Nothing),
    ("tp_btf", "tp_btf", Some(("btf_trace_sys_enter", Kind::Typedef)), Try::Nothing),
    ("fentry", "fentry", Some(("bpf_fentry_test1", Kind::Function)), Try::Nothing),
    ("fexit", "fexit", Some(("bpf_fentry_test1", Kind::Function)), Try::Nothing),
    ("fmod_ret", "fmod_ret", Some(("bpf_modify_return_test", Kind::Function)), Try::Nothing),
    ("lsm", "lsm", Some(("bpf_lsm_file_open", Kind::Function)), Try::Module),
    ("kprobe", "kprobe", None, Try::Event("kprobe")),
    ("kretprobe", "kretprobe", None, Try::Event("kprobe")),
    ("ksyscall", "ksyscall", None, Try::Event("kprobe")),
    ("kprobe_multi", "kprobe.multi", None, Try::Kprobes),
    ("uprobe", "uprobe", None, Try::Event("uprobe")),
    ("uretprobe", "uretprobe", None, Try::Event("uprobe")),
    ("usdt", "usdt", None, Try::Event("uprobe")),
    ("uprobe_multi", "uprobe.multi", None, Try::Uprobes),
    ("perf_event", "perf_event", None, Try::Link("PERF_EVENT")),
    ("iter", "iter", Some(("bpf_iter_task", Kind::Function)), Try::Nothing),
];

/// What is tried with a program that was loaded.
#[derive(Debug, Clone, Copy)]
enum Try {
    Nothing,
    /// A link to a descriptor that is none.
    Link(&'static str),
    /// A link to a protocol that is none.
    Netfilter,
    /// Whether there is this kind of event, and a link to one.
    Event(&'static str),
    /// A link to a function that is none.
    Kprobes,
    /// A link to a file that is none.
    Uprobes,
    /// Whether programs are among the security modules that are asked.
    Module,
}

/// What every constructor but `socket` and `struct_ops` comes to: of those no kernel tells before it is done.
pub fn offered() -> Vec<Offer> {
    let types = KernelTypes::default();
    PROBES.iter().map(|(constructor, ty, target, more)| offer(constructor, probe(&types, ty, *target, *more))).collect()
}

fn offer(constructor: &'static str, answer: Result<(), io::Error>) -> Offer {
    let (state, why) = match answer {
        Ok(()) => (Offered::Available, None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            (Offered::Refused, Some("not permitted: the kernel is locked down, or this process lacks rights".to_owned()))
        }
        Err(error) if error.get_ref().is_some() => (Offered::Missing, Some(error.to_string())),
        Err(_) => (Offered::Missing, Some("the kernel does not know it".to_owned())),
    };
    Offer { constructor, state, why }
}

fn missing(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, why.into())
}

fn probe(types: &KernelTypes, ty: &str, target: Target, more: Try) -> io::Result<()> {
    let program = load(types, ty, target)?;
    let program = program.as_fd();
    match more {
        Try::Nothing => Ok(()),
        Try::Link(name) => looked(link(program, attach_type::number(name)?)),
        Try::Netfilter => looked(sys::link_netfilter(program, 0, 0, 0, false)),
        Try::Event(kind) => {
            places::event_type(kind).map_err(|missing_event| missing(missing_event.what))?;
            looked(link(program, attach_type::number("PERF_EVENT")?))
        }
        Try::Kprobes => looked(sys::link_kprobes(program, &[c"ouro_no_such_function".to_owned()], false)),
        Try::Uprobes => looked(sys::link_uprobes(program, Path::new("/"), &[1], &[], 0, false)),
        Try::Module => {
            let modules = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
            let asked = modules.split(',').any(|module| module.trim() == "bpf");
            if asked { Ok(()) } else { Err(missing("`bpf` is not among the security modules: boot with `lsm=...,bpf`")) }
        }
    }
}

fn link(program: BorrowedFd<'_>, attach_type: u32) -> io::Result<OwnedFd> {
    sys::link_in_order(program, u32::MAX, attach_type, None, 0)
}

/// A kernel that looked for what was to be attached to says that it is not there.
fn looked(answer: io::Result<OwnedFd>) -> io::Result<()> {
    match answer {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP) | None) => {
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(()),
    }
}

/// Loads `return 0;`.
fn load(types: &KernelTypes, ty: &str, target: Target) -> io::Result<OwnedFd> {
    // r0 = 0; exit
    const INSNS: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let unknown = || missing(format!("ouro has no number for `{ty}`"));
    let known = hook::find(ty).ok_or_else(unknown)?;
    let found = match target {
        None => None,
        Some((name, kind)) => {
            let found = types.find(name, kind).map_err(|reason| missing(reason.to_string()))?;
            Some(found.ok_or_else(|| missing(format!("the kernel has no `{name}`")))?)
        }
    };
    let program = sys::Program {
        ty: numbers::program_type(known.prog_type).ok_or_else(unknown)?,
        attach_type: numbers::attach_type(known.attach_type).ok_or_else(unknown)?,
        flags: 0,
        insns: &INSNS,
        license: c"GPL",
        name: "ouro_probe",
        btf: None,
        functions: &[],
        lines: &[],
        attach_btf_id: found.as_ref().map_or(0, |found| found.id),
        attach_btf: found.as_ref().and_then(|found| found.module()),
        modules: &[],
    };
    sys::prog_load(&program, 0, &mut [])
}
