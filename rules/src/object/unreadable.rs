//! Why bytes are no object this reader understands.

use crate::diagnostic::Diagnostic;

/// What is wrong with an object as a file, before any question of what it means.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("the object is no ELF file")]
    NotElf,
    #[error("the object is an ELF file for another machine, not for BPF")]
    NotBpf,
    #[error("the object is linked, not relocatable")]
    NotRelocatable,
    #[error("the object is damaged: {0}")]
    Damaged(String),
    #[error("the object has no BTF, which says what its maps are")]
    NoBtf,
}

impl Unreadable {
    /// Something in the file contradicts something else in it.
    pub fn damaged(what: impl ToString) -> Unreadable {
        Unreadable::Damaged(what.to_string())
    }

    /// As a finding.
    pub fn finding(&self) -> Diagnostic {
        let remedy = match self {
            Unreadable::NoBtf => "compile with `-g`",
            Unreadable::Damaged(_) => "delete it and build again",
            _ => "compile with `clang -target bpf -c`",
        };
        Diagnostic::bare(self.to_string()).help(remedy)
    }
}
