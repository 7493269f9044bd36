//! The journal: what every action depended on the last times it was done, so that whoever asks why it ran finds an answer.
//!
//! Knows facts as kinds and bytes, exactly as they go into a key, and not what they mean. One batch is appended at the end of
//! each build that did something; in it every text, and every fact, stands once. A batch is framed as: mark (8 bytes), length of
//! the body (4, little-endian), sealed body. What a crash or a full disk left unfinished is skipped by searching the next mark.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ouro_cache::Digest;
use serde::{Deserialize, Serialize};

use super::{STATE_FOLDER, StateError};

const MARK: &[u8; 8] = b"\x7fouroJ01";
const HEADER: usize = MARK.len() + 4;

/// The kind of record a batch is; the number changes with the shape of [`Disk`].
const KIND: &str = "ouro journal v1";

/// A journal smaller than this is never rewritten.
const SMALL: u64 = 4 << 20;

/// A journal is rewritten when it has become this many times as large as its first batch, which is a first build or what the last
/// rewriting kept.
const GROWTH: u64 = 4;

/// What is kept of each action: the last time it was done and, to compare with, the time before.
const KEPT: usize = 2;

/// One thing an action depended on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fact {
    /// Its kind: `argument`.
    pub kind: Arc<str>,
    /// Its parts, as [`crate::execute::key::Ingredient::with_parts`] gives them.
    pub parts: [Arc<[u8]>; 2],
}

impl Fact {
    /// From what is borrowed.
    pub fn new(kind: &str, parts: [&[u8]; 2]) -> Fact {
        Fact { kind: kind.into(), parts: parts.map(Arc::from) }
    }
}

/// How an action came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// It ran, and well.
    Ran,
    /// Its result was taken from the cache.
    Cached,
    /// It ran, and failed.
    Failed,
}

/// An output that was not as its action had left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Displaced {
    /// From the workspace root.
    pub path: Arc<str>,
    /// The bytes that were there; nothing when it was gone.
    pub found: Option<Digest>,
}

/// One time an action was done, and what it depended on then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The doing.
    pub deed: Deed,
    /// What it depended on, in order.
    pub facts: Vec<Arc<Fact>>,
}

/// One time an action was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// The first output, which names the action.
    pub output: Arc<str>,
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub ended: Ended,
    /// Outputs that were not in place before.
    pub displaced: Vec<Displaced>,
}

/// What the journal tells: for each action the last times it was done, the oldest first.
pub type Journal = BTreeMap<Arc<str>, Vec<Record>>;

/// Records of one build.
#[derive(Debug, Default)]
pub struct Batch {
    texts: HashMap<Box<[u8]>, u32>,
    facts: HashMap<(u32, u32, u32), u32>,
    disk: Disk,
}

/// The number of a fact in its batch.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct FactId(u32);

#[derive(Debug, Default, Serialize, Deserialize)]
struct Disk {
    texts: Vec<Box<[u8]>>,
    facts: Vec<(u32, u32, u32)>,
    records: Vec<DiskRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct DiskRecord {
    output: u32,
    /// Milliseconds since 1970.
    began: u64,
    took: Duration,
    ended: Ended,
    facts: Vec<FactId>,
    displaced: Vec<(u32, Option<Digest>)>,
}

impl Batch {
    fn of<'a>(records: impl Iterator<Item = &'a Record>) -> Batch {
        let mut batch = Batch::default();
        for record in records {
            let facts = record.facts.iter().map(|fact| batch.fact(&fact.kind, [&fact.parts[0], &fact.parts[1]])).collect();
            batch.add(&record.deed, facts);
        }
        batch
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.disk.records.is_empty()
    }

    /// The number of a fact, to be used in records of this batch.
    pub fn fact(&mut self, kind: &str, [first, second]: [&[u8]; 2]) -> FactId {
        let fact = (self.text(kind.as_bytes()), self.text(first), self.text(second));
        let facts = &mut self.disk.facts;
        FactId(*self.facts.entry(fact).or_insert_with(|| {
            facts.push(fact);
            (facts.len() - 1) as u32
        }))
    }

    /// Adds a record.
    pub fn add(&mut self, deed: &Deed, facts: Vec<FactId>) {
        let began = deed.began.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let output = self.text(deed.output.as_bytes());
        let displaced = deed.displaced.iter().map(|displaced| (self.text(displaced.path.as_bytes()), displaced.found)).collect();
        let record = DiskRecord { output, began, took: deed.took, ended: deed.ended, facts, displaced };
        self.disk.records.push(record);
    }

    fn text(&mut self, text: &[u8]) -> u32 {
        if let Some(number) = self.texts.get(text) {
            return *number;
        }
        let number = self.disk.texts.len() as u32;
        self.texts.insert(text.into(), number);
        self.disk.texts.push(text.into());
        number
    }

    fn encode(&self) -> Vec<u8> {
        let body = ouro_cache::seal(KIND, &postcard::to_stdvec(&self.disk).expect("BUG: the journal is plain data"));
        [&MARK[..], &(body.len() as u32).to_le_bytes(), &body].concat()
    }
}

impl Disk {
    /// Nothing when a number points nowhere.
    fn into_records(self) -> Option<Vec<Record>> {
        let mut texts: Vec<Arc<[u8]>> = Vec::with_capacity(self.texts.len());
        texts.extend(self.texts.into_iter().map(Arc::from));
        let bytes = |number: u32| texts.get(number as usize).cloned();
        let text = |number: u32| Some(Arc::from(std::str::from_utf8(texts.get(number as usize)?).ok()?));
        let fact = |(kind, first, second): &(u32, u32, u32)| {
            Some(Arc::new(Fact { kind: text(*kind)?, parts: [bytes(*first)?, bytes(*second)?] }))
        };
        let facts: Vec<Arc<Fact>> = self.facts.iter().map(fact).collect::<Option<_>>()?;
        let record = |disk: DiskRecord| {
            let own = disk.facts.iter().map(|fact| facts.get(fact.0 as usize).cloned());
            let displaced = disk.displaced.into_iter().map(|(path, found)| Some(Displaced { path: text(path)?, found }));
            let deed = Deed {
                output: text(disk.output)?,
                began: UNIX_EPOCH.checked_add(Duration::from_millis(disk.began))?,
                took: disk.took,
                ended: disk.ended,
                displaced: displaced.collect::<Option<_>>()?,
            };
            Some(Record { deed, facts: own.collect::<Option<_>>()? })
        };
        self.records.into_iter().map(record).collect()
    }
}

/// Adds a batch to the journal of the workspace at `root`, under its lock. A journal that became too large is rewritten first: it
/// keeps the last records of each action whose first output `is_known`.
pub fn append(root: &Path, batch: &Batch, is_known: &dyn Fn(&str) -> bool) -> Result<(), StateError> {
    if batch.is_empty() {
        return Ok(());
    }
    let path = place(root);
    if is_full(&path) {
        super::replace(&path, &[compacted(root, is_known).encode()])?;
    }
    let file = File::options().append(true).create(true).open(&path);
    file.and_then(|mut file| file.write_all(&batch.encode())).map_err(StateError::at("write", &path))
}

/// Reads the journal of the workspace at `root`; what is damaged, or another version's, is left out.
pub fn read(root: &Path) -> Journal {
    let bytes = fs::read(place(root)).unwrap_or_default();
    let mut journal = Journal::new();
    let mut rest = &bytes[..];
    while let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) {
        rest = &rest[at..];
        let Some((records, after)) = frame(rest) else {
            rest = &rest[MARK.len()..];
            continue;
        };
        rest = after;
        for record in records {
            let kept = journal.entry(record.deed.output.clone()).or_default();
            kept.push(record);
            kept.drain(..kept.len().saturating_sub(KEPT));
        }
    }
    journal
}

/// The records of the batch that begins here, and what follows it; nothing when it is not whole.
fn frame(bytes: &[u8]) -> Option<(Vec<Record>, &[u8])> {
    let length = u32::from_le_bytes(bytes.get(MARK.len()..HEADER)?.try_into().ok()?) as usize;
    let (body, after) = bytes[HEADER..].split_at_checked(length)?;
    let disk: Disk = postcard::from_bytes(ouro_cache::unseal(KIND, body)?).ok()?;
    Some((disk.into_records()?, after))
}

fn compacted(root: &Path, is_known: &dyn Fn(&str) -> bool) -> Batch {
    Batch::of(read(root).values().flatten().filter(|record| is_known(&record.deed.output)))
}

fn is_full(path: &Path) -> bool {
    let mut header = [0; HEADER];
    let first = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    let length = fs::metadata(path).map_or(0, |metadata| metadata.len());
    let (mark, first_length) = header.split_at(MARK.len());
    let first = match first.is_ok() && mark == MARK {
        true => first_length.try_into().map_or(0, u32::from_le_bytes),
        false => 0,
    };
    length > SMALL.max(GROWTH * u64::from(first))
}

fn place(root: &Path) -> PathBuf {
    root.join(STATE_FOLDER).join("journal")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(output: &str, n: u64) -> Record {
        let facts =
            vec![Arc::new(Fact::new("argument", [b"-O2", b""])), Arc::new(Fact::new("input", [b"a.c", &n.to_le_bytes()]))];
        let displaced = vec![Displaced { path: output.into(), found: Some(Digest::of(&n.to_le_bytes())) }];
        let began = UNIX_EPOCH + Duration::from_millis(n);
        let deed = Deed { output: output.into(), began, took: Duration::from_micros(n), ended: Ended::Ran, displaced };
        Record { deed, facts }
    }

    fn batch(records: &[Record]) -> Batch {
        Batch::of(records.iter())
    }

    fn workspace() -> tempfile::TempDir {
        let dir = tempfile::TempDir::new().unwrap();
        fs::create_dir(dir.path().join(STATE_FOLDER)).unwrap();
        dir
    }

    fn times(root: &Path, output: &str) -> Vec<u64> {
        let took = |record: &Record| record.deed.took.as_micros() as u64;
        read(root).get(output).map(|records| records.iter().map(took).collect()).unwrap_or_default()
    }

    #[test]
    fn the_last_two_of_each_action_are_read_back_whole() {
        let dir = workspace();
        append(dir.path(), &batch(&[record("a.o", 1), record("b.o", 2)]), &|_| true).unwrap();
        append(dir.path(), &batch(&[record("a.o", 3)]), &|_| true).unwrap();
        append(dir.path(), &batch(&[record("a.o", 4)]), &|_| true).unwrap();
        append(dir.path(), &Batch::default(), &|_| true).unwrap();
        let journal = read(dir.path());
        assert_eq!(journal["a.o"], [record("a.o", 3), record("a.o", 4)]);
        assert_eq!(journal["b.o"], [record("b.o", 2)]);
    }

    #[test]
    fn a_text_stands_once_in_a_batch() {
        let many: Vec<Record> = (0..100).map(|n| record("a/long/name/that/takes/room.o", n)).collect();
        assert!(batch(&many).encode().len() < 100 * 75, "{}", batch(&many).encode().len());
    }

    #[test]
    fn a_damaged_batch_hides_no_other() {
        let dir = workspace();
        let (first, last) = (batch(&[record("a.o", 1)]).encode(), batch(&[record("a.o", 2)]).encode());
        let path = place(dir.path());
        for cut in 0..first.len() {
            fs::write(&path, [&last[..], &first[..cut]].concat()).unwrap();
            assert_eq!(times(dir.path(), "a.o"), [2], "the tail was cut to {cut}");
            fs::write(&path, [&first[..cut], &last].concat()).unwrap();
            assert_eq!(times(dir.path(), "a.o"), [2], "the batch before was cut to {cut}");
            let mut bad = first.clone();
            bad[cut] ^= 1;
            fs::write(&path, [&bad[..], &last].concat()).unwrap();
            assert_eq!(times(dir.path(), "a.o"), [2], "byte {cut}");
        }
    }

    #[test]
    fn a_large_journal_keeps_the_last_two_of_what_is_known() {
        let dir = workspace();
        let bulky = |n: u64| {
            let mut record = record("a.o", n);
            record.facts.push(Arc::new(Fact::new("work", [&vec![b'x'; 1 << 20], &n.to_le_bytes()])));
            record
        };
        append(dir.path(), &batch(&[record("gone.o", 1)]), &|_| true).unwrap();
        (1..=4).for_each(|n| append(dir.path(), &batch(&[bulky(n)]), &|_| true).unwrap());
        let before = fs::metadata(place(dir.path())).unwrap().len();
        assert!(before > SMALL);
        append(dir.path(), &batch(&[bulky(5)]), &|output| output != "gone.o").unwrap();
        assert!(fs::metadata(place(dir.path())).unwrap().len() < before);
        assert_eq!(times(dir.path(), "a.o"), [4, 5]);
        assert!(times(dir.path(), "gone.o").is_empty());
        // What the rewriting kept is the measure from now on.
        assert!(!is_full(&place(dir.path())));
    }
}
