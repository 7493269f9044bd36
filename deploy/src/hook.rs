//! Hooks: where a chain is attached, with the mechanism decided.
//!
//! Pure; how to attach is the kernel module's business.

use std::fmt;

use ouro_rules::manifest::{Attach, Direction, TcVia, XdpMode};
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
    /// A TCX link; kernel 6.6.
    Tcx {
        /// The network device.
        interface: String,
        /// Which way packets go.
        direction: Direction,
    },
    /// A filter of the clsact qdisc.
    Clsact {
        /// The network device.
        interface: String,
        /// Which way packets go.
        direction: Direction,
        /// Its place; lower runs first.
        priority: u16,
    },
}

impl Hook {
    /// Decides the mechanism of an attach point. `tcx` tells whether the kernel has it.
    pub fn new(attach: &Attach, tcx: bool) -> Hook {
        match attach.clone() {
            Attach::Xdp { interface, mode } => Hook::Xdp { interface, mode },
            Attach::Tc { interface, direction, via: TcVia::Tcx, .. } => Hook::Tcx { interface, direction },
            Attach::Tc { interface, direction, via: TcVia::Auto, .. } if tcx => Hook::Tcx { interface, direction },
            Attach::Tc { interface, direction, priority, .. } => Hook::Clsact { interface, direction, priority },
        }
    }

    /// The network device.
    pub fn interface(&self) -> &str {
        match self {
            Hook::Xdp { interface, .. } | Hook::Tcx { interface, .. } | Hook::Clsact { interface, .. } => interface,
        }
    }

    /// The name of its pin, one for each place a program can be attached at. The bpffs allows no `.`, devices such as
    /// `eth0.100` have one; no two devices get the same name.
    pub fn name(&self) -> String {
        let interface = self.interface().replace('%', "%25").replace('.', "%2e");
        match self {
            Hook::Xdp { .. } => format!("xdp-{interface}"),
            Hook::Tcx { direction, .. } => format!("tcx-{}-{interface}", word(*direction)),
            Hook::Clsact { direction, priority, .. } => format!("clsact-{}-{priority}-{interface}", word(*direction)),
        }
    }

    /// Whether it is a link, which can be pinned.
    pub fn is_link(&self) -> bool {
        !matches!(self, Hook::Clsact { .. })
    }
}

fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interface = self.interface();
        match self {
            Hook::Xdp { mode, .. } => {
                let mode = match mode {
                    XdpMode::Generic => "generic",
                    XdpMode::Native => "native",
                    XdpMode::Offload => "offload",
                };
                write!(f, "{mode} XDP of `{interface}`")
            }
            Hook::Tcx { direction, .. } => write!(f, "TCX {} of `{interface}`", word(*direction)),
            Hook::Clsact { direction, priority, .. } => {
                write!(f, "clsact {} of `{interface}`, priority {priority}", word(*direction))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tc(via: TcVia) -> Attach {
        Attach::Tc { interface: "eth0".to_owned(), direction: Direction::Egress, priority: 7, via }
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
}
