//! Filters of the clsact qdisc: traffic control of kernels without TCX.
//!
//! Knows one filter at a time, by its place; whose it is is told by its program.

use std::io;
use std::path::Path;

use aya::programs::links::Link as _;
use aya::programs::tc::{NlOptions, SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions, qdisc_add_clsact};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, TcError, TcHandle};
use ouro_rules::manifest::Direction;

use super::chain;
use super::host::{self, Filter};
use super::{pins, sys};
use crate::Error;

/// Where a filter is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) interface: &'a str,
    pub(super) direction: Direction,
    pub(super) priority: u16,
    pub(super) handle: u32,
}

impl Place<'_> {
    fn attach_type(self) -> TcAttachType {
        match self.direction {
            Direction::Ingress => TcAttachType::Ingress,
            Direction::Egress => TcAttachType::Egress,
        }
    }

    fn handle(self) -> TcHandle {
        let low = self.handle & 0xffff;
        TcHandle::new(u16::try_from(self.handle >> 16).expect("BUG: half"), u16::try_from(low).expect("BUG: half"))
    }

    fn link(self) -> io::Result<SchedClassifierLink> {
        SchedClassifierLink::attached(self.interface, self.attach_type(), self.priority, self.handle(), None)
    }
}

/// Adds a clsact qdisc; no error if there is one.
pub(crate) fn add_qdisc(interface: &str) -> Result<(), Error> {
    match qdisc_add_clsact(interface) {
        Ok(()) => Ok(()),
        Err(error) if errno(&error) == Some(libc::EEXIST) => Ok(()),
        Err(error) => Err(Error::io(format!("cannot add a clsact qdisc to `{interface}`"), io_error(error))),
    }
}

/// Removes a clsact qdisc unless others have filters in it.
pub(crate) fn remove_qdisc(interface: &str) -> Result<(), Error> {
    let host = host::host()?;
    let Some(device) = host.devices.get(interface).filter(|device| device.clsact && device.filters.is_empty()) else {
        return Ok(());
    };
    host::remove_clsact(device.index)
        .map_err(|error| Error::io(format!("cannot remove the clsact qdisc of `{interface}`"), error))
}

pub(super) fn add(place: Place<'_>, program: &Path) -> io::Result<()> {
    let mut pinned = SchedClassifier::from_pin(program).map_err(program_error)?;
    let options = NlOptions { priority: place.priority, handle: place.handle(), classid: None };
    let attached = pinned.attach_with_options(place.interface, place.attach_type(), TcAttachOptions::Netlink(options));
    keep(&mut pinned, attached).map_err(program_error)
}

pub(super) fn replace(place: Place<'_>, program: &Path) -> io::Result<()> {
    let mut pinned = SchedClassifier::from_pin(program).map_err(program_error)?;
    let replaced = pinned.attach_to_link(place.link()?);
    keep(&mut pinned, replaced).map_err(program_error)
}

pub(super) fn remove(place: Place<'_>) -> io::Result<()> {
    place.link()?.detach().map_err(program_error)
}

/// Whether the filter runs the program pinned here.
pub(super) fn runs(place: Place<'_>, program: &Path) -> Result<bool, Error> {
    let failed = |error| Error::io(format!("cannot look at the filters of `{}`", place.interface), error);
    let filters = sys::device_index(place.interface).and_then(host::filters).map_err(failed)?;
    let found = find_filter(&filters, place.direction, place.priority, place.handle).map(|filter| filter.program);
    Ok(found.is_some() && found == pins::program_id(program)?)
}

/// Aya removes a filter when its handle on it is dropped; this one stays. The handle owns no resources.
fn keep(program: &mut SchedClassifier, attached: Result<SchedClassifierLinkId, ProgramError>) -> Result<(), ProgramError> {
    attached.and_then(|id| program.take_link(id)).map(std::mem::forget)
}

/// The filter at a place.
pub(crate) fn find_filter(filters: &[Filter], direction: Direction, priority: u16, handle: u32) -> Option<&Filter> {
    filters.iter().find(|filter| (filter.direction, filter.priority, filter.handle) == (direction, priority, handle))
}

fn errno(error: &TcError) -> Option<i32> {
    match error {
        TcError::NetlinkError(error) => error.raw_os_error(),
        TcError::IoError(error) => error.raw_os_error(),
        _ => None,
    }
}

fn io_error(error: TcError) -> io::Error {
    errno(&error).map_or_else(|| io::Error::other(chain(&error)), io::Error::from_raw_os_error)
}

fn program_error(error: ProgramError) -> io::Error {
    match error {
        ProgramError::TcError(error) => io_error(error),
        ProgramError::NetlinkError(error) => {
            error.raw_os_error().map_or_else(|| io::Error::other(chain(&error)), io::Error::from_raw_os_error)
        }
        ProgramError::SyscallError(error) => error.io_error,
        other => io::Error::other(chain(&other)),
    }
}
