//! Which attach constructors this kernel has. Asks it: the smallest program of each type is loaded, and a link to nothing is tried,
//! whose error tells whether the kernel looked for what it was to be attached to.
//!
//! Leaves nothing behind.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ouro_btf::Kind;
use ouro_rules::hook::{self, Hook, Verdicts};
use serde::Serialize;

use super::holders::yama;
use super::prepare::numbers_of;
use super::types::KernelTypes;
use super::{attach_type, places, sys};

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
    ("socket", "socket", None, Try::Socket),
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
    ("usdt", "usdt", None, Try::Usdt),
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
    /// The same, and where there are no such links whether there are events.
    Usdt,
    /// A descriptor of this process by its number, which asks how new the kernel is: what other processes let be taken, each of them
    /// tells when it is tried.
    Socket,
    /// Whether programs are among the security modules that are asked.
    Module,
}

/// What every constructor but `struct_ops` comes to: of that no kernel tells before it is done.
pub fn offered() -> Vec<Offer> {
    let types = KernelTypes::default();
    let probe = |ty: &str, target, more| probe(&types, hook::find(ty).ok_or_else(|| unknown(ty))?, target, more);
    PROBES.iter().map(|(constructor, ty, target, more)| offer(constructor, probe(ty, *target, *more))).collect()
}

/// Whether the kernel has programs of this type. One older than an attach type takes a program for it all the same, so links
/// are tried of those that nothing but their attach type makes what they are.
pub(super) fn takes(types: &KernelTypes, ty: &Hook) -> io::Result<()> {
    let attach = match ty.attach() {
        // Where sessions of functions are traced, functions are.
        [] if ty.prog_type == "tracing" => "fentry",
        constructors => constructors.first().copied().unwrap_or_default(),
    };
    let row = PROBES.iter().find(|(constructor, ..)| *constructor == attach);
    let (target, more) = row.map_or((None, Try::Nothing), |(_, _, target, more)| (*target, *more));
    let is_told_by_links = ["TCX_", "NETKIT_", "TRACE_KPROBE_", "TRACE_UPROBE_"].iter().any(|of| ty.attach_type.starts_with(of));
    let more = if is_told_by_links || matches!(more, Try::Event(_)) { more } else { Try::Nothing };
    probe(types, ty, target, more)
}

/// Whether one link can attach a program to many places of a file.
pub(super) fn takes_many_uprobes() -> bool {
    hook::find("uprobe.multi").is_some_and(|ty| probe(&KernelTypes::default(), ty, None, Try::Uprobes).is_ok())
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

fn unknown(ty: &str) -> io::Error {
    missing(format!("ouro has no number for `{ty}`"))
}

fn probe(types: &KernelTypes, ty: &Hook, target: Target, more: Try) -> io::Result<()> {
    let program = load(types, ty, target)?;
    let program = program.as_fd();
    let of_type = || attach_type::number(ty.attach_type);
    match more {
        Try::Nothing => Ok(()),
        // A type without an attach type of its own is attached as the constructor says.
        Try::Link(name) => looked(link(program, of_type().or_else(|_| attach_type::number(name))?)),
        Try::Netfilter => looked(sys::link_netfilter(program, 0, 0, 0, false)),
        Try::Event(kind) => event(program, kind),
        Try::Kprobes => looked(sys::link_kprobes(program, of_type()?, &[c"ouro_no_such_function".to_owned()], false)),
        Try::Uprobes => {
            let places = sys::Uprobes { offsets: &[1], ..sys::Uprobes::default() };
            looked(sys::link_uprobes(program, of_type()?, Path::new("/"), places, 0, false))
        }
        Try::Usdt if takes_many_uprobes() => Ok(()),
        Try::Usdt => event(program, "uprobe"),
        Try::Socket if yama() == 3 => Err(missing("`kernel.yama.ptrace_scope` is 3: nobody gets descriptors of other processes")),
        Try::Socket => {
            let own = sys::open_process(std::process::id())?;
            sys::descriptor_of(own.as_fd(), own.as_raw_fd().cast_unsigned()).map(drop)
        }
        Try::Module => {
            let modules = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
            let asked = modules.split(',').any(|module| module.trim() == "bpf");
            if asked { Ok(()) } else { Err(missing("`bpf` is not among the security modules: boot with `lsm=...,bpf`")) }
        }
    }
}

fn event(program: BorrowedFd<'_>, kind: &str) -> io::Result<()> {
    places::event_type(kind).map_err(|event| {
        let needs = event.help.map(|help| format!(": {help}")).unwrap_or_default();
        missing(format!("{}{needs}", event.what))
    })?;
    looked(link(program, attach_type::number("PERF_EVENT")?))
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

/// Loads the smallest program that the verifier takes: `return 0;`, or another number where the type has no 0.
fn load(types: &KernelTypes, ty: &Hook, target: Target) -> io::Result<OwnedFd> {
    // r0 = <number>; exit
    let [a, b, c, d] = smallest(ty.verdicts).to_ne_bytes();
    let insns = [0xb7, 0, 0, 0, a, b, c, d, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let (number, attach_type, flags) = numbers_of(ty).ok_or_else(|| unknown(ty.prefix))?;
    // Few functions can be followed by what sleeps, and which ones differs; kernels that have BTF have such programs.
    let is_for_test = ty.prog_type == "tracing" && ty.attach_type != "TRACE_ITER";
    let found = match target {
        None => None,
        Some((name, kind)) => {
            let found = types.find(name, kind).map_err(|reason| missing(reason.to_string()))?;
            Some(found.ok_or_else(|| missing(format!("the kernel has no `{name}`")))?)
        }
    };
    let program = sys::Program {
        ty: number,
        attach_type,
        flags: if is_for_test { 0 } else { flags },
        insns: &insns,
        license: c"GPL",
        name: "ouro_probe",
        btf: None,
        functions: &[],
        lines: &[],
        attach_btf_id: found.as_ref().map_or(0, |found| found.id),
        attach_btf: found.as_ref().and_then(|found| found.module()),
        modules: &[],
        card: 0,
    };
    sys::prog_load(&program, 0, &mut [])
}

fn smallest(verdicts: Verdicts) -> i32 {
    match verdicts {
        Verdicts::Named(names) if names.iter().any(|(_, number)| *number == 0) => 0,
        Verdicts::Named(names) => names.first().map_or(0, |(_, number)| *number),
        Verdicts::Numbers(first, last) => 0.clamp(first, last),
    }
}
