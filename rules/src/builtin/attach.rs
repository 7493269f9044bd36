//! The constructors: those that say where a chain is attached, and `jump()`, which says more of a jump than its target.
//!
//! The table of what they take; `points` makes attach points of what was given.

mod points;
mod traced;

use crate::attr::{AttrSpec, AttrType, EdgeKind, RecordSpec, Value};
use crate::manifest::LABEL;

pub(super) use points::attach;

/// The constructors that say where a chain is attached.
pub const ATTACH: &[&str] = &[
    "xdp",
    "tc",
    "tcx",
    "netkit",
    "cgroup",
    "lsm_cgroup",
    "netfilter",
    "netns",
    "sockmap",
    "socket",
    "tracepoint",
    "raw_tracepoint",
    "tp_btf",
    "fentry",
    "fexit",
    "fmod_ret",
    "lsm",
    "kprobe",
    "kretprobe",
    "kprobe_multi",
    "ksyscall",
    "uprobe",
    "uretprobe",
    "uprobe_multi",
    "usdt",
    "perf_event",
    "iter",
    "struct_ops",
];

/// Every constructor.
pub fn records() -> Vec<RecordSpec> {
    [vec![jump(), freplace()], devices(), groups(), kernel(), user(), programs()].concat()
}

fn jump() -> RecordSpec {
    record(
        "jump",
        "A jump with more to say than its target.",
        vec![
            AttrSpec::new("target", AttrType::Label, "The program jumped to.").required().edge(EdgeKind::Jump),
            AttrSpec::new("on_miss", verdict(), "The verdict when the slot is empty; the program's own `on_miss` by default."),
            AttrSpec::new("loop", AttrType::Int, "For a jump that closes a cycle: how often it is taken at most in one run."),
            AttrSpec::new("name", AttrType::String, "Its name in the C source; the target's name by default."),
        ],
    )
}

fn freplace() -> RecordSpec {
    record(
        "freplace",
        "A program that replaces a function of the chain's entry, before anything runs it. Kernel 5.8 for its pin, with BTF; an entry \
         that stands in a jump table cannot be extended.",
        vec![
            AttrSpec::new("extension", AttrType::Label, "The program, of the type `freplace/<function>`.")
                .required()
                .edge(EdgeKind::Member),
            AttrSpec::new("program", AttrType::Label, "The program whose function it is: the entry, which is the default.")
                .edge(EdgeKind::Member),
            AttrSpec::new(
                "function",
                AttrType::String,
                "The function, which must not be static; the one in the extension's type by default.",
            ),
        ],
    )
}

fn devices() -> Vec<RecordSpec> {
    vec![
        record(
            "xdp",
            "Attaches to a device's receive path. Kernel 5.9; to share the device with other chains 5.10.",
            vec![
                interface(),
                AttrSpec::new(
                    "mode",
                    AttrType::String,
                    "`native` in the driver, `generic` in the stack, `offload` on the network card itself: for a chain \
                     without jumps and global variables, whose maps are `hash`, `array` or `perf_event_array`, on one \
                     device; that it cannot be on two ports of one card is ouro's limit, not the kernel's.",
                )
                .allowed(&["native", "generic", "offload"])
                .default(Value::Str("native".into())),
                AttrSpec::new(
                    "priority",
                    AttrType::Int,
                    "Its place, 1 to 65535, among the chains that share the device; lower runs first. Without one the device is \
                     the chain's alone.",
                ),
                AttrSpec::new(
                    "proceed_on",
                    AttrType::String.list(),
                    "With a priority: the verdicts after which the next chain runs; all others are final. `[\"pass\"]` by default.",
                ),
            ],
        ),
        record(
            "tc",
            "Attaches to traffic control: a TCX link where the kernel has it (6.6), a clsact filter where not.",
            vec![
                interface(),
                direction(),
                AttrSpec::new("priority", AttrType::Int, "For clsact: the filter's preference, 1 to 65535; lower runs first.")
                    .default(Value::Int(1)),
                AttrSpec::new("via", AttrType::String, "The mechanism.")
                    .allowed(&["auto", "tcx", "clsact"])
                    .default(Value::Str("auto".into())),
                AttrSpec::new("handle", AttrType::Int, "For clsact: the filter's number at its priority, from 1.")
                    .default(Value::Int(1)),
            ],
        ),
        record(
            "tcx",
            "Attaches to traffic control through a TCX link. Kernel 6.6.",
            vec![interface(), direction(), order(), revision()],
        ),
        record(
            "netkit",
            "Attaches to a pair of netkit devices. Kernel 6.7.",
            vec![
                interface(),
                AttrSpec::new(
                    "end",
                    AttrType::String,
                    "Which of the two devices sends the packets; types that say it need none.",
                )
                .allowed(&["primary", "peer"]),
                order(),
                revision(),
            ],
        ),
    ]
}

fn groups() -> Vec<RecordSpec> {
    vec![
        record(
            "cgroup",
            "Attaches to a control group; to what in it, the program's type says. Kernel 5.7.",
            vec![
                cgroup(),
                AttrSpec::new("direction", AttrType::String, "Which way packets go; only for the type `cgroup/skb`.")
                    .allowed(&["ingress", "egress"]),
                AttrSpec::new(
                    "flags",
                    AttrType::String,
                    "What else may be attached: `multi` any number of programs, here and below; `override` one, which groups below \
                     may replace; `none` one, for groups below as well. Only `multi` makes links.",
                )
                .allowed(&["multi", "override", "none"])
                .default(Value::Str("multi".into())),
                order_since("Kernel 6.17 for all but `last`."),
                revision(),
            ],
        ),
        record(
            "lsm_cgroup",
            "Attaches a program for security modules to a control group. Kernel 6.0, with the BPF security module.",
            vec![cgroup(), order_since("Kernel 6.17 for all but `last`."), revision()],
        ),
        record(
            "netfilter",
            "Attaches to netfilter, in the network namespace of the deploy. Kernel 6.4.",
            vec![
                AttrSpec::new("family", AttrType::String, "The protocol.").required().allowed(&["ipv4", "ipv6"]),
                AttrSpec::new("hook", AttrType::String, "When packets pass it.").required().allowed(&[
                    "prerouting",
                    "input",
                    "forward",
                    "output",
                    "postrouting",
                ]),
                AttrSpec::new("priority", AttrType::Int, "Its place, which it has for itself; lower runs first.")
                    .default(Value::Int(0)),
                AttrSpec::new("defrag", AttrType::Bool, "Whether fragments are put together first; the priority is above -400 then. Kernel 6.6.")
                    .default(Value::Bool(false)),
            ],
        ),
        record(
            "netns",
            "Attaches to a network namespace: `flow_dissector` from kernel 5.8, `sk_lookup` from 5.9.",
            vec![AttrSpec::new("path", AttrType::String, "The file it is mounted at; the namespace of the deploy by default.")],
        ),
        record(
            "sockmap",
            "Attaches to the sockets in a map of the chain. Kernel 6.10: older ones have no links for it.",
            vec![AttrSpec::new("map", AttrType::String, "The map's name: a `sockmap` or `sockhash` of the chain.").required()],
        ),
        record(
            "socket",
            "Attaches to one socket of a running process. A `socket` program filters what the socket receives; an `sk_reuseport` \
             program chooses, for all sockets that share its port (SO_REUSEPORT), which of them receives. Kernel 5.6; the deploy \
             takes CAP_SYS_PTRACE. docs/deploying.md says what becomes of it when the socket is closed.",
            vec![
                AttrSpec::new("pid", AttrType::Int, "The process.").required(),
                AttrSpec::new("fd", AttrType::Int, "The socket's descriptor in that process.").required(),
            ],
        ),
    ]
}

fn kernel() -> Vec<RecordSpec> {
    let function = || AttrSpec::new("function", AttrType::String, "The function; the one in the program's type by default.");
    vec![
        record(
            "tracepoint",
            "Attaches to a tracepoint. Kernel 5.15.",
            vec![AttrSpec::new(
                "name",
                AttrType::String,
                "Category and name, as in `sched/sched_switch`; what the program's type says by default.",
            )],
        ),
        record(
            "raw_tracepoint",
            "Attaches to a raw tracepoint. Kernel 5.8 for its pin.",
            vec![AttrSpec::new("name", AttrType::String, "Its name; what the program's type says by default.")],
        ),
        record(
            "tp_btf",
            "Attaches to the tracepoint that the program's type names. Kernel 5.8 for its pin, with BTF.",
            Vec::new(),
        ),
        record(
            "fentry",
            "Attaches to the begin of the function that the program's type names. Kernel 5.8 for its pin, with BTF.",
            Vec::new(),
        ),
        record(
            "fexit",
            "Attaches to the end of the function that the program's type names. Kernel 5.8 for its pin, with BTF.",
            Vec::new(),
        ),
        record(
            "fmod_ret",
            "Attaches in front of the function that the program's type names, and may answer for it. Kernel 5.8 for its pin, with BTF.",
            Vec::new(),
        ),
        record(
            "lsm",
            "Attaches to the hook of security modules that the program's type names. Kernel 5.8 for its pin, with the BPF security module.",
            Vec::new(),
        ),
        record(
            "kprobe",
            "Attaches to an instruction of the kernel. Kernel 5.15.",
            vec![function(), AttrSpec::new("offset", AttrType::Int, "Bytes behind the function's begin.").default(Value::Int(0))],
        ),
        record("kretprobe", "Attaches to the return of a function of the kernel. Kernel 5.15.", vec![function()]),
        record(
            "kprobe_multi",
            "Attaches to all functions of the kernel with fitting names, at once. Kernel 5.18; `kprobe.session` 6.10.",
            vec![AttrSpec::new(
                "pattern",
                AttrType::String,
                "`*` stands for any characters, `?` for one: `vfs_*`; what the program's type says by default.",
            )],
        ),
        record(
            "ksyscall",
            "Attaches to a system call, whatever the machine names its function. Kernel 5.15.",
            vec![AttrSpec::new("name", AttrType::String, "Its name: `openat`; what the program's type says by default.")],
        ),
    ]
}

fn user() -> Vec<RecordSpec> {
    let binary =
        || AttrSpec::new("binary", AttrType::String, "The path of the program or library; in the program's type before `:`.");
    let function = || AttrSpec::new("function", AttrType::String, "The function; in the program's type behind `:`.");
    let offset = || {
        AttrSpec::new("offset", AttrType::Int, "Bytes behind the function's begin; without a function, behind the file's.")
            .default(Value::Int(0))
    };
    let pid = || AttrSpec::new("pid", AttrType::Int, "The only process; all by default.");
    vec![
        record(
            "uprobe",
            "Attaches to an instruction of a program or library. Kernel 5.15.",
            vec![binary(), function(), offset(), pid()],
        ),
        record(
            "uretprobe",
            "Attaches to the return of a function of a program or library. Kernel 5.15.",
            vec![binary(), function(), offset(), pid()],
        ),
        record(
            "uprobe_multi",
            "Attaches to all functions of a program or library with fitting names, at once. Kernel 6.6; `uprobe.session` 6.13.",
            vec![
                binary(),
                AttrSpec::new(
                    "pattern",
                    AttrType::String,
                    "`*` stands for any characters, `?` for one; in the program's type behind `:`.",
                ),
                pid(),
            ],
        ),
        record(
            "usdt",
            "Attaches to a probe that its authors put into a program or library. The functions of libbpf's `usdt.bpf.h` read its \
             arguments. Kernel 5.15; 6.6 for one in several places.",
            vec![
                binary(),
                AttrSpec::new("provider", AttrType::String, "Who offers it; in the program's type behind the first `:`."),
                AttrSpec::new("probe", AttrType::String, "Its name; in the program's type behind the second `:`."),
                pid(),
            ],
        ),
        record(
            "perf_event",
            "Runs the program as a counter of the processor or the kernel goes on. Kernel 5.15.",
            vec![
                AttrSpec::new("event", AttrType::String, "What is counted: `cpu-clock`, `page-faults`, `cycles`.").required(),
                AttrSpec::new("period", AttrType::Int, "The program runs each time so much is counted: nanoseconds for clocks."),
                AttrSpec::new("frequency", AttrType::Int, "The program runs about so many times a second."),
                AttrSpec::new("cpu", AttrType::Int, "The only CPU; all by default."),
                pid(),
            ],
        ),
    ]
}

fn programs() -> Vec<RecordSpec> {
    vec![
        record(
            "iter",
            "Attaches to the iterator that the program's type names; reading its pin runs it. Kernel 5.8.",
            vec![
                AttrSpec::new("map", AttrType::String, "For `bpf_map_elem` and the like: a map of the chain. Kernel 5.9."),
                AttrSpec::new(
                    "cgroup",
                    AttrType::String,
                    "For `cgroup`: where it begins, from the mount of cgroup2. Kernel 6.1.",
                ),
                AttrSpec::new("pid", AttrType::Int, "For `task` and the like: the only process. Kernel 6.1."),
            ],
        ),
        record(
            "struct_ops",
            "Registers a table of functions with the kernel: a variable of the entry's source, in `.struct_ops.link` or \
             `.struct_ops`. Kernel 6.4.",
            vec![AttrSpec::new("table", AttrType::String, "The variable; by default the only one.")],
        ),
    ]
}

fn record(name: &str, doc: &str, attrs: Vec<AttrSpec>) -> RecordSpec {
    RecordSpec { name: name.to_owned(), attrs, doc: doc.to_owned() }
}

fn interface() -> AttrSpec {
    let doc =
        format!("The network device by its name, by a pattern such as `eth*`, or by its alias or another name: `{LABEL}uplink`.");
    AttrSpec::new("interface", AttrType::String, &doc).required()
}

fn direction() -> AttrSpec {
    AttrSpec::new("direction", AttrType::String, "Which way packets go.")
        .allowed(&["ingress", "egress"])
        .default(Value::Str("ingress".into()))
}

fn cgroup() -> AttrSpec {
    AttrSpec::new("path", AttrType::String, "The group's folder, from the mount of cgroup2; `/` is the root.").required()
}

fn order() -> AttrSpec {
    order_since("")
}

fn order_since(since: &str) -> AttrSpec {
    let doc = format!(
        "Its place among other programs: `first`, `last`, or `before:` or `after:` another one, which is a deployment at the same \
         place, the path of a pin, or `id:<number>` of a program. {since}"
    );
    AttrSpec::new("order", AttrType::String, doc.trim()).default(Value::Str("last".into()))
}

fn revision() -> AttrSpec {
    AttrSpec::new("expected_revision", AttrType::Int, "Attach only while the place has this revision, as `bpftool net` shows it.")
}

/// A verdict: a name of the program type's own, or a number.
pub(super) fn verdict() -> AttrType {
    AttrType::OneOf(vec![AttrType::String, AttrType::Int])
}

#[cfg(test)]
mod tests {
    use super::{ATTACH, records};
    use crate::hook::HOOKS;

    /// A constructor that no type takes could never be used, and one that is not in the table could not be written.
    #[test]
    fn types_and_constructors_know_each_other() {
        let named: std::collections::BTreeSet<&str> = HOOKS.iter().flat_map(|hook| hook.attach()).copied().collect();
        let written: std::collections::BTreeSet<&str> = ATTACH.iter().copied().collect();
        assert_eq!(named, written);
        assert!(ATTACH.iter().all(|name| records().iter().any(|record| record.name == *name)));
    }
}
