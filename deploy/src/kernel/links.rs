//! Links: what attaches a program to each kind of hook.
//!
//! Knows one hook and one program at a time; pins and generations are others' business.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use ouro_rules::manifest::{
    Cgroup, Direction, Family, Iter, Kprobe, NetfilterHook, NetkitEnd, Netns, PerfEvent, SPECS_MAP, Sample, Uprobe, UprobeMulti,
    Usdt, XdpMode,
};
use ouro_rules::perf_event;

use super::attach_type;
use super::pins::{self, Kind};
use super::places::{self, Missing};
use super::specs;
use super::sys::{self, Event, Uprobes};
use crate::hook::Hook;

/// Why there is no link.
#[derive(Debug)]
pub(super) enum NoLink {
    /// What is named is not there.
    Missing(Missing),
    /// The kernel said so.
    System(io::Error),
}

impl From<Missing> for NoLink {
    fn from(missing: Missing) -> NoLink {
        NoLink::Missing(missing)
    }
}

impl From<io::Error> for NoLink {
    fn from(error: io::Error) -> NoLink {
        NoLink::System(error)
    }
}

/// What a link is made from besides the program.
pub(super) struct Site<'a> {
    /// Where the link is to be pinned: other deployments at the same hook have theirs beside it.
    pub(super) link: &'a Path,
    /// Where a map of the chain is pinned.
    pub(super) map: &'a dyn Fn(&str) -> PathBuf,
}

impl Site<'_> {
    fn open_map(&self, name: &str) -> Result<OwnedFd, NoLink> {
        let path = (self.map)(name);
        let found = pins::open(&path, Kind::Map).ok().flatten();
        found.ok_or_else(|| {
            NoLink::from(io::Error::new(io::ErrorKind::NotFound, format!("no map is pinned at `{}`", path.display())))
        })
    }
}

/// Makes the link of a hook that has one.
pub(super) fn create(hook: &Hook, program: BorrowedFd<'_>, site: &Site<'_>) -> Result<OwnedFd, NoLink> {
    Ok(match hook {
        Hook::Xdp { interface, mode } => {
            sys::link_create(program, sys::device_index(interface)?, attach_type::XDP, xdp_flags(*mode))?
        }
        Hook::Tcx { interface, direction, order, revision } => {
            let order = places::order(hook, order, site.link)?;
            sys::link_in_order(program, sys::device_index(interface)?, tcx_type(*direction), order, revision.unwrap_or(0))?
        }
        Hook::Netkit { interface, end, order, revision } => {
            let order = places::order(hook, order, site.link)?;
            sys::link_in_order(program, sys::device_index(interface)?, netkit_type(*end), order, revision.unwrap_or(0))?
        }
        Hook::Cgroup(place) => cgroup(hook, place, program, site)?,
        Hook::Netfilter(place) => {
            let family = if place.family == Family::Ipv4 { libc::NFPROTO_IPV4 } else { libc::NFPROTO_IPV6 };
            sys::link_netfilter(program, family.cast_unsigned(), netfilter_hook(place.at), place.priority, place.defrag)?
        }
        Hook::Netns(place) => netns(place, program)?,
        Hook::Sockmap(place) => {
            sys::link_at(program, site.open_map(&place.map)?.as_fd(), attach_type::number(&place.attach_type)?)?
        }
        Hook::Tracepoint(place) => {
            let event = sys::trace_event(places::tracepoint(&place.category, &place.name)?)?;
            sys::link_event(program, event.as_fd())?
        }
        Hook::RawTracepoint(place) => sys::raw_tracepoint(program, Some(&place.name))?,
        // The loader told the kernel what for.
        Hook::Trace(_) => sys::raw_tracepoint(program, None)?,
        Hook::Kprobe(place) => kprobe(place, program)?,
        Hook::Ksyscall(place) => {
            let function = places::syscall(&place.name);
            kprobe(&Kprobe { function, offset: 0, returns: place.returns }, program)?
        }
        Hook::KprobeMulti(place) => {
            let attach_type = many_type("TRACE_KPROBE", place.session)?;
            sys::link_kprobes(program, attach_type, &places::functions(&place.pattern)?, place.returns)?
        }
        Hook::Uprobe(place) => uprobe(place, program)?,
        Hook::UprobeMulti(place) => uprobe_multi(place, program)?,
        Hook::Usdt(place) => usdt(place, program, site)?,
        Hook::PerfEvent(place) => perf_event(place, program)?,
        Hook::Iter(place) => iter(place, program, site)?,
        // What stands in the program's place is the table.
        Hook::StructOps(_) => sys::link_map(program)?,
        Hook::Clsact { .. } | Hook::Socket { .. } | Hook::SharedXdp(_) => {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP).into());
        }
    })
}

/// `XDP_FLAGS_SKB_MODE`, `XDP_FLAGS_DRV_MODE` and `XDP_FLAGS_HW_MODE`.
fn xdp_flags(mode: XdpMode) -> u32 {
    match mode {
        XdpMode::Generic => 2,
        XdpMode::Native => 4,
        XdpMode::Offload => 8,
    }
}

pub(super) fn tcx_type(direction: Direction) -> u32 {
    match direction {
        Direction::Ingress => attach_type::TCX_INGRESS,
        Direction::Egress => attach_type::TCX_INGRESS + 1,
    }
}

pub(super) fn netkit_type(end: NetkitEnd) -> u32 {
    match end {
        NetkitEnd::Primary => attach_type::NETKIT_PRIMARY,
        NetkitEnd::Peer => attach_type::NETKIT_PRIMARY + 1,
    }
}

/// `NF_INET_PRE_ROUTING` to `NF_INET_POST_ROUTING`.
fn netfilter_hook(at: NetfilterHook) -> u32 {
    match at {
        NetfilterHook::Prerouting => 0,
        NetfilterHook::Input => 1,
        NetfilterHook::Forward => 2,
        NetfilterHook::Output => 3,
        NetfilterHook::Postrouting => 4,
    }
}

fn cgroup(hook: &Hook, place: &Cgroup, program: BorrowedFd<'_>, site: &Site<'_>) -> Result<OwnedFd, NoLink> {
    let (group, attach_type) = (places::cgroup(&place.path)?, attach_type::number(&place.attach_type)?);
    let order = places::order(hook, &place.order, site.link)?;
    if order.is_none() && place.revision.is_none() {
        // Kernels without an order take no word on it.
        return Ok(sys::link_at(program, group.as_fd(), attach_type)?);
    }
    let group = group.as_raw_fd().cast_unsigned();
    Ok(sys::link_in_order(program, group, attach_type, order, place.revision.unwrap_or(0))?)
}

fn netns(place: &Netns, program: BorrowedFd<'_>) -> Result<OwnedFd, NoLink> {
    let namespace = places::namespace(place.path.as_deref())?;
    Ok(sys::link_at(program, namespace.as_fd(), attach_type::number(&place.attach_type)?)?)
}

fn named(name: &str) -> Result<CString, NoLink> {
    CString::new(name).map_err(|error| io::Error::from(error).into())
}

fn kprobe(place: &Kprobe, program: BorrowedFd<'_>) -> Result<OwnedFd, NoLink> {
    let config = u64::from(place.returns);
    let event = Event {
        ty: places::event_type("kprobe")?,
        config,
        place: Some((named(&place.function)?, place.offset)),
        ..Event::default()
    };
    let event = sys::perf_event(&event, None, None).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT | libc::EADDRNOTAVAIL) => no_function(&place.function),
        _ => NoLink::System(error),
    })?;
    Ok(sys::link_event(program, event.as_fd())?)
}

fn no_function(name: &str) -> NoLink {
    NoLink::Missing(Missing { what: format!("the kernel has no function `{name}` that can be probed"), help: None })
}

/// One event for each probe, whatever the number of CPUs: the kernel runs the program of a probe's event wherever it is hit. The
/// semaphore stands in the upper half of the configuration.
fn uprobe_event(file: &str, offset: u64, semaphore: u64, returns: bool, pid: Option<u32>) -> Result<OwnedFd, NoLink> {
    let config = u64::from(returns) | semaphore << 32;
    let event = Event { ty: places::event_type("uprobe")?, config, place: Some((named(file)?, offset)), ..Event::default() };
    Ok(sys::perf_event(&event, pid, None)?)
}

fn uprobe(place: &Uprobe, program: BorrowedFd<'_>) -> Result<OwnedFd, NoLink> {
    let offset = places::user_function(&place.binary, place.function.as_deref(), place.offset)?;
    let event = uprobe_event(&place.binary, offset, 0, place.returns, place.pid)?;
    Ok(sys::link_event(program, event.as_fd())?)
}

fn uprobe_multi(place: &UprobeMulti, program: BorrowedFd<'_>) -> Result<OwnedFd, NoLink> {
    let offsets = places::user_functions(&place.binary, &place.pattern)?;
    let (file, pid) = (Path::new(&place.binary), place.pid.unwrap_or(0));
    let places = Uprobes { offsets: &offsets, ..Uprobes::default() };
    Ok(sys::link_uprobes(program, many_type("TRACE_UPROBE", place.session)?, file, places, pid, place.returns)?)
}

/// The link of many is of the same attach type as its program.
fn many_type(what: &str, session: bool) -> io::Result<u32> {
    attach_type::number(&format!("{what}_{}", if session { "SESSION" } else { "MULTI" }))
}

/// Kernels before 6.6 load the program for an event, of which a probe in one place is one.
fn usdt(place: &Usdt, program: BorrowedFd<'_>, site: &Site<'_>) -> Result<OwnedFd, NoLink> {
    let probes = places::usdt(place)?;
    let offsets: Vec<u64> = probes.iter().map(|probe| probe.offset).collect();
    let semaphores: Vec<u64> = probes.iter().map(|probe| probe.semaphore).collect();
    let cookies = match &place.arguments {
        None => Vec::new(),
        Some(table) => specs::ids(&(site.map)(SPECS_MAP), &places::specs(place, &probes, table)?)?,
    };
    let (ty, file) = (many_type("TRACE_UPROBE", false)?, Path::new(&place.binary));
    let places = Uprobes { offsets: &offsets, semaphores: &semaphores, cookies: &cookies };
    match sys::link_uprobes(program, ty, file, places, place.pid.unwrap_or(0), false) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) && probes.len() == 1 => {
            let event = uprobe_event(&place.binary, offsets[0], semaphores[0], false, place.pid)?;
            Ok(sys::link_event_with(program, event.as_fd(), cookies.first().copied().unwrap_or(0))?)
        }
        result => Ok(result?),
    }
}

fn perf_event(place: &PerfEvent, program: BorrowedFd<'_>) -> Result<OwnedFd, NoLink> {
    let unknown = || NoLink::Missing(Missing { what: format!("there is no counter `{}`", place.event), help: None });
    let known = perf_event::find(&place.event).ok_or_else(unknown)?;
    let (sample, frequency) = match place.sample {
        Sample::Period(period) => (period, false),
        Sample::Frequency(frequency) => (frequency, true),
    };
    let event = Event { ty: known.ty, config: known.config, sample, frequency, place: None };
    let event = sys::perf_event(&event, place.pid, place.cpu)?;
    Ok(sys::link_event(program, event.as_fd())?)
}

/// `union bpf_iter_link_info`: a map's descriptor; order and descriptor of a control group; or thread, process and its descriptor.
fn iter(place: &Iter, program: BorrowedFd<'_>, site: &Site<'_>) -> Result<OwnedFd, NoLink> {
    // BPF_CGROUP_ITER_DESCENDANTS_PRE
    const DOWN: u32 = 2;
    let number = |fd: &dyn AsRawFd| fd.as_raw_fd().cast_unsigned();
    if let Some(name) = &place.map {
        let map = site.open_map(name)?;
        return Ok(sys::link_walk(program, Some([number(&map), 0, 0, 0]))?);
    }
    if let Some(path) = &place.cgroup {
        let group = places::cgroup(path)?;
        return Ok(sys::link_walk(program, Some([DOWN, number(&group), 0, 0]))?);
    }
    Ok(sys::link_walk(program, place.pid.map(|pid| [0, pid, 0, 0]))?)
}
