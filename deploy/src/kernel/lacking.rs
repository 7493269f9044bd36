//! Whether this kernel has what programs require of it. Where it cannot tell, loading them will.
//!
//! Leaves nothing behind. Knows requirements, not whose they are.

use std::collections::BTreeSet;
use std::io;
use std::sync::OnceLock;

use ouro_btf::Kind;
use ouro_rules::configuration::KernelVersion;
use ouro_rules::hook;
use ouro_rules::map_type::MAP_TYPES;
use ouro_rules::requirement::Requirement;

use super::probe::{self, Has};
use super::types::KernelTypes;
use crate::object::{Reason, essential};

/// What is known of the kernel, each thing asked for once.
#[derive(Default)]
pub(crate) struct Requirements {
    types: KernelTypes,
    numbers: OnceLock<BTreeSet<String>>,
}

impl Requirements {
    /// Why the kernel does not have it, if it surely does not.
    pub(crate) fn lacks(&self, requirement: &Requirement) -> Option<String> {
        match requirement {
            Requirement::Kernel(needed) => {
                let running = running()?;
                (running < *needed).then(|| format!("it needs Linux {needed}, and this is {running}"))
            }
            Requirement::Helper(name) => {
                self.unnamed(&format!("BPF_FUNC_{name}"), || format!("the kernel has no helper `bpf_{name}`"))
            }
            Requirement::MapType(name) => {
                self.unnamed(&format!("BPF_MAP_TYPE_{}", name.to_uppercase()), || format!("the kernel has no `{name}` maps"))
            }
            Requirement::ProgramType(name) => self.program_type(name),
            Requirement::Kfunc(name) => match self.kfunc(name) {
                Ok(true) => None,
                Ok(false) => Some(format!("the kernel has no function `{name}`")),
                Err(reason) => Some(reason),
            },
            Requirement::Btf => self.types.kernel().err(),
        }
    }

    /// Whether there is a function of this name, or of the one without its flavour.
    fn kfunc(&self, name: &str) -> Result<bool, Reason> {
        let has = |name| self.types.find(name, Kind::Function).map(|found| found.is_some());
        Ok(has(name)? || has(essential(name))?)
    }

    /// Asked by the smallest program of the type. Whether there is what a program replaces is told when it is loaded.
    fn program_type(&self, name: &str) -> Option<String> {
        let known = hook::find(name)?;
        let answer = match known.prog_type {
            "ext" => Has::Yes,
            "struct_ops" => probe::struct_ops(),
            _ => probe::takes(&self.types, known),
        };
        match answer {
            Has::Yes => None,
            Has::No => Some(format!("the kernel takes no `{name}` programs")),
            Has::Refused => Some(format!("the kernel does not permit `{name}` programs")),
        }
    }

    /// What the kernel's own types name by number is there, whatever it is compiled with.
    fn unnamed(&self, number: &str, why: impl FnOnce() -> String) -> Option<String> {
        let known = self.numbers.get_or_init(|| self.numbers());
        (!known.is_empty() && !known.contains(number)).then(why)
    }

    /// All names of helpers and map types; none if the kernel does not tell.
    fn numbers(&self) -> BTreeSet<String> {
        let Ok(types) = self.types.kernel() else { return BTreeSet::new() };
        let enums = types.ids().filter_map(|id| types.get(id)).filter(|ty| ty.kind == Kind::Enum);
        let names = enums.flat_map(|ty| types.enumerators(ty)).map(|number| types.enumerator_name(number));
        let both: BTreeSet<String> =
            names.filter(|name| name.starts_with("BPF_FUNC_") || name.starts_with("BPF_MAP_TYPE_")).map(str::to_owned).collect();
        let is_whole = ["BPF_FUNC_map_lookup_elem", "BPF_MAP_TYPE_HASH"].iter().all(|name| both.contains(*name));
        if is_whole { both } else { BTreeSet::new() }
    }
}

/// Why a map could not be created, if the kernel has no maps of its type: it says of that what it says of any mistake.
pub(super) fn map_type(number: u32, error: &io::Error) -> Option<String> {
    let invalid = error.raw_os_error() == Some(libc::EINVAL);
    let ty = MAP_TYPES.iter().find(|ty| invalid && ty.number == number)?;
    Requirements::default().lacks(&Requirement::MapType(ty.name.to_owned()))
}

/// The running kernel's version, of a release such as `6.1.0-13-amd64`.
fn running() -> Option<KernelVersion> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    version(release.trim())
}

fn version(release: &str) -> Option<KernelVersion> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(KernelVersion { major, minor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read() {
        let read = |release| version(release).map(|version| version.to_string());
        assert_eq!(read("6.1.0-13-amd64").as_deref(), Some("6.1"));
        assert_eq!(read("6.18-rc1").as_deref(), Some("6.18"));
        assert_eq!(read("unknown"), None);
    }

    /// A program that may not sleep or returns 0 is refused for these by every kernel that has them.
    #[test]
    fn types_are_asked_for_as_they_are() {
        let requirements = Requirements::default();
        let lacks = |ty: &str| requirements.lacks(&format!("program_type:{ty}").parse().unwrap());
        for ty in ["syscall", "cgroup/recvmsg4", "cgroup/getpeername6", "cgroup/getsockname4", "xdp.frags", "uprobe.s", "usdt"] {
            assert_eq!(lacks(ty), None);
        }
        for ty in ["xdp", "tc", "sockops", "tp_btf", "iter", "iter.s", "raw_tp.w", "sk_skb/stream_verdict", "flow_dissector"] {
            assert_eq!(lacks(ty), None);
        }
        let since = |major, minor| running().is_some_and(|running| running >= KernelVersion { major, minor });
        for (ty, has) in [
            ("tcx/ingress", since(6, 6)),
            ("uprobe.multi", since(6, 6)),
            ("uprobe.multi.s", since(6, 6)),
            ("uprobe.session", since(6, 13)),
        ] {
            assert_eq!(lacks(ty).is_none(), has, "{ty}");
        }
    }
}
