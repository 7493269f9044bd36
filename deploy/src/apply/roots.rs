//! Carries out the steps of root tables.

use super::{entry, meta_of};
use crate::kernel::pins::{self, Kind};
use crate::layout::Layout;
use crate::{Error, kernel, root};

/// Makes a root that leads to a generation.
pub(super) fn create(layout: &Layout, root: &str, generation: u32) -> Result<(), Error> {
    let section = meta_of(layout, generation)?.manifest.programs.first().map_or_else(String::new, |program| program.ty.clone());
    let (stub, table) = (layout.stub(root), layout.root_table(root));
    kernel::create_folder(&layout.root(root))?;
    let created = kernel::create_root(&section, root::verdict(&section), &stub, &table, &entry(layout, generation)?);
    created.inspect_err(|_| {
        // What failed once is no reason to fail again; the next command removes what is left.
        let _ = remove(layout, root);
    })
}

/// Overwrites the only slot. The kernel has no compare-and-swap for it; the deployment's lock keeps others away.
pub(super) fn switch(layout: &Layout, root: &str, from: Option<u32>, to: u32) -> Result<(), Error> {
    let table = layout.root_table(root);
    let Some(from) = from else { return kernel::fill_slot(&table, 0, &entry(layout, to)?) };
    let there = pins::open(&table, Kind::Map)?.map(|map| pins::slot(&map, 0)).transpose();
    let there = there.map_err(|error| Error::io(format!("cannot read `{}`", table.display()), error))?.flatten();
    if there.is_none() || there != pins::program_id(&entry(layout, from)?)? {
        let reason = "it leads to a program that is not ours: somebody changed it".to_owned();
        return Err(Error::Attach { hook: "the root table".to_owned(), reason });
    }
    kernel::fill_slot(&table, 0, &entry(layout, to)?)
}

/// Removes a root, the stub first.
pub(super) fn remove(layout: &Layout, root: &str) -> Result<(), Error> {
    [layout.stub(root), layout.root_table(root)].iter().try_for_each(|path| kernel::remove_pin(path))?;
    [layout.root(root), layout.roots()].iter().try_for_each(|path| kernel::remove_folder(path))
}
