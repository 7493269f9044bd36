//! A snapshot's bytes, from what a build knows.
//!
//! Touches no file.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use ouro_cache::Digest;

use super::files::{above, packed, packed_roles, split, splits};
use super::steps::Row;
use super::{BODY, HEAD, Known, StepId};

/// Folders with fewer files are not opened: a look from the one above costs less than opening and closing.
const WORTH_OPENING: usize = 16;

/// What a snapshot is made of.
pub struct Draft<'a> {
    /// Every file, by path.
    pub files: HashMap<Arc<str>, Known>,
    /// Every action, each after those it needs. There are many, so each is made when it is written.
    pub steps: Box<dyn Iterator<Item = Step<'a>> + 'a>,
    /// See [`super::Snapshot::said`].
    pub said: Vec<u8>,
    /// See [`super::Snapshot::book`].
    pub book: Vec<u8>,
}

/// An action. Its files must be among those of the draft.
#[derive(Default)]
pub struct Step<'a> {
    /// What it reads, as declared.
    pub inputs: Vec<&'a str>,
    /// What it makes.
    pub outputs: Vec<&'a str>,
    /// What it reads besides.
    pub reads: Vec<&'a str>,
    /// Texts that many actions share.
    pub words: Vec<&'a str>,
    /// What it is; empty when only a build from the start can do it.
    pub what: Vec<u8>,
    /// What came of it.
    pub result: Vec<u8>,
    /// See [`super::Snapshot::told`]; empty when it told nothing.
    pub told: Vec<u8>,
}

impl Default for Draft<'_> {
    fn default() -> Self {
        Draft { files: HashMap::new(), steps: Box::new(std::iter::empty()), said: Vec::new(), book: Vec::new() }
    }
}

/// The parts of the file, for in one piece they would take as much memory again; nothing when there is too much for numbers of 32
/// bits.
pub(super) fn encode(draft: Draft<'_>, request: &Digest) -> Option<Vec<Vec<u8>>> {
    let Draft { files, steps, said, book } = draft;
    let files = placed(&files);
    let (body, told) = body(steps, &files);
    let body = sealed(BODY, body);
    let counts = [said.len(), told.len(), length(&body), book.len()];
    let head = sealed(HEAD, head(&files, request, counts).into_iter().chain([said, told]).collect());
    let fits = u32::try_from(length(&head).max(length(&body))).is_ok();
    let first = (length(&head) as u64).to_le_bytes().to_vec();
    fits.then(|| [vec![first], head, body, vec![book]].into_iter().flatten().collect())
}

fn sealed(kind: &str, parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    [ouro_cache::sum_of(kind, &parts)].into_iter().chain(parts).collect()
}

fn length(parts: &[Vec<u8>]) -> usize {
    parts.iter().map(Vec::len).sum()
}

/// A file in its place.
struct Placed<'a> {
    folder: &'a str,
    name: &'a str,
    path: &'a str,
    known: Known,
}

/// Every file in the nearest folder above it that is worth opening.
fn placed(files: &HashMap<Arc<str>, Known>) -> Vec<Placed<'_>> {
    let opened = worth_opening(files.keys().map(|path| split(path).0));
    let mut placed: Vec<Placed<'_>> = files.iter().map(|(path, known)| placed_one(path, *known, &opened)).collect();
    placed.sort_unstable_by_key(|file| (file.folder, file.name));
    placed
}

fn placed_one<'a>(path: &'a str, known: Known, opened: &HashSet<&str>) -> Placed<'a> {
    let (folder, name) = splits(path).find(|(folder, _)| opened.contains(folder)).expect("BUG: the last folder is opened");
    Placed { folder, name, path, known }
}

/// Of these folders, one for each file, and those above them: the ones to open. The deepest decide first, and leave their files to
/// the folder above if they are few.
fn worth_opening<'a>(folders: impl Iterator<Item = &'a str>) -> HashSet<&'a str> {
    let depth = |folder: &str| Reverse(folder.bytes().filter(|byte| *byte == b'/').count());
    let mut counts: BTreeMap<(Reverse<usize>, &str), usize> = BTreeMap::new();
    folders.for_each(|folder| *counts.entry((depth(folder), folder)).or_default() += 1);
    let mut opened = HashSet::new();
    while let Some(((_, folder), count)) = counts.pop_first() {
        match above(folder).filter(|_| count < WORTH_OPENING) {
            Some(above) => *counts.entry((depth(above), above)).or_default() += count,
            None => drop(opened.insert(folder)),
        }
    }
    opened
}

/// But for what was said and told; `counts` are of that, and of what follows the head.
fn head(placed: &[Placed<'_>], request: &Digest, counts: [usize; 4]) -> Vec<Vec<u8>> {
    let mut text = Text::default();
    let (mut folders, mut stamps, mut names, mut roles) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for group in placed.chunk_by(|a, b| a.folder == b.folder) {
        folders.extend(text.add(group[0].folder));
        folders.extend((roles.len() as u32).to_le_bytes());
        for file in group {
            let (stamp, mode) = packed(file.known.stamp);
            stamps.extend(stamp);
            names.extend(text.add(file.name));
            names.extend(mode);
            roles.push(packed_roles(&file.known));
        }
    }
    let counts = [folders.len() / 8, roles.len(), text.0.len()].into_iter().chain(counts);
    let counts = counts.flat_map(|count| (count as u64).to_le_bytes()).collect();
    vec![request.as_bytes().to_vec(), counts, folders, stamps, names, roles, text.0]
}

/// Texts one after the other, each ended by a zero byte.
#[derive(Default)]
struct Text(Vec<u8>);

impl Text {
    fn add(&mut self, text: &str) -> [u8; 4] {
        let place = self.0.len() as u32;
        self.0.extend(text.as_bytes());
        self.0.push(0);
        place.to_le_bytes()
    }
}

/// The parts of the body, and what actions told.
fn body<'a>(steps: impl Iterator<Item = Step<'a>>, placed: &[Placed<'_>]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let digests = placed.iter().flat_map(|file| file.known.digest.map_or([0; 32], |digest| *digest.as_bytes()));
    let mut body = Body { numbers: (0..).zip(placed).map(|(number, file)| (file.path, number)).collect(), ..Body::default() };
    let mut told: Vec<(StepId, Vec<u8>)> = Vec::new();
    for (step, number) in steps.zip(0..) {
        body.add(&step);
        if !step.told.is_empty() {
            told.push((StepId(number), step.told));
        }
    }
    let counts = [body.rows.len() / Row::SIZE, body.ids.len() / 4, body.uses.len() / 4, body.words.0.len(), body.data.len()];
    let counts = counts.iter().flat_map(|count| (*count as u64).to_le_bytes());
    let told = postcard::to_stdvec(&told).expect("BUG: bytes are plain data");
    (vec![digests.chain(counts).collect(), body.rows, body.ids, body.uses, body.words.0, body.data], told)
}

#[derive(Default)]
struct Body<'f, 'a> {
    numbers: HashMap<&'f str, u32>,
    known_words: HashMap<&'a str, [u8; 4]>,
    rows: Vec<u8>,
    ids: Vec<u8>,
    uses: Vec<u8>,
    words: Text,
    data: Vec<u8>,
}

impl<'a> Body<'_, 'a> {
    fn add(&mut self, step: &Step<'a>) {
        let row = Row {
            ids: (self.ids.len() / 4) as u32,
            inputs: step.inputs.len() as u32,
            outputs: step.outputs.len() as u32,
            reads: step.reads.len() as u32,
            uses: (self.uses.len() / 4) as u32,
            words: step.words.len() as u32,
            data: self.data.len() as u32,
            what: step.what.len() as u32,
            result: step.result.len() as u32,
        };
        self.rows.extend(row.to_bytes());
        for path in step.inputs.iter().chain(&step.outputs).chain(&step.reads) {
            let number = self.numbers.get(path).expect("BUG: the files of steps are files of the draft");
            self.ids.extend(number.to_le_bytes());
        }
        for word in &step.words {
            let place = match self.known_words.entry(word) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => *new.insert(self.words.add(word)),
            };
            self.uses.extend(place);
        }
        self.data.extend(&step.what);
        self.data.extend(&step.result);
    }
}
