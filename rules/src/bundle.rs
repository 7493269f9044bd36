//! Bundles: a chain's objects, linked to its slots, and its manifest, in one file whose bytes depend on nothing else.
//!
//! The file is a tar archive, so that any tool can look inside: `manifest.json` first, then `objects/<program>.o`, sorted, with
//! no owner and no time. The blake3 of all this is the bundle's identity; behind it there may be signatures.

mod check;

use std::collections::BTreeMap;
use std::sync::Arc;

use ouro_btf::Btf;
use ouro_cache::Digest;

use self::check::check;
use crate::chain::{ChainSpec, Member, Tried};
use crate::contents;
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::hook;
use crate::label::Label;
use crate::manifest::{
    Arguments, Attach, BTF_FILE, COUNTING, Candidate, EDGE_PREFIX, FORMAT, Manifest, ManifestProgram, MapSpec, SLOT_PREFIX,
    StructOps, Usdt,
};
use crate::object::{self, Expected, Facts, Side, Table};
use crate::signature::{self, PublicKey};

const MANIFEST: &str = "manifest.json";

/// A bundle, read and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// What a deployer must know.
    pub manifest: Manifest,
    /// The object files by their names in the manifest.
    pub objects: BTreeMap<String, Vec<u8>>,
    /// The types of a kernel that travel with it.
    pub btf: Option<Arc<[u8]>>,
    /// The blake3 of the whole file but its signatures, in hex.
    pub digest: String,
}

/// Why bytes are no bundle that this ouro can deploy.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not a bundle, or cut short.
    #[error("not a bundle: {0}")]
    Malformed(String),
    /// Written by a newer ouro.
    #[error("bundle has format {0}; this ouro knows format {FORMAT}")]
    Format(u32),
    /// Changed after it was written.
    #[error("`{0}` in the bundle does not match its digest in the manifest")]
    Corrupt(String),
    /// Changed after it was signed.
    #[error("the signature of `{0}` does not match: the bundle was changed after it was signed")]
    Signature(PublicKey),
}

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

/// The attach points, with what the entry's object tells of its tables of functions.
fn tables(
    spec: &ChainSpec,
    programs: &[ManifestProgram],
    objects: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<Attach>, Diagnostic> {
    let entry = programs.first().filter(|_| spec.attach.iter().any(|point| matches!(point, Attach::StructOps(_))));
    let Some((entry, object)) = entry.and_then(|entry| Some((entry, objects.get(&entry.object)?))) else {
        return Ok(spec.attach.clone());
    };
    let known = object::tables(object)?;
    let point = |point: &Attach| match point {
        Attach::StructOps(place) => table(&known, &place.table, &entry.label).map(Attach::StructOps),
        other => Ok(other.clone()),
    };
    spec.attach.iter().map(point).collect()
}

/// Whoever reads arguments of probes where no probe is found none, and was not told.
fn no_probes(spec: &ChainSpec, all_facts: &[(&Label, Facts)]) -> Option<Diagnostic> {
    let has_none = !spec.attach.iter().any(|point| matches!(point, Attach::Usdt(_)));
    let (label, _) = all_facts.iter().find(|(_, facts)| has_none && facts.reads_arguments)?;
    let message = format!("`{label}` reads arguments of declared probes, and `{}` is attached to none", spec.chain);
    Some(Diagnostic::bare(message).help("attach the chain by `usdt()`, or do without what libbpf's `usdt.bpf.h` reads"))
}

/// The attach points, with what the objects tell of how they read the arguments of declared probes: all from one table.
fn probes(
    attach: Vec<Attach>,
    programs: &[ManifestProgram],
    objects: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<Attach>, Diagnostic> {
    if !attach.iter().any(|point| matches!(point, Attach::Usdt(_))) {
        return Ok(attach);
    }
    let mut first: Option<(String, Arguments)> = None;
    for Candidate { label, object, .. } in programs.iter().flat_map(ManifestProgram::tried) {
        let Some(object) = objects.get(&object) else { continue };
        match (&first, object::arguments(object)?) {
            (Some((other, known)), Some(own)) if *known != own => {
                let both = format!("`{other}` and `{label}` were compiled with different versions of libbpf's `usdt.bpf.h`");
                return Err(Diagnostic::bare(both).help("include the same one in all programs of the chain"));
            }
            (None, Some(own)) => first = Some((label, own)),
            _ => {}
        }
    }
    let arguments = first.map(|(_, arguments)| arguments);
    let point = |point| match point {
        Attach::Usdt(place) => Attach::Usdt(Usdt { arguments: arguments.clone(), ..place }),
        other => other,
    };
    Ok(attach.into_iter().map(point).collect())
}

/// The table of this name, or the only one.
fn table(known: &[Table], name: &str, program: &str) -> Result<StructOps, Diagnostic> {
    let found = match known {
        [only] if name.is_empty() => Some(only),
        _ => known.iter().find(|table| table.name == name),
    };
    let names: Vec<&str> = known.iter().map(|table| table.name.as_str()).collect();
    let missing = || match (name, known) {
        (_, []) => Diagnostic::bare(format!("the sources of `{program}` hold no table of functions"))
            .help("write `SEC(\".struct_ops.link\") struct tcp_congestion_ops name = { ... };`"),
        ("", _) => Diagnostic::bare(format!("the sources of `{program}` hold several tables of functions"))
            .help(format!("name the one that is meant: `table = \"{}\"`", names[0])),
        _ => Diagnostic::bare(format!("the sources of `{program}` hold no table of functions `{name}`"))
            .help(did_you_mean(name, names.iter().copied()).unwrap_or_else(|| format!("there are `{}`", names.join("`, `")))),
    };
    found.map(|table| StructOps { table: table.name.clone(), ty: table.ty.clone() }).ok_or_else(missing)
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
    }
}

/// The declared maps with the sizes the objects tell; two objects that disagree would read each other's bytes wrongly. A map no
/// object uses has no size and is left out.
fn maps(spec: &ChainSpec, all_facts: &[(&Label, Facts)], findings: &mut Vec<Diagnostic>) -> Vec<MapSpec> {
    let mut maps = Vec::new();
    for declared in &spec.maps {
        let mut seen: Option<(&Label, &MapSpec)> = None;
        for (label, facts) in all_facts {
            let Some(found) = facts.maps.iter().find(|map| map.name == declared.name) else { continue };
            match seen {
                Some((first, known)) if known.abi() != found.abi() => {
                    findings.push(disagree(declared, first, known, label, found));
                }
                Some(_) => {}
                None => seen = Some((label, found)),
            }
        }
        maps.extend(seen.map(|(_, found)| sized(declared, found)));
    }
    maps.extend(held(spec, &maps));
    maps.sort_by(|a: &MapSpec, b| a.name.cmp(&b.name));
    maps
}

/// The declared map with what an object tells of it.
fn sized(declared: &MapSpec, found: &MapSpec) -> MapSpec {
    let MapSpec { key_size, value_size, key_layout, value_layout, inner, .. } = found.clone();
    MapSpec { key_size, value_size, key_layout, value_layout, inner, ..declared.clone() }
}

/// The maps that only maps of maps name: they are as those say.
fn held(spec: &ChainSpec, maps: &[MapSpec]) -> Vec<MapSpec> {
    let is_unsized = |name: &str| maps.iter().all(|map| map.name != name);
    let holder_of = |name: &str| {
        let holds = |map: &&MapSpec| spec.contents.get(&map.name).is_some_and(|contents| contents.names().contains(&name));
        maps.iter().find(holds).and_then(|map| map.inner.as_deref())
    };
    let unsized_maps = spec.maps.iter().filter(|map| is_unsized(&map.name));
    unsized_maps.filter_map(|map| Some(sized(map, holder_of(&map.name)?))).collect()
}

/// Puts in what maps hold at first; maps of maps last, as the pins of those they hold say what those hold.
fn fill(maps: &mut [MapSpec], spec: &ChainSpec, big_endian: bool) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for of_maps in [false, true] {
        let pins = maps.iter().map(|map| (map.name.clone(), map.pin())).collect();
        for map in maps.iter_mut().filter(|map| map.inner.is_some() == of_maps) {
            let Some(given) = spec.contents.get(&map.name) else { continue };
            match contents::elements(map, given, &pins, big_endian) {
                Ok(elements) => map.contents = elements,
                Err(more) => findings.extend(more),
            }
        }
    }
    findings
}

fn disagree(declared: &MapSpec, first: &Label, known: &MapSpec, second: &Label, found: &MapSpec) -> Diagnostic {
    let sizes = |map: &MapSpec| format!("a key of {} and a value of {} bytes", map.key_size, map.value_size);
    let message = match sizes(known) == sizes(found) {
        true => format!("the members of map `{}` are not the same in `{}` and `{}`", declared.name, first, second),
        false => {
            format!("map `{}` has {} in `{}`, and {} in `{}`", declared.name, sizes(known), first, sizes(found), second)
        }
    };
    Diagnostic::bare(message)
        .help("the headers that declare its types must mean the same in both programs; look for `#ifdef`s and defines")
}

fn pack(manifest: &Manifest, objects: &BTreeMap<String, Vec<u8>>) -> std::io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(manifest)?;
    text.push(b'\n');
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, MANIFEST, &text)?;
    for (name, bytes) in objects {
        append(&mut archive, name, bytes)?;
    }
    archive.into_inner()
}

pub(crate) fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    archive.append_data(&mut header, name, bytes)
}

impl Bundle {
    /// Reads a bundle and checks every signature, and every object against its digest.
    pub fn read(bytes: &[u8]) -> Result<Bundle, BundleError> {
        let mut files = unpack(bytes)?;
        let digest = signature::open(bytes)?.digest.to_string();
        let text = files.remove(MANIFEST).ok_or_else(|| BundleError::Malformed("it has no manifest.json".to_owned()))?;
        let manifest = parse_manifest(text)?;
        check(&manifest)?;
        let mut objects = BTreeMap::new();
        for candidate in manifest.programs.iter().flat_map(ManifestProgram::tried) {
            let object = taken(&mut files, &candidate.object, &candidate.digest)?;
            objects.insert(candidate.object, object.to_vec());
        }
        let btf = manifest.btf.as_ref().map(|digest| taken(&mut files, BTF_FILE, digest)).transpose()?.map(Arc::from);
        Ok(Bundle { manifest, objects, btf, digest })
    }
}

/// Takes a file out, if it is as the manifest says.
fn taken<'a>(files: &mut BTreeMap<String, &'a [u8]>, name: &str, digest: &str) -> Result<&'a [u8], BundleError> {
    let bytes = files.remove(name).ok_or_else(|| BundleError::Malformed(format!("`{name}` is missing")))?;
    if Digest::of(bytes).to_string() == digest { Ok(bytes) } else { Err(BundleError::Corrupt(name.to_owned())) }
}

fn parse_manifest(text: &[u8]) -> Result<Manifest, BundleError> {
    #[derive(serde::Deserialize)]
    struct Version {
        format: u32,
    }
    let malformed = |error: serde_json::Error| BundleError::Malformed(format!("manifest.json: {error}"));
    match serde_json::from_slice::<Manifest>(text) {
        Ok(manifest) if manifest.format == FORMAT => Ok(manifest),
        // Another format may look like anything.
        known => match serde_json::from_slice::<Version>(text).map_err(malformed)? {
            Version { format: FORMAT } => known.map_err(malformed),
            Version { format } => Err(BundleError::Format(format)),
        },
    }
}

/// What is wrong with an archive. Not in the reader's words: they hold what stands in the file, which may be anything.
pub(crate) fn broken(error: std::io::Error) -> BundleError {
    let what =
        if error.kind() == std::io::ErrorKind::UnexpectedEof { "it is cut short" } else { "it is no archive that ouro wrote" };
    BundleError::Malformed(what.to_owned())
}

/// What an entry of an archive in memory holds, if all of it is there.
pub(crate) fn content<'a>(archive: &'a [u8], entry: &tar::Entry<'_, &[u8]>) -> Option<&'a [u8]> {
    let from = usize::try_from(entry.raw_file_position()).ok()?;
    archive.get(from..from.checked_add(usize::try_from(entry.size()).ok()?)?)
}

/// The files of the archive. Only what [`pack`] writes is taken: other kinds of entries claim sizes that no byte stands behind.
fn unpack(bytes: &[u8]) -> Result<BTreeMap<String, &[u8]>, BundleError> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(bytes).entries().map_err(broken)?.raw(true) {
        let entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.to_string_lossy().into_owned();
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(BundleError::Malformed(format!("`{name}` is no regular file")));
        }
        let content = content(bytes, &entry).ok_or_else(|| BundleError::Malformed(format!("`{name}` is cut short")))?;
        if files.insert(name.clone(), content).is_some() {
            return Err(BundleError::Malformed(format!("`{name}` is there twice")));
        }
    }
    Ok(files)
}
