//! Rights: what a command takes besides the capabilities that load and attach, told by what it is about to do, so that it can give
//! up all others before it begins.
//!
//! Knows manifests; what programs name in the kernel, and how rights are given up, is [`crate::kernel`]'s business.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Attach, Manifest, Netns, XdpMode};

use crate::kernel::{self, Right, demands};
use crate::layout::Layout;
use crate::meta::Meta;
use crate::rehearsal::takes_packets;
use crate::{Error, Options};

/// From here on this thread, and those it starts, can do no more than deploy this bundle; `dry_run` tells whether it only tries.
pub fn limit_to_deploy(bpffs: &Path, bundle: &Bundle, options: &Options, dry_run: bool) -> Result<(), Error> {
    let manifest = &bundle.manifest;
    let mut rights = of_deployed(bpffs, &manifest.name);
    rights.extend(of_manifest(manifest));
    rights.extend(demands::of_objects(bundle.objects.values().map(Vec::as_slice)));
    let tests = !manifest.tests.is_empty() && !options.no_tests && takes_packets(manifest);
    // They are tried in a file system of their own.
    rights.extend((dry_run || tests).then_some(Right::Administer));
    rights.extend(options.btf.as_ref().map(|_| Right::ReadFiles));
    kernel::limit_to(bpffs, &manifest.name, &rights)
}

/// From here on this thread, and those it starts, can do no more than change what is deployed under this name.
pub fn limit_to_change(bpffs: &Path, name: &str) -> Result<(), Error> {
    kernel::limit_to(bpffs, name, &of_deployed(bpffs, name))
}

/// What any generation was attached by may have to be made again. What cannot be read is told by what comes.
fn of_deployed(bpffs: &Path, name: &str) -> BTreeSet<Right> {
    let Ok(layout) = Layout::new(bpffs, name) else { return BTreeSet::new() };
    let entries = kernel::entries(layout.folder()).unwrap_or_default();
    let numbers = entries.iter().filter_map(|(name, _)| Layout::generation_number(name));
    let metas = numbers.filter_map(|number| Meta::read(&layout.meta(number)).ok()??.ok());
    metas.flat_map(|meta| of_manifest(&meta.manifest)).collect()
}

/// Fails if this process lacks any of the capabilities that programs of some type take.
pub fn require_all_capabilities() -> Result<(), Error> {
    kernel::require_capabilities(kernel::needed_capabilities(true))
}

/// The capabilities that deploying a chain on another machine takes, without trying it there.
pub fn needed_capabilities(manifest: &Manifest) -> Vec<&'static str> {
    let rights: BTreeSet<Right> = manifest.attach.iter().flat_map(of_place).collect();
    let first = kernel::needed_capabilities(crate::follows_kernel(manifest));
    first.into_iter().chain(rights.into_iter().map(Right::name)).collect()
}

fn of_manifest(manifest: &Manifest) -> BTreeSet<Right> {
    let mut rights = demands::of_sections(manifest.programs.iter().map(|program| program.ty.as_str()));
    rights.extend(manifest.attach.iter().flat_map(of_place));
    rights.extend((manifest.attach.iter().any(is_event) && guards_events()).then_some(Right::Administer));
    rights
}

/// Root reads files of other users, and looks into processes that may more, by capabilities. Events in programs of users take
/// CAP_SYS_ADMIN (`perf_uprobe_event_init` of kernel/events/core.c), links of many probes do not.
fn of_place(place: &Attach) -> Vec<Right> {
    match place {
        Attach::Uprobe(_) | Attach::Usdt(_) => vec![Right::Administer, Right::ReadFiles],
        // Maps of a network card take it (`bpf_map_offload_map_alloc`).
        Attach::Xdp { mode: XdpMode::Offload, .. } => vec![Right::Administer],
        Attach::UprobeMulti(_) => vec![Right::ReadFiles],
        Attach::Netns(Netns { path: Some(path), .. }) if path.starts_with("/proc/") => {
            vec![Right::ReadFiles, Right::LookIntoProcesses]
        }
        Attach::Netns(Netns { path: Some(_), .. }) => vec![Right::ReadFiles],
        // The folder with a process's descriptors is its user's.
        Attach::Socket(_) => vec![Right::ReadFiles, Right::LookIntoProcesses],
        _ => Vec::new(),
    }
}

fn is_event(place: &Attach) -> bool {
    matches!(place, Attach::Tracepoint(_) | Attach::Kprobe(_) | Attach::Ksyscall(_) | Attach::PerfEvent(_))
}

/// Whether making events takes more than CAP_PERFMON: kernels of Debian and Ubuntu have levels above 2, and ask for CAP_SYS_ADMIN.
fn guards_events() -> bool {
    let level = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok();
    level.and_then(|level| level.trim().parse::<i32>().ok()).is_some_and(|level| level > 2)
}
