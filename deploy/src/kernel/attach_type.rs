//! The kernel's numbers of attach types.
//!
//! A table (`enum bpf_attach_type` of include/uapi/linux/bpf.h), nothing else.

use std::io;

pub(super) const XDP: u32 = 37;
/// The one of egress follows.
pub(super) const TCX_INGRESS: u32 = 46;
/// The one of peers follows.
pub(super) const NETKIT_PRIMARY: u32 = 54;

/// Those that hooks carry by name, without `BPF_`.
const NUMBERS: &[(&str, u32)] = &[
    ("CGROUP_INET_INGRESS", 0),
    ("CGROUP_INET_EGRESS", 1),
    ("CGROUP_INET_SOCK_CREATE", 2),
    ("CGROUP_SOCK_OPS", 3),
    ("SK_SKB_STREAM_PARSER", 4),
    ("SK_SKB_STREAM_VERDICT", 5),
    ("CGROUP_DEVICE", 6),
    ("SK_MSG_VERDICT", 7),
    ("CGROUP_INET4_BIND", 8),
    ("CGROUP_INET6_BIND", 9),
    ("CGROUP_INET4_CONNECT", 10),
    ("CGROUP_INET6_CONNECT", 11),
    ("CGROUP_INET4_POST_BIND", 12),
    ("CGROUP_INET6_POST_BIND", 13),
    ("CGROUP_UDP4_SENDMSG", 14),
    ("CGROUP_UDP6_SENDMSG", 15),
    ("FLOW_DISSECTOR", 17),
    ("CGROUP_SYSCTL", 18),
    ("CGROUP_UDP4_RECVMSG", 19),
    ("CGROUP_UDP6_RECVMSG", 20),
    ("CGROUP_GETSOCKOPT", 21),
    ("CGROUP_SETSOCKOPT", 22),
    ("CGROUP_INET4_GETPEERNAME", 29),
    ("CGROUP_INET6_GETPEERNAME", 30),
    ("CGROUP_INET4_GETSOCKNAME", 31),
    ("CGROUP_INET6_GETSOCKNAME", 32),
    ("CGROUP_INET_SOCK_RELEASE", 34),
    ("SK_LOOKUP", 36),
    ("SK_SKB_VERDICT", 38),
    ("LSM_CGROUP", 43),
    ("CGROUP_UNIX_CONNECT", 49),
    ("CGROUP_UNIX_SENDMSG", 50),
    ("CGROUP_UNIX_RECVMSG", 51),
    ("CGROUP_UNIX_GETPEERNAME", 52),
    ("CGROUP_UNIX_GETSOCKNAME", 53),
];

/// The number of an attach type.
pub(super) fn number(name: &str) -> io::Result<u32> {
    let found = NUMBERS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    found.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("`{name}` is no attach type that ouro knows")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A type without a number here could be built and never attached.
    #[test]
    fn every_type_of_these_constructors_has_its_number() {
        let hooks = ouro_rules::hook::HOOKS.iter();
        let by_name = |hook: &&ouro_rules::hook::Hook| {
            let by_name = ["cgroup", "lsm_cgroup", "netns", "sockmap"];
            !hook.attach_type.is_empty() && hook.attach().iter().any(|constructor| by_name.contains(constructor))
        };
        let missing: Vec<&str> =
            hooks.filter(by_name).map(|hook| hook.attach_type).filter(|name| number(name).is_err()).collect();
        assert_eq!(missing, [""; 0]);
    }
}
