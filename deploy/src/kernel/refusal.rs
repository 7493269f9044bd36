//! Why a hook takes no program, in words.
//!
//! Knows what errors mean for each kind of hook.

use std::io;

use ouro_rules::manifest::XdpMode;

use super::places::Missing;
use crate::Error;
use crate::hook::Hook;

pub(super) fn changed(hook: &Hook) -> Error {
    Error::Attach { hook: hook.to_string(), reason: "it runs a program that is not ours: somebody changed it".to_owned() }
}

pub(super) fn missing(hook: &Hook, missing: Missing) -> Error {
    let help = missing.help.map_or_else(String::new, |help| format!("; {help}"));
    Error::Attach { hook: hook.to_string(), reason: format!("{}{help}", missing.what) }
}

/// What is registered keeps its name, which only the kernel's type knows where to find.
pub(super) fn other_table(hook: &Hook) -> Error {
    let reason = "the kernel puts only a table of the same type and the same name, as its members say it, in the place of another; \
                  give the variable another name, too, and the one is registered before the other goes";
    Error::Attach { hook: hook.to_string(), reason: reason.to_owned() }
}

/// What every device has.
const GENERIC: &str = "use `mode = \"generic\"` in the BUILD file, or `ouro attach --mode generic`";

/// What the kernel's answer means for this hook.
pub(super) fn not_attached(hook: &Hook, error: io::Error) -> Error {
    let offloaded = matches!(hook, Hook::Xdp { mode: XdpMode::Offload, .. });
    let native = matches!(hook, Hook::Xdp { mode: XdpMode::Native, .. });
    let reason = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => return Error::io(format!("cannot attach to {hook}"), error),
        Some(libc::EBUSY) if offloaded => {
            "the network card runs another program, or takes no other while it runs one; undeploy first, then deploy".to_owned()
        }
        Some(libc::EINVAL | libc::EOPNOTSUPP) if offloaded => {
            "the network card does not take the program now, or it was loaded for one that is gone; use `mode = \"native\"`"
                .to_owned()
        }
        Some(libc::EBUSY | libc::EEXIST | libc::E2BIG) => "another program is attached there already".to_owned(),
        Some(libc::ENODEV) if hook.interface().is_some() => "there is no such device any more".to_owned(),
        Some(libc::ESTALE) => "the place has another revision than expected: somebody attached or detached there".to_owned(),
        Some(libc::ESRCH) => "there is no such process".to_owned(),
        Some(libc::EOPNOTSUPP) if native => format!("the device's driver has no XDP; {GENERIC}"),
        Some(libc::ERANGE) if matches!(hook, Hook::Xdp { .. }) => {
            format!("the device's MTU is too large for XDP; lower it, or {GENERIC}")
        }
        Some(libc::EINVAL | libc::EOPNOTSUPP) | None => refused(hook, &error),
        Some(libc::ENOENT) if matches!(hook, Hook::PerfEvent(_)) => "this machine does not count it".to_owned(),
        Some(libc::ENOENT) => format!("the kernel does not have it: {}", needs(hook)),
        _ => error.to_string(),
    };
    Error::Attach { hook: hook.to_string(), reason }
}

fn refused(hook: &Hook, error: &io::Error) -> String {
    if error.raw_os_error().is_none() && error.kind() != io::ErrorKind::Unsupported {
        return error.to_string();
    }
    match hook {
        Hook::Xdp { .. } => "the device does not support it".to_owned(),
        _ => format!("the kernel does not take it; {}", needs(hook)),
    }
}

/// What a kernel must be to have hooks like this one.
pub(crate) fn needs(hook: &Hook) -> &'static str {
    match hook {
        Hook::Xdp { .. } => "links for XDP came with Linux 5.9",
        Hook::SharedXdp(_) => "tail calls in functions of a program came with Linux 5.10, on arm64 with 6.0",
        Hook::Tcx { .. } => "TCX came with Linux 6.6, an order by revision with it",
        Hook::Clsact { .. } => "it needs CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS",
        Hook::Netkit { .. } => "netkit came with Linux 6.7 and needs CONFIG_NETKIT and a netkit device",
        Hook::Cgroup(place) if place.function.is_some() => "it came with Linux 6.0 and needs CONFIG_BPF_LSM",
        Hook::Cgroup(_) => "links for control groups came with Linux 5.7 and need CONFIG_CGROUP_BPF; an order came with 6.17",
        Hook::Netfilter(_) => "it came with Linux 6.4, `defrag` with 6.6, and needs CONFIG_NETFILTER_BPF_LINK",
        Hook::Netns(_) => "`flow_dissector` came with Linux 5.8, `sk_lookup` with 5.9",
        Hook::Sockmap(_) => "links for maps of sockets came with Linux 6.10; before, user space attaches: `bpftool prog attach`",
        Hook::Socket { .. } => "descriptors of other processes came with Linux 5.6, and need CAP_SYS_PTRACE",
        Hook::Tracepoint(_) | Hook::PerfEvent(_) => "links for events came with Linux 5.15 and need CONFIG_BPF_EVENTS",
        Hook::RawTracepoint(_) => "there is no such tracepoint, or CONFIG_BPF_EVENTS is missing",
        Hook::Trace(_) => "it needs BTF and, for all but `tp_btf`, trampolines; a locked-down kernel has none",
        Hook::Kprobe(_) | Hook::Ksyscall(_) => "links for probes came with Linux 5.15 and need CONFIG_KPROBES",
        Hook::KprobeMulti(_) => "it came with Linux 5.18, `kprobe.session` with 6.10, and needs CONFIG_FPROBE",
        Hook::Uprobe(_) => "links for probes came with Linux 5.15 and need CONFIG_UPROBES",
        Hook::UprobeMulti(_) => "it came with Linux 6.6, `uprobe.session` with 6.13, and needs CONFIG_UPROBES",
        Hook::Usdt(_) => "links for probes came with Linux 5.15, for those in several places with 6.6, and need CONFIG_UPROBES",
        Hook::Iter(_) => "iterators came with Linux 5.8; this kernel may lack this one",
        Hook::StructOps(_) => "links for tables of functions came with Linux 6.4",
    }
}
