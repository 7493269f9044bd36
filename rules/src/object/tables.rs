//! Tables of functions for the kernel: variables in `.struct_ops.link` and `.struct_ops`.
//!
//! Knows their names and types; what stands in them a deployer reads.

use ouro_btf::Kind;

use super::decoded;
use super::elf::Image;
use super::endian;
use crate::diagnostic::Diagnostic;

const SECTIONS: [&str; 2] = [".struct_ops.link", ".struct_ops"];

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The variable.
    pub name: String,
    /// The kernel's type: `tcp_congestion_ops`.
    pub ty: String,
}

/// The tables of an object, in the order of its types.
pub fn tables(object: &[u8]) -> Result<Vec<Table>, Diagnostic> {
    let object = endian::little(object);
    let image = Image::read(&object).map_err(|error| error.finding())?;
    let Some(btf) = decoded::types(&image).map_err(|error| error.finding())? else { return Ok(Vec::new()) };
    let variables = SECTIONS.iter().flat_map(|section| btf.variables(section)).filter_map(|id| btf.get(id));
    let table = |variable: ouro_btf::Type| {
        let ty = btf.resolve(variable.size_or_type).filter(|ty| ty.kind == Kind::Struct)?;
        // What follows three underscores tells versions of a type apart, and is no part of its name.
        let name = btf.name(ty).split("___").next().unwrap_or_default();
        Some(Table { name: btf.name(variable).to_owned(), ty: name.to_owned() })
    };
    Ok(variables.filter(|variable| variable.kind == Kind::Variable).filter_map(table).collect())
}
