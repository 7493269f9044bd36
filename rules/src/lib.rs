//! The meaning of BUILD files: labels, attributes, rules, actions, chains, objects, bundles.
//!
//! Pure: knows no file system, no process, no kernel and no Starlark. Everything here is plain data and functions over
//! it, so that a rule written in Rust and a rule written by a user produce the same values.

pub mod diagnostic;
pub mod label;
pub mod repository;
pub mod named;

pub mod attr;
pub mod data;
pub mod select;
pub mod target;

pub mod configuration;
pub mod condition;
pub mod package_group;
pub mod platform;

pub mod action;
pub mod builtin;
pub mod reference;
pub mod provider;
pub mod rule;

pub mod bundle;
pub mod chain;
pub mod contents;
pub mod header;
pub mod hook;
pub mod manifest;
pub mod map_type;
pub mod native;
pub mod object;
pub mod perf_event;
pub mod requirement;
pub mod signature;
pub mod since;
pub mod vmlinux;

pub use action::{Action, ActionKind, Artifact, Fallback, Tool, Words};
pub use attr::{AttrSpec, AttrType, EdgeKind, Record, RecordSpec, Spanned, Value};
pub use configuration::Configuration;
pub use data::{Data, Depset, Info, ProviderId};
pub use diagnostic::{Diagnostic, Severity, Span};
pub use label::{Label, Pattern};
pub use named::Named;
pub use provider::{Providers, RunInfo, TestInfo};
pub use repository::Repositories;
pub use rule::{Analysis, Config, Context, Role, Rule, RuleTable};
pub use select::Select;
pub use target::Target;
