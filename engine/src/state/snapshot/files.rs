//! The head of a snapshot: its files where they lie, and what the build said.
//!
//! Knows nothing of the file system; `look` compares.
//!
//! | what | bytes |
//! |---|---|
//! | digest of the request | 32 |
//! | number of folders, of files; bytes of text, of what was said, of what actions told, of the body, of the book | 7 × 8 |
//! | folders: place of the name in the text, number of its first file | each 2 × 4 |
//! | stamps: mtime, ctime, size, inode | each 4 × 8 |
//! | files: place of the name in the text, mode (0: absent) | each 2 × 4 |
//! | roles; the highest bit says that the stamp tells nothing | each 1 |
//! | text: names, each ended by a zero byte | |
//! | what was said, what was told | |
//!
//! The files of a folder stand together, so that each is looked up in its folder and not from the root. Opening a folder for
//! a file or two would cost more than it saves: they stand in a folder above it, with the rest of their paths as names. Folders
//! are sorted, and so are the files of each.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::ops::Range;
use std::sync::Arc;

use ouro_cache::Digest;

use super::{FileId, Known, Roles, StepId, sections};
use crate::fast::FastMap;
use crate::state::Stamp;

/// The role of a file whose stamp tells nothing.
pub(super) const UNSURE: u8 = 0x80;

/// Digest of the request, and seven counts.
const FIXED: usize = 32 + 7 * 8;

/// The files of a snapshot. The head's bytes are its own: what the tail says is written into them.
pub(super) struct Files {
    bytes: Vec<u8>,
    folders: Range<usize>,
    stamps: Range<usize>,
    names: Range<usize>,
    roles: Range<usize>,
    text: Range<usize>,
    pub(super) new: Vec<(CString, Known)>,
    /// The places of those.
    new_places: FastMap<CString, usize>,
}

/// What the head says.
pub(super) struct Parsed {
    pub(super) files: Files,
    pub(super) said: Range<usize>,
    pub(super) told: BTreeMap<StepId, Vec<u8>>,
    /// Bytes of the body.
    pub(super) body: u64,
    /// Bytes of the book.
    pub(super) book: u64,
}

/// None when it is damaged, or of another request than the one that is wanted.
pub(super) fn parse(bytes: Vec<u8>, kind: &str, request: Option<&Digest>) -> Option<Parsed> {
    let head = ouro_cache::unseal(kind, &bytes)?;
    let start = bytes.len() - head.len();
    let (of, counts) = head.get(..FIXED)?.split_at(32);
    let [folders, files, text, said, told, body, book] = counts.as_chunks::<8>().0 else { return None };
    let [folders, files, text, said, told] = [folders, files, text, said, told].map(|count| u64::from_le_bytes(*count) as usize);
    let lengths =
        [folders.checked_mul(8), files.checked_mul(32), files.checked_mul(8), Some(files), Some(text), Some(said), Some(told)];
    let [folders, stamps, names, roles, text, said, told] = sections(start + FIXED, lengths, bytes.len())?;
    let told: Vec<(StepId, Vec<u8>)> = postcard::from_bytes(&bytes[told]).ok()?;
    let (body, book) = (u64::from_le_bytes(*body), u64::from_le_bytes(*book));
    let wanted = request.is_none_or(|request| of == request.as_bytes());
    let sane = wanted && bytes[text.clone()].last().is_none_or(|last| *last == 0);
    let files = Files { bytes, folders, stamps, names, roles, text, new: Vec::new(), new_places: FastMap::default() };
    sane.then_some(Parsed { files, said, told: told.into_iter().collect(), body, book })
}

/// The head's tables.
#[derive(Clone, Copy)]
pub(super) struct Tables<'a> {
    pub(super) folders: &'a [[u8; 8]],
    pub(super) stamps: &'a [[u8; 32]],
    pub(super) names: &'a [[u8; 8]],
    pub(super) roles: &'a [u8],
    text: &'a [u8],
}

impl Files {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many the head has.
    pub(super) fn base_len(&self) -> usize {
        self.roles.len()
    }

    pub(super) fn len(&self) -> usize {
        self.base_len() + self.new.len()
    }

    pub(super) fn tables(&self) -> Tables<'_> {
        let bytes = |range: &Range<usize>| &self.bytes[range.clone()];
        Tables {
            folders: bytes(&self.folders).as_chunks().0,
            stamps: bytes(&self.stamps).as_chunks().0,
            names: bytes(&self.names).as_chunks().0,
            roles: bytes(&self.roles),
            text: bytes(&self.text),
        }
    }

    /// What is known of a file, but for its digest.
    pub(super) fn known(&self, file: FileId) -> Option<Known> {
        match file.index().checked_sub(self.base_len()) {
            Some(new) => self.new.get(new).map(|(_, known)| *known),
            None => {
                let tables = self.tables();
                let roles = tables.roles[file.index()];
                let known = Known::new(tables.stamp(file.index()), None, Roles(roles & !UNSURE));
                Some(Known { sure: roles & UNSURE == 0, ..known })
            }
        }
    }

    /// Replaces what is known of a file.
    pub(super) fn set(&mut self, file: FileId, known: Known) {
        let index = file.index();
        if index >= self.base_len() {
            let new = self.new.get_mut(index - self.roles.len());
            return new.into_iter().for_each(|(_, old)| *old = known);
        }
        let (stamp, mode) = packed(known.stamp);
        self.bytes[self.stamps.start + index * 32..][..32].copy_from_slice(&stamp);
        self.bytes[self.names.start + index * 8 + 4..][..4].copy_from_slice(&mode);
        self.bytes[self.roles.start + index] = packed_roles(&known);
    }

    /// Adds a file that the head does not have.
    pub(super) fn add_new(&mut self, path: CString, known: Known) {
        self.new_places.entry(path.clone()).or_insert(self.new.len());
        self.new.push((path, known));
    }

    pub(super) fn path(&self, file: FileId) -> Option<Arc<str>> {
        if let Some(new) = file.index().checked_sub(self.base_len()) {
            return self.new.get(new)?.0.to_str().ok().map(Arc::from);
        }
        let tables = self.tables();
        let after = tables.folders.partition_point(|folder| pair(folder).1 as usize <= file.index());
        let folder = tables.name(pair(tables.folders.get(after.checked_sub(1)?)?).0)?.to_str().ok()?;
        let name = tables.name(pair(&tables.names[file.index()]).0)?.to_str().ok()?;
        Some(joined(folder, name).into())
    }

    pub(super) fn find(&self, path: &str) -> Option<FileId> {
        let new = || self.new_places.get(&*CString::new(path).ok()?).copied();
        let tables = self.tables();
        let base = splits(path).find_map(|place| tables.find(place));
        let place = base.or_else(|| new().map(|place| place + self.base_len()))?;
        u32::try_from(place).ok().map(FileId)
    }
}

impl<'a> Tables<'a> {
    pub(super) fn name(&self, place: u32) -> Option<&'a CStr> {
        CStr::from_bytes_until_nul(self.text.get(place as usize..)?).ok()
    }

    pub(super) fn stamp(&self, file: usize) -> Option<Stamp> {
        let mode = pair(&self.names[file]).1;
        let [mtime, ctime, size, inode] = self.stamps[file].as_chunks().0 else {
            unreachable!("BUG: 32 bytes are four times eight")
        };
        let signed = |bytes: &[u8; 8]| i64::from_le_bytes(*bytes);
        let stamp = || Stamp::stored(signed(mtime), signed(ctime), u64::from_le_bytes(*size), u64::from_le_bytes(*inode), mode);
        (mode != 0).then(stamp)
    }

    /// The files of the folder with this place.
    pub(super) fn files_of(&self, folder: usize) -> Range<usize> {
        let first = |folder: usize| self.folders.get(folder).map_or(self.names.len(), |folder| pair(folder).1 as usize);
        first(folder)..first(folder + 1).min(self.names.len())
    }

    fn find(&self, (folder, name): (&str, &str)) -> Option<usize> {
        let text = |place: u32| self.name(place).map(CStr::to_bytes).unwrap_or_default();
        let folder = self.folders.binary_search_by(|other| text(pair(other).0).cmp(folder.as_bytes())).ok()?;
        let files = self.files_of(folder);
        let names = self.names.get(files.clone())?;
        names.binary_search_by(|other| text(pair(other).0).cmp(name.as_bytes())).ok().map(|place| files.start + place)
    }
}

pub(super) fn pair(bytes: &[u8; 8]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = *bytes;
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

/// A stamp as it is stored, and its mode.
pub(super) fn packed(stamp: Option<Stamp>) -> ([u8; 32], [u8; 4]) {
    let Some(stamp) = stamp else { return ([0; 32], [0; 4]) };
    let mut bytes = [0; 32];
    let numbers = [stamp.mtime as u64, stamp.ctime as u64, stamp.size, stamp.inode];
    bytes.as_chunks_mut::<8>().0.iter_mut().zip(numbers).for_each(|(place, number)| *place = number.to_le_bytes());
    (bytes, stamp.mode.to_le_bytes())
}

pub(super) fn packed_roles(known: &Known) -> u8 {
    known.roles.0 | if known.sure { 0 } else { UNSURE }
}

/// A path as folder and name. The name of a folder that is its own place is `.`.
pub(super) fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", "")) => ("/", "."),
        Some(("", name)) => ("/", name),
        Some((folder, "")) => (folder, "."),
        Some((folder, name)) => (folder, name),
        None if path.is_empty() => (".", "."),
        None => (".", path),
    }
}

/// The folder above a folder.
pub(super) fn above(folder: &str) -> Option<&str> {
    match folder {
        "." | "/" => None,
        _ => Some(split(folder).0),
    }
}

/// A path as a folder and what follows it, for every folder above it, the nearest first.
pub(super) fn splits(path: &str) -> impl Iterator<Item = (&str, &str)> {
    let (nearest, name) = split(path);
    let further = std::iter::successors(above(nearest), |folder| above(folder));
    let rest = move |folder: &str| if folder == "." { path } else { path[folder.len()..].trim_start_matches('/') };
    std::iter::once((nearest, name)).chain(further.map(move |folder| (folder, rest(folder))))
}

fn joined(folder: &str, name: &str) -> String {
    match (folder, name) {
        (".", ".") => String::new(),
        (".", name) => name.to_owned(),
        ("/", ".") => "/".to_owned(),
        ("/", name) => format!("/{name}"),
        (folder, ".") => format!("{folder}/"),
        (folder, name) => format!("{folder}/{name}"),
    }
}
