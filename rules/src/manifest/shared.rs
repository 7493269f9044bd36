//! A device's receive path that several chains share: each has its place among them, and says after which verdicts the next one runs.
//!
//! Plain data that a manifest holds and a deployment records. Knows no dispatcher: `deploy` makes one.

use serde::{Deserialize, Serialize};

use super::XdpMode;

/// A place among the chains that one device's XDP hook runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedXdp {
    /// The network device.
    pub interface: String,
    /// Where in the receive path; one for all that share it.
    pub mode: XdpMode,
    /// Its place, 1 to 65535; lower runs first, and of equal ones the deployment whose name comes first.
    pub priority: u16,
    /// The verdicts after which the next chain runs, by their names, sorted.
    pub proceed_on: Vec<String>,
}

impl SharedXdp {
    /// Where, and how.
    pub fn words(&self) -> (String, String) {
        (self.interface.clone(), format!("xdp {} priority {}", self.mode, self.priority))
    }
}
