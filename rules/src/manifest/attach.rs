//! Where a chain is attached, before a kernel is looked at.

use serde::{Deserialize, Serialize};

/// Where a chain's entry is attached.
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
    },
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
