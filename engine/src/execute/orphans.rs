//! Processes that outlive whoever started them: while actions run they become children of this process, which ends them.
//!
//! Knows nothing of actions. What stays in the group it was started in ends with the group; for the rest there is no telling whose it
//! was, so it ends when nothing else runs. A process is made the one that orphans go to for as long as anybody here wants that.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What was killed and has not ended after this time is not waited for: it is not ours to kill, or hangs in the kernel.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(1);

/// A process has one list of children, whoever asks.
static WANTED: Mutex<Wanted> = Mutex::new(Wanted { by: 0, are_mixed: false });

#[derive(Debug)]
struct Wanted {
    /// How many want orphans.
    by: usize,
    /// Whether there were children before: of whoever became this program by `exec`, or of who uses this library. Theirs must not be
    /// taken for ours.
    are_mixed: bool,
}

/// Somebody who wants orphans, as long as this lives.
#[derive(Debug)]
pub(crate) struct Orphans(());

impl Orphans {
    /// From now on they come to this process.
    pub(crate) fn adopt() -> Orphans {
        let mut wanted = wanted();
        if wanted.by == 0 {
            wanted.are_mixed = has_children();
            become_their_parent(true);
        }
        wanted.by += 1;
        Orphans(())
    }

    /// Ends all there are, unless somebody else runs processes here; whether there were any. To be called when all own processes have
    /// been waited for.
    pub(crate) fn end(&self) -> bool {
        let wanted = wanted();
        let began = Instant::now();
        let mut found = false;
        // What one of them started comes to us when it has ended.
        while wanted.by == 1 && !wanted.are_mixed && has_children() && began.elapsed() < PATIENCE {
            let left = strangers();
            if left.is_empty() {
                break;
            }
            found = true;
            left.into_iter().for_each(end);
            std::thread::sleep(LOOK);
        }
        found
    }
}

impl Drop for Orphans {
    fn drop(&mut self) {
        let mut wanted = wanted();
        wanted.by -= 1;
        if wanted.by == 0 {
            // What takes this process's place by `exec` would have them, too.
            become_their_parent(false);
        }
    }
}

fn wanted() -> MutexGuard<'static, Wanted> {
    WANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn become_their_parent(yes: bool) {
    // SAFETY: takes plain numbers. Where it fails, orphans are `init`'s, as ever.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, libc::c_ulong::from(yes), 0, 0, 0) };
}

fn has_children() -> bool {
    let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the kernel fills in nothing when it is given nowhere to.
    unsafe { libc::waitid(libc::P_ALL, 0, std::ptr::null_mut(), how) == 0 }
}

/// Children that lead a group of their own, or are in one that somebody else made: this program starts others in its own group, or
/// waits for them before it asks.
fn strangers() -> Vec<libc::pid_t> {
    // SAFETY: the call only tells a number.
    let group = unsafe { libc::getpgrp() };
    let own = std::process::id() as libc::pid_t;
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_strange = |process: &libc::pid_t| parent_and_group(*process).is_some_and(|(parent, of)| parent == own && of != group);
    numbers.filter(is_strange).collect()
}

/// The fourth and fifth field of `proc_pid_stat(5)`; the second one, in parentheses, may be anything.
fn parent_and_group(process: libc::pid_t) -> Option<(libc::pid_t, libc::pid_t)> {
    let stat = fs::read(format!("/proc/{process}/stat")).ok()?;
    let text = String::from_utf8_lossy(&stat).into_owned();
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(1).map(|field| field.parse().ok());
    Some((fields.next()??, fields.next()??))
}

fn end(process: libc::pid_t) {
    // SAFETY: kills a child of ours, whose number is its own until it is waited for, which only we do.
    unsafe {
        libc::kill(process, libc::SIGKILL);
        libc::waitpid(process, std::ptr::null_mut(), libc::WNOHANG);
    }
}

/// Waits for the end of what is left of a group that was killed, and whose leader was waited for.
pub(super) fn wait_for_rest(group: libc::pid_t) {
    let began = Instant::now();
    loop {
        // SAFETY: the kernel writes no status when it is given nowhere to.
        match unsafe { libc::waitpid(-group, std::ptr::null_mut(), libc::WNOHANG) } {
            // Somebody of it still ends.
            0 if began.elapsed() < PATIENCE => std::thread::sleep(LOOK),
            1.. => {}
            _ => return,
        }
    }
}
