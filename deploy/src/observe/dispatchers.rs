//! Reads what deployments share of devices.
//!
//! Another command may change it meanwhile: who is to change it too takes the lock first, and reads it again.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::dispatcher::{Dispatcher, Member, Seat};
use crate::kernel::pins::{self, Kind};
use crate::layout::{self, SharedLayout};
use crate::{Error, kernel};

/// The version of the record.
const FORMAT: u32 = 1;

/// Who is called, pinned beside the dispatcher.
#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    members: Vec<Member>,
}

/// Writes who is called: the last part of a set, which makes it whole.
pub(crate) fn write_members(path: &Path, members: Vec<Member>) -> Result<(), Error> {
    let bytes = serde_json::to_vec(&Record { format: FORMAT, members }).expect("BUG: members are plain data");
    kernel::write_bytes(path, &bytes)
}

/// Who is called; none if the set is not whole, or made by a later ouro.
fn members(path: &Path) -> Result<Option<Vec<Member>>, Error> {
    let record = kernel::read_bytes(path)?.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
    Ok(record.filter(|record| record.format == FORMAT).map(|record| record.members))
}

/// Everything that is shared, whichever namespace it is in.
pub(crate) fn dispatchers(bpffs: &Path) -> Result<Vec<Dispatcher>, Error> {
    let entries = kernel::entries(&layout::shared(bpffs))?;
    entries.iter().filter_map(|(name, _)| SharedLayout::named(bpffs, name)).map(|layout| dispatcher(&layout)).collect()
}

/// What is shared of one device.
pub(crate) fn dispatcher(layout: &SharedLayout) -> Result<Dispatcher, Error> {
    let mut found = read(layout)?;
    // A command that puts another set in its place removes the old one, perhaps between two looks.
    for _ in 0..3 {
        if found.link.is_none() || found.is_ours {
            break;
        }
        found = read(layout)?;
    }
    Ok(found)
}

fn read(layout: &SharedLayout) -> Result<Dispatcher, Error> {
    let link = pins::link_facts(&layout.link())?;
    let mut found = Dispatcher { layout: layout.clone(), ..Dispatcher::default() };
    found.sets = kernel::entries(layout.folder())?.iter().filter_map(|(name, _)| SharedLayout::set_number(name)).collect();
    found.sets.sort_unstable();
    let Some(link) = link else { return Ok(found) };
    (found.link, found.program, found.target) = (Some(link.id), link.program, link.target);
    let mut newest = None;
    for number in found.sets.clone() {
        let runs = pins::program_id(&layout.dispatcher(number))? == Some(link.program);
        found.running = Some(number).filter(|_| runs).or(found.running);
        let Some(members) = members(&layout.members(number))? else { continue };
        if runs || !found.is_ours {
            newest = Some((number, members));
        }
        found.is_ours |= runs;
    }
    if let Some((number, members)) = newest {
        found.set = Some(number);
        found.seats = seats(layout, number, members)?;
    }
    Ok(found)
}

fn seats(layout: &SharedLayout, set: u32, members: Vec<Member>) -> Result<Vec<Seat>, Error> {
    let path = layout.table(set);
    let failed = |error| Error::io(format!("cannot read `{}`", path.display()), error);
    let Some(table) = pins::open(&path, Kind::Map)? else { return Ok(Vec::new()) };
    let seat = |(slot, member)| Ok(Seat { program: pins::slot(&table, slot).map_err(failed)?, member });
    (0..).zip(members).map(seat).collect()
}
