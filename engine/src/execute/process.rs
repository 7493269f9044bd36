//! Processes: started in a group of their own, with a fixed environment, their output kept whole; none outlives us.
//!
//! Knows nothing of actions.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::FromRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::spawn::Command;

/// The processes that run now, each with whether it was told to stop.
#[derive(Debug, Default)]
pub(super) struct Processes {
    groups: Mutex<BTreeMap<libc::pid_t, bool>>,
}

/// A process that ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// How.
    pub(super) status: ExitStatus,
    /// What it wrote to its standard output and error, in the order it wrote.
    pub(super) printed: String,
    /// Whether it was told to stop: then its end is no fault of its own.
    pub(super) stopped: bool,
}

impl Processes {
    /// Runs a command to its end.
    pub(super) fn run(&self, command: &Command) -> io::Result<Ended> {
        let mut printed = unnamed_file()?;
        let group = command.spawn(&File::open("/dev/null")?, &printed)?;
        self.groups().insert(group, false);
        let waited = wait_without_reaping(group);
        // Until it is reaped its number is not given to another process: nobody else can be hit by `stop`.
        let stopped = self.groups().remove(&group).unwrap_or(false);
        if stopped {
            // What it started may not have listened, and nobody is left to wait for that.
            signal(group, libc::SIGKILL);
        }
        let status = waited.and_then(|()| reap(group))?;
        Ok(Ended { status, printed: contents(&mut printed)?, stopped })
    }

    /// Ends all of them: kindly, so that compilers remove their temporary files, or at once.
    pub(super) fn stop(&self, at_once: bool) {
        let kind = if at_once { libc::SIGKILL } else { libc::SIGTERM };
        for (group, stopped) in self.groups().iter_mut() {
            *stopped = true;
            signal(*group, kind);
        }
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<libc::pid_t, bool>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn signal(group: libc::pid_t, kind: libc::c_int) {
    // SAFETY: sends a signal; touches no memory.
    unsafe { libc::kill(-group, kind) };
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

fn wait_without_reaping(process: libc::pid_t) -> io::Result<()> {
    loop {
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::uninit();
        // SAFETY: the buffer has room for one `siginfo_t`.
        let result =
            unsafe { libc::waitid(libc::P_PID, process as libc::id_t, info.as_mut_ptr(), libc::WEXITED | libc::WNOWAIT) };
        if result == 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error => return Err(error),
        }
    }
}

fn reap(process: libc::pid_t) -> io::Result<ExitStatus> {
    let mut status = 0;
    // SAFETY: the buffer has room for one status. The process has ended, so the call does not wait.
    match unsafe { libc::waitpid(process, &raw mut status, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(ExitStatus::from_raw(status)),
    }
}

/// The text without the escape sequences that colour it.
pub fn without_colors(text: &str) -> String {
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
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::*;

    fn sh(script: &str) -> Command {
        Command::new(Path::new("/bin/sh"), ["-c", script], [("A", "1")], Path::new("/")).unwrap()
    }

    fn printed(script: &str) -> String {
        Processes::default().run(&sh(script)).unwrap().printed
    }

    #[test]
    fn both_streams_are_kept_in_order() {
        let ended = Processes::default().run(&sh("echo one; echo two >&2; echo three; exit 3")).unwrap();
        assert_eq!(ended.printed, "one\ntwo\nthree\n");
        assert_eq!(ended.status.code(), Some(3));
    }

    #[test]
    fn it_gets_what_it_is_given_and_no_more() {
        assert_eq!(printed("echo $A $B; pwd; cat; echo $#"), "1\n/\n0\n");
        assert_eq!(printed("ls /proc/self/fd | sort -n | head -4 | tr '\\n' ' '"), "0 1 2 3 ", "3 is the folder `ls` reads");
        assert_eq!(printed("test $(cut -d' ' -f5 /proc/self/stat) = $$ && echo leads its group"), "leads its group\n");
    }

    #[test]
    fn signals_are_as_programs_expect_them() {
        let status = printed("cat /proc/self/status");
        let set = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        assert_eq!((set("SigBlk:"), set("SigCgt:")), (0, 0));
        let ignored = set("SigIgn:");
        assert_eq!(ignored & (1 << (libc::SIGPIPE - 1)), 0, "a broken pipe ends programs");
    }

    #[test]
    fn what_cannot_be_started_is_an_error() {
        let kind = |program: &str, folder: &str| {
            let command = Command::new(Path::new(program), [], [], Path::new(folder)).unwrap();
            Processes::default().run(&command).unwrap_err().kind()
        };
        assert_eq!(kind("/no/such/program", "/"), io::ErrorKind::NotFound);
        assert_eq!(kind("/bin/sh", "/no/such/folder"), io::ErrorKind::NotFound);
        assert_eq!(kind("/", "/"), io::ErrorKind::PermissionDenied);
        let bad = Command::new(Path::new("/bin/sh"), ["a\0b"], [], Path::new("/"));
        assert_eq!(bad.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn what_stays_in_the_background_is_not_waited_for() {
        let start = Instant::now();
        let ended = Processes::default().run(&sh("sleep 20 & echo $!")).unwrap();
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
            let running = scope.spawn(|| processes.run(&sh("sleep 20; sleep 20")).unwrap());
            while processes.groups().is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
            processes.stop(false);
            let ended = running.join().unwrap();
            assert!(ended.stopped && !ended.status.success());
        });
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn children_that_do_not_listen_end_with_their_group() {
        let processes = Processes::default();
        let dir = tempfile::TempDir::new().unwrap();
        let ready = dir.path().join("ready");
        let script = format!("(trap '' TERM; echo > {}; sleep 20 & wait; sleep 20) & wait", ready.display());
        std::thread::scope(|scope| {
            let running = scope.spawn(|| processes.run(&sh(&script)).unwrap());
            while !ready.exists() {
                std::thread::sleep(Duration::from_millis(1));
            }
            let group = *processes.groups().keys().next().unwrap();
            processes.stop(false);
            assert!(running.join().unwrap().stopped);
            // State and group are the first and third field behind the name; one that ended and was not waited for is `Z`.
            let is_alive = |stat: String| {
                let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
                fields.get(2) == Some(&group.to_string().as_str()) && fields[0] != "Z"
            };
            let stats = || std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("stat"));
            let alive = || stats().filter_map(|stat| std::fs::read_to_string(stat).ok()).any(is_alive);
            let start = Instant::now();
            while alive() {
                assert!(start.elapsed() < Duration::from_secs(10), "a child of the group outlived it");
                std::thread::sleep(Duration::from_millis(1));
            }
        });
    }

    #[test]
    fn colors_are_removed() {
        assert_eq!(without_colors("\x1b[1ma.c:1:2: \x1b[0m\x1b[0;1;31merror: \x1b[0mno\n"), "a.c:1:2: error: no\n");
        assert_eq!(without_colors("plain \x1b["), "plain ");
    }
}
