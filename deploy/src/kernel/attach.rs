//! Attaches programs: XDP and TCX by links, traffic control of old kernels by clsact filters.
//!
//! Knows pins and hooks, not generations.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use aya::programs::links::Link as _;
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions, qdisc_add_clsact};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, TcError, TcHandle};
use ouro_rules::manifest::{Direction, XdpMode};

use super::host::{self, Filter, TCX_EGRESS, TCX_INGRESS};
use super::load::chain;
use super::pins::{self, Kind};
use super::sys;
use crate::Error;
use crate::hook::Hook;

/// `BPF_XDP`.
const XDP: u32 = 37;

/// The handle of our filters: one number, so that a filter is found again by its place alone.
pub(crate) const HANDLE: u32 = 1;

/// Attaches a pinned program; a link is pinned at `link` at once, as it lasts only as long as its pin.
pub(crate) fn attach(hook: &Hook, program: &Path, link: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| not_attached(hook, error);
    let ifindex = sys::device_index(hook.interface()).map_err(failed)?;
    let created = match hook {
        Hook::Clsact { direction, priority, .. } => return add_filter(hook, *direction, *priority, program),
        Hook::Xdp { mode, .. } => sys::link_create(open(program)?.as_fd(), ifindex, XDP, xdp_flags(*mode)),
        Hook::Tcx { direction, .. } => sys::link_create(open(program)?.as_fd(), ifindex, tcx_type(*direction), 0),
    };
    sys::pin(created.map_err(failed)?.as_fd(), link).map_err(|error| Error::io(format!("cannot pin `{}`", link.display()), error))
}

/// Makes the hook run `new`, atomically, but only if it still runs `old`.
pub(crate) fn switch(hook: &Hook, link: &Path, old: &Path, new: &Path) -> Result<(), Error> {
    if let Hook::Clsact { interface, direction, priority } = hook {
        expect_filter(hook, *direction, *priority, old)?;
        return replace_filter(hook, interface, *direction, *priority, new);
    }
    let fd = pins::require(link, Kind::Link)?;
    sys::link_replace(fd.as_fd(), open(old)?.as_fd(), open(new)?.as_fd()).map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM) => changed(hook),
        Some(libc::ENOLINK) => not_attached(hook, io::Error::from_raw_os_error(libc::ENODEV)),
        _ => not_attached(hook, error),
    })
}

/// Makes the hook run `new`, whatever it runs.
pub(crate) fn take_back(hook: &Hook, link: &Path, new: &Path) -> Result<(), Error> {
    if let Hook::Clsact { interface, direction, priority } = hook {
        return replace_filter(hook, interface, *direction, *priority, new);
    }
    let fd = pins::require(link, Kind::Link)?;
    sys::link_update(fd.as_fd(), open(new)?.as_fd()).map_err(|error| not_attached(hook, error))
}

/// Detaches `program`; fails if the hook runs another.
pub(crate) fn detach(hook: &Hook, link: &Path, program: &Path) -> Result<(), Error> {
    if let Hook::Clsact { interface, direction, priority } = hook {
        expect_filter(hook, *direction, *priority, program)?;
        return remove_filter(interface, *direction, *priority).map_err(|error| not_attached(hook, error));
    }
    let fd = pins::require(link, Kind::Link)?;
    let facts = pins::facts_of_link(&fd, link)?;
    if facts.ifindex != 0 && Some(facts.program) != pins::program_id(program)? {
        return Err(changed(hook));
    }
    remove_open_link(&fd, link)
}

/// Detaches and unpins a link, whatever it runs; no error if it is gone.
pub(crate) fn remove_link(link: &Path) -> Result<(), Error> {
    pins::open(link, Kind::Link)?.map_or(Ok(()), |fd| remove_open_link(&fd, link))
}

fn remove_open_link(fd: &OwnedFd, link: &Path) -> Result<(), Error> {
    match sys::link_detach(fd.as_fd()) {
        // The device is gone, and its link with it.
        Err(error) if error.raw_os_error() != Some(libc::ENOLINK) => {
            Err(Error::io(format!("cannot detach `{}`", link.display()), error))
        }
        _ => super::bpffs::remove_pin(link),
    }
}

fn open(program: &Path) -> Result<OwnedFd, Error> {
    pins::require(program, Kind::Program)
}

fn changed(hook: &Hook) -> Error {
    Error::Attach { hook: hook.to_string(), reason: "it runs a program that is not ours: somebody changed it".to_owned() }
}

/// `XDP_FLAGS_SKB_MODE`, `XDP_FLAGS_DRV_MODE` and `XDP_FLAGS_HW_MODE`.
fn xdp_flags(mode: XdpMode) -> u32 {
    match mode {
        XdpMode::Generic => 2,
        XdpMode::Native => 4,
        XdpMode::Offload => 8,
    }
}

fn tcx_type(direction: Direction) -> u32 {
    match direction {
        Direction::Ingress => TCX_INGRESS,
        Direction::Egress => TCX_EGRESS,
    }
}

fn not_attached(hook: &Hook, error: io::Error) -> Error {
    let native = matches!(hook, Hook::Xdp { mode: XdpMode::Native, .. });
    let reason = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => return Error::io(format!("cannot attach to {hook}"), error),
        Some(libc::EBUSY | libc::EEXIST) => "another program is attached there already".to_owned(),
        Some(libc::ENODEV) => "there is no such device any more".to_owned(),
        Some(libc::EOPNOTSUPP) if native => "the device's driver has no XDP; use `mode = \"generic\"`".to_owned(),
        Some(libc::ERANGE) => "the device's MTU is too large for XDP; lower it, or use `mode = \"generic\"`".to_owned(),
        Some(libc::EINVAL) if matches!(hook, Hook::Xdp { mode: XdpMode::Offload, .. }) => {
            "the device cannot run the program on the card".to_owned()
        }
        _ if error.kind() == io::ErrorKind::Unsupported => "the device does not support it".to_owned(),
        _ => error.to_string(),
    };
    Error::Attach { hook: hook.to_string(), reason }
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

fn add_filter(hook: &Hook, direction: Direction, priority: u16, program: &Path) -> Result<(), Error> {
    let mut pinned = SchedClassifier::from_pin(program).map_err(|error| not_attached(hook, program_error(error)))?;
    let options = NlOptions { priority, handle: TcHandle::new(0, 1), classid: None };
    let attached = pinned.attach_with_options(hook.interface(), attach_type(direction), TcAttachOptions::Netlink(options));
    keep(&mut pinned, attached).map_err(|error| not_attached(hook, program_error(error)))
}

fn replace_filter(hook: &Hook, interface: &str, direction: Direction, priority: u16, program: &Path) -> Result<(), Error> {
    let mut pinned = SchedClassifier::from_pin(program).map_err(|error| not_attached(hook, program_error(error)))?;
    let place = SchedClassifierLink::attached(interface, attach_type(direction), priority, TcHandle::new(0, 1), None);
    let replaced = pinned.attach_to_link(place.map_err(|error| not_attached(hook, error))?);
    keep(&mut pinned, replaced).map_err(|error| not_attached(hook, program_error(error)))
}

/// Aya removes a filter when its handle on it is dropped; this one stays. The handle owns no resources.
fn keep(
    program: &mut SchedClassifier,
    attached: Result<aya::programs::tc::SchedClassifierLinkId, ProgramError>,
) -> Result<(), ProgramError> {
    attached.and_then(|id| program.take_link(id)).map(std::mem::forget)
}

fn remove_filter(interface: &str, direction: Direction, priority: u16) -> io::Result<()> {
    let place = SchedClassifierLink::attached(interface, attach_type(direction), priority, TcHandle::new(0, 1), None)?;
    place.detach().map_err(program_error)
}

fn expect_filter(hook: &Hook, direction: Direction, priority: u16, program: &Path) -> Result<(), Error> {
    let filters = sys::device_index(hook.interface()).and_then(host::filters).map_err(|error| not_attached(hook, error))?;
    let found = find_filter(&filters, direction, priority).map(|filter| filter.program);
    if found.is_some() && found == pins::program_id(program)? { Ok(()) } else { Err(changed(hook)) }
}

/// The filter at our place.
pub(crate) fn find_filter(filters: &[Filter], direction: Direction, priority: u16) -> Option<&Filter> {
    filters.iter().find(|filter| (filter.direction, filter.priority, filter.handle) == (direction, priority, HANDLE))
}

fn attach_type(direction: Direction) -> TcAttachType {
    match direction {
        Direction::Ingress => TcAttachType::Ingress,
        Direction::Egress => TcAttachType::Egress,
    }
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
