//! What objects tell of the attach points of their chain: tables of functions, and arguments of declared probes.
//!
//! Knows nothing of what a deployer does with them.

use std::collections::BTreeMap;

use crate::chain::ChainSpec;
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::label::Label;
use crate::manifest::{Arguments, Attach, Candidate, ManifestProgram, StructOps, Usdt};
use crate::object::{self, Facts, Table};

/// The attach points, with what the entry's object tells of its tables of functions.
pub(super) fn tables(
    spec: &ChainSpec,
    programs: &[ManifestProgram],
    objects: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<Attach>, Diagnostic> {
    let entry = programs.first().filter(|_| spec.attach.iter().any(|point| matches!(point, Attach::StructOps(_))));
    let Some((entry, object)) = entry.and_then(|entry| Some((entry, objects.get(&entry.object)?))) else {
        return Ok(spec.attach.clone());
    };
    let known = object::tables(object)?;
    let point = |point: &Attach| match point {
        Attach::StructOps(place) => table(&known, &place.table, &entry.label).map(Attach::StructOps),
        other => Ok(other.clone()),
    };
    spec.attach.iter().map(point).collect()
}

/// The table of this name, or the only one.
fn table(known: &[Table], name: &str, program: &str) -> Result<StructOps, Diagnostic> {
    let found = match known {
        [only] if name.is_empty() => Some(only),
        _ => known.iter().find(|table| table.name == name),
    };
    let names: Vec<&str> = known.iter().map(|table| table.name.as_str()).collect();
    let missing = || match (name, known) {
        (_, []) => Diagnostic::bare(format!("the sources of `{program}` hold no table of functions"))
            .help("write `SEC(\".struct_ops.link\") struct tcp_congestion_ops name = { ... };`"),
        ("", _) => Diagnostic::bare(format!("the sources of `{program}` hold several tables of functions"))
            .help(format!("name the one that is meant: `table = \"{}\"`", names[0])),
        _ => Diagnostic::bare(format!("the sources of `{program}` hold no table of functions `{name}`"))
            .help(did_you_mean(name, names.iter().copied()).unwrap_or_else(|| format!("there are `{}`", names.join("`, `")))),
    };
    found.map(|table| StructOps { table: table.name.clone(), ty: table.ty.clone() }).ok_or_else(missing)
}

/// Whoever reads arguments of probes where no probe is found none, and was not told.
pub(super) fn no_probes(spec: &ChainSpec, all_facts: &[(&Label, Facts)]) -> Option<Diagnostic> {
    let has_none = !spec.attach.iter().any(|point| matches!(point, Attach::Usdt(_)));
    let (label, _) = all_facts.iter().find(|(_, facts)| has_none && facts.reads_arguments)?;
    let message = format!("`{label}` reads arguments of declared probes, and `{}` is attached to none", spec.chain);
    Some(Diagnostic::bare(message).help("attach the chain by `usdt()`, or do without what libbpf's `usdt.bpf.h` reads"))
}

/// The attach points, with what the objects tell of how they read the arguments of declared probes: all from one table.
pub(super) fn probes(
    attach: Vec<Attach>,
    programs: &[ManifestProgram],
    objects: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<Attach>, Diagnostic> {
    if !attach.iter().any(|point| matches!(point, Attach::Usdt(_))) {
        return Ok(attach);
    }
    let mut first: Option<(String, Arguments)> = None;
    for Candidate { label, object, .. } in programs.iter().flat_map(ManifestProgram::tried) {
        let Some(object) = objects.get(&object) else { continue };
        match (&first, object::arguments(object)?) {
            (Some((other, known)), Some(own)) if *known != own => {
                let both = format!("`{other}` and `{label}` were compiled with different versions of libbpf's `usdt.bpf.h`");
                return Err(Diagnostic::bare(both).help("include the same one in all programs of the chain"));
            }
            (None, Some(own)) => first = Some((label, own)),
            _ => {}
        }
    }
    let arguments = first.map(|(_, arguments)| arguments);
    let point = |point| match point {
        Attach::Usdt(place) => Attach::Usdt(Usdt { arguments: arguments.clone(), ..place }),
        other => other,
    };
    Ok(attach.into_iter().map(point).collect())
}
