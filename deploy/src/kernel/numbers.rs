//! The kernel's numbers of program types and attach types (include/uapi/linux/bpf.h): the places of their names.
//!
//! Knows names alone; which section has which is in `ouro_rules::hook`.

/// `enum bpf_prog_type`, without `BPF_PROG_TYPE_`, in lower case.
const PROGRAM_TYPES: [&str; 33] = [
    "unspec",
    "socket_filter",
    "kprobe",
    "sched_cls",
    "sched_act",
    "tracepoint",
    "xdp",
    "perf_event",
    "cgroup_skb",
    "cgroup_sock",
    "lwt_in",
    "lwt_out",
    "lwt_xmit",
    "sock_ops",
    "sk_skb",
    "cgroup_device",
    "sk_msg",
    "raw_tracepoint",
    "cgroup_sock_addr",
    "lwt_seg6local",
    "lirc_mode2",
    "sk_reuseport",
    "flow_dissector",
    "cgroup_sysctl",
    "raw_tracepoint_writable",
    "cgroup_sockopt",
    "tracing",
    "struct_ops",
    "ext",
    "lsm",
    "sk_lookup",
    "syscall",
    "netfilter",
];

/// `enum bpf_attach_type`, without `BPF_`.
const ATTACH_TYPES: [&str; 59] = [
    "CGROUP_INET_INGRESS",
    "CGROUP_INET_EGRESS",
    "CGROUP_INET_SOCK_CREATE",
    "CGROUP_SOCK_OPS",
    "SK_SKB_STREAM_PARSER",
    "SK_SKB_STREAM_VERDICT",
    "CGROUP_DEVICE",
    "SK_MSG_VERDICT",
    "CGROUP_INET4_BIND",
    "CGROUP_INET6_BIND",
    "CGROUP_INET4_CONNECT",
    "CGROUP_INET6_CONNECT",
    "CGROUP_INET4_POST_BIND",
    "CGROUP_INET6_POST_BIND",
    "CGROUP_UDP4_SENDMSG",
    "CGROUP_UDP6_SENDMSG",
    "LIRC_MODE2",
    "FLOW_DISSECTOR",
    "CGROUP_SYSCTL",
    "CGROUP_UDP4_RECVMSG",
    "CGROUP_UDP6_RECVMSG",
    "CGROUP_GETSOCKOPT",
    "CGROUP_SETSOCKOPT",
    "TRACE_RAW_TP",
    "TRACE_FENTRY",
    "TRACE_FEXIT",
    "MODIFY_RETURN",
    "LSM_MAC",
    "TRACE_ITER",
    "CGROUP_INET4_GETPEERNAME",
    "CGROUP_INET6_GETPEERNAME",
    "CGROUP_INET4_GETSOCKNAME",
    "CGROUP_INET6_GETSOCKNAME",
    "XDP_DEVMAP",
    "CGROUP_INET_SOCK_RELEASE",
    "XDP_CPUMAP",
    "SK_LOOKUP",
    "XDP",
    "SK_SKB_VERDICT",
    "SK_REUSEPORT_SELECT",
    "SK_REUSEPORT_SELECT_OR_MIGRATE",
    "PERF_EVENT",
    "TRACE_KPROBE_MULTI",
    "LSM_CGROUP",
    "STRUCT_OPS",
    "NETFILTER",
    "TCX_INGRESS",
    "TCX_EGRESS",
    "TRACE_UPROBE_MULTI",
    "CGROUP_UNIX_CONNECT",
    "CGROUP_UNIX_SENDMSG",
    "CGROUP_UNIX_RECVMSG",
    "CGROUP_UNIX_GETPEERNAME",
    "CGROUP_UNIX_GETSOCKNAME",
    "NETKIT_PRIMARY",
    "NETKIT_PEER",
    "TRACE_KPROBE_SESSION",
    "TRACE_UPROBE_SESSION",
    "TRACE_FSESSION",
];

/// The number of a program type.
pub(crate) fn program_type(name: &str) -> Option<u32> {
    place(&PROGRAM_TYPES, name)
}

/// The number of an attach type; that of no attach type is 0.
pub(crate) fn attach_type(name: &str) -> Option<u32> {
    if name.is_empty() { Some(0) } else { place(&ATTACH_TYPES, name) }
}

fn place(names: &[&str], name: &str) -> Option<u32> {
    names.iter().position(|known| *known == name).and_then(|place| u32::try_from(place).ok())
}

#[cfg(test)]
mod tests {
    use ouro_btf::{Btf, Kind};
    use ouro_rules::hook::HOOKS;

    use super::*;

    #[test]
    fn every_hook_has_numbers() {
        for hook in HOOKS {
            assert!(program_type(hook.prog_type).is_some() && attach_type(hook.attach_type).is_some(), "{}", hook.prefix);
        }
    }

    /// The kernel's own types say which number a name has; an older kernel has fewer.
    #[test]
    fn the_numbers_are_the_kernels() {
        let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else { return };
        let btf = Btf::read(&bytes).unwrap();
        let enumerators = |name: &str| {
            let found = btf.ids().filter_map(|id| btf.get(id)).find(|ty| ty.kind == Kind::Enum && btf.name(*ty) == name).unwrap();
            btf.enumerators(found).iter().map(|one| (btf.enumerator_name(one).to_owned(), one.value)).collect::<Vec<_>>()
        };
        for (name, number) in enumerators("bpf_attach_type") {
            if let Some(name) = name.strip_prefix("BPF_") {
                assert_eq!(attach_type(name).map(i64::from), Some(number), "{name}");
            }
        }
        for (name, number) in enumerators("bpf_prog_type") {
            if let Some(name) = name.strip_prefix("BPF_PROG_TYPE_") {
                assert_eq!(program_type(&name.to_lowercase()).map(i64::from), Some(number), "{name}");
            }
        }
    }
}
