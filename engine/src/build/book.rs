//! The book of a snapshot: what a build keeps of every package, so that the next can load a few of them without the others.
//!
//! Pure. Knows nothing of stamps: it holds while every file has the digest that the snapshot around it says.
//!
//! | what | bytes |
//! |---|---|
//! | length of the index | 8 |
//! | index, sealed (see `Index`) | |
//! | what is kept of each package, sealed one by one | |

mod record;
mod stub;

use serde::{Deserialize, Serialize};

pub(super) use self::record::{Kept, Record};
pub(super) use self::stub::Stubs;
use super::Analysis;
use crate::graph::NodeId;
use crate::load::Loaded;
use crate::state::snapshot::Snapshot;

const INDEX: &str = concat!("ouro packages v1 of ", env!("CARGO_PKG_VERSION"));
const KEPT: &str = concat!("ouro package v2 of ", env!("CARGO_PKG_VERSION"));

/// A book that would be longer is not kept. Ten thousand small packages take a twentieth of it.
const LONGEST: usize = 128 << 20;

/// What stands in front of the packages. All of it is read to use one of them, so it is kept small.
#[derive(Serialize, Deserialize)]
struct Index<'b> {
    /// The folders that were walked for packages, sorted.
    #[serde(borrow)]
    walked: Vec<&'b str>,
    /// An [`Entry`] for each, sorted by name.
    #[serde(borrow)]
    packages: Vec<&'b [u8]>,
}

/// What the index says of a package.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry<'b> {
    pub(super) name: &'b str,
    /// Every file and folder that decided what it says, or that it names.
    #[serde(borrow)]
    pub(super) reads: Vec<&'b str>,
    /// Targets and files of other packages that it depends on, each as package and name.
    #[serde(borrow)]
    pub(super) near: Vec<(&'b str, &'b str)>,
    /// Bytes of what is kept of it.
    length: u32,
}

/// What a later build keeps instead.
#[derive(Serialize, Deserialize)]
struct Later<'b> {
    #[serde(borrow)]
    packages: Vec<(Entry<'b>, &'b [u8])>,
}

/// A snapshot's book.
pub(super) struct Book<'b> {
    snapshot: &'b Snapshot,
    walked: Vec<&'b str>,
    /// Sorted by name.
    packages: Vec<(Entry<'b>, Place<'b>)>,
}

/// Where what is kept of a package is.
enum Place<'b> {
    /// Here in the book.
    Book(u64),
    /// In what a later build said.
    Later(&'b [u8]),
}

/// The bytes of a snapshot's index, for [`Book::open`].
pub(super) fn index(snapshot: &Snapshot) -> Option<Vec<u8>> {
    let length = u64::from_le_bytes(snapshot.book(0..8)?.try_into().ok()?);
    snapshot.book(8..length.checked_add(8)?)
}

impl<'b> Book<'b> {
    /// None when it is damaged.
    pub(super) fn open(snapshot: &'b Snapshot, index: &'b [u8]) -> Option<Book<'b>> {
        let Index { walked, packages }: Index<'b> = postcard::from_bytes(ouro_cache::unseal(INDEX, index)?).ok()?;
        let mut end = 8 + index.len() as u64;
        let mut placed = |bytes: &'b [u8]| {
            let entry: Entry<'b> = postcard::from_bytes(bytes).ok()?;
            let start = end;
            end += u64::from(entry.length);
            Some((entry, Place::Book(start)))
        };
        let packages = packages.into_iter().map(&mut placed).collect::<Option<_>>()?;
        let mut book = Book { snapshot, walked, packages };
        for later in snapshot.book_later() {
            let Later { packages } = postcard::from_bytes(later).ok()?;
            packages.into_iter().for_each(|(entry, kept)| book.replace(entry, kept));
        }
        Some(book)
    }

    fn replace(&mut self, entry: Entry<'b>, kept: &'b [u8]) {
        match self.place(entry.name) {
            Ok(place) => self.packages[place] = (entry, Place::Later(kept)),
            Err(place) => self.packages.insert(place, (entry, Place::Later(kept))),
        }
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.packages.binary_search_by(|(entry, _)| entry.name.cmp(name))
    }

    /// How many packages there are.
    pub(super) fn len(&self) -> usize {
        self.packages.len()
    }

    /// Whether there is such a package.
    pub(super) fn has(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// What is kept of a package.
    pub(super) fn kept(&self, name: &str) -> Option<Kept> {
        let (entry, place) = &self.packages[self.place(name).ok()?];
        match place {
            Place::Later(bytes) => postcard::from_bytes(bytes).ok(),
            Place::Book(start) => {
                let sealed = self.snapshot.book(*start..start + u64::from(entry.length))?;
                postcard::from_bytes(ouro_cache::unseal(KEPT, &sealed)?).ok()
            }
        }
    }

    /// What a package read.
    pub(super) fn reads(&self, name: &str) -> &[&'b str] {
        self.place(name).map_or(&[], |place| &self.packages[place].0.reads)
    }

    /// What a package depends on.
    pub(super) fn near(&self, name: &str) -> &[(&'b str, &'b str)] {
        self.place(name).map_or(&[], |place| &self.packages[place].0.near)
    }

    /// Every package.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry<'b>> {
        self.packages.iter().map(|(entry, _)| entry)
    }

    /// Whether there is a package below this folder.
    pub(super) fn has_below(&self, folder: &str) -> bool {
        let inner = format!("{folder}/");
        let first = self.packages.partition_point(|(entry, _)| *entry.name < *inner);
        self.packages.get(first).is_some_and(|(entry, _)| entry.name.starts_with(&inner))
    }

    /// Whether a folder was walked for packages.
    pub(super) fn is_walked(&self, folder: &str) -> bool {
        self.walked.binary_search(&folder).is_ok()
    }

    /// The folders in this one that were walked for packages.
    pub(super) fn walked_in(&self, folder: &str) -> Vec<&'b str> {
        let is_in = |inner: &&&str| !inner.is_empty() && inner.rsplit_once('/').map_or("", |(above, _)| above) == folder;
        self.walked.iter().filter(is_in).copied().collect()
    }
}

/// The bytes of a book of all that was loaded; empty when it would be too long.
pub(super) fn to_bytes(loaded: &Loaded, analysis: &Analysis<'_>) -> Vec<u8> {
    let packed = record::each(loaded, analysis, analysis.graph.requested(), |record| {
        let kept = ouro_cache::seal(KEPT, &pack(&record.kept));
        (pack(&record.entry(kept.len() as u32)), kept)
    });
    if packed.iter().map(|(_, kept)| kept.len()).sum::<usize>() > LONGEST {
        return Vec::new();
    }
    let walked = loaded.reads.walked.iter().map(|folder| &**folder).collect();
    let packages = packed.iter().map(|(entry, _)| &entry[..]).collect();
    let index = ouro_cache::seal(INDEX, &pack(&Index { walked, packages }));
    let mut book = [&(index.len() as u64).to_le_bytes()[..], &index].concat();
    packed.iter().for_each(|(_, kept)| book.extend(kept));
    book
}

/// What is to be kept of every package that was loaded; `asked` are the targets that were asked for.
pub(super) fn records(loaded: &Loaded, analysis: &Analysis<'_>, asked: &[NodeId]) -> Vec<Record> {
    record::each(loaded, analysis, asked, |record| record)
}

/// What a later build keeps of these packages.
pub(super) fn later<'r>(records: impl Iterator<Item = &'r Record>) -> Vec<u8> {
    let packed: Vec<(&Record, Vec<u8>)> = records.map(|record| (record, pack(&record.kept))).collect();
    if packed.is_empty() {
        return Vec::new();
    }
    pack(&Later { packages: packed.iter().map(|(record, kept)| (record.entry(0), &kept[..])).collect() })
}

fn pack<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("BUG: it is plain data")
}
