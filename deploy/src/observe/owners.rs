//! Whose programs stand at a place of ours: those of other deployments in the same BPF file system are told by their pins.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::hook::Hook;
use crate::kernel::{Missing, pins};
use crate::layout::{Layout, all, check_name};
use crate::meta::{self, Meta};
use crate::{Error, kernel};

/// The names of the deployments that have these programs, by the programs' ids. A program of somebody else has none.
pub(super) fn owners(layout: &Layout, programs: &BTreeSet<u32>) -> Result<BTreeMap<u32, String>, Error> {
    let mut found = BTreeMap::new();
    let folders = if programs.is_empty() { Vec::new() } else { kernel::entries(&all(layout.bpffs()))? };
    for (name, _) in folders {
        if found.len() == programs.len() {
            break;
        }
        if name == layout.name() || check_name(&name).is_err() {
            continue;
        }
        for pin in attached(&Layout::new(layout.bpffs(), &name)?)? {
            let id = pins::program_id(&pin)?.filter(|id| programs.contains(id));
            found.extend(id.map(|id| (id, name.clone())));
        }
    }
    Ok(found)
}

/// Another deployment that is attached to a socket, or to its port, by its records: the kernel does not tell which program it has.
pub(super) fn of_socket(layout: &Layout, hook: &Hook) -> Option<Missing> {
    let Hook::Socket { id: Some(_), .. } = hook else { return None };
    let others = kernel::entries(&all(layout.bpffs())).unwrap_or_default().into_iter().map(|(name, _)| name);
    let others = others.filter(|name| name != layout.name());
    let is_it = |other: &Hook| other.name() == hook.name() || other.shares_port(hook);
    let names_it = |other: &Layout| metas(other).any(|meta| meta.hooks.iter().any(is_it));
    let owner = others.filter_map(|name| Layout::new(layout.bpffs(), &name).ok()).find(names_it)?;
    let help = format!("undeploy it first: `ouro undeploy {}`", owner.name());
    Some(Missing::new(format!("it is taken by the deployment `{}`", owner.name())).help(help))
}

/// What a deployment may be attached by: all but what was live before what is now. Of what was not made live a stopped command may
/// have attached some.
fn metas(layout: &Layout) -> impl Iterator<Item = Meta> {
    let entries = kernel::entries(layout.folder()).unwrap_or_default();
    let numbers = entries.iter().filter_map(|(name, _)| Layout::generation_number(name));
    let order = |number| meta::read_order(&layout.live(number)).ok().flatten();
    let generations: Vec<(u32, Option<u64>)> = numbers.map(|number| (number, order(number))).collect();
    let last = generations.iter().filter_map(|(_, order)| *order).max();
    let now = generations.into_iter().filter(move |(_, order)| order.is_none() || *order == last);
    now.filter_map(|(number, _)| Meta::read(&layout.meta(number)).ok()??.ok())
}

/// What hooks of a deployment may run: programs of its generations, and stubs.
fn attached(layout: &Layout) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for (name, _) in kernel::entries(layout.folder())? {
        let Some(number) = Layout::generation_number(&name) else { continue };
        let programs = kernel::entries(&layout.programs(number))?;
        found.extend(programs.into_iter().map(|(program, _)| layout.program(number, &program)));
    }
    found.extend(kernel::entries(&layout.roots())?.into_iter().map(|(root, _)| layout.stub(&root)));
    Ok(found)
}
