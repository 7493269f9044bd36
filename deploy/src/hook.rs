//! Hooks: where a chain is attached, with the mechanism decided. Each is one attachment of the kernel.
//!
//! Pure; how to attach is the kernel module's business, what a BUILD file's attach point means here is [`crate::resolve`]'s.

use std::fmt;
use std::net::SocketAddr;

use ouro_rules::manifest::{
    Attach, Cgroup, CgroupMode, Direction, Iter, Kprobe, KprobeMulti, Ksyscall, Netfilter, NetkitEnd, Netns, Order, PerfEvent,
    RawTracepoint, SharedXdp, Socket, Sockmap, StructOps, TcVia, Trace, Tracepoint, Uprobe, UprobeMulti, Usdt, XdpMode,
};
use serde::{Deserialize, Serialize};

/// A place a chain is attached at, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mechanism", rename_all = "snake_case")]
pub enum Hook {
    /// An XDP link; kernel 5.9.
    Xdp {
        /// The network device.
        interface: String,
        /// Where in the receive path.
        mode: XdpMode,
    },
    /// A place in the dispatcher that a device's XDP link runs; kernel 5.10.
    SharedXdp(SharedXdp),
    /// A TCX link; kernel 6.6.
    Tcx {
        /// The network device.
        interface: String,
        /// Which way packets go.
        direction: Direction,
        /// Its place among the other programs.
        #[serde(default, skip_serializing_if = "is_last")]
        order: Order,
        /// The revision the place must have when it is attached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u64>,
    },
    /// A filter of the clsact qdisc.
    Clsact {
        /// The network device.
        interface: String,
        /// Which way packets go.
        direction: Direction,
        /// Its place; lower runs first.
        priority: u16,
        /// Its number at this place.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        handle: u32,
    },
    /// A netkit link; kernel 6.7.
    Netkit {
        /// The primary network device.
        interface: String,
        /// Which of the two devices sends the packets.
        end: NetkitEnd,
        /// Its place among the other programs.
        #[serde(default, skip_serializing_if = "is_last")]
        order: Order,
        /// The revision the place must have when it is attached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u64>,
    },
    /// A link of a control group, kernel 5.7; an attachment without one for modes other than multi.
    Cgroup(Cgroup),
    /// A netfilter link; kernel 6.4.
    Netfilter(Netfilter),
    /// A link of a network namespace; kernel 5.8.
    Netns(Netns),
    /// A link of a map of sockets; kernel 6.10.
    Sockmap(Sockmap),
    /// A filter of one socket, or the program of those that share its port, which has no link.
    Socket {
        /// The descriptor it is reached by.
        #[serde(flatten)]
        place: Socket,
        /// Which socket that was when the generation was made; none if there was none.
        #[serde(flatten)]
        id: Option<SocketId>,
    },
    /// A link of a tracepoint's event; kernel 5.15.
    Tracepoint(Tracepoint),
    /// A raw tracepoint's link.
    RawTracepoint(RawTracepoint),
    /// A link of what the program was loaded for.
    Trace(Trace),
    /// A link of a probe's event; kernel 5.15.
    Kprobe(Kprobe),
    /// A link of a probe's event at a system call; kernel 5.15.
    Ksyscall(Ksyscall),
    /// A link of many probes; kernel 5.18.
    KprobeMulti(KprobeMulti),
    /// A link of a probe's event; kernel 5.15.
    Uprobe(Uprobe),
    /// A link of many probes; kernel 6.6.
    UprobeMulti(UprobeMulti),
    /// A link of a probe's event, or of many where the probe stands in several places.
    Usdt(Usdt),
    /// A link of a counter's event; kernel 5.15.
    PerfEvent(PerfEvent),
    /// An iterator's link.
    Iter(Iter),
    /// A link of a table of functions; kernel 6.4.
    StructOps(StructOps),
}

/// Which socket it is: others get its descriptor, and its process's number, when these are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketId {
    /// Its number in the file system of sockets, which `/proc/<pid>/fd` shows.
    pub inode: u64,
    /// The number that the kernel gives no other socket (SO_COOKIE).
    pub cookie: u64,
    /// The port that it was bound to, if it stands for all that share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
}

/// A port that sockets share: all of them have one program (`reuseport_add_sock` of net/core/sock_reuseport.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The inode of the network namespace.
    pub namespace: u64,
    /// The number of the protocol: 6 of TCP, 17 of UDP.
    pub protocol: u32,
    /// The index of the device that packets must come from; 0 if any will do.
    pub device: u32,
    /// The address.
    pub address: SocketAddr,
}

/// How a hook's program is replaced by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Renewal {
    /// Its link is updated, atomically and only if it runs what is expected.
    Link,
    /// Its slot in the table of a dispatcher is compared and then overwritten, which is atomic.
    Slot,
    /// What is attached without a link is compared and then replaced.
    Filter,
    /// Its link takes no other program, but what is attached may jump to one.
    Root,
    /// Its link takes no other program and what is attached cannot jump: both run for a moment, or none where the place holds one.
    Overlap,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

fn is_last(order: &Order) -> bool {
    *order == Order::Last
}

impl Hook {
    /// Decides the mechanism of an attach point. `tcx` tells whether the kernel has it.
    pub fn new(attach: &Attach, tcx: bool) -> Hook {
        match attach.clone() {
            Attach::Xdp { interface, mode } => Hook::Xdp { interface, mode },
            Attach::SharedXdp(place) => Hook::SharedXdp(place),
            Attach::Tc { interface, direction, via, .. } if via == TcVia::Tcx || (via == TcVia::Auto && tcx) => {
                Hook::Tcx { interface, direction, order: Order::Last, revision: None }
            }
            Attach::Tc { interface, direction, priority, handle, .. } => Hook::Clsact { interface, direction, priority, handle },
            Attach::Tcx { interface, direction, order, revision } => Hook::Tcx { interface, direction, order, revision },
            Attach::Netkit { interface, end, order, revision } => Hook::Netkit { interface, end, order, revision },
            Attach::Cgroup(place) => Hook::Cgroup(place),
            Attach::Netfilter(place) => Hook::Netfilter(place),
            Attach::Netns(place) => Hook::Netns(place),
            Attach::Sockmap(place) => Hook::Sockmap(place),
            Attach::Socket(place) => Hook::Socket { place, id: None },
            Attach::Tracepoint(place) => Hook::Tracepoint(place),
            Attach::RawTracepoint(place) => Hook::RawTracepoint(place),
            Attach::Trace(place) => Hook::Trace(place),
            Attach::Kprobe(place) => Hook::Kprobe(place),
            Attach::Ksyscall(place) => Hook::Ksyscall(place),
            Attach::KprobeMulti(place) => Hook::KprobeMulti(place),
            Attach::Uprobe(place) => Hook::Uprobe(place),
            Attach::UprobeMulti(place) => Hook::UprobeMulti(place),
            Attach::Usdt(place) => Hook::Usdt(place),
            Attach::PerfEvent(place) => Hook::PerfEvent(place),
            Attach::Iter(place) => Hook::Iter(place),
            Attach::StructOps(place) => Hook::StructOps(place),
        }
    }

    /// The network device.
    pub fn interface(&self) -> Option<&str> {
        match self {
            Hook::Xdp { interface, .. }
            | Hook::Tcx { interface, .. }
            | Hook::Clsact { interface, .. }
            | Hook::Netkit { interface, .. }
            | Hook::SharedXdp(SharedXdp { interface, .. }) => Some(interface),
            _ => None,
        }
    }

    /// The map of the chain that it hangs on.
    pub(crate) fn map(&self) -> Option<&str> {
        match self {
            Hook::Sockmap(place) => Some(&place.map),
            Hook::Iter(place) => place.map.as_deref(),
            _ => None,
        }
    }

    /// Whether its link carries what programs read arguments by.
    pub(crate) fn has_arguments(&self) -> bool {
        matches!(self, Hook::Usdt(place) if place.arguments.is_some())
    }

    /// How its program is replaced.
    pub fn renewal(&self) -> Renewal {
        match self {
            Hook::Clsact { .. } => Renewal::Filter,
            Hook::Cgroup(place) if place.mode != CgroupMode::Multi => Renewal::Filter,
            Hook::Xdp { .. } | Hook::Tcx { .. } | Hook::Netkit { .. } | Hook::Cgroup(_) | Hook::Netns(_) | Hook::Sockmap(_) => {
                Renewal::Link
            }
            Hook::Iter(_) => Renewal::Link,
            Hook::SharedXdp(_) => Renewal::Slot,
            Hook::Trace(Trace { sleepable: true, .. })
            | Hook::Uprobe(Uprobe { sleepable: true, .. })
            | Hook::UprobeMulti(UprobeMulti { sleepable: true, .. }) => Renewal::Overlap,
            Hook::StructOps(place) if place.is_updated() => Renewal::Link,
            Hook::StructOps(_) => Renewal::Overlap,
            _ => Renewal::Root,
        }
    }

    /// The place among others that its link has, and keeps for good.
    pub(crate) fn order(&self) -> Option<&Order> {
        match self {
            Hook::Tcx { order, .. } | Hook::Netkit { order, .. } => Some(order),
            Hook::Cgroup(place) if self.is_link() => Some(&place.order),
            _ => None,
        }
    }

    /// The revision that its place must have when it is attached.
    pub(crate) fn revision(&self) -> Option<u64> {
        match self {
            Hook::Tcx { revision, .. } | Hook::Netkit { revision, .. } => *revision,
            Hook::Cgroup(place) => place.revision,
            _ => None,
        }
    }

    /// The same, whatever revision its place has. What comes back is attached to a place that has changed since.
    pub(crate) fn at_any_revision(&self) -> Hook {
        let mut hook = self.clone();
        match &mut hook {
            Hook::Tcx { revision, .. } | Hook::Netkit { revision, .. } => *revision = None,
            Hook::Cgroup(place) => place.revision = None,
            _ => {}
        }
        hook
    }

    /// Whether what was attached as this is what `wanted` asks for: who asks for no revision takes what was attached at any, and a
    /// socket is the same by whichever descriptor, a port by whichever socket.
    pub(crate) fn serves(&self, wanted: &Hook) -> bool {
        let is_socket = matches!(self, Hook::Socket { id: Some(_), .. });
        self == wanted
            || self.at_any_revision() == *wanted
            || (is_socket && self.name() == wanted.name())
            || self.shares_port(wanted)
    }

    /// Whether both are sockets that stand for one port.
    pub(crate) fn shares_port(&self, other: &Hook) -> bool {
        self.port().is_some() && self.port() == other.port()
    }

    /// The port that a socket stands for.
    pub(crate) fn port(&self) -> Option<Port> {
        if let Hook::Socket { id: Some(id), .. } = self { id.port.filter(|_| self.is_mute()) } else { None }
    }

    /// Whether its place holds one program, and its link takes no other: netfilter has one at a priority, and what is registered has
    /// a name of its own. The old link goes before the new one comes.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self, Hook::Netfilter(_) | Hook::StructOps(_))
    }

    /// Whether it is a link, which can be pinned.
    pub fn is_link(&self) -> bool {
        self.renewal() != Renewal::Filter && self.tells_program()
    }

    /// Whether the kernel tells which program runs there. Of a socket it does not; a program that is attached takes another's place.
    pub fn tells_program(&self) -> bool {
        !matches!(self, Hook::Socket { .. })
    }

    /// Whether nobody can ask so much as whether a program runs there.
    pub(crate) fn is_mute(&self) -> bool {
        matches!(self, Hook::Socket { place: Socket { shared_port: true, .. }, .. })
    }

    /// Whether it is a place of the network namespace of the deploy, and not seen from another one.
    pub fn is_of_namespace(&self) -> bool {
        self.interface().is_some() || matches!(self, Hook::Netfilter(_) | Hook::Netns(Netns { path: None, .. }))
    }

    /// Where, and how: `("eth0", "xdp native")`.
    pub fn words(&self) -> (String, String) {
        match self {
            Hook::Xdp { interface, mode } => (interface.clone(), format!("xdp {mode}")),
            Hook::SharedXdp(place) => place.words(),
            Hook::Tcx { interface, direction, .. } => (interface.clone(), format!("tcx {direction}")),
            Hook::Clsact { interface, direction, priority, .. } => {
                (interface.clone(), format!("clsact {direction} priority {priority}"))
            }
            Hook::Netkit { interface, end, .. } => (interface.clone(), format!("netkit {end}")),
            Hook::Cgroup(place) => place.words(),
            Hook::Netfilter(place) => place.words(),
            Hook::Netns(place) => place.words(),
            Hook::Sockmap(place) => place.words(),
            Hook::Socket { place, .. } => place.words(),
            Hook::Tracepoint(place) => place.words(),
            Hook::RawTracepoint(place) => place.words(),
            Hook::Trace(place) => place.words(),
            Hook::Kprobe(place) => place.words(),
            Hook::Ksyscall(place) => place.words(),
            Hook::KprobeMulti(place) => place.words(),
            Hook::Uprobe(place) => place.words(),
            Hook::UprobeMulti(place) => place.words(),
            Hook::Usdt(place) => place.words(),
            Hook::PerfEvent(place) => place.words(),
            Hook::Iter(place) => place.words(),
            Hook::StructOps(place) => place.words(),
        }
    }

    /// The name of its pin, one for each place a program can be attached at. The bpffs allows no `.`, devices such as
    /// `eth0.100` have one; no two places get the same name.
    pub fn name(&self) -> String {
        let parts = match self {
            Hook::Xdp { interface, .. } | Hook::SharedXdp(SharedXdp { interface, .. }) => vec!["xdp", interface],
            Hook::Tcx { interface, direction, .. } => return name(&["tcx", &direction.to_string(), interface]),
            Hook::Clsact { interface, direction, priority, handle: 1 } => {
                return name(&["clsact", &direction.to_string(), &priority.to_string(), interface]);
            }
            Hook::Clsact { interface, direction, priority, handle } => {
                return name(&["clsact", &direction.to_string(), &format!("{priority}_{handle}"), interface]);
            }
            Hook::Netkit { interface, end, .. } => return name(&["netkit", &end.to_string(), interface]),
            Hook::Cgroup(place) => return name(&["cgroup", &place.what(), &place.path]),
            Hook::StructOps(place) => vec!["struct_ops", &place.table],
            Hook::Socket { place, id: Some(SocketId { cookie, .. }) } => {
                return name(&[if place.shared_port { "port" } else { "socket" }, &cookie.to_string()]);
            }
            other => {
                let (place, how) = other.words();
                return name(&[&how, &place]);
            }
        };
        name(&parts)
    }
}

/// Longest name of a file, but for what is put behind the name of a link that is to take another's place.
const LONGEST: usize = 250;

/// Parts joined by `-`, without what the bpffs refuses; paths keep their look. What is too long ends in a number made from all
/// of it.
fn name(parts: &[&str]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-@=,*?".contains(c);
    let mut text = String::new();
    for c in parts.join("-").chars() {
        match c {
            ' ' => text.push('+'),
            '/' => text.push(':'),
            c if plain(c) => text.push(c),
            c => c.to_string().bytes().for_each(|byte| text.push_str(&format!("%{byte:02x}"))),
        }
    }
    if text.len() <= LONGEST {
        return text;
    }
    // FNV-1a with 64 bits: paths are not chosen to collide, and those that do are told as two hooks of one name.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{}%{hash:016x}", &text[..LONGEST - 17])
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hook::Xdp { interface, mode } => write!(f, "{mode} XDP of `{interface}`"),
            Hook::SharedXdp(place) => write!(f, "{} XDP of `{}`, priority {}", place.mode, place.interface, place.priority),
            Hook::Tcx { interface, direction, .. } => write!(f, "TCX {direction} of `{interface}`"),
            Hook::Clsact { interface, direction, priority, .. } => {
                write!(f, "clsact {direction} of `{interface}`, priority {priority}")
            }
            other => {
                let (place, how) = other.words();
                write!(f, "{how} of `{place}`")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tc(via: TcVia) -> Attach {
        Attach::Tc { interface: "eth0".to_owned(), direction: Direction::Egress, priority: 7, via, handle: 1 }
    }

    #[test]
    fn the_mechanism_follows_the_kernel() {
        assert_eq!(Hook::new(&tc(TcVia::Auto), true).name(), "tcx-egress-eth0");
        assert_eq!(Hook::new(&tc(TcVia::Auto), false).name(), "clsact-egress-7-eth0");
        assert_eq!(Hook::new(&tc(TcVia::Clsact), true).name(), "clsact-egress-7-eth0");
        assert_eq!(Hook::new(&tc(TcVia::Tcx), false).name(), "tcx-egress-eth0");
    }

    #[test]
    fn no_two_devices_share_a_pin() {
        let name = |interface: &str| Hook::Xdp { interface: interface.to_owned(), mode: XdpMode::Native }.name();
        assert_eq!(name("eth0.100"), "xdp-eth0%2e100");
        assert_ne!(name("a.b"), name("a%2eb"));
    }

    /// Status shows a hook's fields and its own side by side; one name for two things would hide one of them.
    #[test]
    fn no_field_has_a_name_that_status_has() {
        let (of, none) = (String::new, None);
        let (path, attach_type) = (of(), of());
        let places = [
            Hook::Cgroup(Cgroup {
                path,
                attach_type,
                function: none,
                mode: CgroupMode::Multi,
                order: Order::Last,
                revision: None,
            }),
            Hook::Netns(Netns { attach_type: of(), path: None }),
            Hook::Tracepoint(Tracepoint { category: of(), name: of() }),
            Hook::RawTracepoint(RawTracepoint { name: of() }),
            Hook::Trace(Trace { kind: of(), target: of(), sleepable: false }),
            Hook::Ksyscall(Ksyscall { name: of(), returns: false }),
            Hook::Iter(Iter { target: of(), map: None, cgroup: None, pid: None, sleepable: false }),
            Hook::StructOps(StructOps { table: of(), ty: of() }),
            Hook::Socket { place: Socket { pid: 1, fd: 2, shared_port: true }, id: None },
            Hook::Socket {
                place: Socket { pid: 1, fd: 2, shared_port: false },
                id: Some(SocketId { inode: u64::MAX, cookie: u64::MAX, port: None }),
            },
        ];
        for hook in places {
            let json = serde_json::to_value(&hook).unwrap();
            for taken in ["name", "ifindex", "target", "link", "program", "alive", "namespace", "elsewhere", "netns", "path"] {
                assert!(json.get(taken).is_none(), "{json} has `{taken}`");
            }
            assert_eq!(serde_json::from_value::<Hook>(json).unwrap(), hook);
        }
    }

    #[test]
    fn no_two_places_share_a_pin() {
        let uprobe = |binary: &str, function: &str, pid, returns| {
            let (binary, function) = (binary.to_owned(), Some(function.to_owned()));
            Hook::Uprobe(Uprobe { binary, function, offset: 0, pid, returns, sleepable: false })
        };
        let long = "x".repeat(400);
        let hooks = [
            uprobe("/bin/sh", "main", None, false),
            uprobe("/bin/sh", "main", None, true),
            uprobe("/bin/sh", "main", Some(7), false),
            uprobe("/bin:sh", "main", None, false),
            uprobe("/bin/sh", &format!("{long}a"), None, false),
            uprobe("/bin/sh", &format!("{long}b"), None, false),
            Hook::Tracepoint(Tracepoint { category: "sched".to_owned(), name: "sched_switch".to_owned() }),
            Hook::RawTracepoint(RawTracepoint { name: "sched_switch".to_owned() }),
        ];
        let names: std::collections::BTreeSet<String> = hooks.iter().map(Hook::name).collect();
        assert_eq!(names.len(), hooks.len(), "{names:?}");
        assert!(names.iter().all(|name| name.len() <= LONGEST && !name.contains(['/', '.', '\0'])), "{names:?}");
        assert_eq!(hooks[0].name(), "uprobe-main+of+:bin:sh");
        assert_eq!(hooks[6].name(), "tracepoint-sched:sched_switch");
    }
}
