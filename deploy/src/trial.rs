//! Trials: a generation that is live, and is taken back unless somebody confirms it in time.
//!
//! The record says which generation and until when, by the clock that began with the machine: neither outlives a reboot. Who
//! takes it back is the business of whoever deployed it.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::layout::Layout;
use crate::{Error, kernel};

/// A generation that is live on trial. All but what is left of its time is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Trial {
    /// The generation.
    pub generation: u32,
    /// The end of its time, in milliseconds since the machine started.
    pub until: u64,
    /// The generation that was live for good when it began, whole or not; none if none was.
    #[serde(default)]
    pub before: Option<u32>,
    /// What is left of its time.
    #[serde(skip)]
    pub left: Duration,
}

/// Begins a trial of this many seconds.
pub(crate) fn begin(layout: &Layout, generation: u32, seconds: u64, before: Option<u32>) -> Result<(), Error> {
    let until = milliseconds(kernel::uptime()).saturating_add(seconds.saturating_mul(1000));
    resume(layout, &Trial { generation, until, before, ..Trial::default() })
}

/// Records a trial, in place of another one that is under way.
pub(crate) fn resume(layout: &Layout, trial: &Trial) -> Result<(), Error> {
    let bytes = serde_json::to_vec(trial).expect("BUG: a trial is plain data");
    kernel::replace_bytes(&layout.unconfirmed(), &layout.next_unconfirmed(), &bytes)
}

/// The trial that is under way. A record nobody can read is one whose time is over, of no generation there is.
pub(crate) fn read(path: &Path) -> Result<Option<Trial>, Error> {
    let Some(bytes) = kernel::read_bytes(path)? else { return Ok(None) };
    let trial: Trial = serde_json::from_slice(&bytes).unwrap_or_default();
    let left = Duration::from_millis(trial.until.saturating_sub(milliseconds(kernel::uptime())));
    Ok(Some(Trial { left, ..trial }))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
