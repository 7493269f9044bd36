//! How far changes of what was loaded reach: from files to packages, and from packages to those that see them.
//!
//! Knows nothing of actions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ouro_rules::Label;
use ouro_rules::label::{is_below, join};

use crate::build::Request;
use crate::build::again::Look;
use crate::build::book::{Book, Entry, Kept, Record};
use crate::fast::{FastMap, FastSet};
use crate::load;
use crate::state::snapshot::Roles;
use crate::workspace::{OUT_FOLDER, SETTINGS_FILE};

/// So many packages are loaded by themselves; of more, at most a quarter of all. Beyond that the whole way costs less.
const FEW: usize = 64;

pub(super) struct Reach<'a> {
    pub(super) look: &'a Look,
    pub(super) request: &'a Request<'a>,
    pub(super) book: &'a Book<'a>,
}

impl<'a> Reach<'a> {
    /// Whether so many packages are loaded by themselves.
    pub(super) fn is_near(&self, packages: usize) -> bool {
        packages <= FEW.max(self.book.len() / 4)
    }

    /// The packages that read what changed; none when it may mean all of them.
    pub(super) fn readers(&self) -> Option<BTreeSet<Arc<str>>> {
        self.is_near(self.look.reload.len()).then_some(())?;
        let snapshot = &self.look.snapshot;
        let paths = self.look.reload.iter().map(|file| Some((snapshot.path(*file)?, snapshot.known(*file)?.roles)));
        let paths: Vec<(Arc<str>, Roles)> = paths.collect::<Option<_>>()?;
        let (mut packages, mut read) = (BTreeSet::new(), FastSet::default());
        let wanted: FastSet<&str> = paths.iter().map(|(path, _)| &**path).collect();
        for entry in self.book.entries() {
            for path in entry.reads.iter().filter(|path| wanted.contains(**path)) {
                packages.insert(Arc::from(entry.name));
                read.insert(*path);
            }
        }
        let is_understood = |(path, roles): &(Arc<str>, Roles)| {
            let is_walked = roles.any(Roles::FOLDER) && self.book.is_walked(path);
            // What decides no package decides all of them, as the settings do.
            let is_known = is_walked || read.contains(&**path);
            &**path != SETTINGS_FILE && is_known && (!is_walked || self.is_walked_alike(path))
        };
        (paths.iter().all(is_understood) && self.is_near(packages.len())).then_some(packages)
    }

    /// Whether the folder holds the packages it held before.
    fn is_walked_alike(&self, folder: &str) -> bool {
        let build_file = self.book.has(folder).then(|| self.book.kept(folder)).flatten().map(|kept| kept.build_file);
        load::is_walked_alike(self.request.workspace, folder, &self.book.walked_in(folder), build_file.as_deref())
    }

    /// Labels of these packages that others name.
    pub(super) fn needed(&self, packages: &BTreeSet<Arc<str>>) -> BTreeSet<Label> {
        let others = self.book.entries().filter(|entry| !packages.contains(entry.name));
        let named = others.flat_map(|entry| &entry.near).filter(|(package, _)| packages.contains(*package));
        named.map(|(package, name)| Label::new(*package, *name)).collect()
    }

    /// What was kept of these packages; nothing of those that were no part of the build. None when it is damaged.
    pub(super) fn before<'r>(&self, records: &'r [Record]) -> Option<BTreeMap<&'r str, Kept>> {
        let known = records.iter().map(|record| &*record.name).filter(|name| self.book.has(name));
        known.map(|name| Some((name, self.book.kept(name)?))).collect()
    }

    /// Other packages that must be loaded, too: those that see a difference, and those that may be part of a circle. None when the
    /// difference is one that others see without naming it.
    pub(super) fn more(&self, records: &[Record]) -> Option<BTreeSet<Arc<str>>> {
        let before = self.before(records)?;
        let mut changed: FastSet<(&str, &str)> = FastSet::default();
        for (record, before) in records.iter().filter_map(|record| Some((record, before.get(&*record.name)?))) {
            if before.settings != record.kept.settings {
                return None;
            }
            changed.extend(record.kept.changed_since(before).into_iter().map(|name| (&*record.name, name)));
        }
        let fresh: FastMap<&str, &Record> = records.iter().map(|record| (&*record.name, record)).collect();
        let sees = |entry: &&Entry<'_>| entry.near.iter().any(|near| changed.contains(near));
        let dependents = self.book.entries().filter(sees).map(|entry| entry.name);
        let dependents = dependents.filter(|name| !fresh.contains_key(name));
        let more: BTreeSet<Arc<str>> = dependents.chain(self.circles(&fresh)).map(Arc::from).collect();
        self.is_near(records.len() + more.len()).then_some(more)
    }

    /// Packages that are not fresh and lie on a circle with one that is: what they wait for is part of what is looked at.
    fn circles<'s>(&'s self, fresh: &FastMap<&'s str, &'s Record>) -> Vec<&'s str> {
        let (leads_from, mut order) = self.led_to(fresh);
        let (mut seen, mut found) = (FastSet::default(), Vec::new());
        // Kosaraju's algorithm: against the edges, from those that were left last, each walk is one group that leads to itself.
        while let Some(start) = order.pop() {
            let (mut group, mut open) = (Vec::new(), vec![start]);
            while let Some(name) = open.pop() {
                if seen.insert(name) {
                    group.push(name);
                    open.extend(leads_from.get(name).into_iter().flatten());
                }
            }
            let is_fresh = |name: &&str| fresh.contains_key(name);
            if group.iter().any(is_fresh) {
                found.extend(group.into_iter().filter(|name| !is_fresh(name)));
            }
        }
        found
    }

    /// All that fresh packages lead to: for each those that lead there, and the order in which a walk that goes deep first leaves them.
    fn led_to<'s>(&'s self, fresh: &FastMap<&'s str, &'s Record>) -> (FastMap<&'s str, Vec<&'s str>>, Vec<&'s str>) {
        let (mut leads_from, mut seen) = (FastMap::<&str, Vec<&str>>::default(), FastSet::default());
        let (mut order, mut open) = (Vec::new(), fresh.keys().map(|name| (*name, false)).collect::<Vec<_>>());
        while let Some((name, is_left)) = open.pop() {
            if is_left {
                order.push(name);
            } else if seen.insert(name) {
                open.push((name, true));
                for next in self.near(name, fresh) {
                    leads_from.entry(next).or_default().push(name);
                    open.push((next, false));
                }
            }
        }
        (leads_from, order)
    }

    /// The packages that one depends on.
    fn near<'s>(&'s self, name: &str, fresh: &FastMap<&'s str, &'s Record>) -> BTreeSet<&'s str> {
        match fresh.get(name) {
            Some(record) => record.near.iter().map(|label| &*label.package).collect(),
            None => self.book.near(name).iter().map(|(package, _)| *package).collect(),
        }
    }

    /// Whether these packages name all that they named before and no walk finds: what nobody names any more would not be loaded.
    pub(super) fn names_all(&self, records: &[Record]) -> bool {
        let now: FastSet<&str> = records.iter().flat_map(|record| &record.near).map(|label| &*label.package).collect();
        let then = records.iter().flat_map(|record| self.book.near(&record.name)).map(|(package, _)| *package);
        then.into_iter().all(|package| now.contains(package) || self.book.is_walked(package))
    }

    /// These files, and those that one of these packages read before, if no package reads them now and no walk lists them.
    pub(super) fn unread(&self, records: &[Record], files: impl Iterator<Item = Arc<str>>) -> BTreeSet<Arc<str>> {
        let fresh: FastSet<&str> = records.iter().map(|record| &*record.name).collect();
        let then = records.iter().flat_map(|record| self.book.reads(&record.name)).map(|path| Arc::from(*path));
        let mut unread: BTreeSet<Arc<str>> = files.chain(then).filter(|path| !self.book.is_walked(path)).collect();
        let now = records.iter().flat_map(|record| &record.reads).map(|path| &**path);
        let others = self.book.entries().filter(|entry| !fresh.contains(entry.name)).flat_map(|entry| &entry.reads);
        for path in now.chain(others.copied()) {
            unread.remove(path);
        }
        unread
    }

    /// Whether something else is kept of a package.
    pub(super) fn is_other(&self, record: &Record, before: &BTreeMap<&str, Kept>) -> bool {
        let same_reads = || self.book.reads(&record.name).iter().copied().eq(record.reads.iter().map(|path| &**path));
        let near = || record.near.iter().map(|label| (&*label.package, &*label.name));
        let same_near = || self.book.near(&record.name).iter().copied().eq(near());
        before.get(&*record.name) != Some(&record.kept) || !same_reads() || !same_near()
    }

    /// Whether files that these packages did not write before are in no other package's way: that package's folder would lie around
    /// theirs, or in it.
    pub(super) fn nobody_in_the_way(&self, records: &[Record], before: &BTreeMap<&str, Kept>) -> bool {
        let out = format!("{OUT_FOLDER}/{}/", self.request.configurations[0].folder);
        let old: FastSet<&str> = before.values().flat_map(|kept| &kept.written).map(|path| &**path).collect();
        let fresh: FastSet<&str> = records.iter().map(|record| &*record.name).collect();
        let is_free = |record: &Record| {
            let new: Vec<&str> = record.kept.written.iter().map(|path| &**path).filter(|path| !old.contains(path)).collect();
            new.is_empty() || (self.is_free_below(&new, record, &out, &fresh) && self.is_free_above(&new, record, &fresh))
        };
        records.iter().all(is_free)
    }

    /// Whether no file is a package's folder, or lies in one.
    fn is_free_below(&self, new: &[&str], record: &Record, out: &str, fresh: &FastSet<&str>) -> bool {
        let own = join(out.trim_end_matches('/'), &record.name);
        let is_free = |path: &&str| {
            let Some(inner) = path.strip_prefix(&*own).and_then(|rest| rest.strip_prefix('/')) else { return false };
            let ends = inner.match_indices('/').map(|(at, _)| at).chain([inner.len()]);
            let is_taken = |folder: &str| self.book.has(folder) && !fresh.contains(folder);
            let path = join(&record.name, inner);
            !ends.into_iter().any(|end| is_taken(&join(&record.name, &inner[..end]))) && !self.book.has_below(&path)
        };
        new.iter().all(is_free)
    }

    /// Whether no package around this one writes there.
    fn is_free_above(&self, new: &[&str], record: &Record, fresh: &FastSet<&str>) -> bool {
        let inner = record.name.rmatch_indices('/').map(|(at, _)| &record.name[..at]);
        let around = inner.chain([""]).filter(|name| **name != *record.name && self.book.has(name) && !fresh.contains(name));
        let is_free = |name: &str| {
            let Some(kept) = self.book.kept(name) else { return false };
            let meets = |path: &&str, other: &str| is_below(path, other) || is_below(other, path);
            !kept.written.iter().any(|other| new.iter().any(|path| meets(path, other)))
        };
        around.into_iter().all(is_free)
    }
}
