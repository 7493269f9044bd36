//! Carries out the steps of shared devices: a chain joins those that are called, leaves them, or has its slot overwritten.
//!
//! Whoever changes what is shared holds its lock, and decides by what is there then. A set is made whole beside the one that runs,
//! then the link is led to it, and then the old one goes: a kill leaves one of them live, and the other one to be swept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ouro_rules::chain::MAX_DEPTH;
use ouro_rules::manifest::SharedXdp;

use super::{entry, meta_of};
use crate::Error;
use crate::dispatcher::{Dispatcher, Member, tail_calls};
use crate::hook::Hook;
use crate::kernel::{self, Called, Host, Lock, pins};
use crate::layout::{self, Layout, SharedLayout};
use crate::observe::{dispatcher, write_members};

/// How often the lock is tried, and how long it takes until it is tried again: others hold it as long as a switch takes.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(50);

/// A chain to be called, and its entry.
struct Call {
    member: Member,
    entry: PathBuf,
}

/// Has a generation's entry called at this place; if the deployment is called there already, with another entry or in another
/// order, it is so no more from the same instant on. `expected` is the entry it has to have then. `force` takes the device back
/// from a program of others.
pub(super) fn join(
    layout: &Layout,
    host: &Host,
    place: &SharedXdp,
    generation: u32,
    expected: Option<&Path>,
    force: bool,
) -> Result<(), Error> {
    let device = host.devices.get(&place.interface).ok_or_else(|| refused(place, "there is no such device any more"))?;
    let shared = SharedLayout::of_device(layout.bpffs(), host.namespace, device.index);
    let _lock = lock(&shared)?;
    let found = dispatcher(&shared)?;
    expected.map_or(Ok(()), |entry| expect(&found, layout, place, entry))?;
    readable(&found, place)?;
    let member = Member::new(layout.name(), place, &meta_of(layout, generation)?.manifest);
    let mut calls = others(layout, &found)?;
    calls.push(Call { member, entry: entry(layout, generation)? });
    fits(&found, place, &calls)?;
    install(&found, calls, force)
}

/// Has the deployment called no more. `expected` is the entry it has to have.
pub(super) fn leave(layout: &Layout, place: &SharedXdp, expected: Option<&Path>) -> Result<(), Error> {
    let Some(shared) = find(layout, place)? else { return Ok(()) };
    let _lock = lock(&shared)?;
    let found = dispatcher(&shared)?;
    if found.target.is_some() {
        expected.map_or(Ok(()), |entry| expect(&found, layout, place, entry))?;
    }
    readable(&found, place)?;
    let calls = others(layout, &found)?;
    if calls.is_empty() || found.target.is_none() {
        return remove_all(&found);
    }
    if !found.is_ours {
        return forget(&found, calls);
    }
    install(&found, calls, false)
}

/// Overwrites the deployment's slot, if it still holds `old`.
pub(super) fn switch(layout: &Layout, place: &SharedXdp, old: &Path, new: &Path) -> Result<(), Error> {
    let shared = find(layout, place)?.ok_or_else(|| refused(place, CHANGED))?;
    let _lock = lock(&shared)?;
    let found = dispatcher(&shared)?;
    expect(&found, layout, place, old)?;
    let slot = found.place_of(layout.name(), &place.interface).and_then(|slot| u32::try_from(slot).ok());
    let (Some(slot), Some(set)) = (slot, found.set) else { return Err(refused(place, CHANGED)) };
    kernel::fill_slot(&shared.table(set), slot, new)
}

/// Removes what stopped commands left, but for what another command works on right now.
pub(super) fn sweep(layout: &Layout) -> Result<(), Error> {
    for (name, _) in kernel::entries(&layout::shared(layout.bpffs()))? {
        let Some(shared) = SharedLayout::named(layout.bpffs(), &name) else { continue };
        let _lock = match Lock::existing(shared.folder()) {
            Ok(Some(lock)) => lock,
            Ok(None) | Err(Error::Busy(_)) => continue,
            Err(error) => return Err(error),
        };
        let found = dispatcher(&shared)?;
        if found.has_leftovers() {
            // Of what a stopped command replaced right before it was stopped.
            kernel::settle();
            found.leftovers().into_iter().try_for_each(|number| remove_set(&shared, number))?;
        }
    }
    Ok(())
}

const CHANGED: &str = "it runs a program that is not ours: somebody changed it";

fn refused(place: &SharedXdp, reason: &str) -> Error {
    Error::Attach { hook: Hook::SharedXdp(place.clone()).to_string(), reason: reason.to_owned() }
}

/// Waits for commands of other deployments.
fn lock(shared: &SharedLayout) -> Result<Lock, Error> {
    for _ in 1..TRIES {
        match Lock::take(shared.folder()) {
            Err(Error::Busy(_)) => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    Lock::take(shared.folder())
}

/// Where the deployment is called at this place; in whichever namespace that is.
fn find(layout: &Layout, place: &SharedXdp) -> Result<Option<SharedLayout>, Error> {
    let all = crate::observe::dispatchers(layout.bpffs())?;
    let calls = |found: &Dispatcher| found.place_of(layout.name(), &place.interface).is_some();
    Ok(all.into_iter().find(calls).map(|found| found.layout))
}

fn expect(found: &Dispatcher, layout: &Layout, place: &SharedXdp, entry: &Path) -> Result<(), Error> {
    let seat = found.place_of(layout.name(), &place.interface).map(|index| &found.seats[index]);
    let called = seat.and_then(|seat| seat.program).filter(|_| found.is_ours);
    let is_it = called.is_some() && called == pins::program_id(entry)?;
    if is_it { Ok(()) } else { Err(refused(place, CHANGED)) }
}

/// Whoever is called by a set without a record would be called no more.
fn readable(found: &Dispatcher, place: &SharedXdp) -> Result<(), Error> {
    if found.is_unreadable() { Err(refused(place, "which chains share it cannot be read")) } else { Ok(()) }
}

/// Others may have come since the plan was made. What was there before may come back.
fn fits(found: &Dispatcher, place: &SharedXdp, calls: &[Call]) -> Result<(), Error> {
    let taken = tail_calls(calls.iter().map(|call| &call.member));
    let before = tail_calls(found.seats.iter().map(|seat| &seat.member));
    if taken <= MAX_DEPTH.max(before) {
        return Ok(());
    }
    Err(refused(place, &format!("the chains that share it would take {taken} tail calls in one run, of {MAX_DEPTH}")))
}

/// All but this deployment that are called. One whose entry nobody pins any more was removed by hand, and is no more.
fn others(layout: &Layout, found: &Dispatcher) -> Result<Vec<Call>, Error> {
    let mut calls = Vec::new();
    for seat in found.seats.iter().filter(|seat| seat.member.deployment != layout.name() && found.target.is_some()) {
        let entry = seat.program.map(|id| pin_of(layout.bpffs(), &seat.member.deployment, id)).transpose()?.flatten();
        calls.extend(entry.map(|entry| Call { member: seat.member.clone(), entry }));
    }
    Ok(calls)
}

/// Where a deployment pins the program with this id.
fn pin_of(bpffs: &Path, deployment: &str, id: u32) -> Result<Option<PathBuf>, Error> {
    let layout = Layout::new(bpffs, deployment)?;
    for (name, _) in kernel::entries(layout.folder())? {
        let Some(number) = Layout::generation_number(&name) else { continue };
        for (program, _) in kernel::entries(&layout.programs(number))? {
            let path = layout.program(number, &program);
            if pins::program_id(&path)? == Some(id) {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}

/// Makes a set of these chains, leads the link to it, and removes the others.
fn install(found: &Dispatcher, mut calls: Vec<Call>, force: bool) -> Result<(), Error> {
    calls.sort_by(|one, other| one.member.order().cmp(&other.member.order()));
    let Some(first) = calls.first().map(|call| call.member.clone()) else { return Ok(()) };
    if let Some(unlike) = calls.iter().find(|call| call.member.kind() != first.kind()) {
        let reason = format!("`{}` and `{}` cannot share it", first.deployment, unlike.member.deployment);
        return Err(refused(&first.place, &reason));
    }
    replace_sets(found, calls, |set| lead(found, &first.place, set, force))
}

/// Makes a set of these chains beside what somebody made the device run: who takes the device back takes it back for them alone.
fn forget(found: &Dispatcher, calls: Vec<Call>) -> Result<(), Error> {
    replace_sets(found, calls, |_| Ok(()))
}

/// Makes a set, does with it what is to be done, and removes the others. Nothing is done unless all is, but for the removal: the
/// next command removes what is left.
fn replace_sets(found: &Dispatcher, calls: Vec<Call>, then: impl FnOnce(u32) -> Result<(), Error>) -> Result<(), Error> {
    let set = found.sets.last().map_or(1, |last| last + 1);
    if let Err(error) = create_set(&found.layout, set, calls).and_then(|()| then(set)) {
        // What failed once is no reason to fail again.
        let _ = remove_set(&found.layout, set);
        return Err(error);
    }
    kernel::settle();
    let _ = remove_sets(found);
    Ok(())
}

fn create_set(shared: &SharedLayout, set: u32, calls: Vec<Call>) -> Result<(), Error> {
    kernel::create_folder(&shared.set(set))?;
    let section = calls.first().map_or("xdp", |call| call.member.section());
    let called = |call: &Call| Called { entry: call.entry.clone(), proceed_on: call.member.proceed_on() };
    let called: Vec<Called> = calls.iter().map(called).collect();
    kernel::create_dispatcher(section, &called, &shared.table(set), &shared.dispatcher(set))?;
    write_members(&shared.members(set), calls.into_iter().map(|call| call.member).collect())
}

/// Makes the device run this set.
fn lead(found: &Dispatcher, place: &SharedXdp, set: u32, force: bool) -> Result<(), Error> {
    let shared = &found.layout;
    let (hook, link) = (Hook::Xdp { interface: place.interface.clone(), mode: place.mode }, shared.link());
    let (new, none) = (shared.dispatcher(set), |map: &str| PathBuf::from(map));
    match (found.target, found.set.filter(|_| found.is_ours)) {
        (None, _) => {
            kernel::remove_link(&link)?;
            kernel::attach(&hook, &new, &link, &none)
        }
        (Some(_), Some(old)) => kernel::switch(&hook, &link, &shared.dispatcher(old), &new, &none),
        (Some(_), None) if force => kernel::take_back(&hook, &link, &new),
        (Some(_), None) => Err(refused(place, CHANGED)),
    }
}

fn remove_all(found: &Dispatcher) -> Result<(), Error> {
    kernel::remove_link(&found.layout.link())?;
    kernel::settle();
    // The next command removes what is left.
    let _ = remove_sets(found);
    Ok(())
}

/// Removes the sets that were there.
fn remove_sets(found: &Dispatcher) -> Result<(), Error> {
    found.sets.iter().try_for_each(|number| remove_set(&found.layout, *number))
}

/// The record goes first: without it a set is none.
fn remove_set(shared: &SharedLayout, set: u32) -> Result<(), Error> {
    let pins = [shared.members(set), shared.dispatcher(set), shared.table(set)];
    pins.iter().try_for_each(|path| kernel::remove_pin(path))?;
    kernel::remove_folder(&shared.set(set))
}
