//! Chooses what stands in the place of programs that depend on the kernel: asks it what they require, then has it verify one
//! candidate after another, on a table and maps of their own, until it takes one.
//!
//! Leaves nothing behind. Knows bundles, not deployments: what it gives is a bundle with nothing open.

use std::borrow::Cow;
use std::io;

use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{COUNTS_MAP, Candidate, Manifest, ManifestProgram, Replaces, TABLE_MAP};
use serde::Serialize;

use crate::Error;
use crate::extension::{extended, replaced};
use crate::kernel::{self, CoreTypes, LoadOptions, Loader, Request, Requirements};

/// What became of a program that depends on the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// Its name.
    pub program: String,
    /// What can stand in its place, in the order tried; itself alone if it has no candidates.
    pub candidates: Vec<String>,
    /// Which one does; none if the kernel takes none.
    pub taken: Option<String>,
    /// Whether the chain does without it.
    pub optional: bool,
    /// Of an extension, the function whose place it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Replaces>,
    /// Those before, and why not.
    pub rejected: Vec<Refusal>,
}

/// A candidate that the kernel does not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Its name.
    pub candidate: String,
    /// Whether that was clear before it was loaded.
    pub probed: bool,
    /// Why.
    pub why: String,
    /// What to change, where we know.
    pub help: Option<String>,
}

impl Choice {
    /// Why the kernel takes none of them, or not the ones before, a line each; more lines of one reason are indented.
    pub fn reasons(&self) -> Vec<String> {
        let reason = |refusal: &Refusal| format!("`{}`: {}", refusal.candidate, refusal.why.replace('\n', "\n  "));
        self.rejected.iter().map(reason).collect()
    }
}

/// A program whose place is being filled.
struct Trial<'a> {
    program: &'a ManifestProgram,
    tried: Vec<Candidate>,
    taken: bool,
    rejected: Vec<Refusal>,
}

impl<'a> Trial<'a> {
    fn new(program: &'a ManifestProgram) -> Trial<'a> {
        Trial { program, tried: program.tried(), taken: false, rejected: Vec::new() }
    }

    /// The candidate whose turn it is; none if one was taken, or none is left.
    fn next(&self) -> Option<usize> {
        Some(self.rejected.len()).filter(|place| !self.taken && *place < self.tried.len())
    }

    /// Passes over all that the kernel surely lacks something for.
    fn probe(&mut self, requirements: &Requirements) {
        while let Some(place) = self.next() {
            let Some(why) = self.tried[place].requires.iter().find_map(|needed| requirements.lacks(needed)) else { return };
            self.reject(place, true, why, None);
        }
    }

    fn reject(&mut self, place: usize, probed: bool, why: String, help: Option<String>) {
        self.rejected.push(Refusal { candidate: self.tried[place].name.clone(), probed, why, help });
    }

    fn taken(&self) -> Option<&Candidate> {
        self.tried.get(self.rejected.len()).filter(|_| self.taken)
    }

    fn choice(&self) -> Choice {
        Choice {
            program: self.program.name.clone(),
            candidates: self.tried.iter().map(|candidate| candidate.name.clone()).collect(),
            taken: self.taken().map(|candidate| candidate.name.clone()),
            optional: self.program.optional,
            replaces: self.program.replaces.clone(),
            rejected: self.rejected.clone(),
        }
    }
}

/// The bundle as this kernel takes it, and what became of each program that depends on the kernel. Fails if it takes none of the
/// candidates of a program that is not optional.
pub(crate) fn choose<'a>(bundle: &'a Bundle, core: CoreTypes) -> Result<(Cow<'a, Bundle>, Vec<Choice>), Error> {
    let mut trials: Vec<Trial<'_>> =
        bundle.manifest.programs.iter().filter(|program| program.is_open()).map(Trial::new).collect();
    if trials.is_empty() {
        return Ok((Cow::Borrowed(bundle), Vec::new()));
    }
    let requirements = Requirements::default();
    loop {
        trials.iter_mut().for_each(|trial| trial.probe(&requirements));
        if trials.iter().all(|trial| trial.next().is_none()) {
            break;
        }
        load_next(bundle, &mut trials, core.clone())?;
    }
    let choices: Vec<Choice> = trials.iter().map(Trial::choice).collect();
    let failed = |choice: &&Choice| choice.taken.is_none() && !choice.optional;
    let failed: Vec<Choice> = choices.iter().filter(failed).cloned().collect();
    if !failed.is_empty() {
        return Err(Error::NoCandidate(failed));
    }
    let programs = bundle.manifest.programs.iter().map(|program| settled(program, &trials)).collect();
    let manifest = Manifest { programs, ..bundle.manifest.clone() };
    Ok((Cow::Owned(Bundle { manifest, ..bundle.clone() }), choices))
}

fn settled(program: &ManifestProgram, trials: &[Trial<'_>]) -> ManifestProgram {
    match trials.iter().find(|trial| trial.program.name == program.name).map(Trial::taken) {
        None => program.clone(),
        Some(Some(taken)) => program.settle(taken),
        Some(None) => program.leave_out(),
    }
}

/// Has the kernel verify the next candidate of every program that waits for one, on all cores.
fn load_next(bundle: &Bundle, trials: &mut [Trial<'_>], core: CoreTypes) -> Result<(), Error> {
    let turns: Vec<(usize, usize)> =
        trials.iter().enumerate().filter_map(|(number, trial)| Some((number, trial.next()?))).collect();
    let wanted = turns.iter().map(|(number, place)| request(bundle, trials[*number].program, &trials[*number].tried[*place]));
    let mut requests: Vec<Request<'_>> = wanted.collect::<Result<_, Error>>()?;
    // What is extended must be loaded, too, and is tried only for that.
    let extended = turns.iter().find_map(|(number, _)| extended(bundle, trials[*number].program));
    let extended: Vec<Candidate> = extended.iter().flat_map(|program| program.tried()).collect();
    requests.extend(extended.first().map(|first| request(bundle, &bundle.manifest.programs[0], first)).transpose()?);
    let results = loader(bundle, core)?.load_all(&requests);
    for ((number, place), result) in turns.into_iter().zip(results) {
        match result {
            Ok(_) => trials[number].taken = true,
            Err(error) if is_momentary(&error) => return Err(error),
            Err(error) => trials[number].reject(place, false, error.to_string(), error.help()),
        }
    }
    Ok(())
}

/// With a jump table of their own: a program that only is verified can make a live one its own for ever.
fn loader<'a>(bundle: &Bundle, core: CoreTypes) -> Result<Loader<'a>, Error> {
    let mut loader = Loader::new(LoadOptions { core, card: bundle.manifest.card, whole_log: false });
    let edges = u32::try_from(bundle.manifest.edges.len()).unwrap_or(u32::MAX);
    let failed = |error| Error::io("cannot create a jump table", error);
    let (table, counts) = kernel::passing(bundle.manifest.table_size, edges).map_err(failed)?;
    loader.lend(TABLE_MAP, table);
    loader.lend(COUNTS_MAP, counts);
    Ok(loader)
}

fn request<'a>(bundle: &'a Bundle, place: &'a ManifestProgram, candidate: &'a Candidate) -> Result<Request<'a>, Error> {
    let Candidate { name, function, object, globals, .. } = candidate;
    let missing = || Error::Object { of: name.clone(), reason: format!("the bundle has no `{object}`") };
    let bytes = bundle.objects.get(object).ok_or_else(missing)?;
    Ok(Request {
        object: bytes,
        program: name.into(),
        function: function.into(),
        globals,
        ty: place.ty.as_str().into(),
        pin: None,
        slot: None,
        replaces: replaced(bundle, place),
    })
}

/// Whether the same kernel may take it in a moment: that says nothing about the candidate.
fn is_momentary(error: &Error) -> bool {
    let Error::System { source, .. } = error else { return false };
    matches!(source.kind(), io::ErrorKind::OutOfMemory | io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
        || matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
