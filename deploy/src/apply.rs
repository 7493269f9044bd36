//! Apply: carries steps out one after another, and undoes them in reverse when one fails.
//!
//! Decides nothing; [`crate::diff`] did. Knows no conflicts.

mod members;
mod roots;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{COUNTS_MAP, ManifestProgram, SPECS_MAP, TABLE_MAP};

use crate::Error;
use crate::change::Change;
use crate::extension::replaced;
use crate::hook::Hook;
use crate::kernel::pins::Kind;
use crate::kernel::{self, CoreTypes, Host, LoadOptions, Loader, Request, pins};
use crate::layout::Layout;
use crate::map_check::differences;
use crate::maps::{self, Copied};
use crate::meta::{self, Meta};
use crate::observe::lost;
use crate::rehearsal::run_tests;
use crate::step::{Runs, Step};
use crate::trial;

/// What steps are carried out on.
pub(crate) struct Target<'a> {
    layout: &'a Layout,
    host: &'a Host,
    bundle: Option<&'a Bundle>,
    origin: Option<String>,
    options: LoadOptions,
    loader: Option<Loader<'a>>,
    copied: Copied,
    /// What became of programs whose turn has not come.
    loaded: BTreeMap<&'a str, Result<(), Error>>,
}

impl<'a> Target<'a> {
    /// `bundle` is what generations are made from; none for steps that only remove.
    pub(crate) fn new(layout: &'a Layout, host: &'a Host, bundle: Option<&'a Bundle>) -> Target<'a> {
        let copied = Copied::default();
        let options = LoadOptions { card: bundle.and_then(|bundle| bundle.manifest.card), ..LoadOptions::default() };
        Target { layout, host, bundle, origin: None, options, loader: None, loaded: BTreeMap::new(), copied }
    }

    /// Has it recorded where the bundle comes from.
    pub(crate) fn come_from(&mut self, origin: Option<String>) {
        self.origin = origin;
    }

    /// Has CO-RE relocations be made for these types.
    pub(crate) fn load_with(&mut self, core: CoreTypes) {
        self.options.core = core;
    }

    /// What could not be done of what was.
    pub(crate) fn lost(self) -> Vec<Change> {
        self.copied.lost
    }

    fn loader(&mut self) -> &mut Loader<'a> {
        self.loader.get_or_insert_with(|| Loader::new(self.options.clone()))
    }
}

/// Carries out `steps`, telling `progress` of each before it starts. On failure everything is as before, unless the error
/// says otherwise.
pub(crate) fn apply(target: &mut Target<'_>, steps: &[Step], progress: &mut dyn FnMut(&Step)) -> Result<(), Error> {
    for (index, step) in steps.iter().enumerate() {
        progress(step);
        if let Err(cause) = run(target, step) {
            let settled = steps[..index].contains(&Step::Settle);
            let undone = if settled { Ok(()) } else { undo(target, &steps[..index]) };
            return Err(Error::Failed {
                step: Box::new(step.clone()),
                cause: Box::new(cause),
                undo: undone.err().map(Box::new),
                settled,
            });
        }
    }
    Ok(())
}

/// Stops at the first step that cannot be undone: what a hook still runs must stay. The next command sees what there is.
fn undo(target: &mut Target<'_>, done: &[Step]) -> Result<(), Error> {
    let mut packets_inside = false;
    for inverse in done.iter().rev().filter_map(Step::inverse) {
        if packets_inside && matches!(inverse, Step::RemoveGeneration { .. } | Step::RemoveRoot { .. }) {
            kernel::settle();
        }
        run(target, &inverse)?;
        packets_inside |= inverse.replaces();
    }
    Ok(())
}

/// Carries out one step, or nothing of it.
fn run(target: &mut Target<'_>, step: &Step) -> Result<(), Error> {
    let layout = target.layout;
    if let Some(result) = run_shared(layout, target.host, step) {
        return result;
    }
    match step {
        Step::CreateFolders => [layout.maps(), layout.links()].iter().try_for_each(|path| kernel::create_folder(path)),
        Step::RunTests { .. } => run_tests(bundle(target), target.host, target.options.core.clone()),
        Step::CreateGeneration { generation } => create_generation(layout, *generation),
        Step::WriteMeta { generation, hooks, qdiscs } => write_meta(target, *generation, hooks, qdiscs),
        Step::RecordQdiscs { generation, qdiscs } => record_qdiscs(layout, *generation, qdiscs),
        Step::CreateTable { generation, entries } => kernel::create_table(&layout.table(*generation), *entries),
        Step::CreateCounts { generation, edges } => kernel::create_counts(&layout.counts(*generation), *edges),
        Step::CreateMap { map } => create_map(target, map),
        Step::ReuseMap { map } => check_map(target, map),
        Step::AdoptMap { map, from } => {
            kernel::pin_again(&layout.map(from), &layout.map(map), Kind::Map)?;
            check_new_map(target, map)
        }
        Step::CopyMap { map, from } | Step::ConvertMap { map, from } => {
            maps::copy(layout, bundle(target), map, from, &mut target.copied)?;
            check_new_map(target, map)
        }
        Step::CatchUpMap { map, from } => maps::catch_up(layout, map, from, &mut target.copied),
        Step::LoadProgram { generation, program, .. } => load(target, *generation, program),
        Step::Extend { generation, program, .. } => {
            kernel::create_folder(&layout.extensions(*generation))?;
            kernel::extend(&layout.program(*generation, program), &layout.extension(*generation, program))
        }
        Step::MakeTable { generation, table } => make_table(target, *generation, table),
        Step::AdoptGeneration { from, generation } => adopt(target, *from, *generation),
        Step::FreezeTable { generation } => kernel::freeze(&layout.table(*generation)),
        Step::AddQdisc { interface } => kernel::add_qdisc(interface),
        Step::Attach { hook, generation } => {
            kernel::attach(hook, &subject(layout, hook, *generation)?, &layout.link(hook), &|map| place(layout, *generation, map))
        }
        Step::Switch { hook, from, to } => {
            let (from, new) = (subject(layout, hook, *from)?, subject(layout, hook, *to)?);
            kernel::switch(hook, &layout.link(hook), &from, &new, &|map| place(layout, *to, map))
        }
        Step::Detach { hook, generation } => kernel::detach(hook, &layout.link(hook), &subject(layout, hook, *generation)?),
        Step::RemoveLink { hook: hook @ Hook::Socket { .. } } => kernel::clear_socket(hook),
        Step::RemoveLink { hook } => kernel::remove_link(&layout.link(hook)),
        Step::RemoveLost { pin } => kernel::remove_link(&layout.links().join(pin)),
        Step::RemoveBeside { hook } => kernel::remove_beside(&layout.link(hook)),
        Step::CreateRoot { root, generation } => roots::create(layout, root, *generation),
        Step::AttachRoot { hook, root, generation } => {
            kernel::attach(hook, &layout.stub(root), &layout.link(hook), &|map| place(layout, *generation, map))
        }
        Step::TakeOver { hook, root, .. } => kernel::take_back(hook, &layout.link(hook), &layout.stub(root)),
        Step::SwitchRoot { root, from, to } => roots::switch(layout, root, *from, *to),
        Step::Exchange { hook, from, to } => exchange(layout, hook, from, to),
        // Dispatchers were seen to before.
        Step::Rearrange { hook, from, to, .. } => {
            let (from, new) = (subject(layout, hook, *from)?, subject(layout, hook, *to)?);
            kernel::exchange(hook, &layout.link(hook), &from, &new, &|map| place(layout, *to, map))
        }
        Step::SweepDispatchers => Ok(()),
        Step::DetachRoot { hook, root, .. } => kernel::detach(hook, &layout.link(hook), &layout.stub(root)),
        Step::RemoveRoot { root } => roots::remove(layout, root),
        Step::TakeBack { hook, generation, .. } => {
            kernel::take_back(hook, &layout.link(hook), &subject(layout, hook, *generation)?)
        }
        Step::MarkLive { generation, order } => {
            meta::write_order(&layout.live(*generation), &layout.next_live(*generation), *order)
        }
        Step::AskConfirmation { generation, seconds, before, .. } => trial::begin(layout, *generation, *seconds, *before),
        Step::ResumeTrial { trial } => trial::resume(layout, trial),
        Step::EndTrial => kernel::remove_pin(&layout.unconfirmed()),
        Step::Settle | Step::Wait => {
            kernel::settle();
            Ok(())
        }
        Step::RemoveQdisc { interface } => kernel::remove_qdisc(interface),
        Step::RemoveMap { map } => maps::remove(layout, map),
        Step::KeepMeta { generation } => kernel::pin_again(&layout.meta(*generation), &layout.kept(), Kind::Map),
        Step::RemoveGeneration { generation } => remove_generation(layout, *generation),
        Step::DropKept => kernel::remove_pin(&layout.kept()),
        Step::RemoveFolders => {
            kernel::remove_pin(&layout.next_unconfirmed())?;
            [layout.maps(), layout.links()].iter().try_for_each(|path| kernel::remove_folder(path))
        }
    }
}

/// Carries out a step of a hook that chains share, or of what they share.
fn run_shared(layout: &Layout, host: &Host, step: &Step) -> Option<Result<(), Error>> {
    let path = |generation: &u32| entry(layout, *generation);
    let done = match step {
        Step::Attach { hook: Hook::SharedXdp(place), generation } => members::join(layout, host, place, *generation, None, false),
        Step::TakeBack { hook: Hook::SharedXdp(place), generation, .. } => {
            members::join(layout, host, place, *generation, None, true)
        }
        Step::Rearrange { hook: Hook::SharedXdp(place), from, to, .. } => {
            path(from).and_then(|from| members::join(layout, host, place, *to, Some(&from), false))
        }
        Step::Switch { hook: Hook::SharedXdp(place), from, to } => {
            path(from).and_then(|from| members::switch(layout, place, &from, &path(to)?))
        }
        Step::Detach { hook: Hook::SharedXdp(place), generation } => {
            path(generation).and_then(|entry| members::leave(layout, place, Some(&entry)))
        }
        Step::RemoveLink { hook: Hook::SharedXdp(place) } => members::leave(layout, place, None),
        Step::SweepDispatchers => members::sweep(layout),
        _ => return None,
    };
    Some(done)
}

fn create_generation(layout: &Layout, generation: u32) -> Result<(), Error> {
    let folders = [layout.programs(generation), layout.own_maps(generation)];
    folders.iter().try_for_each(|path| kernel::create_folder(path)).inspect_err(|_| {
        // What failed once is no reason to fail again; the next command removes what is left.
        let _ = remove_generation(layout, generation);
    })
}

/// Removes what the meta names, the meta last, and then the folders unless somebody put something there. Where somebody removed the
/// meta, what is of the right kind in the right place is ours. First of all nothing may go back to the generation any more. A link
/// that waits to take another one's place is left of a deploy that was stopped: a hook would run two programs.
fn remove_generation(layout: &Layout, generation: u32) -> Result<(), Error> {
    kernel::remove_pin(&layout.live(generation))?;
    kernel::remove_pin(&layout.next_live(generation))?;
    match Meta::read(&layout.meta(generation))? {
        None => lost::generation(layout, generation)?.iter().try_for_each(|path| kernel::remove_pin(path))?,
        Some(Err(_)) => {}
        Some(Ok(meta)) => {
            meta.hooks.iter().try_for_each(|hook| kernel::remove_beside(&layout.link(hook)))?;
            meta.manifest.extensions().try_for_each(|(program, _)| kernel::remove_pin(&layout.extension(generation, program)))?;
            meta.manifest.tables().try_for_each(|table| kernel::remove_pin(&layout.functions(generation, table)))?;
            meta.manifest
                .programs
                .iter()
                .try_for_each(|program| kernel::remove_pin(&layout.program(generation, &program.name)))?;
            kernel::remove_pin(&layout.table(generation))?;
            kernel::remove_pin(&layout.counts(generation))?;
            kernel::remove_pin(&layout.specs(generation))?;
            kernel::remove_pin(&layout.next_meta(generation))?;
            kernel::remove_pin(&layout.meta(generation))?;
        }
    }
    let folders =
        [layout.extensions(generation), layout.tables(generation), layout.programs(generation), layout.own_maps(generation)];
    folders.iter().chain([&layout.generation(generation)]).try_for_each(|path| kernel::remove_folder(path))
}

/// A link that is to hang on another map is a new one; others are renewed as their hooks are. How arguments of a probe are read, each
/// generation says itself.
fn exchange(layout: &Layout, hook: &Hook, from: &Runs, to: &Runs) -> Result<(), Error> {
    let own = if matches!(hook, Hook::Usdt(_)) { meta_of(layout, to.generation())?.hooks } else { Vec::new() };
    let hook = own.iter().find(|own| own.name() == hook.name()).unwrap_or(hook);
    let map_of = |runs: &Runs| hook.map().map(|map| place(layout, runs.generation(), map));
    let renew = if map_of(from) == map_of(to) { kernel::switch } else { kernel::exchange };
    let place = |map: &str| place(layout, to.generation(), map);
    renew(hook, &layout.link(hook), &program_of(layout, from)?, &program_of(layout, to)?, &place)
}

fn program_of(layout: &Layout, runs: &Runs) -> Result<std::path::PathBuf, Error> {
    match runs {
        Runs::Generation(generation) => entry(layout, *generation),
        Runs::Root { root, .. } => Ok(layout.stub(root)),
    }
}

/// The pin of a generation's first program.
fn entry(layout: &Layout, generation: u32) -> Result<std::path::PathBuf, Error> {
    Ok(layout.program(generation, meta_of(layout, generation)?.entry()))
}

/// What a hook runs of a generation: its first program, or the table that it registers.
fn subject(layout: &Layout, hook: &Hook, generation: u32) -> Result<PathBuf, Error> {
    match hook {
        Hook::StructOps(place) => Ok(layout.functions(generation, &place.table)),
        _ => entry(layout, generation),
    }
}

fn meta_of(layout: &Layout, generation: u32) -> Result<Meta, Error> {
    let gone = || Error::Object { of: format!("generation {generation}"), reason: "its record is gone".to_owned() };
    Meta::read(&layout.meta(generation))?.and_then(Result::ok).ok_or_else(gone)
}

/// The pin of a declared map that a generation uses, or of the one of its own that links need.
fn place(layout: &Layout, generation: u32, map: &str) -> PathBuf {
    if map == SPECS_MAP {
        return layout.specs(generation);
    }
    layout.map(pin_in(layout, generation, map).as_deref().unwrap_or(map))
}

fn pin_in(layout: &Layout, generation: u32, map: &str) -> Option<String> {
    let manifest = Meta::read(&layout.meta(generation)).ok()??.ok()?.manifest;
    Some(manifest.pin_of(manifest.maps.iter().find(|spec| spec.name == map)?))
}

fn bundle<'a>(target: &Target<'a>) -> &'a Bundle {
    target.bundle.expect("BUG: only a bundle's steps build anything")
}

fn write_meta(target: &Target<'_>, generation: u32, hooks: &[Hook], qdiscs: &[String]) -> Result<(), Error> {
    let bundle = bundle(target);
    let mut meta = Meta::new(&bundle.digest, &bundle.manifest, hooks.to_vec(), qdiscs.to_vec(), target.host.namespace);
    meta.origin = target.origin.clone();
    meta.write(&target.layout.meta(generation))
}

fn record_qdiscs(layout: &Layout, generation: u32, qdiscs: &[String]) -> Result<(), Error> {
    let mut meta = meta_of(layout, generation)?;
    meta.qdiscs = qdiscs.to_vec();
    meta.replace(&layout.meta(generation), &layout.next_meta(generation))
}

/// Pins everything of a generation once more; what the kernel holds is the same.
fn adopt(target: &Target<'_>, from: u32, generation: u32) -> Result<(), Error> {
    let (layout, manifest) = (target.layout, &bundle(target).manifest);
    for program in manifest.programs.iter().filter(|program| !program.is_missing()) {
        let place = |generation| layout.program(generation, &program.name);
        kernel::pin_again(&place(from), &place(generation), Kind::Program)?;
    }
    if manifest.table_size > 0 {
        kernel::pin_again(&layout.table(from), &layout.table(generation), Kind::Map)?;
    }
    for (program, _) in manifest.extensions() {
        kernel::create_folder(&layout.extensions(generation))?;
        kernel::pin_again(&layout.extension(from, program), &layout.extension(generation, program), Kind::Link)?;
    }
    for table in manifest.tables() {
        kernel::create_folder(&layout.tables(generation))?;
        kernel::pin_again(&layout.functions(from, table), &layout.functions(generation, table), Kind::Map)?;
    }
    if crate::observe::counts_edges(manifest) {
        kernel::pin_again(&layout.counts(from), &layout.counts(generation), Kind::Map)?;
    }
    if crate::observe::arguments(manifest).is_some() {
        kernel::pin_again(&layout.specs(from), &layout.specs(generation), Kind::Map)?;
    }
    Ok(())
}

fn object<'a>(target: &Target<'a>, program: &ManifestProgram) -> Result<&'a [u8], Error> {
    let missing = || Error::Object { of: program.name.clone(), reason: format!("the bundle has no `{}`", program.object) };
    bundle(target).objects.get(&program.object).map(Vec::as_slice).ok_or_else(missing)
}

/// The table is of the entry's object.
fn make_table(target: &mut Target<'_>, generation: u32, table: &str) -> Result<(), Error> {
    let layout = target.layout;
    let Some(entry) = bundle(target).manifest.programs.first() else { return Ok(()) };
    let request = request(target, entry)?;
    kernel::create_folder(&layout.tables(generation))?;
    target.loader().make_table(&request, table, &layout.functions(generation, table))
}

/// A program that is pinned nowhere.
fn request<'a>(target: &Target<'a>, program: &'a ManifestProgram) -> Result<Request<'a>, Error> {
    Ok(Request {
        object: object(target, program)?,
        program: program.name.as_str().into(),
        function: program.function.as_str().into(),
        ty: program.ty.as_str().into(),
        globals: &program.globals,
        pin: None,
        slot: None,
        replaces: replaced(bundle(target), program),
    })
}

fn create_map(target: &mut Target<'_>, pin: &str) -> Result<(), Error> {
    maps::create(target.layout, bundle(target), pin)?;
    check_new_map(target, pin)
}

fn check_new_map(target: &mut Target<'_>, pin: &str) -> Result<(), Error> {
    check_map(target, pin).inspect_err(|_| {
        // The reason it is not wanted is reported; an unwanted map is removed by the next command at the latest.
        let _ = maps::remove(target.layout, pin);
    })
}

/// From now on objects get the pinned map; it must be what the manifest says, whatever the objects say.
fn check_map(target: &mut Target<'_>, name: &str) -> Result<(), Error> {
    let (spec, path) = (maps::spec(bundle(target), name)?, target.layout.map(name));
    let pinned = pins::map_facts(&path)?.unwrap_or_default();
    let found = differences(spec, &pinned, target.host.page_size);
    if !found.is_empty() {
        let fields: Vec<String> = found.iter().map(ToString::to_string).collect();
        return Err(Error::Object {
            of: name.to_owned(),
            reason: format!("the map differs from the manifest: {}", fields.join("; ")),
        });
    }
    target.loader().hand_in(&spec.name, path);
    Ok(())
}

/// Loads all programs of the manifest at once, on all cores, when the first is wanted; the others are there when it is their turn.
fn load(target: &mut Target<'_>, generation: u32, name: &str) -> Result<(), Error> {
    if !target.loaded.contains_key(name) {
        load_all(target, generation)?;
    }
    let missing = || Error::Object { of: name.to_owned(), reason: "the manifest does not name it".to_owned() };
    target.loaded.remove(name).ok_or_else(missing)?
}

fn load_all<'a>(target: &mut Target<'a>, generation: u32) -> Result<(), Error> {
    let manifest = &bundle(target).manifest;
    let layout = target.layout;
    let there = || manifest.programs.iter().filter(|program| !program.is_missing());
    let table = (manifest.table_size > 0).then(|| pins::require(&layout.table(generation), Kind::Map));
    let table = table.transpose()?.map(Arc::new);
    let placed = |program: &'a ManifestProgram| {
        let pin = Some(layout.program(generation, &program.name));
        Ok(Request { pin, slot: table.clone().zip(program.slot), ..request(target, program)? })
    };
    let requests: Vec<Request<'a>> = there().map(placed).collect::<Result<_, Error>>()?;
    if let Some(arguments) = crate::observe::arguments(manifest) {
        kernel::create_specs(&layout.specs(generation), arguments, &meta_of(layout, generation)?.hooks)?;
        target.loader().hand_in(SPECS_MAP, layout.specs(generation));
    }
    let loader = target.loader();
    if manifest.table_size > 0 {
        loader.hand_in(TABLE_MAP, layout.table(generation));
    }
    if crate::observe::counts_edges(manifest) {
        loader.hand_in(COUNTS_MAP, layout.counts(generation));
    }
    let results = loader.load_all(&requests).into_iter().map(|result| result.map(drop));
    target.loaded = there().map(|program| program.name.as_str()).zip(results).collect();
    Ok(())
}
