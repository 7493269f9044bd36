//! Where things are pinned: `<bpffs>/ouro/<name>/{gen-<n>/{progs,maps,tables,extensions,live},maps,links,root/<kind>/{stub,table},kept,
//! unconfirmed}`, and of dispatchers `<bpffs>/ouro-hooks/xdp-<namespace>-<device>/{link,set-<n>/{table,dispatcher,members}}`.
//!
//! Pure: makes paths, and refuses names that would lead elsewhere.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::hook::Hook;

const PREFIX: &str = "gen-";
const SET: &str = "set-";
const BEHIND: &str = "%behind";

/// The folder of one deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    bpffs: PathBuf,
    folder: PathBuf,
    name: String,
}

/// The folder that holds all deployments.
pub(crate) fn all(bpffs: &Path) -> PathBuf {
    bpffs.join("ouro")
}

/// The folder that holds what deployments share.
pub(crate) fn shared(bpffs: &Path) -> PathBuf {
    bpffs.join("ouro-hooks")
}

/// Fails for a name that the bpffs refuses or that leads out of its folder.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let fits = !name.is_empty() && name.len() <= 200 && !name.contains(['/', '.', '\0']);
    if fits { Ok(()) } else { Err(Error::Name(name.to_owned())) }
}

/// The name of the map a pin in `maps` is of.
pub(crate) fn map_name(pin: &str) -> &str {
    pin.split_once('-').map_or(pin, |(name, _)| name)
}

/// Whether a pin in `maps` ends like those of declared maps do.
pub(crate) fn has_abi(pin: &str) -> bool {
    pin.rsplit_once('-').is_some_and(|(_, abi)| !abi.is_empty() && abi.chars().all(|c| c.is_ascii_hexdigit()))
}

impl Layout {
    /// The layout of the deployment `name`.
    pub fn new(bpffs: &Path, name: &str) -> Result<Layout, Error> {
        check_name(name)?;
        Ok(Layout { bpffs: bpffs.to_owned(), folder: all(bpffs).join(name), name: name.to_owned() })
    }

    /// Where all of it is.
    pub(crate) fn bpffs(&self) -> &Path {
        &self.bpffs
    }

    /// The deployment's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `<bpffs>/ouro/<name>`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Everything one generation owns.
    pub fn generation(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{PREFIX}{number}"))
    }

    /// The number of a generation's folder.
    pub(crate) fn generation_number(name: &str) -> Option<u32> {
        let number = name.strip_prefix(PREFIX)?.parse().ok()?;
        (name == format!("{PREFIX}{number}")).then_some(number)
    }

    /// A generation's programs.
    pub fn programs(&self, number: u32) -> PathBuf {
        self.generation(number).join("progs")
    }

    /// A program.
    pub fn program(&self, number: u32, name: &str) -> PathBuf {
        self.programs(number).join(name)
    }

    /// The maps a generation does not share.
    pub fn own_maps(&self, number: u32) -> PathBuf {
        self.generation(number).join("maps")
    }

    /// The jump table.
    pub fn table(&self, number: u32) -> PathBuf {
        self.own_maps(number).join("table")
    }

    /// The edges' counts.
    pub fn counts(&self, number: u32) -> PathBuf {
        self.own_maps(number).join("counts")
    }

    /// Where the arguments of probes are, by the ids that their places have.
    pub fn specs(&self, number: u32) -> PathBuf {
        self.own_maps(number).join("specs")
    }

    /// What the generation is.
    pub fn meta(&self, number: u32) -> PathBuf {
        self.own_maps(number).join("meta")
    }

    /// Its tables of functions.
    pub fn tables(&self, number: u32) -> PathBuf {
        self.generation(number).join("tables")
    }

    /// A table of functions, which a link registers.
    pub fn functions(&self, number: u32, table: &str) -> PathBuf {
        self.tables(number).join(table)
    }

    /// The links of its extensions.
    pub fn extensions(&self, number: u32) -> PathBuf {
        self.generation(number).join("extensions")
    }

    /// What links an extension, a program of this name, to the function that it replaces.
    pub fn extension(&self, number: u32, program: &str) -> PathBuf {
        self.extensions(number).join(program)
    }

    /// That before it takes the place of an older one.
    pub(crate) fn next_meta(&self, number: u32) -> PathBuf {
        self.own_maps(number).join("meta-next")
    }

    /// The sign that the generation was made live, and after which others.
    pub fn live(&self, number: u32) -> PathBuf {
        self.generation(number).join("live")
    }

    /// That sign before it takes the place of an older one.
    pub(crate) fn next_live(&self, number: u32) -> PathBuf {
        self.generation(number).join("live-next")
    }

    /// The declared maps, which outlive generations.
    pub fn maps(&self) -> PathBuf {
        self.folder.join("maps")
    }

    /// A declared map, by its pin: `<map>-<abi>`.
    pub fn map(&self, pin: &str) -> PathBuf {
        self.maps().join(pin)
    }

    /// The sign that a copy lacks what changed in its original since it was made: the original's pin.
    pub(crate) fn behind(&self, pin: &str) -> PathBuf {
        self.maps().join(format!("{pin}{BEHIND}"))
    }

    /// The pin of the copy that such a sign is of.
    pub(crate) fn is_behind(name: &str) -> Option<&str> {
        name.strip_suffix(BEHIND)
    }

    /// The links.
    pub fn links(&self) -> PathBuf {
        self.folder.join("links")
    }

    /// A hook's link.
    pub fn link(&self, hook: &Hook) -> PathBuf {
        self.links().join(hook.name())
    }

    /// The root tables.
    pub fn roots(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// A root table and its stub.
    pub fn root(&self, root: &str) -> PathBuf {
        self.roots().join(root)
    }

    /// What hooks of a root run.
    pub fn stub(&self, root: &str) -> PathBuf {
        self.root(root).join("stub")
    }

    /// Where its stub jumps.
    pub fn root_table(&self, root: &str) -> PathBuf {
        self.root(root).join("table")
    }

    /// The meta of a deployment of which only the maps were kept.
    pub fn kept(&self) -> PathBuf {
        self.folder.join("kept")
    }

    /// Which generation runs on trial, and until when.
    pub fn unconfirmed(&self) -> PathBuf {
        self.folder.join("unconfirmed")
    }

    /// That before it takes the place of an older one.
    pub(crate) fn next_unconfirmed(&self) -> PathBuf {
        self.folder.join("unconfirmed-next")
    }
}

/// The folder of what several deployments share of one device. What a dispatcher consists of is one set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SharedLayout {
    folder: PathBuf,
    device: (u64, u32),
}

impl SharedLayout {
    /// That of the device with this index in the namespace with this inode.
    pub(crate) fn of_device(bpffs: &Path, namespace: u64, index: u32) -> SharedLayout {
        SharedLayout { folder: shared(bpffs).join(format!("xdp-{namespace}-{index}")), device: (namespace, index) }
    }

    /// That of a folder found.
    pub(crate) fn named(bpffs: &Path, name: &str) -> Option<SharedLayout> {
        let (namespace, index) = name.strip_prefix("xdp-")?.split_once('-')?;
        let layout = SharedLayout::of_device(bpffs, namespace.parse().ok()?, index.parse().ok()?);
        (layout.folder.file_name()? == name).then_some(layout)
    }

    /// The namespace and the index of the device.
    pub(crate) fn device(&self) -> (u64, u32) {
        self.device
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What attaches the dispatcher.
    pub(crate) fn link(&self) -> PathBuf {
        self.folder.join("link")
    }

    pub(crate) fn set(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{SET}{number}"))
    }

    /// The number of a set's folder.
    pub(crate) fn set_number(name: &str) -> Option<u32> {
        let number = name.strip_prefix(SET)?.parse().ok()?;
        (name == format!("{SET}{number}")).then_some(number)
    }

    /// The entries of the chains, by their places.
    pub(crate) fn table(&self, set: u32) -> PathBuf {
        self.set(set).join("table")
    }

    /// The program that calls them.
    pub(crate) fn dispatcher(&self, set: u32) -> PathBuf {
        self.set(set).join("dispatcher")
    }

    /// Whose they are.
    pub(crate) fn members(&self, set: u32) -> PathBuf {
        self.set(set).join("members")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_lead_elsewhere() {
        for name in ["", "..", "a/b", "a.b", "/etc", "a\0b"] {
            assert!(Layout::new(Path::new("/x"), name).is_err(), "{name:?}");
        }
        assert_eq!(Layout::new(Path::new("/x"), "fw").unwrap().table(3), Path::new("/x/ouro/fw/gen-3/maps/table"));
    }

    #[test]
    fn only_our_own_folders_are_generations() {
        assert_eq!(Layout::generation_number("gen-12"), Some(12));
        for name in ["gen-", "gen-012", "gen-x", "gen--1", "gen-99999999999", "maps"] {
            assert_eq!(Layout::generation_number(name), None, "{name}");
        }
    }
}
