//! The manifest: everything a deployer must know about a chain, in the bundle beside the objects.
//!
//! The waist of ouro: above it nothing needs a kernel, below it nothing needs sources.

mod arguments;
mod attach;
mod bytes;
mod candidate;
mod layout;
mod map;
mod packet;
mod place;
mod replaces;
mod scalar;
mod shared;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::requirement::Requirement;

pub use arguments::{Arguments, Bits};
pub(crate) use attach::is_device;
pub use attach::{Attach, Direction, NetkitEnd, TcVia, XdpMode};
pub use bytes::Bytes;
pub use candidate::{Candidate, Settled};
pub use layout::{Layout, Member};
pub use map::{CARD_MAPS, Content, Element, MapSpec, OnChange};
pub use packet::{MAX_PACKET, MIN_PACKET, PacketTest};
pub use place::{
    Cgroup, CgroupMode, Family, Iter, Kprobe, KprobeMulti, Ksyscall, Netfilter, NetfilterHook, Netns, Order, PerfEvent,
    RawTracepoint, Sample, Socket, Sockmap, StructOps, Trace, Tracepoint, Uprobe, UprobeMulti, Usdt,
};
pub use replaces::Replaces;
pub use scalar::Scalar;
pub use shared::SharedXdp;

/// The version of the format; a deployer refuses what it does not know.
pub const FORMAT: u32 = 2;
/// The version whose deployers pinned a map by its name alone; later ones by name and ABI.
const BARE_PINS: u32 = 1;

/// The map in every object that stands for the chain's jump table.
pub const TABLE_MAP: &str = "ouro_jumps";
/// The per-CPU array in every object that counts what each edge did: `struct { u64 taken, missed; }` by edge id.
pub const COUNTS_MAP: &str = "ouro_counts";
/// The map of libbpf's `usdt.bpf.h` that tells where the arguments of declared probes are, by the cookies of their places.
pub const SPECS_MAP: &str = "__bpf_usdt_specs";
/// The map of the same header that stands for cookies where the kernel has none, which has no links for probes then, either.
pub const PLACES_MAP: &str = "__bpf_usdt_ip_to_spec_id";
/// The file of a bundle with a kernel's types.
pub const BTF_FILE: &str = "btf";
/// The section that holds what the bundle step links: slots, edge ids and the counting switch.
pub const LINK_SECTION: &str = ".rodata.ouro";
/// `const volatile __u32 __ouro_slot_<jump>`: the slot of the jump's target.
pub const SLOT_PREFIX: &str = "__ouro_slot_";
/// `const volatile __u32 __ouro_edge_<jump>`: the id of the edge.
pub const EDGE_PREFIX: &str = "__ouro_edge_";
/// `const volatile __u32 __ouro_counting`: 1 when the chain counts, else 0 and the verifier removes the counting.
pub const COUNTING: &str = "__ouro_counting";

/// A chain as it is deployed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The workspace's name in `ouro.toml`, if it has one: tells two projects with the same labels apart.
    #[serde(default)]
    pub workspace: Option<String>,
    /// The chain's label: `//fw:fw`.
    pub chain: String,
    /// The name of the deployment, and of its folder in the bpffs: `fw`.
    pub name: String,
    /// The programs' type: `xdp`, `tc`.
    pub program_type: String,
    /// Entries of the jump table; 0 when the chain has no jumps.
    pub table_size: u32,
    /// Whether edges count.
    pub counting: bool,
    /// The programs; the first is the entry.
    pub programs: Vec<ManifestProgram>,
    /// The jumps; an edge's id is its place here.
    pub edges: Vec<Edge>,
    /// The declared maps, sorted by name.
    pub maps: Vec<MapSpec>,
    /// Where the entry is attached.
    pub attach: Vec<Attach>,
    /// Whether all its hooks switch at one instant, through a root table.
    #[serde(default)]
    pub atomic: bool,
    /// What the chain is tried with before it goes live.
    #[serde(default)]
    pub tests: Vec<PacketTest>,
    /// The blake3, in hex, of the kernel types that travel with it: CO-RE relocations are made for these instead of the running
    /// kernel's. They are the file [`BTF_FILE`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub btf: Option<String>,
    /// The index of the network device whose card it is loaded for; never in a bundle, as a deployer finds it on its machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<u32>,
    /// The devices that a command line named in place of the one in `attach`; never in a bundle, and recorded with what is deployed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
}

impl Manifest {
    /// The name of the pin of one of its maps, as the deployer of its time made it.
    pub fn pin_of(&self, map: &MapSpec) -> String {
        if self.format <= BARE_PINS { map.name.clone() } else { map.pin() }
    }

    /// Whose deployment it is, for people: the chain's label, with its workspace if that has a name.
    pub fn owner(&self) -> String {
        match &self.workspace {
            Some(workspace) => format!("{} of {workspace}", self.chain),
            None => self.chain.clone(),
        }
    }
}

/// One program of a chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestProgram {
    /// Its label: `//fw:parse`.
    pub label: String,
    /// Its name, unique in the chain; the last part of the label.
    pub name: String,
    /// The type as declared: `xdp`, `cgroup_skb/egress`.
    pub ty: String,
    /// The C function.
    pub function: String,
    /// Its place in the jump table; none for an entry nobody jumps to.
    pub slot: Option<u32>,
    /// The object file inside the bundle: `objects/parse.o`.
    pub object: String,
    /// The blake3 of that file, in hex.
    pub digest: String,
    /// The values of its global variables, where they differ from the source's.
    #[serde(default)]
    pub globals: BTreeMap<String, Scalar>,
    /// What a kernel must have to be asked to load it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Requirement>,
    /// Whether its slot stays empty where the kernel does not take it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// What can stand in its place, in the order tried; none if there is only itself. Of several, what is said above of the object
    /// is said of the first, until a deployer has settled it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
    /// Of an extension, the function whose place it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Replaces>,
    /// What a deployer made of it on its kernel; never in a bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
}

/// One jump of a chain. Programs are places in [`Manifest::programs`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// The program that jumps.
    pub from: u32,
    /// The program jumped to.
    pub to: u32,
    /// The jump's name in the source of `from`.
    pub name: String,
    /// The return value when the slot is empty.
    pub on_miss: i32,
    /// How often the edge may be taken in one run, when it closes a cycle.
    pub bound: Option<u32>,
}

/// The kernel keeps 15 bytes of the name of a program, a map or a network device (`BPF_OBJ_NAME_LEN`, `IFNAMSIZ`: 16 with the
/// end mark).
pub(crate) const KERNEL_NAME: usize = 15;

/// Longest name of a deployment in bytes: file names have 255, and some are left to what is put before and behind it.
pub(crate) const DEPLOYMENT_NAME: usize = 199;

/// Whether a deployment can have this name: it becomes a folder of the bpffs, which takes no `.`.
pub(crate) fn is_deployment_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= DEPLOYMENT_NAME && name.chars().all(|c| c.is_alphanumeric() || "_-+@=,~%".contains(c))
}

/// Whether a program or map can have this name (`bpf_obj_name_cpy`), and a pin of it too: those take no `.`.
pub(crate) fn is_kernel_name(name: &str) -> bool {
    (1..=KERNEL_NAME).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// What leads in front of the label of a network device.
pub const LABEL: &str = "label:";

/// Whether a network device can have this name (`dev_valid_name`). A pattern of names is one, too.
pub(crate) fn is_interface_name(name: &str) -> bool {
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || "/:".contains(c);
    !matches!(name, "" | "." | "..") && name.len() <= KERNEL_NAME && !name.contains(is_bad)
}

/// Whether a text stands for several things: `*` for any characters, `?` for one.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Whether a name is one of those a pattern stands for.
pub fn matches(pattern: &str, name: &str) -> bool {
    let plain = pattern.find(['*', '?']).unwrap_or(pattern.len());
    let Some(name) = name.strip_prefix(&pattern[..plain]) else { return false };
    let pattern: Vec<char> = pattern[plain..].chars().collect();
    // `open` has each place in the pattern that the part of the name seen so far can lead to.
    let mut open = vec![false; pattern.len() + 1];
    let skip_stars = |open: &mut Vec<bool>| {
        (0..pattern.len()).for_each(|at| open[at + 1] |= open[at] && pattern[at] == '*');
    };
    open[0] = true;
    skip_stars(&mut open);
    for c in name.chars() {
        let mut next = vec![false; pattern.len() + 1];
        for at in (0..pattern.len()).filter(|at| open[*at]) {
            match pattern[at] {
                '*' => next[at] = true,
                known => next[at + 1] |= known == '?' || known == c,
            }
        }
        skip_stars(&mut next);
        open = next;
    }
    open[pattern.len()]
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_stand_for_names() {
        for (pattern, name) in [("eth*", "eth0"), ("eth*", "eth"), ("*", ""), ("e?h*0", "eth10"), ("a*b*c", "aXbYbc"), ("x", "x")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("eth*", "veth0"), ("eth?", "eth"), ("eth?", "eth10"), ("a*b", "abc"), ("", "x"), ("x", "")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
