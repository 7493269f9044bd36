//! What the tests of the engine share.

pub mod comments;
pub mod analysis;
pub mod dump;
pub mod golden;
pub mod rules;
