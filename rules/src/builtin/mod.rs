//! The built-in rules and constructors, one file per rule.
//!
//! A new rule is a file here and a line in [`table`].

mod alias;
mod attach;
mod bpf_chain;
mod bpf_library;
mod bpf_map;
mod bpf_program;
mod bpf_toolchain;
mod bpf_variants;
mod jumps;
mod compile;
mod config_setting;
mod extension;
mod filegroup;
mod genrule;
pub mod info;
mod package_group;
mod packet;
mod sh_binary;
mod sh_test;
mod test_suite;
mod vmlinux_header;

use std::sync::Arc;

use crate::action::Action;
use crate::attr::RecordSpec;
use crate::rule::{Config, Rule, RuleTable};

pub use bpf_toolchain::{ProgramSpec, RULE as TOOLCHAIN_RULE, ToolchainSpec};
pub use compile::copt_finding;

/// Every built-in rule and constructor.
pub fn table() -> RuleTable {
    RuleTable::new(rules(), records())
}

/// Every constructor.
pub fn records() -> Vec<RecordSpec> {
    let mut all = attach::records();
    all.push(packet::record());
    all
}

fn rules() -> Vec<Arc<dyn Rule>> {
    vec![
        Arc::new(alias::Alias::new()),
        Arc::new(bpf_chain::BpfChain::new()),
        Arc::new(bpf_library::BpfLibrary::new()),
        Arc::new(bpf_map::BpfMap::new()),
        Arc::new(bpf_program::BpfProgram::new()),
        Arc::new(bpf_toolchain::BpfToolchain::new()),
        Arc::new(bpf_variants::BpfVariants::new()),
        Arc::new(config_setting::ConfigSetting::new()),
        Arc::new(config_setting::FlagRule::bool()),
        Arc::new(config_setting::FlagRule::string()),
        Arc::new(filegroup::Filegroup::new()),
        Arc::new(genrule::Genrule::new()),
        Arc::new(package_group::PackageGroupRule::new()),
        Arc::new(sh_binary::ShBinary::new()),
        Arc::new(sh_test::ShTest::new()),
        Arc::new(test_suite::TestSuite::new()),
        Arc::new(vmlinux_header::VmlinuxHeader::new()),
    ]
}

/// Actions that belong to no target: any may read what they make.
pub fn shared_actions(config: &Config) -> Vec<Arc<Action>> {
    vec![Arc::new(compile::shared_header(config))]
}

/// Words C keeps for itself, those of C23 included: the next compiler may default to it.
const C_KEYWORDS: &[&str] = &[
    "alignas",
    "alignof",
    "asm",
    "auto",
    "bool",
    "break",
    "case",
    "char",
    "const",
    "constexpr",
    "continue",
    "default",
    "do",
    "double",
    "else",
    "enum",
    "extern",
    "false",
    "float",
    "for",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "nullptr",
    "register",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "static_assert",
    "struct",
    "switch",
    "thread_local",
    "true",
    "typedef",
    "typeof",
    "typeof_unqual",
    "union",
    "unsigned",
    "void",
    "volatile",
    "while",
];

/// Whether `name` can stand in C source as it is.
fn is_c_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    !C_KEYWORDS.contains(&name)
        && chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}
