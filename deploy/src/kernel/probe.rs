//! What this kernel can do for this process: asked by loading programs of two instructions, which are gone at once.
//!
//! Never attaches anything. Knows numbers of include/uapi/linux/bpf.h, and nothing of what is missing for what.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use ouro_btf::{Btf, Kind};

use super::sys;

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Has {
    /// It works.
    Yes,
    /// This kernel has it not.
    No,
    /// The kernel does not permit it, and so does not tell whether it has it.
    Refused,
}

/// Something a kernel may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// As chains and documents call it.
    pub name: &'static str,
    /// The first kernel that has it.
    pub since: &'static str,
    /// What it is compiled in with.
    pub option: &'static str,
    /// Whether it is a trampoline in the kernel's code, which a kernel in lockdown refuses.
    pub trampoline: bool,
    probe: Probe,
}

/// How to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    /// A program of this type with this expected attach type.
    Load(u32, u32),
    /// The same for a type of the kernel's BTF: what it follows, or the `struct` whose member it is.
    Target(u32, u32, Target),
    /// Attach types that devices have lists of.
    Listed(u32),
    /// Several places by one link: the attach type.
    Multi(u32),
    /// A source of perf events.
    Events(&'static str),
    /// Delegation to user namespaces.
    Token,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Function(&'static str),
    Typedef(&'static str),
    Member(&'static str, &'static str),
}

const fn feature(name: &'static str, since: &'static str, option: &'static str, probe: Probe) -> Feature {
    Feature { name, since, option, trampoline: false, probe }
}

const fn trampoline(feature: Feature) -> Feature {
    Feature { trampoline: true, ..feature }
}

/// What programs attach to, in the order told.
const FEATURES: &[Feature] = &[
    feature("xdp", "5.9", "CONFIG_NET", Probe::Load(6, 37)),
    feature("tc", "4.5", "CONFIG_NET_CLS_BPF", Probe::Load(3, 0)),
    feature("tcx", "6.6", "CONFIG_NET_XGRESS", Probe::Listed(46)),
    feature("netkit", "6.7", "CONFIG_NETKIT", Probe::Listed(54)),
    feature("cgroup_skb", "4.10", "CONFIG_CGROUP_BPF", Probe::Load(8, 0)),
    feature("cgroup/connect", "4.17", "CONFIG_CGROUP_BPF", Probe::Load(18, 10)),
    feature("cgroup/sockopt", "5.3", "CONFIG_CGROUP_BPF", Probe::Load(25, 21)),
    feature("sockops", "4.13", "CONFIG_CGROUP_BPF", Probe::Load(13, 3)),
    feature("sk_msg, sk_skb", "4.17", "CONFIG_BPF_STREAM_PARSER", Probe::Load(16, 7)),
    feature("sk_lookup", "5.9", "CONFIG_INET", Probe::Load(30, 36)),
    feature("sk_reuseport", "4.19", "CONFIG_INET", Probe::Load(21, 39)),
    feature("flow_dissector", "4.20", "CONFIG_NET", Probe::Load(22, 17)),
    feature("netfilter", "6.4", "CONFIG_NETFILTER_BPF_LINK", Probe::Load(32, 45)),
    feature("lwt", "4.10", "CONFIG_LWTUNNEL_BPF", Probe::Load(12, 0)),
    feature("tracepoint", "4.7", "CONFIG_BPF_EVENTS", Probe::Load(5, 0)),
    feature("raw_tp", "4.17", "CONFIG_BPF_EVENTS", Probe::Load(17, 0)),
    feature("tp_btf", "5.5", "CONFIG_DEBUG_INFO_BTF", Probe::Target(26, 23, Target::Typedef("btf_trace_sched_switch"))),
    feature("iter", "5.8", "CONFIG_DEBUG_INFO_BTF", Probe::Target(26, 28, Target::Function("bpf_iter_bpf_map"))),
    feature("perf_event", "4.9", "CONFIG_PERF_EVENTS", Probe::Load(7, 0)),
    feature("kprobe", "4.1", "CONFIG_KPROBE_EVENTS", Probe::Events("kprobe")),
    feature("kprobe.multi", "5.18", "CONFIG_FPROBE", Probe::Multi(KPROBE_MULTI)),
    feature("uprobe", "4.3", "CONFIG_UPROBE_EVENTS", Probe::Events("uprobe")),
    feature("uprobe.multi", "6.6", "CONFIG_UPROBES", Probe::Multi(48)),
    trampoline(feature("fentry, fexit", "5.5", "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS", FENTRY)),
    trampoline(feature("lsm", "5.7", "CONFIG_BPF_LSM", Probe::Target(29, 27, Target::Function("bpf_lsm_file_open")))),
    feature("struct_ops", "5.6", "CONFIG_BPF_JIT", Probe::Target(27, 0, Target::Member("tcp_congestion_ops", "ssthresh"))),
    feature("token", "6.9", "CONFIG_BPF_SYSCALL", Probe::Token),
];

/// `BPF_TRACE_KPROBE_MULTI`.
const KPROBE_MULTI: u32 = 42;

const FENTRY: Probe = Probe::Target(26, 24, Target::Function("bpf_fentry_test1"));

/// The kernel's types, where it offers them.
const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// Asks for everything.
pub fn features() -> Vec<(Feature, Has)> {
    sys::lift_memory_limit();
    let types = types();
    FEATURES.iter().map(|feature| (*feature, ask(feature.probe, types.as_ref()))).collect()
}

/// Asks for the one of these that is called so.
pub(super) fn called(name: &str) -> Option<Has> {
    let known = FEATURES.iter().find(|feature| feature.name.split(", ").any(|known| known == name))?;
    let types = matches!(known.probe, Probe::Target(..)).then(types).flatten();
    Some(ask(known.probe, types.as_ref()))
}

/// Whether the smallest program of this type can be loaded.
pub(super) fn loads(ty: u32, attach: u32) -> Has {
    answer(sys::probe_program(ty, attach, 0))
}

fn types() -> Option<Btf> {
    fs::read(TYPES).ok().and_then(|bytes| Btf::read(&bytes).ok())
}

fn ask(probe: Probe, types: Option<&Btf>) -> Has {
    match probe {
        Probe::Load(ty, attach) => answer(sys::probe_program(ty, attach, 0)),
        Probe::Target(ty, attach, target) => match types.and_then(|types| find(types, target)) {
            Some((id, Some(member))) => answer(sys::probe_program(ty, member, id)),
            Some((id, None)) => answer(sys::probe_program(ty, attach, id)),
            None => Has::No,
        },
        // The loopback device is the first in every namespace; where it is not, the answer is no EINVAL either.
        Probe::Listed(attach) => answer(sys::attach_type_known(1, attach).and_then(known)),
        Probe::Multi(attach) => multi(attach),
        Probe::Events(source) => {
            if Path::new("/sys/bus/event_source/devices").join(source).join("type").exists() {
                Has::Yes
            } else {
                Has::No
            }
        }
        Probe::Token => answer(sys::probe_token()),
    }
}

fn known(known: bool) -> io::Result<()> {
    if known { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EINVAL)) }
}

fn answer<T>(result: io::Result<T>) -> Has {
    match result {
        Ok(_) => Has::Yes,
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)) => Has::Refused,
        // A list was asked for of a device that can have none.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENODEV)) => Has::Yes,
        Err(_) => Has::No,
    }
}

/// A link to a function, or in a file, that is none: kernels that have such links look for it. Others refuse the program, or say that
/// its attach type does not fit, or is not supported.
fn multi(attach: u32) -> Has {
    let program = match sys::probe_program(2, attach, 0) {
        Ok(program) => program,
        error => return answer(error),
    };
    let link = match attach {
        KPROBE_MULTI => sys::link_kprobes(program.as_fd(), &[c"ouro_no_such_function".to_owned()], false),
        _ => sys::link_uprobes(program.as_fd(), Path::new("/"), &[1], &[], 0, false),
    };
    match link {
        Err(error)
            if !matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::EPERM | libc::EACCES) | None) =>
        {
            Has::Yes
        }
        other => answer(other),
    }
}

/// The type's id, and the place of its member if one is asked for.
fn find(types: &Btf, target: Target) -> Option<(u32, Option<u32>)> {
    let (name, kind) = match target {
        Target::Function(name) => (name, Kind::Function),
        Target::Typedef(name) => (name, Kind::Typedef),
        Target::Member(name, _) => (name, Kind::Struct),
    };
    let found = types.ids().find(|id| types.get(*id).is_some_and(|ty| ty.kind == kind && types.name(ty) == name))?;
    let Target::Member(_, member) = target else { return Some((found, None)) };
    let place = types.members(types.get(found)?).iter().position(|known| types.member_name(known) == member)?;
    Some((found, Some(u32::try_from(place).ok()?)))
}
