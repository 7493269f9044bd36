//! Objects compiled from real C, read and compared with declarations.

#[path = "../clang/mod.rs"]
mod clang;

mod declared;

mod jumps;
mod wrong_jumps;
mod stack;
mod programs;
mod arguments;
mod maps;
mod files;
