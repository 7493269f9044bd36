//! Attach types: those that have no name in a hook, and the numbers of those that have one.
//!
//! Knows numbers, nothing else.

use std::io;

use super::numbers;

pub(super) const XDP: u32 = 37;
/// The one of egress follows.
pub(super) const TCX_INGRESS: u32 = 46;
/// The one of peers follows.
pub(super) const NETKIT_PRIMARY: u32 = 54;

/// The number of an attach type by its name, without `BPF_`.
pub(super) fn number(name: &str) -> io::Result<u32> {
    let found = numbers::attach_type(name).filter(|_| !name.is_empty());
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
            hook.prefix != "cgroup/skb" && hook.attach().iter().any(|constructor| by_name.contains(constructor))
        };
        let missing: Vec<&str> =
            hooks.filter(by_name).map(|hook| hook.attach_type).filter(|name| number(name).is_err()).collect();
        assert_eq!(missing, [""; 0]);
    }
}
