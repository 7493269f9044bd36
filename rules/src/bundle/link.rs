//! Links a chain: what its objects leave open is filled in, and what they tell goes into the manifest.
//!
//! Knows nothing of the archive that all of it travels in.

use std::collections::BTreeMap;

use ouro_btf::Btf;
use ouro_cache::Digest;

use super::maps::{fill, maps};
use super::pack;
use super::places::{no_probes, probes, tables};
use crate::chain::{ChainSpec, Member, Tried};
use crate::diagnostic::Diagnostic;
use crate::hook;
use crate::manifest::{BTF_FILE, COUNTING, Candidate, EDGE_PREFIX, FORMAT, Manifest, ManifestProgram, MapSpec, SLOT_PREFIX};
use crate::object::{self, Expected, Facts, Side};

/// Links a chain: fills slots and edge ids into its objects and packs them with the manifest. In the chain's order: what each
/// program's object must be, and the objects, candidate by candidate; then the types of a kernel, if they travel with it.
pub fn link(spec: &ChainSpec, expected: &[Expected], objects: &[impl AsRef<[u8]>]) -> Result<Vec<u8>, Vec<Diagnostic>> {
    let mut findings = Vec::new();
    let mut linked = BTreeMap::new();
    let mut programs = Vec::new();
    let mut all_facts = Vec::new();
    let mut given = expected.iter().zip(objects);
    for (index, member) in spec.programs.iter().enumerate() {
        let mut candidates = Vec::new();
        for (tried, (expected, object)) in member.tried.iter().zip(given.by_ref()) {
            match link_program(spec, index, tried, expected, object.as_ref()) {
                Ok((candidate, object, facts)) => {
                    linked.insert(candidate.object.clone(), object);
                    candidates.push(candidate);
                    all_facts.push((&tried.label, facts));
                }
                Err(more) => findings.extend(more),
            }
        }
        programs.extend(program(member, candidates));
    }
    let mut maps = maps(spec, &all_facts, &mut findings);
    findings.extend(no_probes(spec, &all_facts));
    findings.extend(extensions(spec, &programs, &linked));
    let attach =
        tables(spec, &programs, &linked).and_then(|attach| probes(attach, &programs, &linked)).unwrap_or_else(|finding| {
            findings.push(finding);
            Vec::new()
        });
    let big_endian = objects.first().is_some_and(|object| object::is_big_endian(object.as_ref()));
    findings.extend(fill(&mut maps, spec, big_endian));
    if !findings.is_empty() {
        return Err(findings);
    }
    let btf = spec.has_btf.then(|| objects.last()).flatten().map(AsRef::as_ref);
    if btf.is_some_and(|btf| Btf::read(btf).is_err()) {
        let finding = Diagnostic::bare(format!("the `btf` of `{}` is no BTF", spec.chain));
        return Err(vec![finding.help("name a file such as `/sys/kernel/btf/vmlinux` of the kernel it is for")]);
    }
    linked.extend(btf.map(|btf| (BTF_FILE.to_owned(), btf.to_vec())));
    pack(&Manifest { attach, ..manifest(spec, programs, maps, btf) }, &linked)
        .map_err(|error| vec![Diagnostic::bare(format!("cannot pack the bundle: {error}"))])
}

/// The member with the first of its candidates in its place; none if there is something wrong with all.
fn program(member: &Member, candidates: Vec<Candidate>) -> Option<ManifestProgram> {
    let Candidate { function, object, digest, globals, requires, .. } = candidates.first()?.clone();
    Some(ManifestProgram {
        label: member.label.to_string(),
        name: member.label.name.to_string(),
        ty: member.ty.clone(),
        function,
        slot: member.slot,
        object,
        digest,
        globals,
        requires: if member.has_candidates() { Vec::new() } else { requires },
        optional: member.optional,
        candidates: if member.has_candidates() { candidates } else { Vec::new() },
        replaces: member.replaces.clone(),
        settled: None,
    })
}

fn link_program(
    spec: &ChainSpec,
    index: usize,
    tried: &Tried,
    expected: &Expected,
    object: &[u8],
) -> Result<(Candidate, Vec<u8>, Facts), Vec<Diagnostic>> {
    let member = &spec.programs[index];
    let facts = object::inspect(object, expected)?;
    let mut findings = object::check_globals(&expected.label, object, &tried.globals);
    findings.extend(globals_on_card(spec, &expected.label, object).filter(|_| !member.has_candidates()));
    if !findings.is_empty() {
        return Err(findings);
    }
    let linked = patch(spec, index, object)
        .map_err(|message| vec![Diagnostic::bare(format!("cannot link `{}`: {message}", tried.label))])?;
    // A program may be a candidate in one place and stand in another: it is linked for each.
    let place = if member.has_candidates() { format!("{}.", member.label.name) } else { String::new() };
    let candidate = Candidate {
        label: tried.label.to_string(),
        name: tried.label.name.to_string(),
        function: facts.function.clone(),
        object: format!("objects/{place}{}.o", tried.label.name),
        digest: Digest::of(&linked).to_string(),
        globals: tried.globals.clone(),
        requires: tried.requires.clone(),
    };
    Ok((candidate, linked, facts))
}

/// A network card has no memory that a program could reach without a map. Of candidates one without variables will do.
fn globals_on_card(spec: &ChainSpec, label: &str, object: &[u8]) -> Option<Diagnostic> {
    let card = spec.attach.iter().find(|point| point.is_offloaded())?.interface()?;
    let global = object::globals(object).ok()?.into_iter().next()?;
    let message = format!("`{label}` has the global variable `{}`, and the network card of `{card}` has none", global.name);
    let help = "write what is constant as an `enum` or a macro, and keep what changes in an `array` map; or attach with `mode = \"native\"`";
    Some(Diagnostic::bare(message).note(format!("`{}` asks for the card", spec.chain)).help(help))
}

/// What is wrong with extensions and the functions that they replace.
fn extensions(spec: &ChainSpec, programs: &[ManifestProgram], objects: &BTreeMap<String, Vec<u8>>) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for extension in programs {
        let target = extension.replaces.as_ref().and_then(|replaces| {
            let target = programs.iter().find(|program| program.name == replaces.program)?;
            Some((target, &replaces.function, objects.get(&target.object)?))
        });
        let Some((target, function, object)) = target else { continue };
        let target = Side { label: &target.label, object, function: &target.function };
        for candidate in extension.tried() {
            let Some(object) = objects.get(&candidate.object) else { continue };
            let own = Side { label: &candidate.label, object, function: &candidate.function };
            let finding = object::check_replaced(target, function, own);
            findings.extend(finding.map(|finding| finding.note(format!("`{}` asks for it", spec.chain))));
        }
    }
    findings
}

/// Writes the chain's numbers into the object's link section.
fn patch(spec: &ChainSpec, index: usize, object: &[u8]) -> Result<Vec<u8>, String> {
    let mut linked = object.to_vec();
    for symbol in object::link_symbols(object).map_err(|finding| finding.message)? {
        let value = value_of(spec, index, &symbol.name)?;
        let place = linked.get_mut(symbol.file_offset..symbol.file_offset + 4).ok_or("the link section is cut short")?;
        place.copy_from_slice(&symbol.bytes(value));
    }
    Ok(linked)
}

fn value_of(spec: &ChainSpec, index: usize, symbol: &str) -> Result<u32, String> {
    let edge_named = |name: &str| {
        let found = spec.edges.iter().zip(0u32..).find(|(edge, _)| edge.from as usize == index && edge.name == name);
        found.ok_or_else(|| format!("jump `{name}` is not part of `{}`", spec.chain))
    };
    if symbol == COUNTING {
        return Ok(u32::from(spec.counting));
    }
    if let Some(name) = symbol.strip_prefix(EDGE_PREFIX) {
        return edge_named(name).map(|(_, id)| id);
    }
    let name = symbol.strip_prefix(SLOT_PREFIX).ok_or_else(|| format!("unknown symbol `{symbol}`"))?;
    let (edge, _) = edge_named(name)?;
    spec.programs[edge.to as usize].slot.ok_or_else(|| format!("`{name}` has no slot"))
}

fn manifest(spec: &ChainSpec, programs: Vec<ManifestProgram>, maps: Vec<MapSpec>, btf: Option<&[u8]>) -> Manifest {
    let entry_type = spec.programs.first().map(|entry| entry.ty.as_str()).unwrap_or_default();
    Manifest {
        format: FORMAT,
        workspace: spec.workspace.clone(),
        chain: spec.chain.to_string(),
        name: spec.name.clone(),
        program_type: hook::find(entry_type).map_or(entry_type, |hook| hook.prefix).to_owned(),
        table_size: spec.table_size,
        counting: spec.counting,
        programs,
        edges: spec.edges.clone(),
        maps,
        attach: spec.attach.clone(),
        atomic: spec.atomic,
        tests: spec.tests.clone(),
        btf: btf.map(|btf| Digest::of(btf).to_string()),
        card: None,
        devices: Vec::new(),
    }
}
