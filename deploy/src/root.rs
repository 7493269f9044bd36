//! Root tables: hooks run a stub that jumps to the one program of a table, so that overwriting the table's only slot switches all
//! of them at one instant. For chains that ask for it, and for hooks whose links take no other program.
//!
//! Pure. A table belongs for ever to programs of one kind (KERNEL: owner of a prog array), so there is one for each kind.

use ouro_rules::hook::{self, Hook as Type};
use ouro_rules::manifest::{Arguments, Manifest};

use crate::hook::{Hook, Renewal};
use crate::kernel::MapFacts;
use crate::observe::{Generation, Observed, arguments};

/// A root table as it is pinned, with its stub.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Root {
    /// The stub's id.
    pub stub: Option<u32>,
    /// The table.
    pub table: Option<MapFacts>,
    /// The program in its slot.
    pub program: Option<u32>,
}

impl Root {
    /// Whether a hook can run it.
    pub fn is_whole(&self) -> bool {
        self.stub.is_some() && self.table.is_some() && self.program.is_some()
    }
}

/// Whether a hook of the chain runs the stub.
pub(crate) fn is_rooted(manifest: &Manifest, hook: &Hook) -> bool {
    let jumps = entry_type(manifest).is_some_and(|ty| !ty.sleepable);
    jumps && hook.renewal() != Renewal::Slot && (manifest.atomic || hook.renewal() == Renewal::Root)
}

/// The name of the table that the chain's entry can stand in. Two entries with the same have one table. Links carry numbers that stand
/// for arguments of probes, in a table that lies in memory as the chain's programs have it: what lies otherwise has another stub, so
/// that no program runs by a link whose numbers it misreads.
pub(crate) fn class(manifest: &Manifest) -> Option<String> {
    let section = &manifest.programs.first()?.ty;
    let (program, attach, frags, function) = entry_type(manifest)?.table_class(section);
    let arguments = arguments(manifest).map(Arguments::abi).unwrap_or_default();
    let parts = [program, attach, if frags { "frags" } else { "" }, &function, &arguments];
    let joined = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    Some(joined.chars().map(|c| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '=' }).collect())
}

/// The stub's own verdict: what does least, should its table ever be empty.
pub(crate) fn verdict(section: &str) -> i32 {
    let Some(ty) = hook::find(section) else { return 0 };
    ["next", "pass", "allow"].into_iter().find_map(|name| ty.verdict(name)).unwrap_or(0)
}

/// The generation whose entry a root's slot holds.
pub(crate) fn generation(observed: &Observed, root: &Root) -> Option<u32> {
    let runs = |generation: &Generation| root.program.is_some() && generation.entry() == root.program;
    let running = observed.generations.iter().filter(|(_, generation)| runs(generation)).map(|(number, _)| *number);
    running.max_by_key(|number| observed.rank(*number))
}

fn entry_type(manifest: &Manifest) -> Option<&'static Type> {
    hook::find(&manifest.programs.first()?.ty)
}

#[cfg(test)]
mod tests {
    use ouro_rules::manifest::{
        Attach, Family, Iter, Kprobe, KprobeMulti, Ksyscall, Netfilter, NetfilterHook, PerfEvent, RawTracepoint, Sample, Socket,
        Trace, Tracepoint, Uprobe, UprobeMulti, Usdt,
    };

    use super::*;

    /// Attach points of what may lead to a root; the devices, groups and namespaces of other constructors have links that are updated.
    fn point(constructor: &str, kind: &Type) -> Option<Attach> {
        let (text, sleepable, none) = (String::new, kind.sleepable, None);
        Some(match constructor {
            "tracepoint" => Attach::Tracepoint(Tracepoint { category: text(), name: text() }),
            "raw_tracepoint" => Attach::RawTracepoint(RawTracepoint { name: text() }),
            "tp_btf" | "fentry" | "fexit" | "fmod_ret" | "lsm" => {
                Attach::Trace(Trace { kind: text(), target: text(), sleepable })
            }
            "kprobe" | "kretprobe" => Attach::Kprobe(Kprobe { function: text(), offset: 0, returns: false }),
            "kprobe_multi" => Attach::KprobeMulti(KprobeMulti { pattern: text(), returns: false, session: false }),
            "ksyscall" => Attach::Ksyscall(Ksyscall { name: text(), returns: false }),
            "uprobe" | "uretprobe" => {
                Attach::Uprobe(Uprobe { binary: text(), function: None, offset: 1, pid: none, returns: false, sleepable })
            }
            "uprobe_multi" => {
                let (binary, pattern) = (text(), text());
                Attach::UprobeMulti(UprobeMulti { binary, pattern, pid: none, returns: false, session: false, sleepable })
            }
            "usdt" => {
                let (binary, provider, probe) = (text(), text(), text());
                Attach::Usdt(Usdt { binary, provider, probe, pid: none, arguments: None })
            }
            "perf_event" => Attach::PerfEvent(PerfEvent { event: text(), sample: Sample::Period(1), cpu: none, pid: none }),
            "netfilter" => {
                Attach::Netfilter(Netfilter { family: Family::Ipv4, at: NetfilterHook::Input, priority: 0, defrag: false })
            }
            "socket" => Attach::Socket(Socket { pid: 1, fd: 1, shared_port: kind.prog_type == "sk_reuseport" }),
            "iter" => Attach::Iter(Iter { target: text(), map: None, cgroup: None, pid: none, sleepable }),
            _ => return None,
        })
    }

    /// The stub takes one of the tail calls that a chain may have; a type that was rooted and not counted lost its last jump.
    #[test]
    fn every_type_that_is_led_to_by_a_stub_is_counted_so() {
        for kind in hook::HOOKS.iter().filter(|kind| !kind.attach().is_empty()) {
            let points = kind.attach().iter().filter_map(|constructor| point(constructor, kind));
            let rooted = points.map(|point| Hook::new(&point, true)).any(|hook| hook.renewal() == Renewal::Root);
            assert_eq!(rooted && !kind.sleepable, kind.needs_root(), "{}", kind.prefix);
        }
    }
}
