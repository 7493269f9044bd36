//! An object with everything that was read from it: what the checks look at.
//!
//! Knows nothing of what was declared.

use std::collections::BTreeSet;

use ouro_btf::Btf;

use super::elf::{Function, Image};
use super::flow::Flow;
use super::lines::Lines;
use super::unreadable::Unreadable;
use crate::diagnostic::{Diagnostic, Span};

/// Where libbpf and the compiler put functions that are no programs.
const SUBPROGRAMS: &str = ".text";

/// The types of an object.
pub(super) fn types(image: &Image<'_>) -> Result<Option<Btf>, Unreadable> {
    image.section(".BTF").map(|section| Btf::read(section.data).map_err(Unreadable::damaged)).transpose()
}

/// A decoded object.
pub(super) struct Decoded<'a> {
    pub image: Image<'a>,
    pub btf: Option<&'a Btf>,
    lines: Lines<'a>,
    /// By function number.
    pub flows: Vec<Flow>,
}

impl<'a> Decoded<'a> {
    /// Reads the rest of an object file of these types.
    pub fn read(image: Image<'a>, btf: Option<&'a Btf>) -> Result<Decoded<'a>, Unreadable> {
        let lines = match (btf, image.section(".BTF.ext")) {
            (Some(btf), Some(section)) => Lines::read(section.data, btf)?,
            _ => Lines::default(),
        };
        let flows = (0..image.functions.len()).map(|function| Flow::of(&image, function)).collect::<Result<_, _>>()?;
        Ok(Decoded { image, btf, lines, flows })
    }

    /// The function of this number.
    pub fn function(&self, function: usize) -> &Function<'a> {
        &self.image.functions[function]
    }

    /// The section a function stands in.
    pub fn section_of(&self, function: usize) -> &'a str {
        self.image.sections[self.function(function).section].name
    }

    /// The numbers of the functions that are programs: not static, in a section of their own.
    pub fn programs(&self) -> Vec<usize> {
        let is_program = |function: &usize| self.section_of(*function) != SUBPROGRAMS && !self.function(*function).is_local;
        (0..self.image.functions.len()).filter(is_program).collect()
    }

    /// The functions that run when `roots` do, and `roots`.
    pub fn reachable(&self, roots: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open: Vec<usize> = roots.into_iter().collect();
        while let Some(function) = open.pop() {
            if found.insert(function) {
                let flow = &self.flows[function];
                open.extend(flow.calls.iter().map(|call| call.callee).chain(flow.callbacks.iter().copied()));
            }
        }
        found
    }

    /// The source line of an instruction.
    pub fn span(&self, function: usize, at: usize) -> Option<Span> {
        self.lines.span(self.section_of(function), self.function(function).start, at)
    }

    /// A finding about an instruction.
    pub fn finding(&self, function: usize, at: usize, message: String) -> Diagnostic {
        Diagnostic { span: self.span(function, at), ..Diagnostic::bare(message) }
    }

    /// A finding about a function.
    pub fn function_finding(&self, function: usize, message: String) -> Diagnostic {
        self.finding(function, self.function(function).start, message)
    }

    /// The BTF type of a function.
    pub fn function_type(&self, function: usize) -> Option<u32> {
        self.lines.function_type(self.section_of(function), self.function(function).start)
    }
}
