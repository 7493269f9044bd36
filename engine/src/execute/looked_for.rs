//! What a compiler looked for in vain before it found what it read: a file that appears there would be read instead.
//!
//! Compilers do not tell. It follows from what they read (which they do tell), the names those files ask for, and the folders the
//! arguments name. What may not be read is as good as absent (see `sight`). Knows nothing of keys: what is found here stands beside
//! what was read.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use ouro_cache::{Absent, Digest, Read};
use ouro_rules::{Action, ActionKind, Artifact, Diagnostic};

use super::action::Work;
use super::includes::{self, Asked, Definitions, How, Include, Macro, SearchPath};
use super::{depfile, outputs};
use crate::state::Stamp;
use crate::workspace::is_output;

/// Folders, each with the names that are not in it.
type Rows = BTreeMap<String, BTreeSet<String>>;

/// A look for the files of one action.
struct Look<'a> {
    work: &'a Work<'a>,
    action: &'a Action,
    path: SearchPath,
    read: HashSet<Arc<str>>,
    start: SystemTime,
    rows: Rows,
    /// What was asked about, is there, and was not read.
    there: BTreeSet<String>,
    /// Whether folders are there in which there was not what was looked for.
    folders: RefCell<HashMap<String, bool>>,
}

/// A file came while the compiler looked.
struct Disturbed;

impl Work<'_> {
    /// What the action looked for in vain. Files that it only asked about are added to `reads`. Nothing when a file changed or
    /// appeared since `start`.
    pub(super) fn looked_for(
        &self,
        action: &Action,
        reads: &mut Vec<Read>,
        start: SystemTime,
    ) -> Result<Option<Vec<Absent>>, Vec<Diagnostic>> {
        let ActionKind::Run { args, depfile: Some(_), .. } = &action.kind else { return Ok(Some(Vec::new())) };
        let mut all = Vec::with_capacity(reads.len());
        for read in &*reads {
            match self.asked(read) {
                Ok(Some(asked)) => all.push((read.path.clone(), asked)),
                Ok(None) => return Ok(None),
                Err(error) => return Err(vec![outputs::trouble("read", &read.path, &error)]),
            }
        }
        if all.iter().any(|(_, asked)| asked.assembles) {
            self.add_inputs(action, reads)?;
        }
        let mut look = Look::new((self, action), includes::search_path(args.iter()), reads, start);
        let looked = look.at_all(&all).is_ok() && look.there.iter().all(|path| self.add_asked_about(action, path, reads, start));
        Ok(looked.then(|| absent(look.rows)))
    }

    /// Reads what the action read the last time, and most likely reads again, while it runs: a compiler takes one core, and is
    /// waited for.
    pub(super) fn look_ahead(&self, action: &Action) {
        let last = self.before.result(action.outputs[0].path());
        let reads = last.iter().flat_map(|last| &*last.entry.reads).filter(|read| self.files.is_same(read));
        // Whatever is wrong with one is told when the action did read it.
        reads.for_each(|read| drop(self.asked(read)));
    }

    /// Adds all that the action may read of the workspace to what it did: the assembler does not tell what it reads.
    fn add_inputs(&self, action: &Action, reads: &mut Vec<Read>) -> Result<(), Vec<Diagnostic>> {
        let known: HashSet<Arc<str>> = reads.iter().map(|read| read.path.clone()).collect();
        for path in action.inputs.iter().map(Artifact::path).filter(|path| !known.contains(*path)) {
            let file = self.files.get(path).map_err(|error| vec![outputs::trouble("read", path, &error)])?;
            reads.extend(file.map(|file| Read { path: path.clone(), digest: file.digest }));
        }
        reads.sort_unstable();
        Ok(())
    }

    /// Adds a file that was asked about to what was read: with other bytes it might have been read. What is not declared is for
    /// nobody to see. False when it just changed.
    fn add_asked_about(&self, action: &Action, path: &str, reads: &mut Vec<Read>, start: SystemTime) -> bool {
        if !self.sight.is_allowed(action, path) {
            return true;
        }
        let path: Arc<str> = path.into();
        let Ok(Some(file)) = self.files.get(&path) else { return false };
        reads.push(Read { path, digest: file.digest });
        reads.sort_unstable();
        file.stamp.older_than(start)
    }

    /// What a file asks for; nothing when it has other bytes by now. The same headers are read by all.
    fn asked(&self, read: &Read) -> std::io::Result<Option<Arc<Asked>>> {
        if let Some(known) = self.files.asked(&read.digest) {
            return Ok(Some(known));
        }
        let text = fs::read(self.files.place(&read.path))?;
        if Digest::of(&text) != read.digest {
            return Ok(None);
        }
        let asked = Arc::new(includes::asked(&text));
        self.files.set_asked(read.digest, &asked);
        Ok(Some(asked))
    }
}

fn absent(rows: Rows) -> Vec<Absent> {
    let lines = |names: BTreeSet<String>| names.iter().flat_map(|name| [name, "\n"]).collect::<String>();
    rows.into_iter().map(|(folder, names)| Absent { folder: folder.into(), names: lines(names).into() }).collect()
}

impl<'a> Look<'a> {
    fn new((work, action): (&'a Work<'a>, &'a Action), path: SearchPath, reads: &[Read], start: SystemTime) -> Look<'a> {
        let read = reads.iter().map(|read| read.path.clone()).collect();
        Look { work, action, path, read, start, rows: Rows::new(), there: BTreeSet::new(), folders: RefCell::default() }
    }

    fn at_all(&mut self, all: &[(Arc<str>, Arc<Asked>)]) -> Result<(), Disturbed> {
        for name in self.path.first.clone() {
            self.at("", &Include { name, quoted: true, how: How::First })?;
        }
        for name in all.iter().flat_map(|(_, asked)| &asked.assembled) {
            self.at("", &Include { name: name.clone(), quoted: true, how: How::First })?;
        }
        for (file, asked) in all {
            let beside = file.rsplit_once('/').map_or("", |(folder, _)| folder);
            asked.includes.iter().try_for_each(|include| self.at(beside, include))?;
            for name in asked.macros.iter().flat_map(|wanted| self.names_of(*wanted, all)).collect::<BTreeSet<_>>() {
                let ask = |how| Include { name: name.clone(), quoted: true, how };
                [How::First, How::Whether].into_iter().try_for_each(|how| self.at(beside, &ask(how)))?;
            }
        }
        Ok(())
    }

    /// What a macro may have stood for: what it is defined as; where that is not plain, every text in a definition, and whatever makes
    /// one of the files that were read out of a folder.
    fn names_of(&self, wanted: Macro, all: &[(Arc<str>, Arc<Asked>)]) -> BTreeSet<String> {
        let definitions: Vec<&Definitions> =
            all.iter().map(|(_, asked)| &asked.definitions).chain([&self.path.definitions]).collect();
        if let Some(names) = Definitions::names(&definitions, wanted) {
            return names.into_iter().map(str::to_owned).collect();
        }
        let written = definitions.iter().flat_map(|some| some.texts()).cloned();
        let folders = || self.path.quoted.iter().chain(&self.path.all).map(|folder| self.normal(folder));
        let below = |file: &str, folder: &str| Some(Path::new(file).strip_prefix(folder).ok()?.to_str()?.to_owned());
        let pairs = self.read.iter().flat_map(|file| folders().map(move |folder| (file, folder)));
        written.chain(pairs.filter_map(|(file, folder)| below(file, &folder))).collect()
    }

    /// Writes down where a name was looked for before it was found.
    fn at(&mut self, beside: &str, include: &Include) -> Result<(), Disturbed> {
        let Include { name, quoted, how } = include;
        let own = [beside].into_iter().chain(self.path.quoted.iter().map(String::as_str)).filter(|_| *quoted);
        let folders: Vec<String> =
            own.chain(self.path.all.iter().map(String::as_str)).map(|folder| self.normal(folder)).collect();
        let path_in = |folder: &String| self.normal(&Path::new(folder).join(name).to_string_lossy());
        let paths: Vec<String> = folders.iter().map(path_in).collect();
        let is_read = |path: &String| self.read.contains(path.as_str());
        let end = match how {
            How::First => paths.iter().position(is_read),
            How::Next => paths.iter().rposition(is_read),
            How::Whether => paths.iter().position(|path| is_read(path) || self.in_the_way(path).is_some()).or(Some(paths.len())),
        };
        // What nobody read stands behind a condition that did not hold.
        let Some(end) = end else { return Ok(()) };
        let asked_about = paths.get(end).filter(|path| *how == How::Whether && !is_read(path)).cloned();
        self.there.extend(asked_about);
        for (folder, path) in folders.into_iter().zip(&paths).take(end) {
            match self.in_the_way(path) {
                None => drop(self.rows.entry(folder).or_default().insert(name.clone())),
                // It might have been read, and was not: asked for elsewhere, and behind a condition here.
                Some(stamp) if stamp.older_than(self.start) => {}
                Some(_) => return Err(Disturbed),
            }
        }
        Ok(())
    }

    /// The stamp of a file that the action would have found.
    fn in_the_way(&self, path: &str) -> Option<Stamp> {
        self.stamp(path).filter(|_| self.work.sight.is_in_the_way(self.action, path))
    }

    /// Of a plain file; compilers look over anything else. Nearly all look for the same.
    fn stamp(&self, path: &str) -> Option<Stamp> {
        // Sources may come at any moment, and outputs when they are made.
        let stays = path.starts_with('/') || is_output(path) && !self.work.makes(path);
        let known = self.work.files.glimpsed(path).filter(|_| stays);
        known.unwrap_or_else(|| {
            let found = self.look_at(path);
            if stays {
                self.work.files.set_glimpsed(path, found);
            }
            found
        })
    }

    fn look_at(&self, path: &str) -> Option<Stamp> {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let known = self.folders.borrow().get(folder).copied();
        if known == Some(false) {
            return None;
        }
        let found = self.work.files.glimpse(path);
        if found.is_none() && known.is_none() {
            let is_there = folder.is_empty() || self.work.files.place(folder).is_dir();
            self.folders.borrow_mut().insert(folder.to_owned(), is_there);
        }
        found
    }

    fn normal(&self, path: &str) -> String {
        depfile::normalise(&self.work.sight.real_root, path)
    }
}
