//! What a workspace remembers between builds, in its folder `.ouro`: digests of unchanged files, the last result of every
//! action, and a snapshot of everything a build read.
//!
//! Knows nothing of what the files mean. All of it may be lost or damaged at any time: that costs time, never correctness.

pub mod journal;
pub mod snapshot;

mod fresh;
mod leftover;
mod lock;
mod stamp;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ouro_cache::{Absent, ActionResult, Digest, Entry, Read};
use serde::{Deserialize, Serialize};

pub(crate) use fresh::make as make_fresh;
pub use lock::Lock;
pub use stamp::{Seen, Stamp};

use crate::fast::{FastMap, Lists};
use crate::workspace::OUT_FOLDER;

/// The folder of the root that holds the state; never searched for packages or sources.
pub const STATE_FOLDER: &str = ".ouro";

/// The kind of record the state is; the number changes with the shape of [`Disk`].
const KIND: &str = "ouro workspace state v3";

/// What no build asked about for this many builds is forgotten, so that files long gone do not stay for ever.
const REMEMBERED_BUILDS: u32 = 64;

/// The state folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// An operation on a file failed.
    #[error("cannot {doing} `{}`: {source}", path.display())]
    Io {
        /// What was tried: `write`.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Interrupted while waiting for another build.
    #[error("interrupted while waiting for another ouro")]
    Cancelled,
}

impl StateError {
    /// What to do about it.
    pub fn remedy(&self) -> Option<String> {
        let writes = "a build keeps what it made and learnt below the root of the workspace; make that writable, or build a copy";
        matches!(self, StateError::Io { .. }).then(|| writes.to_owned())
    }

    fn at<'a>(doing: &'static str, path: &'a Path) -> impl Fn(io::Error) -> StateError + 'a {
        move |source| StateError::Io { doing, path: path.to_owned(), source }
    }
}

/// What earlier builds of this workspace learnt.
#[derive(Debug, Default)]
pub struct State {
    path: PathBuf,
    build: u32,
    files: FastMap<Arc<str>, (File, u32)>,
    results: FastMap<Arc<str>, (Remembered, u32)>,
}

/// A file whose bytes were hashed.
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// Taken before the bytes were read.
    pub stamp: Stamp,
    /// Of its bytes.
    pub digest: Digest,
}

/// How an action ended the last time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Its key.
    pub key: Digest,
    /// What it read and made.
    pub entry: Entry,
    /// How long it took when it last ran here; nothing when all its results came from the cache.
    pub took: Option<Duration>,
}

impl State {
    /// Reads the state of the workspace at `root`; an empty one when there is none, or it is damaged or another version's.
    pub fn load(root: &Path) -> State {
        let path = root.join(STATE_FOLDER).join("state");
        let disk = fs::read(&path).ok().and_then(|bytes| postcard::from_bytes(ouro_cache::unseal(KIND, &bytes)?).ok());
        let mut state = disk.and_then(Disk::into_state).unwrap_or_default();
        state.path = path;
        state.build += 1;
        state
    }

    /// One that knows nothing and is never written: for a build whose memory is a snapshot.
    pub fn unwritten() -> State {
        State::default()
    }

    /// What is known of the file, if it is still the one with this stamp.
    pub fn file(&self, path: &str, stamp: &Stamp) -> Option<Digest> {
        self.files.get(path).filter(|(file, _)| file.stamp.same(stamp)).map(|(file, _)| file.digest)
    }

    /// How the action that makes `output` ended the last time.
    pub fn result(&self, output: &str) -> Option<&Remembered> {
        self.results.get(output).map(|(remembered, _)| remembered)
    }

    /// Whether any build of late asked for the file; one that is never written cannot tell.
    pub fn knows(&self, path: &str) -> Option<bool> {
        let is_written = !self.path.as_os_str().is_empty();
        is_written.then(|| self.files.contains_key(path) || self.results.contains_key(path))
    }

    /// Adds what a build learnt of a file. A racy stamp proves nothing later, so it is not kept.
    pub fn set_file(&mut self, path: Arc<str>, file: File) {
        if file.stamp.is_racy() {
            self.files.remove(&path);
        } else {
            self.files.insert(path, (file, self.build));
        }
    }

    /// Adds the end of the action that makes `output`.
    pub fn set_result(&mut self, output: Arc<str>, remembered: Remembered) {
        self.results.insert(output, (remembered, self.build));
    }

    /// Says that the last result of the action that makes `output` is still of use.
    pub fn keep_result(&mut self, output: &str) {
        if let Some((_, build)) = self.results.get_mut(output) {
            *build = self.build;
        }
    }

    /// Writes everything down, by a rename.
    pub fn save(&mut self) -> Result<(), StateError> {
        if self.path.as_os_str().is_empty() {
            return Ok(());
        }
        let oldest = self.build.saturating_sub(REMEMBERED_BUILDS);
        self.files.retain(|_, (_, build)| *build >= oldest);
        self.results.retain(|_, (_, build)| *build >= oldest);
        let body = postcard::to_stdvec(&Disk::of(self)).expect("BUG: the state is plain data");
        replace(&self.path, &[ouro_cache::seal(KIND, &body)])
    }
}

/// Removes what builds made, and what is remembered of them; the cache stays. Takes the lock, so that no build runs. Gives how many
/// bytes the files had.
pub fn clean(lock: Lock) -> Result<u64, StateError> {
    let mut bytes = 0;
    for folder in [OUT_FOLDER, STATE_FOLDER] {
        let path = lock.root().join(folder);
        bytes += size(&path);
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(StateError::at("remove", &path)(source)),
            _ => {}
        }
    }
    Ok(bytes)
}

/// The bytes of all files in a folder, as far as they can be told.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let each = entries.filter_map(|entry| {
        let facts = entry.metadata().ok()?;
        Some(if facts.is_dir() { size(&entry.path()) } else { facts.len() })
    });
    each.sum()
}

/// Has git leave the state out of the workspace, whether its user thought of that or not. It is all the same to us.
pub(crate) fn hide_from_git(root: &Path) {
    let path = root.join(STATE_FOLDER).join(".gitignore");
    let _ = fs::File::create_new(path).and_then(|mut file| io::Write::write_all(&mut file, b"*\n"));
}

/// Writes a file of the state beside its place, then renames it.
pub(crate) fn replace<B: AsRef<[u8]>>(path: &Path, parts: &[B]) -> Result<(), StateError> {
    let writing = StateError::at("write", path);
    let folder = path.parent().expect("BUG: files of the state lie in its folder");
    fs::create_dir_all(folder).map_err(&writing)?;
    write_renamed(path, parts, 0o600).map_err(writing)
}

/// Writes a file, part after part, beside its place, then renames it: nobody ever sees half of it. Its mode is this one, whatever the
/// user's mask.
pub(crate) fn write_renamed<B: AsRef<[u8]>>(path: &Path, parts: &[B], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file =
        tempfile::Builder::new().prefix(leftover::PREFIX).permissions(Permissions::from_mode(mode)).tempfile_in(folder)?;
    parts.iter().try_for_each(|part| io::Write::write_all(&mut file, part.as_ref()))?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// The state as written: every path, every pair of a path and a digest, and every list of absent names once; programs read mostly
/// the same headers.
#[derive(Serialize, Deserialize)]
struct Disk {
    build: u32,
    paths: Vec<Arc<str>>,
    files: Vec<(u32, Stamp, Digest, u32)>,
    reads: Vec<(u32, Digest)>,
    absent: Vec<(u32, u32)>,
    results: Vec<DiskResult>,
}

#[derive(Serialize, Deserialize)]
struct DiskResult {
    output: u32,
    key: Digest,
    reads: Vec<u32>,
    absent: Vec<u32>,
    result: ActionResult,
    took: Option<Duration>,
    build: u32,
}

impl Disk {
    fn of(state: &State) -> Disk {
        let mut paths = Numbered::default();
        let (mut reads, mut absent) = (Numbered::default(), Numbered::default());
        let files = state.files.iter().map(|(path, (file, build))| (paths.number(path.clone()), file.stamp, file.digest, *build));
        let files = files.collect();
        let results = state.results.iter().map(|(output, (Remembered { key, entry, took }, build))| DiskResult {
            output: paths.number(output.clone()),
            key: *key,
            reads: entry.reads.iter().map(|read| reads.number((paths.number(read.path.clone()), read.digest))).collect(),
            absent: entry
                .absent
                .iter()
                .map(|row| absent.number((paths.number(row.folder.clone()), paths.number(row.names.clone()))))
                .collect(),
            result: entry.result.clone(),
            took: *took,
            build: *build,
        });
        let results = results.collect();
        Disk { build: state.build, paths: paths.values, files, reads: reads.values, absent: absent.values, results }
    }

    /// Nothing when a number points nowhere.
    fn into_state(self) -> Option<State> {
        let path = |number: u32| self.paths.get(number as usize).cloned();
        let mut state = State { build: self.build, ..State::default() };
        state.files.reserve(self.files.len());
        state.results.reserve(self.results.len());
        for (number, stamp, digest, build) in self.files {
            state.files.insert(path(number)?, (File { stamp, digest }, build));
        }
        let reads: Option<Vec<Read>> =
            self.reads.iter().map(|(number, digest)| Some(Read { path: path(*number)?, digest: *digest })).collect();
        let reads = reads?;
        let row = |(folder, names): &(u32, u32)| Some(Absent { folder: path(*folder)?, names: path(*names)? });
        let rows: Vec<Absent> = self.absent.iter().map(row).collect::<Option<_>>()?;
        let (mut one_reads, mut one_absent) = (Lists::default(), Lists::default());
        for disk in self.results {
            let own: Option<Arc<[Read]>> = disk.reads.iter().map(|number| reads.get(*number as usize).cloned()).collect();
            let absent: Option<Arc<[Absent]>> = disk.absent.iter().map(|number| rows.get(*number as usize).cloned()).collect();
            let mut entry = Entry { reads: own?, absent: absent?, result: disk.result };
            one_reads.one(&mut entry.reads);
            one_absent.one(&mut entry.absent);
            state.results.insert(path(disk.output)?, (Remembered { key: disk.key, entry, took: disk.took }, disk.build));
        }
        Some(state)
    }
}

/// Values with their numbers, each once.
struct Numbered<T> {
    numbers: FastMap<T, u32>,
    values: Vec<T>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Numbered<T> {
        Numbered { numbers: FastMap::default(), values: Vec::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Numbered<T> {
    fn number(&mut self, value: T) -> u32 {
        *self.numbers.entry(value).or_insert_with_key(|value| {
            self.values.push(value.clone());
            (self.values.len() - 1) as u32
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(n: u8) -> Remembered {
        let read = |path: &str| Read { path: path.into(), digest: Digest::of(path.as_bytes()) };
        let result = ActionResult { outputs: Vec::new(), printed: "warning".to_owned() };
        let absent = [Absent { folder: "fw".into(), names: "a.h\nb.h\n".into() }].into();
        let entry = Entry { reads: [read("a.h"), read("b.h")].into(), absent, result };
        Remembered { key: Digest::of(&[n]), entry, took: Some(Duration::from_millis(n.into())) }
    }

    /// A stamp old enough to be trusted.
    fn settled(path: &Path) -> Stamp {
        Stamp::of(path).unwrap().unwrap().settled()
    }

    #[test]
    fn what_was_saved_is_loaded_and_damage_is_an_empty_state() {
        let dir = tempfile::TempDir::new().unwrap();
        fs::write(dir.path().join("a.c"), "x").unwrap();
        let stamp = settled(&dir.path().join("a.c"));
        let mut state = State::load(dir.path());
        state.set_file("a.c".into(), File { stamp, digest: Digest::of(b"x") });
        state.set_result("a.o".into(), remembered(1));
        state.save().unwrap();

        let again = State::load(dir.path());
        assert_eq!(again.file("a.c", &stamp), Some(Digest::of(b"x")));
        assert_eq!(again.result("a.o").unwrap().entry, remembered(1).entry);
        assert_eq!(again.result("a.o").unwrap().key, remembered(1).key);
        assert_eq!(again.result("a.o").unwrap().took, Some(Duration::from_millis(1)));
        assert_eq!(["a.c", "a.o", "b.o"].map(|path| again.knows(path)), [Some(true), Some(true), Some(false)]);
        assert_eq!(State::unwritten().knows("a.c"), None);

        let path = dir.path().join(".ouro/state");
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(State::load(dir.path()).file("a.c", &stamp), None);
    }

    #[test]
    fn a_changed_file_and_a_racy_stamp_are_not_known() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("a.c");
        fs::write(&path, "x").unwrap();
        let racy = Stamp::of(&path).unwrap().unwrap();
        let mut state = State::load(dir.path());
        state.set_file("a.c".into(), File { stamp: racy.settled(), digest: Digest::of(b"x") });
        fs::write(&path, "longer").unwrap();
        assert_eq!(state.file("a.c", &Stamp::of(&path).unwrap().unwrap()), None);
        assert!(racy.is_racy(), "the stamp was taken right after the file was written");
        state.set_file("a.c".into(), File { stamp: racy, digest: Digest::of(b"x") });
        assert_eq!(state.file("a.c", &racy), None);
    }

    #[test]
    fn what_is_never_asked_for_is_forgotten_at_last() {
        let dir = tempfile::TempDir::new().unwrap();
        let mut state = State::load(dir.path());
        state.set_result("kept".into(), remembered(1));
        state.set_result("lost".into(), remembered(2));
        state.save().unwrap();
        for _ in 0..=REMEMBERED_BUILDS {
            let mut state = State::load(dir.path());
            state.keep_result("kept");
            state.save().unwrap();
        }
        let state = State::load(dir.path());
        assert!(state.result("kept").is_some() && state.result("lost").is_none());
    }
}
