//! What a program requires of a kernel, as BUILD files and manifests say it: `5.15`, `helper:NAME`, `btf`.
//!
//! Knows words alone; whether a kernel has it is asked by a deployer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::configuration::{KERNEL_FORM, KernelVersion};
use crate::diagnostic::did_you_mean;
use crate::hook::{self, HOOKS};
use crate::map_type::MAP_TYPES;

/// Something a kernel must have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Requirement {
    /// This version, or a newer one.
    Kernel(KernelVersion),
    /// A helper, without `bpf_`.
    Helper(String),
    /// A map type, as in `bpf_map`.
    MapType(String),
    /// A program type, as in `bpf_program`.
    ProgramType(String),
    /// A function of the kernel's that programs may call.
    Kfunc(String),
    /// The kernel's own types.
    Btf,
}

/// A text that is no requirement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadRequirement {
    /// What is wrong with it.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

const FORMS: &str =
    "write a kernel version such as `5.15`, `helper:NAME`, `map_type:NAME`, `program_type:NAME`, `kfunc:NAME` or `btf`";

impl FromStr for Requirement {
    type Err = BadRequirement;

    fn from_str(text: &str) -> Result<Requirement, BadRequirement> {
        let bad = |message: String, help: Option<String>| {
            Err(BadRequirement { message, help: help.unwrap_or_else(|| FORMS.to_owned()) })
        };
        match text.split_once(':') {
            None if text == "btf" => Ok(Requirement::Btf),
            None if text.starts_with(|c: char| c.is_ascii_digit()) => match text.parse() {
                Ok(version) => Ok(Requirement::Kernel(version)),
                Err(_) => bad(format!("`{text}` is no kernel version"), Some(KERNEL_FORM.to_owned())),
            },
            Some((kind @ ("helper" | "kfunc"), name)) if !is_function(name) => {
                bad(format!("`{name}` cannot name a {kind}"), Some(format!("write it as in C: `{kind}:NAME`")))
            }
            Some(("helper", name)) => Ok(Requirement::Helper(name.strip_prefix("bpf_").unwrap_or(name).to_owned())),
            Some(("kfunc", name)) => Ok(Requirement::Kfunc(name.to_owned())),
            Some(("map_type", name)) if MAP_TYPES.iter().any(|ty| ty.name == name) => Ok(Requirement::MapType(name.to_owned())),
            Some(("map_type", name)) => {
                bad(format!("unknown map type `{name}`"), did_you_mean(name, MAP_TYPES.iter().map(|ty| ty.name)))
            }
            Some(("program_type", name)) if hook::find(name).is_some() => Ok(Requirement::ProgramType(name.to_owned())),
            Some(("program_type", name)) => {
                bad(format!("unknown program type `{name}`"), did_you_mean(name, HOOKS.iter().map(|hook| hook.prefix)))
            }
            _ => bad(format!("`{text}` says nothing of a kernel"), None),
        }
    }
}

fn is_function(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl TryFrom<String> for Requirement {
    type Error = BadRequirement;

    fn try_from(text: String) -> Result<Requirement, BadRequirement> {
        text.parse()
    }
}

impl From<Requirement> for String {
    fn from(requirement: Requirement) -> String {
        requirement.to_string()
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Requirement::Kernel(version) => write!(f, "{version}"),
            Requirement::Helper(name) => write!(f, "helper:{name}"),
            Requirement::MapType(name) => write!(f, "map_type:{name}"),
            Requirement::ProgramType(name) => write!(f, "program_type:{name}"),
            Requirement::Kfunc(name) => write!(f, "kfunc:{name}"),
            Requirement::Btf => f.write_str("btf"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let all = ["5.15", "helper:loop", "map_type:ringbuf", "program_type:tcx/ingress", "kfunc:bpf_dynptr_from_xdp", "btf"];
        for text in all {
            assert_eq!(text.parse::<Requirement>().unwrap().to_string(), text);
        }
        assert_eq!("helper:bpf_loop".parse(), Ok(Requirement::Helper("loop".to_owned())));
    }

    #[test]
    fn anything_else_is_refused_with_a_remedy() {
        let refused = |text: &str| text.parse::<Requirement>().map_err(|bad| (bad.message, bad.help)).unwrap_err();
        assert_eq!(refused("5").1, KERNEL_FORM);
        assert_eq!(refused("helper").1, FORMS);
        assert!(refused("helper:a b").0.contains("cannot name a helper"));
        assert!(refused("map_type:ringbuff").1.contains("`ringbuf`"));
        assert_eq!(refused("program_type:nothing").0, "unknown program type `nothing`");
    }
}
