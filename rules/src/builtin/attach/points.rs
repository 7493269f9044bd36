//! From what a constructor was given to an attach point: devices, control groups, namespaces, maps and sockets.
//!
//! What needs the chain (whether a map is one of its own) is checked by [`crate::chain`].

use super::traced;
use crate::attr::{Record, Spanned, Value};
use crate::diagnostic::{Diagnostic, Span};
use crate::hook::{self, Hook};
use crate::manifest::{
    Attach, Cgroup, CgroupMode, Direction, Family, KERNEL_NAME, LABEL, Netfilter, NetfilterHook, NetkitEnd, Netns, Order,
    SharedXdp, Socket, Sockmap, TcVia, XdpMode, is_device,
};

/// The kernel keeps the ends of the range of priorities for itself, and needs those up to here to put fragments together.
const DEFRAG_PRIORITY: i32 = -400;

/// What a constructor was given, and the type of the program to attach.
pub(super) struct Given<'a> {
    record: &'a Record,
    item: &'a Spanned,
    pub(super) ty: &'a str,
    pub(super) hook: &'static Hook,
}

/// The attach point a constructor made for a program of this type, which it fits.
pub(in crate::builtin) fn attach(item: &Spanned, ty: &str) -> Result<Attach, Diagnostic> {
    let (Some(record), Some(hook)) = (item.value.as_record(), hook::find(ty)) else {
        return Err(Diagnostic::error(&item.span, "expected an attach point").help("write `xdp(interface = \"eth0\")`"));
    };
    let given = Given { record, item, ty, hook };
    match &*record.kind {
        "xdp" => xdp(&given),
        "tc" => tc(&given),
        "tcx" => tcx(&given),
        "netkit" => netkit(&given),
        "cgroup" | "lsm_cgroup" => cgroup(&given).map(Attach::Cgroup),
        "netfilter" => netfilter(&given).map(Attach::Netfilter),
        "netns" => netns(&given).map(Attach::Netns),
        "sockmap" => Ok(Attach::Sockmap(Sockmap { map: given.required("map")?, attach_type: hook.attach_type.to_owned() })),
        "socket" => socket(&given).map(Attach::Socket),
        _ => traced::attach(&given, &record.kind),
    }
}

impl<'a> Given<'a> {
    /// A string; empty when not given.
    pub(super) fn text(&self, name: &str) -> &'a str {
        self.record.get(name).as_str().unwrap_or_default()
    }

    /// A number; none when not given.
    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.record.get(name).as_int()
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.record.get(name).as_bool().unwrap_or(false)
    }

    /// Where an argument was written; the whole call when it was not.
    pub(super) fn span(&self, name: &str) -> &'a Span {
        self.record.field(name).map_or(&self.item.span, |field| &field.span)
    }

    pub(super) fn error(&self, name: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.span(name), message)
    }

    /// A string that says something.
    pub(super) fn required(&self, name: &str) -> Result<String, Diagnostic> {
        match self.text(name) {
            "" => Err(self.error(name, format!("`{name}` is empty"))),
            text => Ok(text.to_owned()),
        }
    }

    /// A number of this range, 0 when not given.
    pub(super) fn number<T: TryFrom<i64>>(&self, name: &str, range: std::ops::RangeInclusive<i64>) -> Result<T, Diagnostic> {
        let given = self.int(name).unwrap_or(0);
        let number = range.contains(&given).then(|| T::try_from(given).ok()).flatten();
        number.ok_or_else(|| {
            let finding = self.error(name, format!("{name} {given} is out of range"));
            finding.help(format!("use {} to {}", range.start(), range.end()))
        })
    }

    /// A process's number.
    pub(super) fn process(&self, name: &str) -> Result<u32, Diagnostic> {
        self.number(name, 1..=i64::from(i32::MAX))
    }

    /// The number of the only process, if one is given.
    pub(super) fn only_process(&self) -> Result<Option<u32>, Diagnostic> {
        self.int("pid").map(|_| self.process("pid")).transpose()
    }

    /// What follows the prefix in the program's type: `sched/sched_switch` of `tracepoint/sched/sched_switch`.
    pub(super) fn type_name(&self) -> &'a str {
        self.ty.strip_prefix(self.hook.prefix).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default()
    }

    fn interface(&self) -> Result<String, Diagnostic> {
        let name = self.text("interface");
        if is_device(name) {
            return Ok(name.to_owned());
        }
        Err(match name.strip_prefix(LABEL) {
            Some(label) => self
                .error("interface", format!("`{label}` cannot label a network device"))
                .help("a label has 1 to 255 bytes; `ip link set dev eth0 alias uplink` sets one"),
            None => self
                .error("interface", format!("`{name}` cannot name a network device"))
                .help(format!("a device's name has 1 to {KERNEL_NAME} characters, no space, no `/` and no `:`")),
        })
    }

    fn direction(&self) -> Direction {
        if self.text("direction") == "egress" { Direction::Egress } else { Direction::Ingress }
    }

    fn order(&self) -> Result<Order, Diagnostic> {
        let text = self.text("order");
        match text.split_once(':') {
            None if text == "first" => Ok(Order::First),
            None if matches!(text, "last" | "") => Ok(Order::Last),
            Some(("before", other)) if !other.is_empty() => Ok(Order::Before(other.to_owned())),
            Some(("after", other)) if !other.is_empty() => Ok(Order::After(other.to_owned())),
            _ => Err(self
                .error("order", format!("`{text}` is no order"))
                .help("write `first`, `last`, `before:<other>` or `after:<other>`, where the other is a deployment, the path of a pin or `id:<number>`")),
        }
    }

    fn revision(&self) -> Result<Option<u64>, Diagnostic> {
        self.int("expected_revision").map(|_| self.number("expected_revision", 1..=i64::MAX)).transpose()
    }
}

fn mode(name: &str) -> XdpMode {
    match name {
        "generic" => XdpMode::Generic,
        "offload" => XdpMode::Offload,
        _ => XdpMode::Native,
    }
}

fn xdp(given: &Given<'_>) -> Result<Attach, Diagnostic> {
    let (interface, mode) = (given.interface()?, mode(given.text("mode")));
    let verdicts = given.record.field("proceed_on").filter(|list| list.value != Value::None);
    if given.int("priority").is_none() {
        return match verdicts {
            Some(_) => Err(given
                .error("proceed_on", "a chain that has the device for itself has the last word")
                .help("add `priority`, which lets chains share the device, or leave `proceed_on` out")),
            None => Ok(Attach::Xdp { interface, mode }),
        };
    }
    let priority = given.number("priority", 1..=0xffff).map_err(|finding| finding.note("lower priorities run first"))?;
    if mode == XdpMode::Offload {
        let finding = given.error("mode", "a card runs one chain");
        return Err(finding.help("leave `priority` out, or use `mode = \"native\"`"));
    }
    let mut proceed_on = verdicts.map_or_else(|| Ok(vec!["pass".to_owned()]), |list| proceed_on(given, list))?;
    proceed_on.sort();
    proceed_on.dedup();
    Ok(Attach::SharedXdp(SharedXdp { interface, mode, priority, proceed_on }))
}

/// The names of verdicts, each in the spelling that comes first.
fn proceed_on(given: &Given<'_>, list: &Spanned) -> Result<Vec<String>, Diagnostic> {
    let Value::List(items) = &list.value else { return Ok(Vec::new()) };
    let name = |item: &Spanned| {
        let text = item.value.as_str().unwrap_or_default();
        let known = given.hook.verdict(text).and_then(|number| given.hook.verdict_name(number));
        known.map(str::to_owned).ok_or_else(|| {
            let finding = Diagnostic::error(&item.span, format!("`{text}` is no verdict of `{}`", given.hook.prefix));
            finding.help("use `pass`, `drop`, `tx`, `redirect` or `aborted`")
        })
    };
    items.iter().map(name).collect()
}

fn tc(given: &Given<'_>) -> Result<Attach, Diagnostic> {
    let via = match given.text("via") {
        "tcx" => TcVia::Tcx,
        "clsact" => TcVia::Clsact,
        _ => TcVia::Auto,
    };
    let lower = |finding: Diagnostic| finding.note("lower priorities run first");
    let priority = given.number("priority", 1..=0xffff).map_err(lower)?;
    let handle = given.number("handle", 1..=i64::from(u32::MAX))?;
    Ok(Attach::Tc { interface: given.interface()?, direction: given.direction(), priority, via, handle })
}

fn tcx(given: &Given<'_>) -> Result<Attach, Diagnostic> {
    let (order, revision) = (given.order()?, given.revision()?);
    Ok(Attach::Tcx { interface: given.interface()?, direction: given.direction(), order, revision })
}

fn netkit(given: &Given<'_>) -> Result<Attach, Diagnostic> {
    let end = match (given.text("end"), given.hook.attach_type) {
        ("peer", "NETKIT_PRIMARY") | ("primary", "NETKIT_PEER") => {
            let message = format!("the entry is `{}` and cannot be attached to the other end", given.ty);
            return Err(given.error("end", message).help("leave `end` out, or give the program the type `tc`"));
        }
        ("", "") => {
            let message = format!("a program of type `{}` does not say which end of the pair it is for", given.ty);
            return Err(given.error("end", message).help("write `end = \"primary\"` or `end = \"peer\"`"));
        }
        ("peer", _) | (_, "NETKIT_PEER") => NetkitEnd::Peer,
        _ => NetkitEnd::Primary,
    };
    Ok(Attach::Netkit { interface: given.interface()?, end, order: given.order()?, revision: given.revision()? })
}

fn cgroup(given: &Given<'_>) -> Result<Cgroup, Diagnostic> {
    let attach_type = match (given.hook.attach_type, given.text("direction")) {
        ("", "ingress") => "CGROUP_INET_INGRESS",
        ("", "egress") => "CGROUP_INET_EGRESS",
        ("", _) => {
            let message = format!("a program of type `{}` does not say which way packets go", given.ty);
            return Err(given.error("direction", message).help("write `direction = \"ingress\"` or `direction = \"egress\"`"));
        }
        (known, "") => known,
        _ => {
            let message = format!("the type `{}` says already what it is attached to", given.ty);
            return Err(given
                .error("direction", message)
                .help("leave `direction` out, or give the program the type `cgroup/skb`"));
        }
    };
    let mode = match given.text("flags") {
        "override" => CgroupMode::Override,
        "none" => CgroupMode::None,
        _ => CgroupMode::Multi,
    };
    let (order, revision) = (given.order()?, given.revision()?);
    if mode != CgroupMode::Multi && (order != Order::Last || revision.is_some()) {
        let finding =
            given.error("flags", format!("with `flags = \"{}\"` there is one program and no order", given.text("flags")));
        return Err(finding.help("leave `order` and `expected_revision` out, or write `flags = \"multi\"`"));
    }
    let function = (given.hook.prog_type == "lsm").then(|| given.type_name().to_owned());
    Ok(Cgroup { path: group(given, "path")?, attach_type: attach_type.to_owned(), function, mode, order, revision })
}

/// A group's folder, from the mount of cgroup2.
pub(super) fn group(given: &Given<'_>, name: &str) -> Result<String, Diagnostic> {
    let path = given.text(name).trim_matches('/');
    let leads_out = |part: &str| matches!(part, "." | "..") || part.contains(char::is_control);
    if (path.is_empty() && given.text(name) != "/") || path.split('/').any(leads_out) {
        return Err(given.error(name, format!("`{}` cannot name a control group", given.text(name))).help(
            "name its folder from the mount of cgroup2, as in `/proc/<pid>/cgroup`: `system.slice/ssh.service`; `/` is the root",
        ));
    }
    Ok(path.to_owned())
}

fn netfilter(given: &Given<'_>) -> Result<Netfilter, Diagnostic> {
    let family = if given.text("family") == "ipv6" { Family::Ipv6 } else { Family::Ipv4 };
    let at = match given.text("hook") {
        "prerouting" => NetfilterHook::Prerouting,
        "input" => NetfilterHook::Input,
        "forward" => NetfilterHook::Forward,
        "output" => NetfilterHook::Output,
        _ => NetfilterHook::Postrouting,
    };
    let priority = given.number("priority", i64::from(i32::MIN) + 1..=i64::from(i32::MAX) - 1)?;
    let defrag = given.is_set("defrag");
    if defrag && priority <= DEFRAG_PRIORITY {
        let message = format!("at priority {priority} fragments are not put together yet");
        return Err(given.error("priority", message).help(format!("use more than {DEFRAG_PRIORITY}, or leave `defrag` out")));
    }
    Ok(Netfilter { family, at, priority, defrag })
}

fn socket(given: &Given<'_>) -> Result<Socket, Diagnostic> {
    let (pid, fd) = (given.process("pid")?, given.number("fd", 0..=i64::from(i32::MAX))?);
    Ok(Socket { pid, fd, shared_port: given.hook.prog_type == "sk_reuseport" })
}

fn netns(given: &Given<'_>) -> Result<Netns, Diagnostic> {
    let path = Some(given.text("path")).filter(|path| !path.is_empty());
    if path.is_some_and(|path| !path.starts_with('/')) {
        return Err(given
            .error("path", format!("`{}` is no absolute path", given.text("path")))
            .help("name the file of the namespace: `/run/netns/blue`, `/proc/<pid>/ns/net`"));
    }
    Ok(Netns { attach_type: given.hook.attach_type.to_owned(), path: path.map(str::to_owned) })
}
