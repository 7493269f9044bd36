//! Who has a socket: looks through the descriptors of all processes, as far as this one may.
//!
//! Knows sockets by their numbers, not what is attached to them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use ouro_rules::manifest::Socket;

use super::places::Missing;
use super::{caps, sys};
use crate::hook::SocketId;

/// Why nobody here can tell what became of a socket: a process that has it, or that may have it, may not be looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// One sentence.
    pub what: String,
    /// What is in the way, or helps.
    pub help: String,
    /// Whether it would be seen with more rights, or later.
    pub is_curable: bool,
}

/// A socket; none if nobody has it any more.
pub(super) type Sought = Result<Option<OwnedFd>, Unseen>;

/// Sockets by their cookies, wherever they are now: descriptors are copied and handed on, and processes leave them to their children.
pub(super) fn find_all<'a>(wanted: impl IntoIterator<Item = (&'a Socket, SocketId)>) -> BTreeMap<u64, Sought> {
    let mut search = Search::default();
    for (place, id) in wanted {
        // Nearly every socket stays where it was.
        match copy(place.pid, place.fd) {
            Ok(socket) if is_it(&socket, id.cookie) => drop(search.found.insert(id.cookie, socket)),
            _ => drop(search.left.insert(id.cookie, Left { inode: id.inode, pid: place.pid })),
        }
    }
    search.left.retain(|cookie, _| !search.found.contains_key(cookie));
    search.walk();
    search.end()
}

/// One of them.
pub(super) fn find(place: &Socket, id: SocketId) -> Sought {
    find_all([(place, id)]).remove(&id.cookie).expect("BUG: what is looked for is answered")
}

/// A copy of a process's descriptor.
pub(super) fn copy(pid: u32, fd: u32) -> io::Result<OwnedFd> {
    sys::descriptor_of(sys::open_process(pid)?.as_fd(), fd)
}

/// A descriptor that may not be taken.
pub(super) fn not_permitted(what: impl Into<String>) -> Unseen {
    let lacks = !caps::look_into_processes();
    let grant = "run it as root, or give it CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH";
    let (help, is_curable) = match yama() {
        3 => ("`kernel.yama.ptrace_scope` is 3, with which nobody may until the machine starts again".to_owned(), false),
        0 if lacks => (grant.to_owned(), true),
        scope if lacks => (format!("{grant}; with `kernel.yama.ptrace_scope` at {scope} its owner may not either"), true),
        _ => ("its user namespace, or a security module, keeps even this process out".to_owned(), false),
    };
    Unseen { what: what.into(), help, is_curable }
}

/// What need not fail another time: this process may have too many descriptors.
pub(super) fn failed(what: String) -> Unseen {
    Unseen { what, help: "try again".to_owned(), is_curable: true }
}

/// How far Yama goes (Documentation/admin-guide/LSM/Yama.rst); 0 where it is not asked.
pub(super) fn yama() -> u32 {
    let level = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok();
    level.and_then(|level| level.trim().parse().ok()).unwrap_or(0)
}

impl From<Unseen> for Missing {
    fn from(why: Unseen) -> Missing {
        Missing::new(why.what).help(why.help)
    }
}

/// A socket that is not where it was.
struct Left {
    inode: u64,
    /// The process that had it.
    pid: u32,
}

/// A walk over all descriptors of all processes, for all sockets at once.
#[derive(Default)]
struct Search {
    /// Those that are not found, by their cookies.
    left: BTreeMap<u64, Left>,
    found: BTreeMap<u64, OwnedFd>,
    /// Why processes that have them, as it looks, or had them cannot be asked, by their cookies.
    refused: BTreeMap<u64, Unseen>,
    /// How many other processes could not be looked into.
    closed: usize,
}

impl Search {
    fn walk(&mut self) {
        if self.left.is_empty() {
            return;
        }
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            match self.look_into(pid) {
                Ok(()) if self.left.is_empty() => return,
                Err(error) if !is_gone(&error) => self.refuse(pid),
                _ => {}
            }
        }
    }

    fn refuse(&mut self, pid: u32) {
        let had = self.left.iter().filter(|(_, left)| left.pid == pid);
        let why = || not_permitted(format!("process {pid}, which had it, may not be looked into"));
        self.refused.extend(had.map(|(cookie, _)| (*cookie, why())));
        self.closed += 1;
    }

    fn look_into(&mut self, pid: u32) -> io::Result<()> {
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            let entry = entry?;
            let inode = match fs::read_link(entry.path()) {
                Ok(what) => inode(&what),
                Err(error) if is_gone(&error) => None,
                // The others would say the same.
                Err(error) => return Err(error),
            };
            let fd = entry.file_name().to_str().and_then(|fd| fd.parse().ok());
            if let (Some(inode), Some(fd)) = (inode, fd) {
                self.compare(pid, fd, inode);
            }
        }
        Ok(())
    }

    fn compare(&mut self, pid: u32, fd: u32, inode: u64) {
        let Some(cookie) = self.left.iter().find(|(_, left)| left.inode == inode).map(|(cookie, _)| *cookie) else { return };
        match copy(pid, fd) {
            Ok(socket) if is_it(&socket, cookie) => {
                self.left.remove(&cookie);
                self.found.insert(cookie, socket);
            }
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                let why = not_permitted(format!("process {pid} has it, and lets this one take no descriptors"));
                self.refused.insert(cookie, why);
            }
            Err(error) if !is_gone(&error) => {
                self.refused.insert(cookie, failed(format!("process {pid} has it, and a copy cannot be had: {error}")));
            }
            _ => {}
        }
    }

    /// What was not found is closed only if nothing was hidden.
    fn end(mut self) -> BTreeMap<u64, Sought> {
        let hidden = if self.left.is_empty() { None } else { self.hidden() };
        let mut answers: BTreeMap<u64, Sought> = BTreeMap::new();
        for cookie in self.left.into_keys() {
            let why = self.refused.remove(&cookie).or_else(|| hidden.clone().map(not_permitted));
            answers.insert(cookie, why.map_or(Ok(None), Err));
        }
        answers.extend(self.found.into_iter().map(|(cookie, socket)| (cookie, Ok(Some(socket)))));
        answers
    }

    /// What others may have that this process is not shown. What keeps out even those with the right is outside of the container that
    /// this is, as are processes that have no number here.
    fn hidden(&self) -> Option<String> {
        match self.closed {
            _ if caps::look_into_processes() => None,
            0 if hides_processes() => Some("it was not found, and `/proc` hides processes of others (`hidepid`)".to_owned()),
            0 => None,
            1 => Some("it was not found, and 1 process could not be looked into".to_owned()),
            closed => Some(format!("it was not found, and {closed} processes could not be looked into")),
        }
    }
}

fn is_it(socket: &OwnedFd, cookie: u64) -> bool {
    sys::socket_cookie(socket.as_fd()).is_ok_and(|found| found == cookie)
}

/// Whether a process, or its descriptor, went while it was looked at.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH | libc::EBADF))
}

/// The number of a socket in their file system, by what a link in `/proc/<pid>/fd` says.
fn inode(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Whether processes of others may be missing from `/proc`: `hidepid=2` and `hidepid=4`, since kernel 5.8 by names.
fn hides_processes() -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut mounts = mounts.lines().filter(|line| line.split(' ').nth(4) == Some("/proc"));
    let options = ["hidepid=2", "hidepid=4", "hidepid=invisible", "hidepid=ptraceable"];
    mounts.any(|line| line.rsplit(' ').next().unwrap_or_default().split(',').any(|option| options.contains(&option)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_name_sockets_by_their_numbers() {
        for (link, number) in
            [("socket:[4711]", Some(4711)), ("pipe:[4711]", None), ("socket:[]", None), ("/tmp/socket:[1]", None)]
        {
            assert_eq!(inode(Path::new(link)), number, "{link}");
        }
    }
}
