//! Attaches programs, replaces them, and detaches them again: links where the kernel has them, filters where not.
//!
//! Knows pins and hooks, not generations.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use ouro_rules::manifest::{Cgroup, CgroupMode};

use super::clsact::{self, Place};
use super::links::{self, NoLink, Site};
use super::pins::{self, Kind, LinkFacts};
use super::refusal::{self, changed, not_attached};
use super::{attach_type, bpffs, places, sockets, sys};
use crate::Error;
use crate::hook::{Hook, Renewal};

/// `BPF_F_ALLOW_OVERRIDE`
const OVERRIDE: u32 = 1;

/// Links an extension to the function that it was loaded for.
pub(crate) fn extend(program: &Path, link: &Path) -> Result<(), Error> {
    let made = sys::raw_tracepoint(open(program)?.as_fd(), None).map_err(|error| {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match error.raw_os_error() {
            Some(libc::EBUSY) => Error::Object {
                of: name,
                reason: "the program that it extends stands in a jump table, or has another in this function's place already"
                    .to_owned(),
            },
            _ => Error::io(format!("cannot replace a function by `{name}`"), error),
        }
    })?;
    pin(&made, link)
}

/// Attaches a pinned program, or of `struct_ops` a pinned table; a link is pinned at `link` at once, as it lasts only as long as its pin. `map` tells where a map of
/// the chain is pinned.
pub(crate) fn attach(hook: &Hook, program: &Path, link: &Path, map: &dyn Fn(&str) -> PathBuf) -> Result<(), Error> {
    if let Some(place) = filter(hook) {
        return clsact::add(place, program).map_err(|error| not_attached(hook, error));
    }
    match hook {
        Hook::Cgroup(place) if place.mode != CgroupMode::Multi => {
            let (group, failed) = (group(hook, place)?, |error| not_attached(hook, error));
            group.attach(open(program)?.as_fd()).map_err(failed)
        }
        Hook::Socket { .. } => sockets::attach(hook, open(program)?.as_fd()),
        _ => create(hook, program, &Site { link, map }).and_then(|made| pin(&made, link)),
    }
}

/// Makes the hook run `new`, but only if it still runs `old`; atomically where its renewal is one of link or filter.
pub(crate) fn switch(hook: &Hook, link: &Path, old: &Path, new: &Path, map: &dyn Fn(&str) -> PathBuf) -> Result<(), Error> {
    let failed = |error| not_attached(hook, error);
    if let Some(place) = filter(hook) {
        expect_filter(hook, place, old)?;
        return clsact::replace(place, new).map_err(failed);
    }
    match (hook.renewal(), hook) {
        (Renewal::Filter, Hook::Cgroup(place)) => {
            let group = group(hook, place)?;
            group.expect(hook, old)?;
            group.attach(open(new)?.as_fd()).map_err(failed)
        }
        (Renewal::Link, _) => {
            let fd = pins::require(link, Kind::Link)?;
            sys::link_replace(fd.as_fd(), subject(hook, old)?.as_fd(), subject(hook, new)?.as_fd()).map_err(|error| {
                match error.raw_os_error() {
                    Some(libc::EPERM) => changed(hook),
                    Some(libc::EINVAL) if matches!(hook, Hook::StructOps(_)) => refusal::other_table(hook),
                    Some(libc::ENOLINK) => not_attached(hook, io::Error::from_raw_os_error(libc::ENODEV)),
                    _ => not_attached(hook, error),
                }
            })
        }
        (_, Hook::Socket { .. }) => sockets::replace(hook, open(new)?.as_fd()),
        _ => exchange(hook, link, old, new, map),
    }
}

/// Puts a new link in the place of one that takes no other program. The new one is attached first and pinned beside the old one, so
/// that something is attached whenever this ends. Where two have no room the old one goes first.
pub(crate) fn exchange(hook: &Hook, link: &Path, old: &Path, new: &Path, map: &dyn Fn(&str) -> PathBuf) -> Result<(), Error> {
    let before = pins::require(link, Kind::Link)?;
    if !runs(hook, pins::facts_of_link(&before, link)?, old)? {
        return Err(changed(hook));
    }
    let (beside, site) = (beside(link), Site { link, map });
    // What a killed command left is detached, too, before a link of the same program takes its place.
    remove_beside(link)?;
    if hook.is_alone() {
        remove_open_link(before, link)?;
        let made = create(hook, new, &site).and_then(|made| pin(&made, link));
        // What ran before runs again, so that the error is all that came of it.
        return made.or_else(|error| create(hook, old, &site).and_then(|made| pin(&made, link)).and(Err(error)));
    }
    pin(&create(hook, new, &site)?, &beside)?;
    std::fs::rename(&beside, link).map_err(|error| {
        // Why it failed is the error; the next command removes what is left.
        let _ = bpffs::remove_pin(&beside);
        Error::io(format!("cannot replace the pin `{}`", link.display()), error)
    })?;
    let_go(before);
    Ok(())
}

/// Where a link waits to take another one's place.
pub(crate) fn beside(link: &Path) -> PathBuf {
    let mut name = link.file_name().unwrap_or_default().to_owned();
    name.push("%new");
    link.with_file_name(name)
}

/// Detaches and unpins what waits beside a link; no error if nothing does.
pub(crate) fn remove_beside(link: &Path) -> Result<(), Error> {
    let beside = beside(link);
    let Some(waiting) = pins::open(&beside, Kind::Link)? else { return Ok(()) };
    bpffs::remove_pin(&beside)?;
    let_go(waiting);
    Ok(())
}

/// Whether a link runs the pinned program, or registers the pinned table.
fn runs(hook: &Hook, facts: LinkFacts, pinned: &Path) -> Result<bool, Error> {
    match hook {
        Hook::StructOps(_) => Ok(facts.target == pins::map_facts(pinned)?.map(|table| table.id.into())),
        _ => Ok(Some(facts.program) == pins::program_id(pinned)?),
    }
}

/// Makes the hook run `new`, whatever it runs.
pub(crate) fn take_back(hook: &Hook, link: &Path, new: &Path) -> Result<(), Error> {
    let failed = |error| not_attached(hook, error);
    if let Some(place) = filter(hook) {
        return clsact::replace(place, new).map_err(failed);
    }
    if let (Renewal::Filter, Hook::Cgroup(place)) = (hook.renewal(), hook) {
        return group(hook, place)?.attach(open(new)?.as_fd()).map_err(failed);
    }
    if let Hook::Socket { .. } = hook {
        return sockets::take(hook, open(new)?.as_fd());
    }
    let fd = pins::require(link, Kind::Link)?;
    sys::link_update(fd.as_fd(), subject(hook, new)?.as_fd()).map_err(failed)
}

/// Detaches `program`; fails if the hook runs another.
pub(crate) fn detach(hook: &Hook, link: &Path, program: &Path) -> Result<(), Error> {
    if let Some(place) = filter(hook) {
        expect_filter(hook, place, program)?;
        return clsact::remove(place).map_err(|error| not_attached(hook, error));
    }
    if let (Renewal::Filter, Hook::Cgroup(place)) = (hook.renewal(), hook) {
        let group = group(hook, place)?;
        group.expect(hook, program)?;
        return group.detach(open(program)?.as_fd()).map_err(|error| not_attached(hook, error));
    }
    if let Hook::Socket { .. } = hook {
        return sockets::detach(hook);
    }
    let fd = pins::require(link, Kind::Link)?;
    let facts = pins::facts_of_link(&fd, link)?;
    let tells = facts.program != 0 || matches!(hook, Hook::StructOps(_));
    if facts.target.is_some() && tells && !runs(hook, facts, program)? {
        return Err(changed(hook));
    }
    remove_open_link(fd, link)
}

/// Detaches and unpins a link, whatever it runs; no error if it is gone.
pub(crate) fn remove_link(link: &Path) -> Result<(), Error> {
    pins::open(link, Kind::Link)?.map_or(Ok(()), |fd| remove_open_link(fd, link))
}

/// The pin goes first. Of some links (netfilter's) nobody can tell whether they are detached: one that was, and is pinned still, would
/// be taken for one that runs.
fn remove_open_link(fd: OwnedFd, link: &Path) -> Result<(), Error> {
    remove_beside(link)?;
    bpffs::remove_pin(link)?;
    let_go(fd);
    Ok(())
}

/// Detaches a link that is pinned nowhere. One that cannot be detached is when the last descriptor is closed, which this one is.
fn let_go(fd: OwnedFd) {
    let _ = sys::link_detach(fd.as_fd());
}

fn create(hook: &Hook, program: &Path, site: &Site<'_>) -> Result<OwnedFd, Error> {
    links::create(hook, subject(hook, program)?.as_fd(), site).map_err(|error| match error {
        NoLink::Missing(missing) => refusal::missing(hook, missing),
        NoLink::System(error) => not_attached(hook, error),
    })
}

fn pin(made: &OwnedFd, link: &Path) -> Result<(), Error> {
    sys::pin(made.as_fd(), link).map_err(|error| Error::io(format!("cannot pin `{}`", link.display()), error))
}

/// What is attached.
fn subject(hook: &Hook, pinned: &Path) -> Result<OwnedFd, Error> {
    pins::require(pinned, if matches!(hook, Hook::StructOps(_)) { Kind::Map } else { Kind::Program })
}

fn open(program: &Path) -> Result<OwnedFd, Error> {
    pins::require(program, Kind::Program)
}

fn filter(hook: &Hook) -> Option<Place<'_>> {
    let Hook::Clsact { interface, direction, priority, handle } = hook else { return None };
    Some(Place { interface, direction: *direction, priority: *priority, handle: *handle })
}

fn expect_filter(hook: &Hook, place: Place<'_>, program: &Path) -> Result<(), Error> {
    if clsact::runs(place, program)? { Ok(()) } else { Err(changed(hook)) }
}

/// A control group that is attached to without a link.
struct Group {
    folder: std::fs::File,
    attach_type: u32,
    flags: u32,
}

fn group(hook: &Hook, place: &Cgroup) -> Result<Group, Error> {
    let folder = places::cgroup(&place.path).map_err(|missing| refusal::missing(hook, missing))?;
    let attach_type = attach_type::number(&place.attach_type).map_err(|error| not_attached(hook, error))?;
    Ok(Group { folder, attach_type, flags: if place.mode == CgroupMode::Override { OVERRIDE } else { 0 } })
}

impl Group {
    fn attach(&self, program: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
        sys::group_attach(self.folder.as_fd(), program, self.attach_type, self.flags)
    }

    fn detach(&self, program: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
        sys::group_detach(self.folder.as_fd(), program, self.attach_type)
    }

    fn expect(&self, hook: &Hook, program: &Path) -> Result<(), Error> {
        let runs =
            sys::query(self.folder.as_raw_fd().cast_unsigned(), self.attach_type).map_err(|error| not_attached(hook, error))?;
        let is_ours = pins::program_id(program)?.is_some_and(|id| runs.contains(&id));
        if is_ours { Ok(()) } else { Err(changed(hook)) }
    }
}
