//! What this process may do, and giving up what it need not.
//!
//! Knows capabilities by number; whether a command succeeds is the kernel's word.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ouro_rules::hook;

use super::sys;
use crate::{Error, layout};

const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_FOWNER: u32 = 3;
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_RESOURCE: u32 = 24;
const CAP_SYSLOG: u32 = 34;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// What a command may take besides loading and attaching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Right {
    /// To mount a file system, to be given a module's types, to probe programs of users by events, and where events are guarded to
    /// make any.
    Administer,
    /// To read the files of other users.
    ReadFiles,
    /// To open what belongs to processes that may do more.
    LookIntoProcesses,
    /// To be told the addresses of the kernel's symbols.
    ReadAddresses,
}

impl Right {
    fn capability(self) -> u32 {
        match self {
            Right::Administer => CAP_SYS_ADMIN,
            Right::ReadFiles => CAP_DAC_READ_SEARCH,
            Right::LookIntoProcesses => CAP_SYS_PTRACE,
            Right::ReadAddresses => CAP_SYSLOG,
        }
    }

    /// The capability's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Right::Administer => "CAP_SYS_ADMIN",
            Right::ReadFiles => "CAP_DAC_READ_SEARCH",
            Right::LookIntoProcesses => "CAP_SYS_PTRACE",
            Right::ReadAddresses => "CAP_SYSLOG",
        }
    }
}

/// Program types that follow the kernel itself (`is_perfmon_prog_type` of kernel/bpf/syscall.c).
const FOLLOWING: [&str; 9] =
    ["kprobe", "tracepoint", "perf_event", "raw_tracepoint", "raw_tracepoint_writable", "tracing", "lsm", "struct_ops", "ext"];

/// Whether programs of this declared type take CAP_PERFMON.
pub(crate) fn follows_kernel(ty: &str) -> bool {
    hook::find(ty).is_some_and(|hook| FOLLOWING.contains(&hook.prog_type)) || ty.starts_with("struct_ops")
}

/// The capabilities that deploying a chain takes: two since kernel 5.8, and a third for programs that follow the kernel.
pub(crate) fn needed_capabilities(follows_kernel: bool) -> Vec<&'static str> {
    ["CAP_BPF", "CAP_NET_ADMIN"].into_iter().chain(follows_kernel.then_some("CAP_PERFMON")).collect()
}

/// Fails unless this thread has what loading and attaching takes. Before kernel 5.8 that was CAP_SYS_ADMIN, which still stands for two
/// of them.
pub(crate) fn require(needed: Vec<&'static str>) -> Result<(), Error> {
    let held = held()?;
    let has = |capability: u32| held & (1 << capability) != 0;
    let any = |capability: u32| has(capability) || has(CAP_SYS_ADMIN);
    let may = |name: &&str| match *name {
        "CAP_BPF" => any(CAP_BPF),
        "CAP_PERFMON" => any(CAP_PERFMON),
        "CAP_SYS_ADMIN" => has(CAP_SYS_ADMIN),
        _ => has(CAP_NET_ADMIN),
    };
    let missing: Vec<&'static str> = needed.iter().copied().filter(|name| !may(name)).collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::Capabilities { missing, needed }) }
}

/// Whether this thread may look into processes that may do more than it.
pub(super) fn look_into_processes() -> bool {
    held().is_ok_and(|held| held & (1 << CAP_SYS_PTRACE) != 0)
}

fn held() -> Result<u64, Error> {
    sys::capabilities().map_err(|error| Error::io("cannot read the capabilities of this process", error))
}

/// From here on this thread, and those it starts, can do no more than change this deployment, with these rights. Whoever has not even
/// that keeps what there is, and is told by [`require`].
pub(crate) fn limit_to(bpffs: &Path, name: &str, rights: &BTreeSet<Right>) -> Result<(), Error> {
    // Takes a capability that is given up here, and holds for the process.
    sys::lift_memory_limit();
    let mut keep = vec![CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON];
    keep.extend(rights.iter().map(|right| right.capability()));
    if held()? & (1 << CAP_BPF) == 0 {
        keep.extend([CAP_SYS_ADMIN, CAP_SYS_RESOURCE]);
    }
    // Root may write to the folders of another user, but not by those three.
    let ours = layout::all(bpffs);
    let folders = [bpffs.to_owned(), ours.join(name), ours];
    if folders.iter().any(|folder| fs::metadata(folder).is_ok_and(|folder| folder.uid() != sys::user())) {
        keep.extend([CAP_DAC_OVERRIDE, CAP_FOWNER]);
    }
    limit(keep.into_iter().fold(0, |bits, capability| bits | 1 << capability))
}

/// From here on this thread can do nothing that its user could not.
pub fn drop_capabilities() -> Result<(), Error> {
    limit(0)
}

fn limit(keep: u64) -> Result<(), Error> {
    sys::limit_capabilities(keep).map_err(|error| Error::io("cannot give up capabilities", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_follow_the_kernel_take_a_third_capability() {
        for (ty, follows) in [
            ("xdp", false),
            ("tcx/ingress", false),
            ("cgroup_skb/egress", false),
            ("netfilter", false),
            ("kprobe/vfs_read", true),
            ("uprobe", true),
            ("tracepoint/sched/sched_switch", true),
            ("tp_btf/sched_switch", true),
            ("lsm/file_open", true),
            ("struct_ops/ssthresh", true),
        ] {
            assert_eq!(follows_kernel(ty), follows, "{ty}");
        }
        assert_eq!(needed_capabilities(true), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
    }
}
