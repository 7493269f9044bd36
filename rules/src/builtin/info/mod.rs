//! The providers that come with ouro, as the plain values that rules of users read and return.
//!
//! Knows nothing of the language those rules are written in. A new provider is an entry of [`INFOS`], what a target offers of it
//! in `offered`, and what a rule may return of it in `returned`.

mod fields;
mod functions;
mod offered;
mod program;
mod returned;

pub use self::functions::{Arguments, Call, FUNCTIONS, FunctionSpec, Made};
pub use self::offered::{has, offered};
pub use self::returned::{Edges, Returned, analysis, check};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::attr::EdgeKind;
use crate::builtin::compile;
use crate::data::{Data, ProviderId};
use crate::rule::Config;

/// A provider that comes with ouro.
#[derive(Debug, Clone, Copy)]
pub struct InfoSpec {
    /// Its name.
    pub name: &'static str,
    /// One sentence for the reference.
    pub doc: &'static str,
    /// Its fields.
    pub fields: &'static [FieldSpec],
    /// The edge of labels that must offer it.
    pub edge: EdgeKind,
    /// Whether rules of users can make one; if not, they hand on what others offer.
    pub made: bool,
}

/// A field of a provider, or a parameter of a function.
#[derive(Debug, Clone, Copy)]
pub struct FieldSpec {
    /// Its name.
    pub name: &'static str,
    /// The values it takes.
    pub takes: Takes,
    /// Who gives it.
    pub given: Given,
    /// One sentence for the reference.
    pub doc: &'static str,
}

/// Who gives a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// The rule, always.
    Always,
    /// The rule, if it has something to say.
    Sometimes,
    /// Nobody: it can only be read.
    Never,
}

/// What values a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// `True` or `False`.
    Bool,
    /// A whole number.
    Int,
    /// A string.
    Str,
    /// A string or a whole number.
    Verdict,
    /// A list of strings.
    Strs,
    /// A dictionary of strings.
    Dict,
    /// A label.
    Label,
    /// A list of labels.
    Labels,
    /// A file.
    File,
    /// A list of files, or a set of them.
    Files,
    /// What `attr.jumps()` gives, or another program's jumps.
    Jumps,
    /// A list of values of this provider.
    Infos(&'static str),
}

impl Takes {
    /// Whether the value fits. Of a set the members are not looked at: that would cost by its size.
    pub fn accepts(self, value: &Data) -> bool {
        let each = |fits: &dyn Fn(&Data) -> bool| matches!(value, Data::List(items) if items.iter().all(fits));
        match self {
            Takes::Bool => matches!(value, Data::Bool(_)),
            Takes::Int => matches!(value, Data::Int(_)),
            Takes::Str => matches!(value, Data::Str(_)),
            Takes::Verdict => matches!(value, Data::Str(_) | Data::Int(_)),
            Takes::Strs => each(&|item| matches!(item, Data::Str(_))),
            Takes::Dict => matches!(value, Data::Dict(entries) if entries.iter().all(is_entry)),
            Takes::Label => matches!(value, Data::Label(_)),
            Takes::Labels => each(&|item| matches!(item, Data::Label(_))),
            Takes::File => matches!(value, Data::File(_)),
            Takes::Files => matches!(value, Data::Depset(_)) || each(&|item| matches!(item, Data::File(_))),
            Takes::Jumps => each(&|item| matches!(item, Data::Label(_)) || is_info(item, JUMP)),
            Takes::Infos(name) => each(&|item| is_info(item, name)),
        }
    }

    /// As shown in errors.
    pub fn describe(self) -> String {
        match self {
            Takes::Bool => "a boolean".to_owned(),
            Takes::Int => "an integer".to_owned(),
            Takes::Str => "a string".to_owned(),
            Takes::Verdict => "a verdict's name or number".to_owned(),
            Takes::Strs => "a list of strings".to_owned(),
            Takes::Dict => "a dictionary of strings".to_owned(),
            Takes::Label => "a label".to_owned(),
            Takes::Labels => "a list of labels".to_owned(),
            Takes::File => "a file".to_owned(),
            Takes::Files => "a list or depset of files".to_owned(),
            Takes::Jumps => "a list of jumps, as `attr.jumps()` makes it".to_owned(),
            Takes::Infos(name) => format!("a list, each item a `{name}`"),
        }
    }
}

/// What `jump(...)` makes, and a program's jumps are read as.
const JUMP: &str = "jump";

/// What `ctx.toolchain` says of the compiler besides where it is, and which version.
pub fn toolchain(config: &Config) -> BTreeMap<Arc<str>, Data> {
    let flags = compile::target_flags(config).into_iter().chain(compile::source_flags(config));
    let flags = Data::List(flags.map(|flag| Data::Str(flag.into())).collect());
    let label = config.toolchain.clone().map_or(Data::None, Data::Label);
    BTreeMap::from([
        ("arch".into(), Data::Str(config.arch.as_str().into())),
        ("bpf_flags".into(), flags),
        ("label".into(), label),
    ])
}

/// The name of something that comes with ouro.
pub fn id(name: &str) -> ProviderId {
    ProviderId { file: "".into(), name: name.into() }
}

/// The provider of this name that comes with ouro.
pub fn find(id: &ProviderId) -> Option<&'static InfoSpec> {
    INFOS.iter().find(|spec| id.file.is_empty() && *spec.name == *id.name)
}

fn is_entry((key, value): &(Data, Data)) -> bool {
    matches!((key, value), (Data::Str(_), Data::Str(_)))
}

fn is_info(value: &Data, name: &str) -> bool {
    matches!(value, Data::Info(info) if info.id.file.is_empty() && *info.id.name == *name)
}

const fn always(name: &'static str, takes: Takes, doc: &'static str) -> FieldSpec {
    FieldSpec { name, takes, given: Given::Always, doc }
}

const fn sometimes(name: &'static str, takes: Takes, doc: &'static str) -> FieldSpec {
    FieldSpec { name, takes, given: Given::Sometimes, doc }
}

const fn never(name: &'static str, takes: Takes, doc: &'static str) -> FieldSpec {
    FieldSpec { name, takes, given: Given::Never, doc }
}

/// Every provider that comes with ouro.
pub const INFOS: &[InfoSpec] = &[
    InfoSpec {
        name: "DefaultInfo",
        doc: "What every target offers: its files.",
        edge: EdgeKind::Dep,
        made: true,
        fields: &[
            sometimes("files", Takes::Files, "What `ouro build` makes; the executable by default."),
            sometimes("runfiles", Takes::Files, "What the executable needs beside it when it runs."),
            sometimes("executable", Takes::File, "What `ouro run` starts."),
        ],
    },
    InfoSpec {
        name: "RunInfo",
        doc: "How the target is run.",
        edge: EdgeKind::Dep,
        made: true,
        fields: &[
            sometimes("executable", Takes::File, "The program; that of `DefaultInfo` by default."),
            sometimes("args", Takes::Strs, "Arguments before those of the command line."),
            sometimes("env", Takes::Dict, "Variables added to its environment."),
        ],
    },
    InfoSpec {
        name: "TestInfo",
        doc: "How the target is run as a test. Rules with `test = True` need it only to say more.",
        edge: EdgeKind::Dep,
        made: true,
        fields: &[
            sometimes("timeout_seconds", Takes::Int, "How long it may take."),
            sometimes("uncached", Takes::Bool, "Whether it runs each time, because it looks at something that is no input."),
            sometimes("exclusive", Takes::Bool, "Whether it runs while no other test does."),
        ],
    },
    InfoSpec {
        name: "BpfHeadersInfo",
        doc: "Headers for programs that list the target in `deps`, as of a `bpf_library`.",
        edge: EdgeKind::Dep,
        made: true,
        fields: &[
            sometimes("files", Takes::Files, "The headers, with those they include."),
            sometimes("includes", Takes::Strs, "Folders that `#include <...>` searches, from the workspace root."),
            sometimes("defines", Takes::Strs, "`NAME` or `NAME=value`."),
            sometimes("kernels", Takes::Labels, "The `vmlinux_header` whose types they use."),
        ],
    },
    InfoSpec {
        name: "BpfMapInfo",
        doc: "A map. Only `bpf_map` makes it; others hand it on.",
        edge: EdgeKind::Map,
        made: false,
        fields: &[
            never("label", Takes::Label, "The `bpf_map`."),
            never("name", Takes::Str, "Its name in C and in the kernel."),
            never("type", Takes::Str, "The kind of map: `hash`."),
            never("key", Takes::Str, "The key's C type; empty when it has none."),
            never("value", Takes::Str, "The value's C type; empty when it has none."),
            never("max_entries", Takes::Int, "Its size."),
        ],
    },
    InfoSpec {
        name: "BpfObjectInfo",
        doc: "A program, for chains and for the `jumps` of others. The object's bytecode is compared with what is said of it here.",
        edge: EdgeKind::Program,
        made: true,
        fields: &[
            always("object", Takes::File, "The object file."),
            always("type", Takes::Str, "Its type: `xdp`, `cgroup_skb/egress`."),
            sometimes("function", Takes::Str, "The C function, when the object holds several of the type."),
            sometimes("slot", Takes::Int, "Its place in the jump table; chosen by ouro when not given."),
            sometimes("hidden", Takes::Bool, "Whether drawings of the chain leave it out."),
            never("label", Takes::Label, "The target it belongs to."),
            never("facts", Takes::File, "What was found in the object, as JSON."),
        ],
    },
    InfoSpec {
        name: "BpfMapsInfo",
        doc: "The maps a program uses; beside `BpfObjectInfo`.",
        edge: EdgeKind::Program,
        made: true,
        fields: &[always("maps", Takes::Infos("BpfMapInfo"), "The maps.")],
    },
    InfoSpec {
        name: "BpfEdgesInfo",
        doc: "The jumps a program makes; beside `BpfObjectInfo`.",
        edge: EdgeKind::Program,
        made: true,
        fields: &[
            always("jumps", Takes::Jumps, "The jumps; when read, each has `target`, `name`, `on_miss` and `loop`."),
            sometimes("on_miss", Takes::Verdict, "The verdict of jumps that name none, when their slot is empty."),
        ],
    },
    InfoSpec {
        name: "BpfChainInfo",
        doc: "A chain with its bundle. Returned with another bundle, say a signed one, it is deployed in place of the chain.",
        edge: EdgeKind::Dep,
        made: true,
        fields: &[
            always("label", Takes::Label, "The `bpf_chain`."),
            always("bundle", Takes::File, "The bundle."),
            never("entry", Takes::Label, "The first program."),
            never("programs", Takes::Labels, "All programs, the first one first."),
        ],
    },
];
