//! Observes a deployment: what is pinned, what runs where, and what the machine offers.
//!
//! Reads only. Knows no bundle; what to do about it is [`crate::diff`]'s business.

mod attached;
mod dispatchers;
pub(crate) mod lost;
mod owners;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ouro_rules::manifest::{Arguments, Attach, Manifest};

use crate::Error;
use crate::dispatcher::Dispatcher;
use crate::hook::Hook;
use crate::kernel::pins::{self, Kind};
use crate::kernel::{self, Host, LinkFacts, MapFacts, Missing, Unseen};
use crate::layout::Layout;
use crate::meta::{self, Meta};
use crate::resolve::resolve;
use crate::root::Root;
use crate::trial::{self, Trial};

pub(crate) use dispatchers::{dispatcher, dispatchers, write_members};

/// Everything there is of one deployment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Its name.
    pub name: String,
    /// Whether its folders are there, all of them.
    pub has_folders: bool,
    /// Whether one of them is.
    pub has_a_folder: bool,
    /// Its generations by number.
    pub generations: BTreeMap<u32, Generation>,
    /// What is attached, by hook name.
    pub attachments: BTreeMap<String, Attachment>,
    /// Links among its pins that no record names, by their pins: somebody removed the generations that did.
    pub lost: BTreeMap<String, LinkFacts>,
    /// The hooks that a stopped command left a second link at, which was to take the first one's place, by name.
    pub beside: BTreeMap<String, Hook>,
    /// The root tables by name.
    pub roots: BTreeMap<String, Root>,
    /// What deployments share of devices.
    pub dispatchers: Vec<Dispatcher>,
    /// The declared maps that are there, by their pins.
    pub maps: BTreeMap<String, MapFacts>,
    /// Copies that lack what changed in their originals since they were made: the pins of both.
    pub behind: BTreeMap<String, String>,
    /// What the deployment was of which only the maps were kept.
    pub kept: Option<Meta>,
    /// The trial that is under way.
    pub trial: Option<Trial>,
    /// Paths in its folder that ouro did not make.
    pub foreign: Vec<PathBuf>,
    /// The hooks that name something that is not there, by name.
    pub absent: BTreeMap<String, Missing>,
    /// The sockets of which nobody here can tell what they run, with why, by hook name.
    pub unseen: BTreeMap<String, (Hook, Unseen)>,
    /// The names of sockets that have a program that is not ours, as far as can be told: the kernel does not tell which it is.
    pub taken: BTreeSet<String>,
    /// The ids of programs of others at the same places, by hook name, in the order they run in.
    pub foreign_programs: BTreeMap<String, Vec<u32>>,
    /// The deployments that have some of them, by the programs' ids.
    pub owners: BTreeMap<u32, String>,
    /// The machine.
    pub host: Host,
    /// The names of network namespaces by their inodes; none where all that is deployed is in the current one.
    pub namespaces: BTreeMap<u64, String>,
}

/// One generation as it is pinned; whole or not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Generation {
    /// What it is; `None` if ouro was stopped before writing it.
    pub meta: Option<Meta>,
    /// Why its meta cannot be understood.
    pub unreadable: Option<String>,
    /// The ids of its programs by name.
    pub programs: BTreeMap<String, u32>,
    /// Its jump table.
    pub table: Option<MapFacts>,
    /// The program in each slot that a program has.
    pub slots: BTreeMap<u32, u32>,
    /// Its counts.
    pub counts: Option<MapFacts>,
    /// What tells it where the arguments of probes are.
    pub specs: Option<MapFacts>,
    /// The ids of its tables of functions, by their names.
    pub tables: BTreeMap<String, u32>,
    /// The ids of the links of its extensions, by their names.
    pub extensions: BTreeMap<String, u32>,
    /// Its place among all that were made live; none if its deploy did not come to its end, or nobody confirmed it.
    pub went_live: Option<u64>,
}

/// A program attached by ouro.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Where.
    pub hook: Hook,
    /// The link's id; none for what has no link.
    pub link: Option<u32>,
    /// The program's id; of a hook that runs a stub, the one the stub jumps to.
    pub program: u32,
    /// The root whose stub it runs.
    pub root: Option<String>,
    /// What it is attached to: a device's index, a control group's id, a namespace's inode, a map's id, and 0 where there is no
    /// such number. None when that is gone, and the link dead.
    pub target: Option<u64>,
    /// The generation the program belongs to; none if somebody attached another.
    pub generation: Option<u32>,
    /// The inode of the network namespace it was attached in.
    pub namespace: u64,
}

impl Attachment {
    /// Whether it runs a stub that jumps nowhere.
    pub fn is_emptied(&self) -> bool {
        self.root.is_some() && self.program == 0
    }

    /// The id of the program that it runs, which is not ours; none of a filter that is no program.
    pub(crate) fn foreign_program(&self) -> Option<u32> {
        Some(self.program).filter(|program| *program != 0)
    }

    /// Whether anything can still reach it.
    pub fn is_alive(&self) -> bool {
        self.target.is_some()
    }
}

impl Generation {
    /// The id of its first program.
    pub fn entry(&self) -> Option<u32> {
        self.programs.get(self.meta.as_ref()?.entry()).copied()
    }

    /// Whether nothing tells what it is: ouro was stopped before writing that, or somebody removed it.
    pub(crate) fn is_unrecorded(&self) -> bool {
        self.meta.is_none() && self.unreadable.is_none()
    }

    /// Whether everything is there that its manifest names, and every slot is right. Nothing less is ever attached.
    pub fn is_whole(&self) -> bool {
        let Some(manifest) = self.meta.as_ref().map(|meta| &meta.manifest) else { return false };
        let slots_right = manifest.programs.iter().all(|program| match (self.programs.get(&program.name), program.slot) {
            (None, slot) => program.is_missing() && slot.is_none_or(|slot| !self.slots.contains_key(&slot)),
            (Some(id), Some(slot)) => self.slots.get(&slot) == Some(id),
            (Some(_), None) => true,
        });
        let table_right = manifest.table_size == 0 || self.table.as_ref().is_some_and(|table| table.frozen);
        let counts_right = !counts_edges(manifest) || self.counts.is_some();
        let specs_right = arguments(manifest).is_none() || self.specs.is_some();
        let extended = manifest.extensions().all(|(program, _)| self.extensions.contains_key(program));
        let tables_right = manifest.tables().all(|table| self.tables.contains_key(table));
        slots_right && table_right && counts_right && specs_right && extended && tables_right
    }
}

/// Whether a chain has a map that counts.
pub(crate) fn counts_edges(manifest: &Manifest) -> bool {
    manifest.counting && !manifest.edges.is_empty()
}

/// How programs of a chain read the arguments of the probes that it is attached to, if they do.
pub(crate) fn arguments(manifest: &Manifest) -> Option<&Arguments> {
    manifest.attach.iter().find_map(|point| if let Attach::Usdt(place) = point { place.arguments.as_ref() } else { None })
}

impl Observed {
    /// Looks at the places a chain is to be attached at, and at those it is attached at: what is not there, and who else is.
    pub fn look_at(&mut self, layout: &Layout, attach: &[Attach]) {
        self.host.sockets = kernel::sockets(attach);
        self.look_at_hooks(layout, resolve(attach, &self.host).0);
    }

    /// The same of the places that generations name.
    pub(crate) fn look_at_known(&mut self, layout: &Layout) {
        self.look_at_hooks(layout, self.metas().flat_map(|meta| meta.hooks.clone()).collect());
    }

    fn look_at_hooks(&mut self, layout: &Layout, wanted: Vec<Hook>) {
        wanted.iter().for_each(|hook| self.adopt(hook));
        let here = self.attachments.values().filter(|attached| attached.is_alive()).map(|attached| attached.hook.clone());
        for hook in here.collect::<Vec<_>>() {
            self.note_others(&hook);
        }
        for hook in wanted {
            self.note_others(&hook);
            // What is attached under the same name may ask for less.
            let serves = |attached: &Attachment| attached.is_alive() && attached.hook.serves(&hook);
            let is_there = self.attachments.get(&hook.name()).is_some_and(serves);
            let missing = if is_there { None } else { self.why_not(layout, &hook) };
            self.absent.extend(missing.map(|missing| (hook.name(), missing)));
        }
        let others: BTreeSet<u32> = self.foreign_programs.values().flatten().copied().collect();
        // Only words depend on whose they are: what cannot be read is told as somebody's.
        self.owners = owners::owners(layout, &others).unwrap_or_default();
    }

    /// Why nothing can be attached there. What is not seen at all is told as that.
    fn why_not(&self, layout: &Layout, hook: &Hook) -> Option<Missing> {
        let name = hook.name();
        if self.unseen.contains_key(&name) {
            return None;
        }
        let is_dead = self.attachments.get(&name).is_some_and(|attached| !attached.is_alive());
        let closed = || kernel::closed_socket(hook).filter(|_| is_dead);
        closed().or_else(|| owners::of_socket(layout, hook)).or_else(|| kernel::look_at(hook, &layout.link(hook), &self.host))
    }

    /// A link of ours that lost its record is the hook's whose pin it has.
    fn adopt(&mut self, hook: &Hook) {
        let facts = self.lost.get(&hook.name()).filter(|_| hook.is_link() && !matches!(hook, Hook::SharedXdp(_)));
        let Some(mut facts) = facts.copied() else { return };
        let root = attached::through_root(self, &mut facts);
        let attached = lost::lost(hook.clone(), facts, self.host.namespace);
        self.attachments.insert(hook.name(), Attachment { root, ..attached });
    }

    fn note_others(&mut self, hook: &Hook) {
        let own = self.attachments.get(&hook.name()).map(|attached| attached.program);
        if !hook.tells_program() {
            let is_free = own.is_some() || self.unseen.contains_key(&hook.name()) || !kernel::has_program(hook);
            self.taken.extend((!is_free).then(|| hook.name()));
            return;
        }
        let mut others = kernel::others(hook, &self.host);
        others.retain(|program| Some(*program) != own);
        // A dispatcher is ours, whoever else it calls.
        if matches!(hook, Hook::Xdp { .. } | Hook::SharedXdp(_)) && self.dispatcher_of(hook).is_some_and(|found| found.is_ours) {
            others.clear();
        }
        if !others.is_empty() {
            self.foreign_programs.insert(hook.name(), others);
        }
    }
}

/// Observes the deployment `name`, seen from the current network namespace.
pub fn observe(bpffs: &Path, name: &str) -> Result<Observed, Error> {
    let layout = Layout::new(bpffs, name)?;
    let mut observed = Observed { name: name.to_owned(), host: kernel::host()?, ..Observed::default() };
    let entries = kernel::entries(layout.folder())?;
    let has = |folder: &&str| entries.contains(&((*folder).to_owned(), true));
    (observed.has_folders, observed.has_a_folder) = (["links", "maps"].iter().all(has), ["links", "maps"].iter().any(has));
    for number in entries.iter().filter_map(|(name, _)| Layout::generation_number(name)) {
        observed.generations.insert(number, generation(&layout, number)?);
    }
    observed.kept = Meta::read(&layout.kept())?.and_then(Result::ok);
    observed.trial = trial::read(&layout.unconfirmed())?;
    for (name, _) in kernel::entries(&layout.maps())? {
        let path = layout.map(&name);
        if let Some(copy) = Layout::is_behind(&name) {
            let original = kernel::read_bytes(&path)?.and_then(|bytes| String::from_utf8(bytes).ok());
            observed.behind.insert(copy.to_owned(), original.unwrap_or_default());
        } else if let Some(facts) = pins::map_facts(&path)? {
            observed.maps.insert(name, facts);
        }
    }
    observed.roots = roots(&layout)?;
    observed.dispatchers = dispatchers(bpffs)?;
    let sockets = kernel::socket_states(attached::known_hooks(&observed).map(|(_, hook)| hook));
    observed.attachments = attached::attachments(&layout, &observed, &sockets)?;
    observed.unseen = attached::unseen(&observed, sockets);
    let seats = lost::seats(&observed);
    observed.attachments.extend(seats.into_iter().map(|attached| (attached.hook.name(), attached)));
    observed.lost = lost::links(&layout, &observed)?;
    observed.beside = attached::beside(&layout, &observed)?;
    observed.foreign = foreign(&layout, &observed)?;
    let attached = observed.attachments.values().map(|attached| attached.namespace);
    let is_elsewhere = |namespace: u64| namespace != observed.host.namespace;
    if observed.metas().map(|meta| meta.namespace).chain(attached).any(is_elsewhere) {
        observed.namespaces = kernel::named_namespaces();
    }
    Ok(observed)
}

fn generation(layout: &Layout, number: u32) -> Result<Generation, Error> {
    let mut found = Generation::default();
    let meta = match Meta::read(&layout.meta(number))? {
        None => return Ok(found),
        Some(Err(why)) => return Ok(Generation { unreadable: Some(why), ..found }),
        Some(Ok(meta)) => meta,
    };
    for program in &meta.manifest.programs {
        if let Some(id) = pins::program_id(&layout.program(number, &program.name))? {
            found.programs.insert(program.name.clone(), id);
        }
    }
    found.table = pins::map_facts(&layout.table(number))?;
    found.slots = slots(layout, number, &meta)?;
    found.counts = pins::map_facts(&layout.counts(number))?;
    // Another map in its place tells as little as none.
    let is_table = |facts: &MapFacts| arguments(&meta.manifest).is_some_and(|own| kernel::is_specs(facts, own));
    found.specs = pins::map_facts(&layout.specs(number))?.filter(is_table);
    for table in meta.manifest.tables() {
        let facts = pins::map_facts(&layout.functions(number, table))?;
        found.tables.extend(facts.map(|facts| (table.to_owned(), facts.id)));
    }
    for (program, _) in meta.manifest.extensions() {
        let facts = pins::link_facts(&layout.extension(number, program))?;
        found.extensions.extend(facts.map(|facts| (program.to_owned(), facts.id)));
    }
    found.went_live = meta::read_order(&layout.live(number))?;
    found.meta = Some(meta);
    Ok(found)
}

fn slots(layout: &Layout, number: u32, meta: &Meta) -> Result<BTreeMap<u32, u32>, Error> {
    let path = layout.table(number);
    let Some(table) = pins::open(&path, Kind::Map)? else { return Ok(BTreeMap::new()) };
    let mut found = BTreeMap::new();
    for slot in meta.manifest.programs.iter().filter_map(|program| program.slot) {
        let id = pins::slot(&table, slot)
            .map_err(|error| Error::io(format!("cannot read slot {slot} of `{}`", path.display()), error))?;
        found.extend(id.map(|id| (slot, id)));
    }
    Ok(found)
}

fn roots(layout: &Layout) -> Result<BTreeMap<String, Root>, Error> {
    let mut found = BTreeMap::new();
    for (name, _) in kernel::entries(&layout.roots())? {
        let path = layout.root_table(&name);
        let program = pins::open(&path, Kind::Map)?.map(|table| pins::slot(&table, 0)).transpose();
        let program = program.map_err(|error| Error::io(format!("cannot read `{}`", path.display()), error))?.flatten();
        let root = Root { stub: pins::program_id(&layout.stub(&name))?, table: pins::map_facts(&path)?, program };
        found.insert(name, root);
    }
    Ok(found)
}

/// Everything in the folder that no meta names, and that is not known to be ours without one.
fn foreign(layout: &Layout, observed: &Observed) -> Result<Vec<PathBuf>, Error> {
    let mut ours =
        BTreeSet::from([layout.maps(), layout.links(), layout.kept(), layout.unconfirmed(), layout.next_unconfirmed()]);
    for root in observed.roots.keys() {
        ours.extend([layout.roots(), layout.root(root), layout.stub(root), layout.root_table(root)]);
    }
    for (number, generation) in &observed.generations {
        let number = *number;
        ours.extend([layout.generation(number), layout.programs(number), layout.own_maps(number)]);
        ours.extend([layout.table(number), layout.counts(number), layout.meta(number), layout.next_meta(number)]);
        ours.extend([layout.specs(number), layout.live(number), layout.next_live(number)]);
        let programs = generation.meta.iter().flat_map(|meta| &meta.manifest.programs);
        ours.extend(programs.map(|program| layout.program(number, &program.name)));
        ours.extend([layout.tables(number), layout.extensions(number)]);
        if generation.is_unrecorded() {
            ours.extend(lost::generation(layout, number)?);
        }
        ours.extend(generation.tables.keys().map(|table| layout.functions(number, table)));
        ours.extend(generation.extensions.keys().map(|program| layout.extension(number, program)));
    }
    ours.extend(observed.lost.keys().map(|pin| layout.links().join(pin)));
    ours.extend(observed.lost_maps().iter().flat_map(|pin| [layout.map(pin), layout.behind(pin)]));
    for meta in observed.metas() {
        let pins = || meta.manifest.maps.iter().map(|map| meta.manifest.pin_of(map));
        ours.extend(pins().flat_map(|pin| [layout.map(&pin), layout.behind(&pin)]));
        ours.extend(meta.hooks.iter().map(|hook| layout.link(hook)));
        ours.extend(meta.hooks.iter().map(|hook| kernel::beside(&layout.link(hook))));
    }
    let mut found = Vec::new();
    collect_foreign(layout.folder(), &ours, &mut found)?;
    Ok(found)
}

fn collect_foreign(folder: &Path, ours: &BTreeSet<PathBuf>, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    for (name, is_folder) in kernel::entries(folder)? {
        let path = folder.join(name);
        match (ours.contains(&path), is_folder) {
            (false, _) => found.push(path),
            (true, true) => collect_foreign(&path, ours, found)?,
            (true, false) => {}
        }
    }
    Ok(())
}
