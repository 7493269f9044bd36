//! Since which kernel there is what chains need: types of programs and maps, places to attach to, and what every chain takes.
//!
//! Knows versions of the mainline on x86 alone; what distributions brought back, and what other machines lack, is asked of a
//! kernel itself. [`crate::hook`] and [`crate::map_type`] say what there is.

use crate::configuration::KernelVersion;
use crate::hook::Hook;
use crate::manifest::{Attach, CgroupMode, Order, TcVia};

const fn kernel(major: u32, minor: u32) -> KernelVersion {
    KernelVersion { major, minor }
}

/// What every chain takes: `-mcpu=v3` (5.1), and read-only data and tables that are frozen (5.2).
pub const CHAIN: KernelVersion = kernel(5, 2);

/// What programs that replace functions take: their links are pinned (5.8).
pub const EXTENSION: KernelVersion = kernel(5, 8);

/// Types of programs by the kernel's name, `BPF_PROG_TYPE_` left out.
const PROGRAMS: &[(&str, KernelVersion)] = &[
    ("cgroup_device", kernel(4, 15)),
    ("cgroup_skb", kernel(4, 10)),
    ("cgroup_sock", kernel(4, 10)),
    ("cgroup_sock_addr", kernel(4, 17)),
    ("cgroup_sockopt", kernel(5, 3)),
    ("cgroup_sysctl", kernel(5, 2)),
    ("ext", kernel(5, 6)),
    ("flow_dissector", kernel(4, 20)),
    ("kprobe", kernel(4, 1)),
    ("lirc_mode2", kernel(4, 18)),
    ("lsm", kernel(5, 7)),
    ("lwt_in", kernel(4, 10)),
    ("lwt_out", kernel(4, 10)),
    ("lwt_seg6local", kernel(4, 18)),
    ("lwt_xmit", kernel(4, 10)),
    ("netfilter", kernel(6, 4)),
    ("perf_event", kernel(4, 9)),
    ("raw_tracepoint", kernel(4, 17)),
    ("raw_tracepoint_writable", kernel(5, 2)),
    ("sched_act", kernel(4, 1)),
    ("sched_cls", kernel(4, 1)),
    ("sk_lookup", kernel(5, 9)),
    ("sk_msg", kernel(4, 17)),
    ("sk_reuseport", kernel(4, 19)),
    ("sk_skb", kernel(4, 14)),
    ("sock_ops", kernel(4, 13)),
    ("socket_filter", kernel(3, 19)),
    ("struct_ops", kernel(5, 6)),
    ("syscall", kernel(5, 14)),
    ("tracepoint", kernel(4, 7)),
    ("tracing", kernel(5, 5)),
    ("xdp", kernel(4, 8)),
];

/// Section prefixes, without `.s`, that came after their program type.
const PREFIXES: &[(&str, KernelVersion)] = &[
    ("cgroup/connect_unix", kernel(6, 7)),
    ("cgroup/getpeername4", kernel(5, 8)),
    ("cgroup/getpeername6", kernel(5, 8)),
    ("cgroup/getpeername_unix", kernel(6, 7)),
    ("cgroup/getsockname4", kernel(5, 8)),
    ("cgroup/getsockname6", kernel(5, 8)),
    ("cgroup/getsockname_unix", kernel(6, 7)),
    ("cgroup/post_bind4", kernel(4, 17)),
    ("cgroup/post_bind6", kernel(4, 17)),
    ("cgroup/recvmsg4", kernel(5, 2)),
    ("cgroup/recvmsg6", kernel(5, 2)),
    ("cgroup/recvmsg_unix", kernel(6, 7)),
    ("cgroup/sendmsg4", kernel(4, 18)),
    ("cgroup/sendmsg6", kernel(4, 18)),
    ("cgroup/sendmsg_unix", kernel(6, 7)),
    ("cgroup/sock_release", kernel(5, 9)),
    ("fmod_ret", kernel(5, 7)),
    ("fsession", kernel(7, 0)),
    ("iter", kernel(5, 8)),
    ("kprobe.multi", kernel(5, 18)),
    ("kprobe.session", kernel(6, 10)),
    ("kretprobe.multi", kernel(5, 18)),
    ("lsm_cgroup", kernel(6, 0)),
    ("sk_reuseport/migrate", kernel(5, 14)),
    ("sk_skb/verdict", kernel(5, 13)),
    ("uprobe.multi", kernel(6, 6)),
    ("uprobe.session", kernel(6, 13)),
    ("uretprobe.multi", kernel(6, 6)),
    ("xdp.frags", kernel(5, 18)),
    ("xdp.frags/cpumap", kernel(5, 18)),
    ("xdp.frags/devmap", kernel(5, 18)),
    ("xdp/cpumap", kernel(5, 9)),
    ("xdp/devmap", kernel(5, 8)),
];

/// Types of maps.
const MAPS: &[(&str, KernelVersion)] = &[
    ("arena", kernel(6, 9)),
    ("array", kernel(3, 19)),
    ("array_of_maps", kernel(4, 12)),
    ("bloom_filter", kernel(5, 16)),
    ("cgroup_array", kernel(4, 8)),
    ("cgroup_storage", kernel(4, 19)),
    ("cgrp_storage", kernel(6, 2)),
    ("cpumap", kernel(4, 15)),
    ("devmap", kernel(4, 14)),
    ("devmap_hash", kernel(5, 4)),
    ("hash", kernel(3, 19)),
    ("hash_of_maps", kernel(4, 12)),
    ("inode_storage", kernel(5, 10)),
    ("lpm_trie", kernel(4, 11)),
    ("lru_hash", kernel(4, 10)),
    ("lru_percpu_hash", kernel(4, 10)),
    ("percpu_array", kernel(4, 6)),
    ("percpu_cgroup_storage", kernel(4, 20)),
    ("percpu_hash", kernel(4, 6)),
    ("perf_event_array", kernel(4, 3)),
    ("queue", kernel(4, 20)),
    ("reuseport_sockarray", kernel(4, 19)),
    ("ringbuf", kernel(5, 8)),
    ("sk_storage", kernel(5, 2)),
    ("sockhash", kernel(4, 18)),
    ("sockmap", kernel(4, 14)),
    ("stack", kernel(4, 20)),
    ("stack_trace", kernel(4, 6)),
    ("task_storage", kernel(5, 11)),
    ("user_ringbuf", kernel(6, 1)),
    ("xskmap", kernel(4, 18)),
];

fn find(table: &[(&str, KernelVersion)], name: &str) -> Option<KernelVersion> {
    table.iter().find(|(known, _)| *known == name).map(|(_, since)| *since)
}

/// The first kernel with programs of this type.
pub fn program(hook: &Hook) -> Option<KernelVersion> {
    let prefix = hook.prefix.strip_suffix(".s").unwrap_or(hook.prefix);
    let sleepable = hook.sleepable.then(|| match (hook.prog_type, prefix) {
        ("kprobe", _) => kernel(6, 0),
        ("struct_ops", _) => kernel(6, 3),
        (_, "iter") => kernel(5, 18),
        _ => kernel(5, 10),
    });
    [find(PROGRAMS, hook.prog_type), find(PREFIXES, prefix), sleepable].into_iter().flatten().max()
}

/// The first kernel with maps of this type.
pub fn map(ty: &str) -> Option<KernelVersion> {
    find(MAPS, ty)
}

/// The first kernel that attaches there as a deploy does, which is by links that it pins; none where every kernel does.
pub fn place(point: &Attach) -> Option<KernelVersion> {
    let ordered = |order: &Order, revision: &Option<u64>| *order != Order::Last || revision.is_some();
    Some(match point {
        Attach::Xdp { .. } => kernel(5, 9),
        Attach::SharedXdp(_) => kernel(5, 10),
        Attach::Tc { via: TcVia::Tcx, .. } | Attach::Tcx { .. } => kernel(6, 6),
        Attach::Netkit { .. } => kernel(6, 7),
        Attach::Cgroup(place) if ordered(&place.order, &place.revision) => kernel(6, 17),
        Attach::Cgroup(place) if place.mode == CgroupMode::Multi => kernel(5, 7),
        Attach::Netfilter(place) if place.defrag => kernel(6, 6),
        Attach::Netfilter(_) | Attach::StructOps(_) => kernel(6, 4),
        Attach::Netns(_) | Attach::RawTracepoint(_) | Attach::Trace(_) => kernel(5, 8),
        Attach::Sockmap(_) => kernel(6, 10),
        Attach::Tracepoint(_)
        | Attach::Kprobe(_)
        | Attach::Ksyscall(_)
        | Attach::Uprobe(_)
        | Attach::Usdt(_)
        | Attach::PerfEvent(_) => kernel(5, 15),
        Attach::KprobeMulti(_) => kernel(5, 18),
        Attach::UprobeMulti(_) => kernel(6, 6),
        Attach::Iter(place) if place.cgroup.is_some() || place.pid.is_some() => kernel(6, 1),
        Attach::Iter(place) if place.map.is_some() => kernel(5, 9),
        Attach::Iter(_) => kernel(5, 8),
        Attach::Socket(_) => kernel(5, 6),
        Attach::Tc { .. } | Attach::Cgroup(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::HOOKS;
    use crate::map_type::MAP_TYPES;

    /// Section prefixes, without `.s`, that every kernel with their program type loads; where they attach, [`place`] says.
    const WITH_TYPE: &[&str] = &[
        "action",
        "cgroup/bind4",
        "cgroup/bind6",
        "cgroup/connect4",
        "cgroup/connect6",
        "cgroup/dev",
        "cgroup/getsockopt",
        "cgroup/setsockopt",
        "cgroup/skb",
        "cgroup/sock",
        "cgroup/sock_create",
        "cgroup/sysctl",
        "cgroup_skb/egress",
        "cgroup_skb/ingress",
        "classifier",
        "fentry",
        "fexit",
        "flow_dissector",
        "freplace",
        "kprobe",
        "kretprobe",
        "kretsyscall",
        "ksyscall",
        "lirc_mode2",
        "lsm",
        "lwt_in",
        "lwt_out",
        "lwt_seg6local",
        "lwt_xmit",
        "netfilter",
        "netkit/peer",
        "netkit/primary",
        "perf_event",
        "raw_tp",
        "raw_tp.w",
        "raw_tracepoint",
        "raw_tracepoint.w",
        "sk_lookup",
        "sk_msg",
        "sk_reuseport",
        "sk_skb",
        "sk_skb/stream_parser",
        "sk_skb/stream_verdict",
        "socket",
        "sockops",
        "struct_ops",
        "syscall",
        "tc",
        "tc/egress",
        "tc/ingress",
        "tcx/egress",
        "tcx/ingress",
        "tp",
        "tp_btf",
        "tracepoint",
        "uprobe",
        "uretprobe",
        "usdt",
        "xdp",
    ];

    #[test]
    fn every_type_stands_here_and_nothing_else() {
        for hook in HOOKS {
            assert!(find(PROGRAMS, hook.prog_type).is_some(), "{}", hook.prog_type);
        }
        assert!(PROGRAMS.iter().all(|(name, _)| HOOKS.iter().any(|hook| hook.prog_type == *name)));
        for (prefix, since) in PREFIXES {
            let hook = HOOKS.iter().find(|hook| hook.prefix == *prefix).unwrap_or_else(|| panic!("{prefix}"));
            assert!(find(PROGRAMS, hook.prog_type) < Some(*since), "{prefix} came with its type");
        }
        for hook in HOOKS {
            let prefix = hook.prefix.strip_suffix(".s").unwrap_or(hook.prefix);
            let came_later = find(PREFIXES, prefix).is_some();
            assert_ne!(came_later, WITH_TYPE.contains(&prefix), "did `{prefix}` come with its type, or later?");
        }
        assert!(MAP_TYPES.iter().map(|ty| ty.name).all(|name| map(name).is_some()));
        assert_eq!(MAPS.len(), MAP_TYPES.len());
    }

    #[test]
    fn what_came_later_counts() {
        let since = |ty: &str| program(crate::hook::find(ty).unwrap()).unwrap().to_string();
        assert_eq!([since("xdp"), since("xdp.frags"), since("fentry/f"), since("fentry.s/f")], ["4.8", "5.18", "5.5", "5.10"]);
        assert_eq!(
            [since("uprobe.s"), since("uprobe.multi.s"), since("iter.s/task"), since("usdt")],
            ["6.0", "6.6", "5.18", "4.1"]
        );
        assert_eq!(
            [since("fsession/f"), since("fsession.s/f"), since("struct_ops/f"), since("struct_ops.s/f")],
            ["7.0", "7.0", "5.6", "6.3"]
        );
    }
}
