//! From BUILD files to files: load, graph, analyse, plan, execute. Knows actions and targets, not eBPF.
//!
//! Each phase is a module with one public function that takes the previous phase's value by reference and returns the
//! next. [`build`] shows all of them in a row.

pub mod event;
pub mod workspace;

pub mod analyse;
pub mod execute;
pub mod graph;
pub mod load;
pub mod plan;
pub mod state;
pub mod toolchain;
