//! Places programs are attached at that are no network devices.
//!
//! Plain data that a manifest holds and a deployment records; `words` says where and how. Status shows them among facts of their
//! attachment, so what is called `name`, `path`, `program` or `target` there has another name here.

mod words;

use serde::{Deserialize, Serialize};

use super::arguments::Arguments;

/// A place among the programs of one hook. `other` names a program or link: a deployment of ouro that is attached to the same
/// hook, a path of a pin, or `id:<number>` of a program.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Behind those that are there.
    #[default]
    Last,
    /// Before all that are there.
    First,
    /// Right before this one.
    Before(String),
    /// Right behind this one.
    After(String),
}

impl Order {
    /// The other program or link.
    pub fn other(&self) -> Option<&str> {
        match self {
            Order::First | Order::Last => None,
            Order::Before(other) | Order::After(other) => Some(other),
        }
    }
}

/// A control group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Its folder, from the mount of the cgroup2 file system; empty for the root.
    #[serde(rename = "group")]
    pub path: String,
    /// What is attached to, as the kernel names it, without `BPF_`: `CGROUP_INET_INGRESS`.
    pub attach_type: String,
    /// The function, of programs for security modules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// What else may be attached.
    #[serde(default)]
    pub mode: CgroupMode,
    /// Its place among the other programs; kernel 6.17 for all but the default.
    #[serde(default)]
    pub order: Order,
    /// The revision the place must have when it is attached; kernel 6.17.
    #[serde(default)]
    pub revision: Option<u64>,
}

/// What else may be attached to a control group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupMode {
    /// Any number of programs, here and below; the only mode that has links.
    #[default]
    Multi,
    /// One program, which groups below may replace by their own.
    Override,
    /// One program, for the groups below as well.
    None,
}

/// A hook of netfilter in the network namespace of the deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Netfilter {
    /// The protocol.
    pub family: Family,
    /// The hook's name: `prerouting`, `input`, `forward`, `output`, `postrouting`.
    pub at: NetfilterHook,
    /// Its place among the others, which is its alone; lower runs first.
    pub priority: i32,
    /// Whether fragments are put together first; kernel 6.6.
    #[serde(default)]
    pub defrag: bool,
}

/// A protocol that netfilter has programs for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IP version 4.
    Ipv4,
    /// IP version 6.
    Ipv6,
}

/// A hook of netfilter, in the order of the kernel's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetfilterHook {
    /// As packets come in.
    Prerouting,
    /// For this machine.
    Input,
    /// For other machines.
    Forward,
    /// Of this machine.
    Output,
    /// As packets go out.
    Postrouting,
}

/// A network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Netns {
    /// `SK_LOOKUP` or `FLOW_DISSECTOR`.
    pub attach_type: String,
    /// The file it is mounted at; the namespace of the deploy when not given.
    #[serde(rename = "of_namespace")]
    pub path: Option<String>,
}

/// A map of sockets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sockmap {
    /// A map of the chain by its name.
    pub map: String,
    /// `SK_MSG_VERDICT`, `SK_SKB_STREAM_PARSER`, `SK_SKB_STREAM_VERDICT`, `SK_SKB_VERDICT`.
    pub attach_type: String,
}

/// A socket of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// The process.
    pub pid: u32,
    /// The socket's descriptor there.
    pub fd: u32,
    /// Whether it stands for all sockets that share its port, of which the program chooses one (`sk_reuseport`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared_port: bool,
}

/// A tracepoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracepoint {
    /// Its category: `sched`.
    pub category: String,
    /// Its name: `sched_switch`.
    #[serde(rename = "event")]
    pub name: String,
}

/// A raw tracepoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawTracepoint {
    /// Its name: `sched_switch`.
    #[serde(rename = "event")]
    pub name: String,
}

/// A place of the kernel that the program was loaded for: its type says all there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The program type without its name: `tp_btf`, `fentry`, `fexit`, `fmod_ret`, `lsm`.
    pub kind: String,
    /// The tracepoint, function or hook.
    #[serde(rename = "function")]
    pub target: String,
    /// Whether the program may sleep, and so cannot be jumped to.
    #[serde(default)]
    pub sleepable: bool,
}

/// An instruction of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kprobe {
    /// The function.
    pub function: String,
    /// Bytes behind its begin; always 0 for returns.
    #[serde(default)]
    pub offset: u64,
    /// Whether it runs when the function returns.
    #[serde(default)]
    pub returns: bool,
}

/// A system call, whatever the machine calls its function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ksyscall {
    /// Its name: `openat`.
    #[serde(rename = "call")]
    pub name: String,
    /// Whether it runs when the call returns.
    #[serde(default)]
    pub returns: bool,
}

/// Functions of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KprobeMulti {
    /// What their names look like, `*` and `?` for what may vary: `vfs_*`.
    pub pattern: String,
    /// Whether it runs when they return.
    #[serde(default)]
    pub returns: bool,
    /// Whether it runs at both, and may leave the return out by returning 1.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub session: bool,
}

/// An instruction of a program or library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uprobe {
    /// The file's path.
    pub binary: String,
    /// The function; none when the offset is one of the file.
    pub function: Option<String>,
    /// Bytes behind the function's begin, or the file's.
    #[serde(default)]
    pub offset: u64,
    /// The only process; all when not given.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Whether it runs when the function returns.
    #[serde(default)]
    pub returns: bool,
    /// Whether the program may sleep, and so cannot be jumped to.
    #[serde(default)]
    pub sleepable: bool,
}

/// Functions of a program or library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UprobeMulti {
    /// The file's path.
    pub binary: String,
    /// What their names look like, `*` and `?` for what may vary.
    pub pattern: String,
    /// The only process; all when not given.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Whether it runs when they return.
    #[serde(default)]
    pub returns: bool,
    /// Whether it runs at both, and may leave the return out by returning 1.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub session: bool,
    /// Whether the program may sleep, and so cannot be jumped to.
    #[serde(default)]
    pub sleepable: bool,
}

/// A probe that its authors put into a program or library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usdt {
    /// The file's path.
    pub binary: String,
    /// Who offers it: `libc`.
    pub provider: String,
    /// Its name: `setjmp`.
    pub probe: String,
    /// The only process; all when not given.
    #[serde(default)]
    pub pid: Option<u32>,
    /// How programs of the chain read its arguments; none if they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Arguments>,
}

/// A counter of the processor or the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerfEvent {
    /// What is counted: `cpu-clock`.
    pub event: String,
    /// When the program runs.
    pub sample: Sample,
    /// The only CPU; all when not given.
    #[serde(default)]
    pub cpu: Option<u32>,
    /// The only process; all when not given.
    #[serde(default)]
    pub pid: Option<u32>,
}

/// How often a counter runs a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sample {
    /// Each time so much is counted: nanoseconds for clocks.
    Period(u64),
    /// About so many times a second.
    Frequency(u64),
}

/// An iterator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Iter {
    /// What it goes through: `task`, `bpf_map_elem`.
    #[serde(rename = "through")]
    pub target: String,
    /// A map of the chain whose elements it goes through.
    #[serde(default)]
    pub map: Option<String>,
    /// A control group it begins at, from the mount of the cgroup2 file system.
    #[serde(default)]
    pub cgroup: Option<String>,
    /// A process whose threads, files or memory it goes through.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Whether the program may sleep.
    #[serde(default)]
    pub sleepable: bool,
}

/// A table of functions for the kernel to call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StructOps {
    /// The variable of the source. In a bundle it always has a name.
    pub table: String,
    /// The kernel's type of it: `tcp_congestion_ops`; known once the object is there.
    #[serde(default, rename = "of")]
    pub ty: String,
}

impl StructOps {
    /// Whether the kernel puts another table in its place while it is used. Types that cannot say so themselves are unregistered
    /// first: of those in kernels up to 6.18 only this one can.
    pub fn is_updated(&self) -> bool {
        self.ty == "tcp_congestion_ops"
    }
}
