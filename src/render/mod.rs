//! What a person sees: findings, progress and results, through one door.
//!
//! Knows nothing of how to build or deploy.

pub mod compiler;
pub mod diagnostic;
pub mod output;
pub mod progress;
pub mod reasons;
pub mod reports;
pub mod sources;
