//! Why bytes are no BTF that can be read, or no types that C could have.

/// What is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// They begin like something else.
    #[error("it is no BTF: it begins neither with BTF's magic number nor with that of ELF")]
    NoBtf,
    /// An ELF file that cannot be read.
    #[error("the ELF file is damaged: {0}")]
    Elf(String),
    /// An ELF file of something that was compiled without BTF.
    #[error("the ELF file has no section `.BTF`")]
    NoSection,
    /// Something reaches beyond the end.
    #[error("its BTF is cut short")]
    CutShort,
    /// A kind of types that came later than this reader, or never.
    #[error("its BTF has a type of kind {0}, which is not known")]
    UnknownKind(u32),
    /// A type refers to one that is not there, as those of a module do without their kernel's.
    #[error("type {0} of its BTF refers to one that it does not have; is it a module's?")]
    Dangling(u32),
    /// Types inside of types, without an end or nearly so.
    #[error("the types of its BTF are nested too deeply")]
    TooDeep,
}
