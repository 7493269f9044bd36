//! Conflicts: why a bundle cannot be deployed over what is there. Found before anything is changed.
//!
//! Pure.

use std::fmt;
use std::path::PathBuf;

use ouro_rules::chain::MAX_DEPTH;
use ouro_rules::manifest::{OnChange, XdpMode};
use serde::Serialize;

use crate::hook::Hook;
use crate::map_check::Difference;

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "conflict", rename_all = "snake_case")]
pub enum Conflict {
    /// A name of the bundle that cannot be pinned.
    Name {
        /// The name.
        name: String,
    },
    /// A program of a type that cannot be deployed.
    ProgramType {
        /// The program.
        program: String,
        /// Its type.
        ty: String,
    },
    /// The name is taken by another chain.
    OtherChain {
        /// The deployment's name.
        name: String,
        /// The chain that is deployed, with its workspace.
        deployed: String,
        /// The chain of the bundle, with its workspace.
        wanted: String,
    },
    /// A generation that this version cannot read.
    Unreadable {
        /// The generation.
        generation: u32,
        /// Why.
        why: String,
    },
    /// There is no such network device.
    NoDevice {
        /// The name.
        interface: String,
        /// One with a similar name.
        similar: Option<String>,
        /// All there are.
        existing: Vec<String>,
    },
    /// A command line named the devices of what is live, this one names none, and the bundle's are others.
    Leaves {
        /// The deployment's name.
        name: String,
        /// What was named.
        named: Vec<String>,
        /// The devices that nothing would run on.
        left: Vec<String>,
        /// The device of the bundle's only attach point, which a command line may name, too.
        to: Option<String>,
    },
    /// Two attach points are the same.
    Twice {
        /// The hook.
        hook: Hook,
    },
    /// What a hook names is not there.
    NoPlace {
        /// The hook.
        hook: Hook,
        /// What is not there.
        what: String,
        /// What may be meant.
        help: Option<String>,
    },
    /// The kernel has no TCX.
    NoTcx {
        /// The hook.
        hook: Hook,
    },
    /// The place is taken by a program that is not ours.
    Taken {
        /// The hook.
        hook: Hook,
        /// The program's id; none where the kernel does not tell it.
        program: Option<u32>,
        /// The deployment that has it; none of a program that ouro did not load.
        #[serde(skip_serializing_if = "Option::is_none")]
        deployment: Option<String>,
    },
    /// The device is wanted for one chain alone, and others share it.
    Shared {
        /// The hook.
        hook: Hook,
        /// The deployments that share it.
        with: Vec<String>,
    },
    /// Another chain shares the device in another way.
    Unlike {
        /// The hook.
        hook: Hook,
        /// The deployment that shares it.
        other: String,
        /// That one's mode.
        mode: String,
        /// That one's type: with support for packets of several buffers, or without.
        section: String,
    },
    /// The chains that share the device take more tail calls in one run than the kernel allows.
    TooDeep {
        /// The hook.
        hook: Hook,
        /// How many they take.
        taken: u32,
        /// How many each of them takes, by deployment.
        each: Vec<(String, u32)>,
    },
    /// Which chains share the device cannot be read.
    UnreadableShare {
        /// The hook.
        hook: Hook,
        /// Where what they share is attached by.
        path: PathBuf,
    },
    /// A network card runs what is loaded for it alone, and nothing else runs that.
    OtherCard {
        /// The hook.
        hook: Hook,
    },
    /// A hook of ours runs a program that is not ours.
    Changed {
        /// The hook.
        hook: Hook,
        /// The program's id; none of a filter that is no program.
        program: Option<u32>,
    },
    /// It cannot be looked at from here, and may be attached still.
    Unseen {
        /// The hook.
        hook: Hook,
        /// Why.
        why: String,
        /// What is in the way, or helps.
        help: String,
        /// Whether it would be seen with more rights, or later.
        is_curable: bool,
    },
    /// It was attached in another network namespace.
    OtherNamespace {
        /// The hook.
        hook: Hook,
        /// What `ip netns` calls that namespace; none of one without a name.
        #[serde(skip_serializing_if = "Option::is_none")]
        netns: Option<String>,
        /// Its inode.
        namespace: u64,
        /// Whether it is the one the command was started in, and left for another.
        is_own: bool,
    },
    /// The device it is attached to has another name now, or is in another network namespace.
    Moved {
        /// The hook.
        hook: Hook,
        /// The index of the device it is attached to.
        ifindex: u64,
    },
    /// No generation was live before the one that is.
    NothingBefore {
        /// The deployment.
        name: String,
    },
    /// No generation waits for its confirmation.
    NothingOnTrial {
        /// The deployment.
        name: String,
    },
    /// What is live is on trial.
    OnTrial {
        /// The deployment.
        name: String,
    },
    /// A map is pinned that differs from its declaration.
    MapChanged {
        /// The deployment.
        deployment: String,
        /// The map.
        map: String,
        /// Every difference.
        differences: Vec<Difference>,
        /// What `on_change` could be; none if the pinned map is not what the record says.
        remedy: Option<OnChange>,
    },
    /// A declared map changed, and what it holds cannot be carried over.
    MapStays {
        /// The map.
        map: String,
        /// What its declaration says is to be done.
        on_change: OnChange,
        /// Every reason why it cannot.
        why: Vec<String>,
    },
}

impl Conflict {
    /// Whether it would be none with more rights, or later.
    pub(crate) fn is_curable(&self) -> bool {
        matches!(self, Conflict::Unseen { is_curable: true, .. })
    }

    /// The same, seen by who left this network namespace for another.
    pub(crate) fn seen_from(mut self, home: u64) -> Conflict {
        if let Conflict::OtherNamespace { namespace, is_own, .. } = &mut self {
            *is_own = *namespace == home;
        }
        self
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Conflict::Name { .. } => "use letters, digits, `_` and `-`".to_owned(),
            Conflict::ProgramType { .. } => "`docs/rules.md` lists the types".to_owned(),
            Conflict::OtherChain { name, .. } => {
                format!(
                    "rename one of the chains; if both are of one project, give its checkouts one `[workspace] name` in ouro.toml, and \
                     deploy once with `--take-over`; or undeploy it first: `ouro undeploy {name}`"
                )
            }
            Conflict::Unreadable { .. } => "undeploy it with the ouro that deployed it".to_owned(),
            Conflict::NoDevice { similar: Some(similar), .. } => format!("did you mean `{similar}`?"),
            Conflict::NoDevice { existing, .. } if existing.is_empty() => {
                "no device has a label; `ip link set dev eth0 alias uplink` gives it one".to_owned()
            }
            Conflict::NoPlace { help, .. } => help.clone().unwrap_or_else(|| "make it be there, or attach elsewhere".to_owned()),
            Conflict::NoDevice { existing, .. } => format!("there are: {}", existing.join(", ")),
            Conflict::Leaves { named, to: Some(to), .. } => {
                format!("`{}` stays there, `--interface {to}` moves it", flags(named))
            }
            Conflict::Leaves { name, left, to: None, .. } => {
                format!("detach it from there first: `ouro detach {name} {}`", flags(&left[..1]))
            }
            Conflict::Twice { .. } => "remove one of them".to_owned(),
            Conflict::NoTcx { .. } => {
                "TCX came with kernel 6.6; use `tc(...)`, which takes clsact where there is no TCX".to_owned()
            }
            Conflict::Taken { hook, program, deployment } => taken(hook, *program, deployment.as_deref()),
            Conflict::Shared { .. } => "give its `xdp()` a `priority`, too, or undeploy the others".to_owned(),
            Conflict::Unlike { mode, section, .. } => {
                format!("write `mode = \"{mode}\"`, and give the entry the type `{section}`")
            }
            Conflict::TooDeep { .. } => format!(
                "the kernel allows {MAX_DEPTH} in one run: make a chain's longest way shorter, or its verdict final (`proceed_on = []`) \
                 where the next ones need not see the packet"
            ),
            Conflict::UnreadableShare { path, .. } => format!(
                "use the ouro that deployed them; or `rm {}`, which detaches all of them, and deploy each again",
                path.display()
            ),
            Conflict::OtherCard { .. } => {
                "with `mode = \"offload\"` a chain is attached to one device, by its `attach` in the BUILD file: deploy that; for other \
                 places make another `bpf_chain` of its programs"
                    .to_owned()
            }
            Conflict::Changed { program: None, .. } => "`ouro deploy --force-links` takes the place back".to_owned(),
            Conflict::Changed { program: Some(program), .. } => {
                format!("`bpftool prog show id {program}` tells what it is; `ouro deploy --force-links` takes the place back")
            }
            Conflict::Unseen { help, is_curable: true, .. } => {
                format!("{help}; `ouro undeploy --force` leaves its stub there, which then lets everything pass")
            }
            Conflict::Unseen { help, .. } => {
                format!("{help}; `ouro undeploy` leaves its stub there, which then lets everything pass")
            }
            Conflict::OtherNamespace { is_own: true, .. } => "leave out `--netns`: it is the namespace this was started in".to_owned(),
            Conflict::OtherNamespace { netns: Some(name), .. } => format!("say which with `--netns {name}`"),
            Conflict::OtherNamespace { netns: None, .. } => {
                "say which with `--netns NAME`, as `ip netns list` has it; if it is gone, undeploy with `--force`".to_owned()
            }
            Conflict::Moved { .. } => "undeploy it first".to_owned(),
            Conflict::NothingBefore { name } => {
                format!("one generation before the live one is kept; `ouro undeploy {name}` removes all there is")
            }
            Conflict::NothingOnTrial { name } => format!("`ouro status {name}` shows what is live"),
            Conflict::OnTrial { name } => format!("`ouro confirm {name}` or `ouro rollback {name}` first"),
            Conflict::MapChanged { deployment, remedy: None, .. } => {
                format!(
                    "undeploy first, which drops what the map holds: `ouro undeploy {deployment}`; or give the map another name"
                )
            }
            Conflict::MapChanged { map, remedy: Some(remedy), .. } => {
                let becomes = match remedy {
                    OnChange::Copy => "what it holds is copied",
                    OnChange::Convert => "members of equal name are carried over",
                    _ => "what it holds is dropped",
                };
                format!("give the `bpf_map` `{map}` `on_change = \"{}\"`: {becomes}; or give it another name", remedy.name())
            }
            Conflict::MapStays { map, .. } => {
                format!("give the `bpf_map` `{map}` `on_change = \"reset\"`, which drops what it holds; or give it another name")
            }
        }
    }
}

/// As a command line names devices.
fn flags(devices: &[String]) -> String {
    devices.iter().map(|device| format!("--interface {device}")).collect::<Vec<_>>().join(" ")
}

/// How to get a place that a program has already.
fn taken(hook: &Hook, program: Option<u32>, deployment: Option<&str>) -> String {
    let is_xdp = matches!(hook, Hook::Xdp { .. } | Hook::SharedXdp(_));
    let instead = match hook {
        _ if is_xdp => "give the `xdp()` of both chains a `priority`, so that they share the device",
        Hook::Clsact { .. } => "choose another priority",
        _ => "attach elsewhere",
    };
    let Some(program) = program else {
        return "if it is what a deployment left whose records are gone, `ouro deploy --force-links` takes the place; else have its \
                process detach it (SO_DETACH_FILTER)"
            .to_owned();
    };
    if let Some(name) = deployment {
        return format!("{instead}; or undeploy it first: `ouro undeploy {name}`");
    }
    let what = format!("`bpftool prog show id {program}` tells what it is");
    match hook {
        _ if is_xdp => {
            format!("chains whose `xdp()` has a `priority` share a device; other programs must be detached first: {what}")
        }
        Hook::Clsact { .. } => format!("{instead}, or remove it; {what}"),
        _ => format!("detach it first; {what}"),
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Conflict::Name { name } => write!(f, "`{name}` cannot name a pin"),
            Conflict::ProgramType { program, ty } => write!(f, "program `{program}` has type `{ty}`, which cannot be deployed"),
            Conflict::OtherChain { name, deployed, wanted } => {
                write!(f, "the deployment `{name}` belongs to the chain `{deployed}`, not to `{wanted}`")
            }
            Conflict::Unreadable { generation, why } => write!(f, "the record of generation {generation} cannot be read: {why}"),
            Conflict::NoDevice { interface, .. } => write!(f, "there is no network device `{interface}`"),
            Conflict::Leaves { name, named, left, .. } => {
                let left: Vec<String> = left.iter().map(|device| format!("`{device}`")).collect();
                write!(f, "`{name}` was deployed with `{}`, and without it would leave {}", flags(named), left.join(", "))
            }
            Conflict::Twice { hook } => write!(f, "two attach points are {hook}"),
            Conflict::NoPlace { hook, what, .. } => write!(f, "cannot attach to {hook}: {what}"),
            Conflict::NoTcx { hook } => write!(f, "{hook} needs TCX, which this kernel does not have"),
            Conflict::Taken { hook, program: Some(program), deployment: Some(name) } => {
                write!(f, "{hook} is taken by program {program} of the deployment `{name}`")
            }
            Conflict::Taken { hook, program: None, .. } => {
                write!(f, "{hook} is a program that is not ours, as far as can be told")
            }
            Conflict::Taken { hook, program: Some(program), deployment: None } => {
                write!(f, "{hook} is taken by program {program}, which is not ours")
            }
            Conflict::Shared { hook, with } => {
                write!(f, "{hook} is shared by other chains, which have a `priority`: `{}`", with.join("`, `"))
            }
            Conflict::Unlike { hook, other, mode, section } => {
                write!(
                    f,
                    "{hook} is shared with `{other}`, which is {mode} and of type `{section}`: all that share a device are alike"
                )
            }
            Conflict::TooDeep { hook, taken, each } => {
                let each: Vec<String> = each.iter().map(|(name, calls)| format!("`{name}` {calls}")).collect();
                write!(f, "the chains that share {hook} can take {taken} tail calls in one run: {}", each.join(", "))
            }
            Conflict::UnreadableShare { hook, path } => {
                write!(
                    f,
                    "which chains share {hook} cannot be read: the record beside `{}` is gone, or a later ouro's",
                    path.display()
                )
            }
            Conflict::OtherCard { hook: Hook::Xdp { interface, mode: XdpMode::Offload } } => {
                write!(
                    f,
                    "the network card of `{interface}` runs what is loaded for it alone, and the chain is loaded for another place"
                )
            }
            Conflict::OtherCard { hook } => write!(f, "{hook} cannot run a chain that is loaded for a network card"),
            Conflict::Changed { hook, program: None } => write!(f, "somebody gave {hook} a filter that is not ours"),
            Conflict::Changed { hook, program: Some(program) } => {
                write!(f, "somebody made {hook} run program {program}, which is not ours")
            }
            Conflict::Unseen { hook, why, .. } => write!(f, "the {hook} cannot be seen from here: {why}"),
            Conflict::OtherNamespace { hook, .. } => write!(f, "{hook} was attached in another network namespace"),
            Conflict::Moved { hook, ifindex } => {
                write!(f, "{hook} is attached to device {ifindex}, which has another name now or left this network namespace")
            }
            Conflict::NothingBefore { name } => write!(f, "`{name}` has no generation to go back to"),
            Conflict::NothingOnTrial { name } => write!(f, "nothing of `{name}` waits for a confirmation"),
            Conflict::OnTrial { name } => write!(f, "what is live of `{name}` is on trial"),
            Conflict::MapChanged { map, differences, .. } => {
                let fields: Vec<String> = differences.iter().map(Difference::to_string).collect();
                write!(f, "map `{map}` is pinned with another definition: {}", fields.join("; "))
            }
            Conflict::MapStays { map, on_change, why } => {
                let done = if *on_change == OnChange::Copy { "copied" } else { "converted" };
                write!(f, "what map `{map}` holds cannot be {done}: {}", why.join("; "))
            }
        }
    }
}
