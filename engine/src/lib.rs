//! From BUILD files to files: load, configure, graph, analyse, plan, execute. Knows actions and targets, not eBPF.
//!
//! Each phase is a module with one public function that takes the previous phase's value by reference and returns the
//! next. [`mod@build`] has all of them in a row.

pub mod build;

pub mod workspace;
pub mod load;
pub mod configure;
pub mod graph;
pub mod analyse;
pub mod plan;
pub mod toolchain;
pub mod execute;
pub mod explain;
pub mod state;
pub mod event;

pub mod runfiles;
pub mod testing;
pub mod query;
pub mod universe;
pub mod unused;

mod fast;
mod looked_for;
mod visibility;
