//! Trials: a generation that is live, and is taken back unless somebody confirms it in time.
//!
//! The record says which generation and until when, by the clock that began with the machine: neither outlives a reboot. Who
//! takes it back is the business of whoever deployed it.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, kernel};

/// A generation that is live on trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// The generation.
    pub generation: u32,
    /// What is left of its time.
    pub left: Duration,
}

/// What is pinned.
#[derive(Serialize, Deserialize)]
struct Record {
    generation: u32,
    /// Milliseconds since the machine started.
    until: u64,
}

/// Begins a trial of this many seconds.
pub(crate) fn begin(path: &Path, generation: u32, seconds: u64) -> Result<(), Error> {
    let until = milliseconds(kernel::uptime()).saturating_add(seconds.saturating_mul(1000));
    let bytes = serde_json::to_vec(&Record { generation, until }).expect("BUG: two numbers");
    kernel::remove_pin(path)?;
    kernel::write_bytes(path, &bytes)
}

/// The trial that is under way. A record nobody can read is one whose time is over, of no generation there is.
pub(crate) fn read(path: &Path) -> Result<Option<Trial>, Error> {
    let Some(bytes) = kernel::read_bytes(path)? else { return Ok(None) };
    let record = serde_json::from_slice(&bytes).unwrap_or(Record { generation: 0, until: 0 });
    let left = Duration::from_millis(record.until.saturating_sub(milliseconds(kernel::uptime())));
    Ok(Some(Trial { generation: record.generation, left }))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
