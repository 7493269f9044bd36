//! Looks at hooks before anything is attached: whether what they name is there, and what others attached to the same place.
//!
//! Changes nothing.

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use ouro_rules::manifest::{Cgroup, XdpMode};

use super::attach_type;
use super::card;
use super::host::Host;
use super::links::{netkit_type, tcx_type};
use super::places::{self, Found, Missing};
use super::sockets;
use super::sys;
use crate::hook::Hook;

/// Why a hook cannot be attached to: what it names is not there. Network devices are not looked at: the host tells of them.
pub(crate) fn look_at(hook: &Hook, link: &Path, host: &Host) -> Option<Missing> {
    found(hook, link, host).err()
}

fn found(hook: &Hook, link: &Path, host: &Host) -> Found<()> {
    match hook {
        Hook::Xdp { interface, mode: XdpMode::Offload } => card::look_at(interface),
        Hook::Tcx { order, .. } | Hook::Netkit { order, .. } => places::order(hook, order, link).map(drop),
        Hook::Cgroup(place) => {
            places::cgroup(&place.path)?;
            places::order(hook, &place.order, link).map(drop)
        }
        Hook::Netns(place) => places::namespace(place.path.as_deref()).map(drop),
        Hook::Tracepoint(place) => places::tracepoint(&place.category, &place.name).map(drop),
        Hook::RawTracepoint(place) => places::raw_tracepoint(&place.name),
        Hook::Kprobe(_) | Hook::Ksyscall(_) => places::event_type("kprobe").map(drop),
        Hook::KprobeMulti(place) => places::functions(&place.pattern).map(drop),
        Hook::Uprobe(place) => {
            places::event_type("uprobe")?;
            places::user_function(&place.binary, place.function.as_deref(), place.offset).map(drop)
        }
        Hook::UprobeMulti(place) => places::user_functions(&place.binary, &place.pattern).map(drop),
        Hook::Usdt(place) => {
            let probes = places::usdt(place)?;
            place.arguments.as_ref().map_or(Ok(()), |table| places::specs(place, &probes, table).map(drop))
        }
        Hook::Socket { place, id: Some(id) } => sockets::look_at(place, *id),
        Hook::Socket { place, id: None } => {
            host.sockets.get(&(place.pid, place.fd)).map_or(Ok(()), |found| found.clone().map(drop))
        }
        Hook::Iter(place) => place.cgroup.as_ref().map_or(Ok(()), |path| places::cgroup(path).map(drop)),
        _ => Ok(()),
    }
}

/// The ids of all programs attached to the same place, in the order they run in; none where the kernel does not tell.
pub(crate) fn others(hook: &Hook, host: &Host) -> Vec<u32> {
    let device = hook.interface().and_then(|interface| host.devices.get(interface));
    let asked = match (hook, device) {
        (Hook::Xdp { .. } | Hook::SharedXdp(_), Some(device)) => return device.xdp.into_iter().collect(),
        (Hook::Clsact { direction, .. }, Some(device)) => {
            let here = device.filters.iter().filter(|filter| filter.direction == *direction && filter.program != 0);
            return here.map(|filter| filter.program).collect();
        }
        (Hook::Tcx { direction, .. }, Some(device)) => sys::query(device.index, tcx_type(*direction)),
        (Hook::Netkit { end, .. }, Some(device)) => sys::query(device.index, netkit_type(*end)),
        (Hook::Cgroup(place), _) => group(place),
        (Hook::Netns(place), _) => places::namespace(place.path.as_deref())
            .map_err(|_| gone())
            .and_then(|namespace| sys::query(namespace.as_raw_fd().cast_unsigned(), attach_type::number(&place.attach_type)?)),
        _ => return Vec::new(),
    };
    // A kernel that has no such places, or a place that is gone, runs nothing there.
    asked.unwrap_or_default()
}

/// The program of a control group that takes one.
pub(crate) fn group_program(place: &Cgroup) -> Option<u32> {
    group(place).ok()?.first().copied()
}

fn group(place: &Cgroup) -> io::Result<Vec<u32>> {
    let folder = places::cgroup(&place.path).map_err(|_| gone())?;
    sys::query(folder.as_raw_fd().cast_unsigned(), attach_type::number(&place.attach_type)?)
}

fn gone() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOENT)
}
