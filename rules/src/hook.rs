//! The table of program types: what each may return, where it attaches, and which may share a jump table.
//!
//! Section names and expected attach types as in libbpf's section table; verdict numbers from the kernel's uapi headers.

mod constructors;

/// A program type as BUILD files and ELF sections name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// The libbpf section prefix: `xdp`, `cgroup_skb/egress`, `tracepoint`.
    pub prefix: &'static str,
    /// Whether a `/name` follows that says what it attaches to: `tracepoint/sched/sched_switch`.
    pub takes_name: bool,
    /// The kernel's program type, without `BPF_PROG_TYPE_`, in lower case.
    pub prog_type: &'static str,
    /// The expected attach type loaded with, without `BPF_`; empty when none.
    pub attach_type: &'static str,
    /// Multi-buffer packets (XDP frags).
    pub frags: bool,
    /// May sleep; such programs cannot make tail calls (KERNEL: "Sleepable programs can only use array, hash, ...").
    pub sleepable: bool,
    /// The return values with their names.
    pub verdicts: Verdicts,
}

/// What a program may return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdicts {
    /// One of these.
    Named(&'static [(&'static str, i32)]),
    /// Any number from the first to the second, both included; a miss returns 0 unless told otherwise.
    Numbers(i32, i32),
}

const XDP: Verdicts = Verdicts::Named(&[("aborted", 0), ("drop", 1), ("pass", 2), ("tx", 3), ("redirect", 4)]);
const TC: Verdicts = Verdicts::Named(&[
    ("unspec", -1),
    ("next", -1),
    ("ok", 0),
    ("pass", 0),
    ("reclassify", 1),
    ("shot", 2),
    ("drop", 2),
    ("pipe", 3),
    ("stolen", 4),
    ("redirect", 7),
]);
const ALLOW: Verdicts = Verdicts::Named(&[("deny", 0), ("drop", 0), ("allow", 1), ("pass", 1)]);
const SK: Verdicts = Verdicts::Named(&[("drop", 0), ("pass", 1)]);
const FILTER: Verdicts = Verdicts::Named(&[("drop", 0), ("pass", -1)]);
const LSM: Verdicts = Verdicts::Named(&[("allow", 0), ("deny", -1)]);
const NETFILTER: Verdicts = Verdicts::Named(&[("drop", 0), ("accept", 1), ("pass", 1)]);
/// The kernel takes no other verdict from these (`check_return_code`).
const ONLY_ALLOW: Verdicts = Verdicts::Named(&[("allow", 1), ("pass", 1)]);
/// The value is free, or ignored.
const ANY: Verdicts = Verdicts::Numbers(i32::MIN, i32::MAX);
const ZERO: Verdicts = Verdicts::Numbers(0, 0);
const ZERO_OR_ONE: Verdicts = Verdicts::Numbers(0, 1);

const fn hook(prefix: &'static str, prog_type: &'static str, attach_type: &'static str, verdicts: Verdicts) -> Hook {
    Hook { prefix, takes_name: false, prog_type, attach_type, frags: false, sleepable: false, verdicts }
}

const fn named(hook: Hook) -> Hook {
    Hook { takes_name: true, ..hook }
}

const fn sleepable(hook: Hook) -> Hook {
    Hook { sleepable: true, ..hook }
}

const fn frags(hook: Hook) -> Hook {
    Hook { frags: true, ..hook }
}

/// Every type, in the order of libbpf's table; [`find`] takes the longest prefix.
pub const HOOKS: &[Hook] = &[
    hook("socket", "socket_filter", "", FILTER),
    hook("sk_reuseport/migrate", "sk_reuseport", "SK_REUSEPORT_SELECT_OR_MIGRATE", SK),
    hook("sk_reuseport", "sk_reuseport", "SK_REUSEPORT_SELECT", SK),
    named(hook("kprobe", "kprobe", "", ANY)),
    named(hook("uprobe", "kprobe", "", ANY)),
    named(sleepable(hook("uprobe.s", "kprobe", "", ANY))),
    named(hook("kretprobe", "kprobe", "", ANY)),
    named(hook("uretprobe", "kprobe", "", ANY)),
    named(sleepable(hook("uretprobe.s", "kprobe", "", ANY))),
    named(hook("kprobe.multi", "kprobe", "TRACE_KPROBE_MULTI", ANY)),
    named(hook("kretprobe.multi", "kprobe", "TRACE_KPROBE_MULTI", ANY)),
    named(hook("kprobe.session", "kprobe", "TRACE_KPROBE_SESSION", ZERO_OR_ONE)),
    named(hook("uprobe.multi", "kprobe", "TRACE_UPROBE_MULTI", ANY)),
    named(hook("uretprobe.multi", "kprobe", "TRACE_UPROBE_MULTI", ANY)),
    named(hook("uprobe.session", "kprobe", "TRACE_UPROBE_SESSION", ZERO_OR_ONE)),
    named(sleepable(hook("uprobe.multi.s", "kprobe", "TRACE_UPROBE_MULTI", ANY))),
    named(sleepable(hook("uretprobe.multi.s", "kprobe", "TRACE_UPROBE_MULTI", ANY))),
    named(sleepable(hook("uprobe.session.s", "kprobe", "TRACE_UPROBE_SESSION", ZERO_OR_ONE))),
    named(hook("ksyscall", "kprobe", "", ANY)),
    named(hook("kretsyscall", "kprobe", "", ANY)),
    // Loaded without the attach type by kernels before 6.6, which have no such links.
    named(hook("usdt", "kprobe", "TRACE_UPROBE_MULTI", ANY)),
    named(sleepable(hook("usdt.s", "kprobe", "TRACE_UPROBE_MULTI", ANY))),
    hook("tc/ingress", "sched_cls", "TCX_INGRESS", TC),
    hook("tc/egress", "sched_cls", "TCX_EGRESS", TC),
    hook("tcx/ingress", "sched_cls", "TCX_INGRESS", TC),
    hook("tcx/egress", "sched_cls", "TCX_EGRESS", TC),
    hook("tc", "sched_cls", "", TC),
    hook("classifier", "sched_cls", "", TC),
    hook("action", "sched_act", "", TC),
    hook("netkit/primary", "sched_cls", "NETKIT_PRIMARY", TC),
    hook("netkit/peer", "sched_cls", "NETKIT_PEER", TC),
    named(hook("tracepoint", "tracepoint", "", ANY)),
    named(hook("tp", "tracepoint", "", ANY)),
    named(hook("raw_tracepoint", "raw_tracepoint", "", ANY)),
    named(hook("raw_tp", "raw_tracepoint", "", ANY)),
    named(hook("raw_tracepoint.w", "raw_tracepoint_writable", "", ANY)),
    named(hook("raw_tp.w", "raw_tracepoint_writable", "", ANY)),
    named(hook("tp_btf", "tracing", "TRACE_RAW_TP", ANY)),
    named(hook("fentry", "tracing", "TRACE_FENTRY", ZERO)),
    named(hook("fmod_ret", "tracing", "MODIFY_RETURN", ANY)),
    named(hook("fexit", "tracing", "TRACE_FEXIT", ZERO)),
    named(sleepable(hook("fentry.s", "tracing", "TRACE_FENTRY", ZERO))),
    named(sleepable(hook("fmod_ret.s", "tracing", "MODIFY_RETURN", ANY))),
    named(sleepable(hook("fexit.s", "tracing", "TRACE_FEXIT", ZERO))),
    named(hook("fsession", "tracing", "TRACE_FSESSION", ZERO)),
    named(sleepable(hook("fsession.s", "tracing", "TRACE_FSESSION", ZERO))),
    named(hook("freplace", "ext", "", ANY)),
    named(hook("lsm", "lsm", "LSM_MAC", LSM)),
    named(sleepable(hook("lsm.s", "lsm", "LSM_MAC", LSM))),
    named(hook("lsm_cgroup", "lsm", "LSM_CGROUP", ALLOW)),
    named(hook("iter", "tracing", "TRACE_ITER", ZERO_OR_ONE)),
    named(sleepable(hook("iter.s", "tracing", "TRACE_ITER", ZERO_OR_ONE))),
    sleepable(hook("syscall", "syscall", "", ANY)),
    frags(hook("xdp.frags/devmap", "xdp", "XDP_DEVMAP", XDP)),
    hook("xdp/devmap", "xdp", "XDP_DEVMAP", XDP),
    frags(hook("xdp.frags/cpumap", "xdp", "XDP_CPUMAP", XDP)),
    hook("xdp/cpumap", "xdp", "XDP_CPUMAP", XDP),
    frags(hook("xdp.frags", "xdp", "XDP", XDP)),
    hook("xdp", "xdp", "XDP", XDP),
    hook("perf_event", "perf_event", "", ANY),
    hook("lwt_in", "lwt_in", "", ANY),
    hook("lwt_out", "lwt_out", "", ANY),
    hook("lwt_xmit", "lwt_xmit", "", ANY),
    hook("lwt_seg6local", "lwt_seg6local", "", ANY),
    hook("sockops", "sock_ops", "CGROUP_SOCK_OPS", ZERO_OR_ONE),
    hook("sk_skb/stream_parser", "sk_skb", "SK_SKB_STREAM_PARSER", ANY),
    hook("sk_skb/stream_verdict", "sk_skb", "SK_SKB_STREAM_VERDICT", SK),
    hook("sk_skb/verdict", "sk_skb", "SK_SKB_VERDICT", SK),
    hook("sk_skb", "sk_skb", "", SK),
    hook("sk_msg", "sk_msg", "SK_MSG_VERDICT", SK),
    hook("lirc_mode2", "lirc_mode2", "LIRC_MODE2", ANY),
    hook("flow_dissector", "flow_dissector", "FLOW_DISSECTOR", ANY),
    hook("cgroup_skb/ingress", "cgroup_skb", "CGROUP_INET_INGRESS", ALLOW),
    hook("cgroup_skb/egress", "cgroup_skb", "CGROUP_INET_EGRESS", ALLOW),
    hook("cgroup/skb", "cgroup_skb", "", ALLOW),
    hook("cgroup/sock_create", "cgroup_sock", "CGROUP_INET_SOCK_CREATE", ALLOW),
    hook("cgroup/sock_release", "cgroup_sock", "CGROUP_INET_SOCK_RELEASE", ALLOW),
    hook("cgroup/sock", "cgroup_sock", "CGROUP_INET_SOCK_CREATE", ALLOW),
    hook("cgroup/post_bind4", "cgroup_sock", "CGROUP_INET4_POST_BIND", ALLOW),
    hook("cgroup/post_bind6", "cgroup_sock", "CGROUP_INET6_POST_BIND", ALLOW),
    hook("cgroup/bind4", "cgroup_sock_addr", "CGROUP_INET4_BIND", ALLOW),
    hook("cgroup/bind6", "cgroup_sock_addr", "CGROUP_INET6_BIND", ALLOW),
    hook("cgroup/connect4", "cgroup_sock_addr", "CGROUP_INET4_CONNECT", ALLOW),
    hook("cgroup/connect6", "cgroup_sock_addr", "CGROUP_INET6_CONNECT", ALLOW),
    hook("cgroup/connect_unix", "cgroup_sock_addr", "CGROUP_UNIX_CONNECT", ALLOW),
    hook("cgroup/sendmsg4", "cgroup_sock_addr", "CGROUP_UDP4_SENDMSG", ALLOW),
    hook("cgroup/sendmsg6", "cgroup_sock_addr", "CGROUP_UDP6_SENDMSG", ALLOW),
    hook("cgroup/sendmsg_unix", "cgroup_sock_addr", "CGROUP_UNIX_SENDMSG", ALLOW),
    hook("cgroup/recvmsg4", "cgroup_sock_addr", "CGROUP_UDP4_RECVMSG", ONLY_ALLOW),
    hook("cgroup/recvmsg6", "cgroup_sock_addr", "CGROUP_UDP6_RECVMSG", ONLY_ALLOW),
    hook("cgroup/recvmsg_unix", "cgroup_sock_addr", "CGROUP_UNIX_RECVMSG", ONLY_ALLOW),
    hook("cgroup/getpeername4", "cgroup_sock_addr", "CGROUP_INET4_GETPEERNAME", ONLY_ALLOW),
    hook("cgroup/getpeername6", "cgroup_sock_addr", "CGROUP_INET6_GETPEERNAME", ONLY_ALLOW),
    hook("cgroup/getpeername_unix", "cgroup_sock_addr", "CGROUP_UNIX_GETPEERNAME", ONLY_ALLOW),
    hook("cgroup/getsockname4", "cgroup_sock_addr", "CGROUP_INET4_GETSOCKNAME", ONLY_ALLOW),
    hook("cgroup/getsockname6", "cgroup_sock_addr", "CGROUP_INET6_GETSOCKNAME", ONLY_ALLOW),
    hook("cgroup/getsockname_unix", "cgroup_sock_addr", "CGROUP_UNIX_GETSOCKNAME", ONLY_ALLOW),
    hook("cgroup/sysctl", "cgroup_sysctl", "CGROUP_SYSCTL", ALLOW),
    hook("cgroup/getsockopt", "cgroup_sockopt", "CGROUP_GETSOCKOPT", ALLOW),
    hook("cgroup/setsockopt", "cgroup_sockopt", "CGROUP_SETSOCKOPT", ALLOW),
    hook("cgroup/dev", "cgroup_device", "CGROUP_DEVICE", ALLOW),
    named(hook("struct_ops", "struct_ops", "", ANY)),
    named(sleepable(hook("struct_ops.s", "struct_ops", "", ANY))),
    hook("sk_lookup", "sk_lookup", "SK_LOOKUP", SK),
    hook("netfilter", "netfilter", "NETFILTER", NETFILTER),
];

/// The type a declared `type` or an ELF section names: the longest prefix that fits.
pub fn find(section: &str) -> Option<&'static Hook> {
    let section = section.strip_prefix('?').unwrap_or(section);
    HOOKS
        .iter()
        .filter(|hook| match section.strip_prefix(hook.prefix) {
            Some("") => true,
            // libbpf lets `xdp/anything` and `tc/anything` name a section too; the suffix then says nothing.
            Some(rest) => rest.starts_with('/'),
            None => false,
        })
        .max_by_key(|hook| hook.prefix.len())
}

impl Hook {
    /// Programs may share a jump table exactly when this is equal (kernel: owner of a prog array).
    /// `section` is the declared type: tracing programs of different functions differ.
    pub fn table_class(&self, section: &str) -> (&'static str, &'static str, bool, String) {
        let function =
            if matches!(self.prog_type, "tracing" | "lsm" | "ext" | "struct_ops") { section.to_owned() } else { String::new() };
        (self.prog_type, self.attach_type, self.frags, function)
    }

    /// The number behind a verdict's name.
    pub fn verdict(&self, name: &str) -> Option<i32> {
        match self.verdicts {
            Verdicts::Named(verdicts) => verdicts.iter().find(|(known, _)| *known == name).map(|(_, number)| *number),
            Verdicts::Numbers(..) => None,
        }
    }

    /// The name of a verdict; the first, if it has several.
    pub fn verdict_name(&self, number: i32) -> Option<&'static str> {
        match self.verdicts {
            Verdicts::Named(verdicts) => verdicts.iter().find(|(_, known)| *known == number).map(|(name, _)| *name),
            Verdicts::Numbers(..) => None,
        }
    }

    /// The name of a verdict that people use: of several the last, `drop` and not `shot`.
    pub fn common_name(&self, number: i32) -> Option<&'static str> {
        self.verdict_names().into_iter().rfind(|name| self.verdict(name) == Some(number))
    }

    /// Whether the kernel can run a packet through it that never was on a wire (BPF_PROG_TEST_RUN).
    pub fn takes_packets(&self) -> bool {
        let types =
            ["xdp", "sched_cls", "sched_act", "socket_filter", "cgroup_skb", "lwt_in", "lwt_out", "lwt_xmit", "flow_dissector"];
        types.contains(&self.prog_type) && !matches!(self.attach_type, "XDP_DEVMAP" | "XDP_CPUMAP")
    }

    /// Whether its links take no other program, so that a deploy leads to programs through a table (see `bpf_chain(atomic)`).
    pub fn needs_root(&self) -> bool {
        let types = [
            "tracepoint",
            "raw_tracepoint",
            "raw_tracepoint_writable",
            "tracing",
            "kprobe",
            "perf_event",
            "lsm",
            "netfilter",
            "socket_filter",
            "sk_reuseport",
        ];
        !self.sleepable && types.contains(&self.prog_type) && !matches!(self.attach_type, "TRACE_ITER" | "LSM_CGROUP")
    }

    /// Whether it runs when a function is called and again when it returns.
    pub fn is_session(&self) -> bool {
        matches!(self.attach_type, "TRACE_KPROBE_SESSION" | "TRACE_UPROBE_SESSION")
    }

    /// The names of the verdicts, in order.
    pub fn verdict_names(&self) -> Vec<&'static str> {
        match self.verdicts {
            Verdicts::Named(verdicts) => verdicts.iter().map(|(name, _)| *name).collect(),
            Verdicts::Numbers(..) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins() {
        assert_eq!(find("xdp").unwrap().attach_type, "XDP");
        assert_eq!(find("xdp/devmap").unwrap().attach_type, "XDP_DEVMAP");
        assert_eq!(find("xdp/parse").unwrap().prefix, "xdp");
        assert_eq!(find("cgroup_skb/egress").unwrap().attach_type, "CGROUP_INET_EGRESS");
        assert_eq!(find("tracepoint/sched/sched_switch").unwrap().prog_type, "tracepoint");
        assert!(find("xdpx").is_none() && find("").is_none());
    }

    #[test]
    fn verdicts_belong_to_their_hook() {
        assert_eq!(find("xdp").unwrap().verdict("drop"), Some(1));
        assert_eq!(find("tc").unwrap().verdict("drop"), Some(2));
        assert_eq!(find("xdp").unwrap().verdict("shot"), None);
    }

    /// As the kernel's verifier says it: "At program exit the register R0 has smin=0 smax=0 should have been in [1, 1]".
    #[test]
    fn no_verdict_is_offered_that_the_kernel_refuses() {
        let refused = |ty: &str, number: i32| match find(ty).unwrap().verdicts {
            Verdicts::Named(names) => names.iter().all(|(_, known)| *known != number),
            Verdicts::Numbers(first, last) => !(first..=last).contains(&number),
        };
        for (ty, taken, not_taken) in [
            ("cgroup/recvmsg4", 1, 0),
            ("cgroup/recvmsg6", 1, 0),
            ("cgroup/sendmsg4", 0, 2),
            ("sockops", 1, 2),
            ("iter/task", 1, 2),
            ("fentry/vfs_read", 0, 1),
            ("fexit/vfs_read", 0, -1),
            ("fsession/vfs_read", 0, 1),
            ("fsession.s/vfs_read", 0, 1),
            ("sk_lookup", 1, 2),
            ("netfilter", 1, 2),
        ] {
            assert!(!refused(ty, taken) && refused(ty, not_taken), "{ty}");
        }
        assert!(!refused("fmod_ret/security_file_open", -1) && !refused("kprobe/x", i32::MIN));
    }

    #[test]
    fn tables_are_not_shared_across_attach_types() {
        let class = |ty: &str| find(ty).unwrap().table_class(ty);
        assert_ne!(class("tc"), class("tcx/ingress"));
        assert_ne!(class("xdp"), class("xdp.frags"));
        assert_ne!(class("lsm/file_open"), class("lsm/file_mprotect"));
        assert_eq!(class("kprobe/a"), class("kprobe/b"));
    }
}
