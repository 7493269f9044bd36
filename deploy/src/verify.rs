//! Verify: has the kernel judge programs, and leaves nothing behind: nothing is pinned or attached.
//!
//! Knows bundles and objects, not deployments.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ouro_rules::bundle::Bundle;
use ouro_rules::hook;
use ouro_rules::manifest::{COUNTS_MAP, Candidate, ManifestProgram, TABLE_MAP};

use crate::Error;
use crate::extension::replaced;
use crate::kernel::{self, CoreTypes, LoadOptions, Loader, Request, Verified};

/// How programs are judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// A file with the types of the kernel that CO-RE relocations are made for, instead of the running kernel's.
    pub btf: Option<PathBuf>,
    /// Whether the verifier is to write its log of programs it takes, too.
    pub whole_log: bool,
}

/// What the kernel says of one program.
#[derive(Debug)]
pub struct Verdict {
    /// The program's name; of one in an object alone, the C function.
    pub program: String,
    /// The program in whose place it can stand, if it is a candidate.
    pub place: Option<String>,
    /// Whether its chain does without it.
    pub optional: bool,
    /// Its ELF section, or its declared type.
    pub section: String,
    /// What the verifier told of it, or why it was refused.
    pub outcome: Result<Verified, Error>,
    /// What the verifier wrote; the whole log if that was asked for or the program was rejected.
    pub log: String,
}

/// Judges the programs of a bundle, all candidates of each, with a jump table and maps of their own. The kernel judges programs for a
/// network card, too: that need not be here. Fails only without the rights to try.
pub fn verify_bundle(bundle: &Bundle, options: &VerifyOptions) -> Result<Vec<Verdict>, Error> {
    let manifest = &bundle.manifest;
    kernel::require_capabilities(kernel::needed_capabilities(crate::follows_kernel(manifest)))?;
    let mut loader = loader(options, CoreTypes::of(bundle, options.btf.as_ref()));
    let edges = u32::try_from(manifest.edges.len()).unwrap_or(u32::MAX);
    let failed = |error| Error::io("cannot create the jump table", error);
    let (table, counts) = kernel::passing(manifest.table_size, edges).map_err(failed)?;
    loader.lend(TABLE_MAP, table);
    loader.lend(COUNTS_MAP, counts);
    let mut shared = Vec::new();
    for map in &manifest.maps {
        shared.extend(bundle.objects.values().find_map(|object| loader.lend_declared(object, &map.name).transpose()));
    }
    shared.into_iter().collect::<Result<(), Error>>()?;
    let tried =
        manifest.programs.iter().flat_map(|program| program.tried().into_iter().map(move |candidate| (program, candidate)));
    let mut all: Vec<(&ManifestProgram, Candidate)> = Vec::new();
    for (program, candidate) in tried {
        let others = functions(&mut loader, bundle, program, &candidate)?;
        all.push((program, candidate));
        all.extend(others.into_iter().map(|other| (program, other)));
    }
    let tried = all;
    let requests: Vec<Request<'_>> = tried.iter().map(|(program, candidate)| request(bundle, program, candidate)).collect();
    let mut verdicts = judge(&mut loader, &requests);
    for (verdict, (program, _)) in verdicts.iter_mut().zip(&tried) {
        verdict.place = (!program.candidates.is_empty()).then(|| program.name.clone());
        verdict.optional = program.optional;
    }
    Ok(verdicts)
}

/// The other functions of the tables that a program stands for.
fn functions<'a>(
    loader: &mut Loader<'a>,
    bundle: &'a Bundle,
    program: &ManifestProgram,
    candidate: &Candidate,
) -> Result<Vec<Candidate>, Error> {
    let is_of_table = |ty: &str| hook::find(ty).is_some_and(|ty| ty.prog_type == "struct_ops");
    let Some(object) = bundle.objects.get(&candidate.object).filter(|_| is_of_table(&program.ty)) else { return Ok(Vec::new()) };
    let mut found = loader.programs(object, &program.name)?;
    found.retain(|(function, section)| is_of_table(section) && *function != candidate.function);
    let other = |(function, _): (String, String)| Candidate { name: function.clone(), function, ..candidate.clone() };
    Ok(found.into_iter().map(other).collect())
}

/// Judges every program of an object file called `name`.
pub fn verify_object(name: &str, object: &[u8], options: &VerifyOptions) -> Result<Vec<Verdict>, Error> {
    let mut loader = loader(options, options.btf.clone().map(CoreTypes::File).unwrap_or_default());
    let programs = loader.programs(object, name)?;
    let follows_kernel = programs.iter().any(|(_, section)| kernel::follows_kernel(section));
    kernel::require_capabilities(kernel::needed_capabilities(follows_kernel))?;
    let none = BTreeMap::new();
    let request = |(function, section): (String, String)| {
        let (program, function, ty) = (function.clone().into(), function.into(), section.into());
        Request { object, program, function, ty, globals: &none, pin: None, slot: None, replaces: None }
    };
    let requests: Vec<Request<'_>> = programs.into_iter().map(request).collect();
    Ok(judge(&mut loader, &requests))
}

fn loader<'a>(options: &VerifyOptions, core: CoreTypes) -> Loader<'a> {
    Loader::new(LoadOptions { core, whole_log: options.whole_log, card: None })
}

/// A program whose object the bundle does not have is one in an empty object.
fn request<'a>(bundle: &'a Bundle, place: &'a ManifestProgram, program: &'a Candidate) -> Request<'a> {
    let object = bundle.objects.get(&program.object).map_or(&[][..], Vec::as_slice);
    let (name, function) = (program.name.as_str().into(), program.function.as_str().into());
    Request {
        object,
        program: name,
        function,
        ty: place.ty.as_str().into(),
        globals: &program.globals,
        pin: None,
        slot: None,
        replaces: replaced(bundle, place),
    }
}

fn judge<'a>(loader: &mut Loader<'a>, requests: &[Request<'a>]) -> Vec<Verdict> {
    let results = loader.load_all(requests);
    let verdict = |(request, result): (&Request<'_>, Result<kernel::Loaded, Error>)| {
        let (outcome, log) = match result {
            Ok(loaded) => (Ok(loaded.verified), loaded.log),
            Err(Error::Rejected(rejection)) => {
                let log = rejection.log.clone();
                (Err(Error::Rejected(rejection)), log)
            }
            Err(error) => (Err(error), String::new()),
        };
        let (program, section) = (request.program.to_string(), request.ty.to_string());
        Verdict { program, place: None, optional: false, section, outcome, log }
    };
    requests.iter().zip(results).map(verdict).collect()
}
