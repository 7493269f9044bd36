//! Bytes by digest, and what actions made: a folder that any number of processes may share.
//!
//! Knows nothing of builds, rules or workspaces: an action here is a key, a result is a list of digests.

mod digest;
mod error;
mod seal;

mod lease;
mod limits;
mod place;
mod records;
mod result;
mod store;
mod trouble;
mod usage;

pub mod collect;

pub use digest::{Digest, Hasher, ParseDigestError, read_all};
pub use error::CacheError;
pub use limits::{Age, Limits, ParseLimitError, Size};
pub use result::{Absent, ActionResult, Entry, MAX_ENTRIES, Output, Read};
pub use seal::{seal, sum_of, unseal};
pub use store::Store;
pub use trouble::Trouble;
