//! The network devices of the current namespace: what is attached to them already, and what the kernel can attach.
//!
//! Knows nothing of deployments.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use ouro_rules::manifest::Direction;

use super::attach_type::TCX_INGRESS;
use super::netlink::{attribute, attributes_of, dump, request, word};
use super::places::Missing;
use super::sys;
use crate::Error;
use crate::hook::SocketId;

/// Where `ip netns add` keeps its names.
const NAMED: &str = "/run/netns";
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_ID: u16 = 11;
const IFLA_IFALIAS: u16 = 20;
const IFLA_XDP: u16 = 43;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_XDP_PROG_ID: u16 = 4;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const CLSACT_PARENT: u32 = 0xffff_fff1;
/// Bytes of `struct tcmsg` and `struct ifinfomsg`.
const TCMSG: usize = 20;
const IFINFOMSG: usize = 16;

/// What the machine offers, seen from the current network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// The network devices by name.
    pub devices: BTreeMap<String, Device>,
    /// Whether the kernel has TCX links.
    pub tcx: bool,
    /// The inode of the network namespace.
    pub namespace: u64,
    /// Bytes of a page.
    pub page_size: u32,
    /// The CPUs that run.
    pub cpus: Vec<u32>,
    /// The sockets that were looked for, by process and descriptor, and why there are none.
    pub sockets: BTreeMap<(u32, u32), Result<SocketId, Missing>>,
}

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// Its index.
    pub index: u32,
    /// What it is called besides: its alias first, then its other names.
    pub labels: Vec<String>,
    /// The XDP program it runs.
    pub xdp: Option<u32>,
    /// Whether it has a clsact qdisc.
    pub clsact: bool,
    /// The BPF filters of that qdisc.
    pub filters: Vec<Filter>,
}

/// A BPF filter of a clsact qdisc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// Which way packets go.
    pub direction: Direction,
    /// Its place; lower runs first.
    pub priority: u16,
    /// Its number at this place.
    pub handle: u32,
    /// The program it runs; 0 for a filter of another kind.
    pub program: u32,
}

/// Looks at the machine.
pub(crate) fn host() -> Result<Host, Error> {
    let failed = |error| Error::io("cannot look at the network devices", error);
    let mut devices = devices().map_err(failed)?;
    let any = devices.values().map(|device| device.index).min().unwrap_or(1);
    mark_clsact(&mut devices).map_err(failed)?;
    Ok(Host {
        devices,
        tcx: sys::attach_type_known(any, TCX_INGRESS).map_err(failed)?,
        namespace: namespace(),
        page_size: sys::page_size(),
        cpus: cpus(),
        sockets: BTreeMap::new(),
    })
}

/// The kernel writes ranges: `0-3,8`. The first CPU always runs.
fn cpus() -> Vec<u32> {
    let text = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<u32>().ok()?..=last.parse().ok()?)
    };
    let found: Vec<u32> = text.trim().split(',').filter_map(range).flatten().collect();
    if found.is_empty() { vec![0] } else { found }
}

/// The inode of this thread's network namespace; 0 where /proc is missing.
fn namespace() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").map_or(0, |facts| facts.ino())
}

/// The network namespaces that `ip netns` has names for, by their inodes.
pub(crate) fn named_namespaces() -> BTreeMap<u64, String> {
    let entries = fs::read_dir(NAMED).into_iter().flatten().flatten();
    // The entry's own number is that of the file the namespace is mounted over.
    let named = |entry: fs::DirEntry| Some((fs::metadata(entry.path()).ok()?.ino(), entry.file_name().into_string().ok()?));
    entries.filter_map(named).collect()
}

fn devices() -> io::Result<BTreeMap<String, Device>> {
    let mut found = BTreeMap::new();
    for body in dump(libc::RTM_GETLINK, &[0; IFINFOMSG])? {
        let (Some(index), Some(attributes)) = (word(&body, 4), body.get(IFINFOMSG..)) else { continue };
        let Some(name) = attribute(attributes, libc::IFLA_IFNAME).map(text) else { continue };
        let xdp = attribute(attributes, IFLA_XDP).and_then(|xdp| attribute(xdp, IFLA_XDP_PROG_ID)).and_then(|id| word(id, 0));
        let alias = attribute(attributes, IFLA_IFALIAS);
        let others = attribute(attributes, IFLA_PROP_LIST).map(|list| attributes_of(list, IFLA_ALT_IFNAME)).unwrap_or_default();
        let labels = alias.into_iter().chain(others).map(text).collect();
        found.insert(name, Device { index, labels, xdp: xdp.filter(|id| *id != 0), ..Device::default() });
    }
    Ok(found)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

fn mark_clsact(devices: &mut BTreeMap<String, Device>) -> io::Result<()> {
    for body in dump(libc::RTM_GETQDISC, &tcmsg(0, 0, 0))? {
        let kind = body.get(TCMSG..).and_then(|attributes| attribute(attributes, TCA_KIND));
        if let (Some(b"clsact\0"), Some(index)) = (kind, word(&body, 4))
            && let Some(device) = devices.values_mut().find(|device| device.index == index)
        {
            device.clsact = true;
            device.filters = filters(index)?;
        }
    }
    Ok(())
}

/// The filters of a device's clsact qdisc, of every kind.
pub(super) fn filters(ifindex: u32) -> io::Result<Vec<Filter>> {
    let mut found = Vec::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        for body in dump(libc::RTM_GETTFILTER, &tcmsg(ifindex, 0, parent(direction)))? {
            let (Some(handle), Some(info), Some(attributes)) = (word(&body, 8), word(&body, 16), body.get(TCMSG..)) else {
                continue;
            };
            let id =
                attribute(attributes, TCA_OPTIONS).and_then(|options| attribute(options, TCA_BPF_ID)).and_then(|id| word(id, 0));
            let priority = u16::try_from(info >> 16).expect("BUG: sixteen bits are left");
            found.push(Filter { direction, priority, handle, program: id.unwrap_or(0) });
        }
    }
    // Each place is dumped once more as a whole, with handle 0.
    found.retain(|filter| filter.handle != 0);
    Ok(found)
}

/// Removes a clsact qdisc, with whatever filters it has.
pub(super) fn remove_clsact(ifindex: u32) -> io::Result<()> {
    request(libc::RTM_DELQDISC, &tcmsg(ifindex, CLSACT_HANDLE, CLSACT_PARENT))
}

fn parent(direction: Direction) -> u32 {
    match direction {
        Direction::Ingress => CLSACT_HANDLE | 0xfff2,
        Direction::Egress => CLSACT_HANDLE | 0xfff3,
    }
}

/// A `struct tcmsg`: family and padding, then the device, handle, parent and info.
fn tcmsg(ifindex: u32, handle: u32, parent: u32) -> Vec<u8> {
    [0, ifindex, handle, parent, 0].iter().flat_map(|word| word.to_ne_bytes()).collect()
}
