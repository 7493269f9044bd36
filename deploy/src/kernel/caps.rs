//! What this process may do.
//!
//! Knows capabilities by number; whether a command succeeds is the kernel's word.

use super::sys;
use crate::Error;

const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

/// Fails unless this thread may load and attach: CAP_BPF and CAP_NET_ADMIN suffice since kernel 5.8, before it took CAP_SYS_ADMIN.
pub(crate) fn require() -> Result<(), Error> {
    let held = sys::capabilities().map_err(|error| Error::io("cannot read the capabilities of this process", error))?;
    let has = |capability: u32| held & (1 << capability) != 0;
    let mut missing = Vec::new();
    if !has(CAP_BPF) && !has(CAP_SYS_ADMIN) {
        missing.push("CAP_BPF");
    }
    if !has(CAP_NET_ADMIN) {
        missing.push("CAP_NET_ADMIN");
    }
    if missing.is_empty() { Ok(()) } else { Err(Error::NotPermitted(format!("this process lacks {}", missing.join(" and ")))) }
}
