//! Processes: started in a group of their own, with a fixed environment, their output kept whole; none outlives us.
//!
//! Knows nothing of actions.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::FromRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

/// The processes that run now.
#[derive(Debug, Default)]
pub(super) struct Processes {
    groups: Mutex<BTreeSet<libc::pid_t>>,
}

/// A process that ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// How.
    pub(super) status: ExitStatus,
    /// What it wrote to its standard output and error, in the order it wrote.
    pub(super) printed: String,
}

impl Processes {
    /// Runs a command to its end.
    pub(super) fn run(&self, command: &mut Command) -> io::Result<Ended> {
        let mut printed = unnamed_file()?;
        command.stdin(Stdio::null()).stdout(printed.try_clone()?).stderr(printed.try_clone()?).process_group(0);
        die_with_us(command);
        let mut child = command.spawn()?;
        let group = child.id() as libc::pid_t;
        self.groups().insert(group);
        let waited = wait_without_reaping(group);
        // Until it is reaped its number is not given to another process: nobody else can be hit by `stop`.
        self.groups().remove(&group);
        let status = waited.and_then(|()| child.wait()).inspect_err(|_| give_up(&mut child))?;
        Ok(Ended { status, printed: contents(&mut printed)? })
    }

    /// Ends all of them: kindly, so that compilers remove their temporary files, or at once.
    pub(super) fn stop(&self, at_once: bool) {
        let signal = if at_once { libc::SIGKILL } else { libc::SIGTERM };
        for group in self.groups().iter() {
            // SAFETY: sends a signal; touches no memory.
            unsafe { libc::kill(-group, signal) };
        }
    }

    fn groups(&self) -> std::sync::MutexGuard<'_, BTreeSet<libc::pid_t>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file in memory. Unlike a pipe nobody has to read it meanwhile, and what a process leaves behind in the background
/// does not keep it open for us.
fn unnamed_file() -> io::Result<File> {
    // SAFETY: the name ends with a zero byte; the call keeps no pointer.
    let fd = unsafe { libc::memfd_create(c"ouro-printed".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened, and nobody else knows it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

fn contents(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Has the kernel kill the process when we die, however that happens.
fn die_with_us(command: &mut Command) {
    let parent = std::process::id() as libc::pid_t;
    let hook = move || {
        // SAFETY: both calls are plain system calls, allowed between fork and exec.
        let orphan = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 || libc::getppid() != parent };
        if orphan { Err(io::Error::from_raw_os_error(libc::ESRCH)) } else { Ok(()) }
    };
    // SAFETY: the hook allocates nothing and takes no lock.
    unsafe { command.pre_exec(hook) };
}

fn wait_without_reaping(process: libc::pid_t) -> io::Result<()> {
    loop {
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::uninit();
        // SAFETY: the buffer has room for one `siginfo_t`.
        let result = unsafe { libc::waitid(libc::P_PID, process as libc::id_t, info.as_mut_ptr(), libc::WEXITED | libc::WNOWAIT) };
        if result == 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error => return Err(error),
        }
    }
}

/// Waiting failed, so nothing is known of the process; it must not go on writing.
fn give_up(child: &mut Child) {
    let _ = child.kill();
}

/// The text without the escape sequences that colour it.
pub(super) fn without_colors(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, sequence)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        // Parameters are digits and punctuation; the first letter ends the sequence.
        let end = sequence.find(|c: char| ('@'..='~').contains(&c)).map_or(sequence.len(), |at| at + 1);
        rest = &sequence[end..];
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_streams_are_kept_in_order() {
        let ended = Processes::default().run(&mut sh("echo one; echo two >&2; echo three; exit 3")).unwrap();
        assert_eq!(ended.printed, "one\ntwo\nthree\n");
        assert_eq!(ended.status.code(), Some(3));
    }

    #[test]
    fn what_stays_in_the_background_is_not_waited_for() {
        let start = Instant::now();
        let ended = Processes::default().run(&mut sh("sleep 20 & echo $!")).unwrap();
        assert!(start.elapsed() < Duration::from_secs(10));
        let background = ended.printed.trim().parse().unwrap();
        // SAFETY: ends the process the line above started.
        unsafe { libc::kill(background, libc::SIGKILL) };
    }

    #[test]
    fn a_group_is_stopped_with_its_children() {
        let processes = Processes::default();
        let start = Instant::now();
        std::thread::scope(|scope| {
            let running = scope.spawn(|| processes.run(&mut sh("sleep 20; sleep 20")).unwrap());
            while processes.groups().is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
            processes.stop(false);
            assert!(!running.join().unwrap().status.success());
        });
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn colors_are_removed() {
        assert_eq!(without_colors("\x1b[1ma.c:1:2: \x1b[0m\x1b[0;1;31merror: \x1b[0mno\n"), "a.c:1:2: error: no\n");
        assert_eq!(without_colors("plain \x1b["), "plain ");
    }
}
