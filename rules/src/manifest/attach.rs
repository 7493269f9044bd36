//! Where a chain is attached, before a kernel is looked at: one variant for each mechanism a BUILD file can name.
//!
//! Knows no kernel; names, patterns and paths are as they were written. Places that are no network devices are in
//! [`super::place`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::place::{
    Cgroup, Iter, Kprobe, KprobeMulti, Ksyscall, Netfilter, Netns, Order, PerfEvent, RawTracepoint, Socket, Sockmap, StructOps,
    Trace, Tracepoint, Uprobe, UprobeMulti, Usdt,
};
use super::{LABEL, SharedXdp, is_deployment_name, is_interface_name, is_kernel_name};

/// Where a chain's entry is attached.
///
/// A device is named by its name, by a pattern (`eth*`, `?` for one character), or by a label (`label:uplink`: its alias, or one
/// of its other names). What a pattern or label means is found at each deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hook", rename_all = "snake_case")]
pub enum Attach {
    /// The driver's receive path. Kernel 5.9 for links.
    Xdp {
        /// The network device.
        interface: String,
        /// Where in the receive path.
        mode: XdpMode,
    },
    /// The same, shared with other chains: all of them run, one after another, until one has the last word. Kernel 5.10.
    SharedXdp(SharedXdp),
    /// The traffic control layer.
    Tc {
        /// The network device.
        interface: String,
        /// Which way packets go.
        direction: Direction,
        /// The filter's place among others, clsact only: 1 to 65535, lower runs first.
        priority: u16,
        /// The mechanism.
        via: TcVia,
        /// The filter's number at its priority, clsact only; not 0.
        #[serde(default = "one")]
        handle: u32,
    },
    /// The traffic control layer by a TCX link; kernel 6.6.
    Tcx {
        /// The network device.
        interface: String,
        /// Which way packets go.
        direction: Direction,
        /// Its place among the other programs.
        #[serde(default)]
        order: Order,
        /// The revision the place must have when it is attached.
        #[serde(default)]
        revision: Option<u64>,
    },
    /// A netkit device; kernel 6.7.
    Netkit {
        /// The network device: always the primary one.
        interface: String,
        /// Which of the two devices sends the packets.
        end: NetkitEnd,
        /// Its place among the other programs.
        #[serde(default)]
        order: Order,
        /// The revision the place must have when it is attached.
        #[serde(default)]
        revision: Option<u64>,
    },
    /// A control group, for all types that attach there.
    Cgroup(Cgroup),
    /// A hook of netfilter; kernel 6.4.
    Netfilter(Netfilter),
    /// A network namespace; kernel 5.8, `sk_lookup` 5.9.
    Netns(Netns),
    /// A map of sockets; kernel 6.10 for links.
    Sockmap(Sockmap),
    /// One socket of a process.
    Socket(Socket),
    /// A tracepoint; kernel 5.15 for links.
    Tracepoint(Tracepoint),
    /// A raw tracepoint; kernel 4.17.
    RawTracepoint(RawTracepoint),
    /// A tracepoint or function of the kernel that the program's type names.
    Trace(Trace),
    /// An instruction of the kernel; kernel 5.15 for links.
    Kprobe(Kprobe),
    /// The system call of this name; kernel 5.15 for links.
    Ksyscall(Ksyscall),
    /// All functions of the kernel with fitting names; kernel 5.18.
    KprobeMulti(KprobeMulti),
    /// An instruction of a program or library; kernel 5.15 for links.
    Uprobe(Uprobe),
    /// All functions of a program or library with fitting names; kernel 6.6.
    UprobeMulti(UprobeMulti),
    /// A probe that its authors put into a program or library; kernel 5.15 for links, 6.6 for one that stands in several places.
    Usdt(Usdt),
    /// A counter of the processor or the kernel; kernel 5.15 for links.
    PerfEvent(PerfEvent),
    /// An iterator, read by `cat` of its pin; kernel 5.8.
    Iter(Iter),
    /// A table of functions for the kernel; kernel 6.4 for links.
    StructOps(StructOps),
}

fn one() -> u32 {
    1
}

impl Attach {
    /// The network device, as it was written.
    pub fn interface(&self) -> Option<&str> {
        match self {
            Attach::Xdp { interface, .. }
            | Attach::Tc { interface, .. }
            | Attach::Tcx { interface, .. }
            | Attach::Netkit { interface, .. }
            | Attach::SharedXdp(SharedXdp { interface, .. }) => Some(interface),
            _ => None,
        }
    }

    /// The same on another network device; nothing else has one.
    pub fn on(&self, device: &str) -> Attach {
        let mut other = self.clone();
        if let Attach::Xdp { interface, .. }
        | Attach::Tc { interface, .. }
        | Attach::Tcx { interface, .. }
        | Attach::Netkit { interface, .. }
        | Attach::SharedXdp(SharedXdp { interface, .. }) = &mut other
        {
            device.clone_into(interface);
        }
        other
    }

    /// Whether the device's card is to run the chain itself.
    pub fn is_offloaded(&self) -> bool {
        matches!(self, Attach::Xdp { mode: XdpMode::Offload, .. })
    }

    /// A name that cannot be one, or leads elsewhere, of a manifest that nobody has checked.
    pub(crate) fn bad_name(&self) -> Option<String> {
        let bad = |what: &str, name: &str| Some(format!("`{name}` cannot name {what}"));
        if let Some(name) = self.interface().filter(|name| !is_device(name)) {
            return bad("a network device", name);
        }
        if let Attach::StructOps(StructOps { table, .. }) = self
            && !is_deployment_name(table)
        {
            return bad("a table of functions", table);
        }
        if let Attach::Usdt(Usdt { arguments: Some(arguments), .. }) = self
            && !arguments.is_sound()
        {
            return Some("the table of arguments of probes has members outside of itself".to_owned());
        }
        let (map, group, order) = match self {
            Attach::Tcx { order, .. } | Attach::Netkit { order, .. } => (None, None, Some(order)),
            Attach::Cgroup(place) => (None, Some(&place.path), Some(&place.order)),
            Attach::Sockmap(place) => (Some(&place.map), None, None),
            Attach::Iter(place) => (place.map.as_ref(), place.cgroup.as_ref(), None),
            _ => (None, None, None),
        };
        let is_other = |name: &str| name.starts_with('/') || name.starts_with("id:") || is_deployment_name(name);
        let leads_out = |path: &&String| path.starts_with('/') || path.split('/').any(|part| matches!(part, "." | ".."));
        let map = map.filter(|name| !is_kernel_name(name)).and_then(|name| bad("a map", name));
        let other = order.and_then(Order::other).filter(|name| !is_other(name)).and_then(|name| bad("a program", name));
        map.or(other).or_else(|| group.filter(leads_out).and_then(|path| bad("a control group", path)))
    }

    /// Where, and how: `("eth0", "xdp native")`.
    pub fn words(&self) -> (String, String) {
        match self {
            Attach::Xdp { interface, mode } => (interface.clone(), format!("xdp {mode}")),
            Attach::SharedXdp(place) => place.words(),
            Attach::Tc { interface, direction, .. } => (interface.clone(), format!("tc {direction}")),
            Attach::Tcx { interface, direction, .. } => (interface.clone(), format!("tcx {direction}")),
            Attach::Netkit { interface, end, .. } => (interface.clone(), format!("netkit {end}")),
            Attach::Cgroup(place) => place.words(),
            Attach::Netfilter(place) => place.words(),
            Attach::Netns(place) => place.words(),
            Attach::Sockmap(place) => place.words(),
            Attach::Socket(place) => place.words(),
            Attach::Tracepoint(place) => place.words(),
            Attach::RawTracepoint(place) => place.words(),
            Attach::Trace(place) => place.words(),
            Attach::Kprobe(place) => place.words(),
            Attach::Ksyscall(place) => place.words(),
            Attach::KprobeMulti(place) => place.words(),
            Attach::Uprobe(place) => place.words(),
            Attach::UprobeMulti(place) => place.words(),
            Attach::Usdt(place) => place.words(),
            Attach::PerfEvent(place) => place.words(),
            Attach::Iter(place) => place.words(),
            Attach::StructOps(place) => place.words(),
        }
    }
}

/// Whether a text can mean network devices: a name, a pattern of names, or a label. The kernel keeps 255 bytes of an alias.
pub(crate) fn is_device(text: &str) -> bool {
    match text.strip_prefix(LABEL) {
        Some(label) => (1..=255).contains(&label.len()) && !label.contains(char::is_control),
        None => is_interface_name(text),
    }
}

/// XDP's three places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum XdpMode {
    /// In the network stack; every device has it.
    Generic,
    /// In the driver.
    Native,
    /// On the card.
    Offload,
}

/// A direction of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Received.
    Ingress,
    /// Sent.
    Egress,
}

/// The two mechanisms of traffic control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TcVia {
    /// TCX where the kernel has it, clsact where not.
    Auto,
    /// TCX links; kernel 6.6.
    Tcx,
    /// A filter of the clsact qdisc.
    Clsact,
}

/// The two devices of a netkit pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetkitEnd {
    /// The one on the host.
    Primary,
    /// The other one.
    Peer,
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            XdpMode::Generic => "generic",
            XdpMode::Native => "native",
            XdpMode::Offload => "offload",
        })
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        })
    }
}

impl fmt::Display for NetkitEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NetkitEnd::Primary => "primary",
            NetkitEnd::Peer => "peer",
        })
    }
}
