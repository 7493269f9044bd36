//! Processes: started in a group of their own, with a fixed environment, their output kept whole. Nothing of a group outlives its
//! leader, and what left its group ends with the build.
//!
//! Knows nothing of actions.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::FromRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::orphans::{self, Orphans};
use super::spawn::{Command, Surroundings};
use super::warm::{Foretold, HeadStart, Linked, Warm, Warmth};

/// What is watched and does not end when asked kindly is killed after this time.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often a watched process is looked at: often at first, so that short ones lose no time.
const SHORTEST_LOOK: Duration = Duration::from_millis(1);
const LONGEST_LOOK: Duration = Duration::from_millis(20);

/// The processes of a build.
#[derive(Debug)]
pub(super) struct Processes {
    /// Those that run now, each with whether it was told to stop.
    groups: Mutex<BTreeMap<libc::pid_t, bool>>,
    warm: Warm,
    orphans: Orphans,
    /// How many were run.
    runs: AtomicUsize,
    /// One that has ended as far as it can tell, and that the kernel still takes apart.
    leaving: Mutex<Option<libc::pid_t>>,
}

/// How a process is started.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    /// As any program.
    Plain,
    /// As a copy of the program, linked and initialised before, where there is one.
    Warm,
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
    /// None run yet. Programs are kept warm for so many threads; none for 0.
    pub(super) fn new(warm_threads: usize) -> Processes {
        Processes::with(Warm::new(warm_threads, None), Orphans::adopt())
    }

    /// The same with a program that waits for its command.
    pub(super) fn ahead(warm_threads: usize, HeadStart { waiting, orphans }: HeadStart) -> Processes {
        Processes::with(Warm::new(warm_threads, Some(waiting)), orphans)
    }

    fn with(warm: Warm, orphans: Orphans) -> Processes {
        Processes { groups: Mutex::default(), warm, orphans, runs: AtomicUsize::new(0), leaving: Mutex::default() }
    }

    /// Runs a command to its end, and does something else while it runs.
    pub(super) fn run(&self, command: &Command, start: Start, meanwhile: &dyn Fn()) -> io::Result<Ended> {
        let printed = unnamed_file()?;
        let copy = match start {
            Start::Plain => None,
            Start::Warm => self.warm.spawn(command, &printed),
        };
        self.runs.fetch_add(1, Ordering::Relaxed);
        match copy {
            Some(copy) => self.believe(self.wait(copy, printed, meanwhile)?, command),
            None => self.run_plain(command, printed, meanwhile),
        }
    }

    fn run_plain(&self, command: &Command, printed: File, meanwhile: &dyn Fn()) -> io::Result<Ended> {
        let nothing = File::open("/dev/null")?;
        let process = command.spawn(&Surroundings { input: &nothing, output: &printed, kept: None })?;
        self.wait(Linked { process, end: None }, printed, meanwhile)
    }

    /// The end of a copy, if it is a usual one: a crash may be the copy's own, and so may what compilers make of crashes.
    fn believe(&self, ended: Ended, command: &Command) -> io::Result<Ended> {
        if ended.stopped || matches!(ended.status.code(), Some(0 | 1)) {
            return Ok(ended);
        }
        let again = self.run_plain(command, unnamed_file()?, &|| ())?;
        if again.status.success() {
            self.warm.distrust(command);
        }
        Ok(again)
    }

    /// Waits for the end of a process of ours that leads a group.
    fn wait(&self, Linked { process: group, end }: Linked, mut printed: File, meanwhile: &dyn Fn()) -> io::Result<Ended> {
        self.groups().insert(group, false);
        meanwhile();
        if end.and_then(Foretold::code) == Some(0) && self.leaves(group) {
            return Ok(Ended { status: ExitStatus::from_raw(0), printed: contents(&mut printed)?, stopped: false });
        }
        let waited = wait_without_reaping(group);
        // Until it is reaped its number is not given to another process: nobody else can be hit by `stop`.
        let stopped = self.groups().remove(&group).unwrap_or(false);
        let status = waited.and_then(|()| end_group(group))?;
        Ok(Ended { status, printed: contents(&mut printed)?, stopped })
    }

    /// Waits no longer for a process that told that it ends well; false when it was told to stop.
    fn leaves(&self, group: libc::pid_t) -> bool {
        let mut groups = self.groups();
        let leaves = groups.get(&group) == Some(&false);
        if leaves {
            groups.remove(&group);
            signal(group, libc::SIGKILL);
            *self.leaving.lock().unwrap_or_else(PoisonError::into_inner) = Some(group);
        }
        leaves
    }

    /// Looks after warm programs. To be called again and again, on a thread that outlives all that run processes.
    pub(super) fn tend(&self) {
        self.warm.tend();
    }

    /// What can be told of warm programs.
    pub(super) fn warmth(&self) -> Warmth {
        self.warm.tell()
    }

    /// Ends what is left when all that was run has been waited for; whether anything was that had got away from its group, and may
    /// have written until now.
    pub(super) fn finish(self) -> bool {
        drop(self.warm);
        let leaving = self.leaving.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = leaving {
            let end = move || end_group(group).is_ok();
            // Where it was alone nobody left anything behind, and nobody waits for its memory.
            if self.runs.into_inner() == 1 && std::thread::Builder::new().spawn(end).is_ok() {
                return false;
            }
            end();
        }
        self.orphans.end()
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

/// Runs a command that writes to `output` to its end. `watch` is called again and again; once it says yes the whole group is asked
/// to end, and killed when it does not. Nothing of the group is left running in any case.
pub(crate) fn run_watched(command: &Command, output: &File, watch: &mut dyn FnMut() -> bool) -> io::Result<ExitStatus> {
    let group = command.spawn(&Surroundings { input: &File::open("/dev/null")?, output, kept: None })?;
    let (mut asked, mut pause): (Option<Instant>, _) = (None, SHORTEST_LOOK);
    while !has_ended(group)? {
        match asked {
            Some(asked) if asked.elapsed() > PATIENCE => signal(group, libc::SIGKILL),
            Some(_) => {}
            None if watch() => {
                signal(group, libc::SIGTERM);
                asked = Some(Instant::now());
            }
            None => {}
        }
        std::thread::sleep(pause);
        pause = (2 * pause).min(LONGEST_LOOK);
    }
    end_group(group)
}

/// Ends what the leader of a group left behind, which may still write to outputs and read what others get, and waits until it is
/// gone. The leader has ended and is not reaped yet, so the number is still the group's own.
fn end_group(group: libc::pid_t) -> io::Result<ExitStatus> {
    signal(group, libc::SIGKILL);
    let status = reap(group);
    orphans::wait_for_rest(group);
    status
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
    file.rewind()?;
    let bytes = ouro_cache::read_all(file, 0)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn wait_without_reaping(process: libc::pid_t) -> io::Result<()> {
    wait(process, 0).map(drop)
}

fn has_ended(process: libc::pid_t) -> io::Result<bool> {
    wait(process, libc::WNOHANG)
}

/// Whether a process has ended; waits for that unless told not to. It is not reaped.
fn wait(process: libc::pid_t, options: libc::c_int) -> io::Result<bool> {
    let options = options | libc::WEXITED | libc::WNOWAIT;
    loop {
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: the buffer has room for one `siginfo_t`, and is valid when zero, too: without an end nothing need be written.
        let (result, of) = unsafe {
            let result = libc::waitid(libc::P_PID, process as libc::id_t, info.as_mut_ptr(), options);
            (result, info.assume_init().si_pid())
        };
        if result == 0 {
            return Ok(of == process);
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
    use super::*;
    use std::path::Path;

    fn sh(script: &str) -> Command {
        Command::new(Path::new("/bin/sh"), ["-c", script], [("A", "1")], Path::new("/")).unwrap()
    }

    fn run(script: &str) -> Ended {
        Processes::new(0).run(&sh(script), Start::Plain, &|| ()).unwrap()
    }

    fn printed(script: &str) -> String {
        run(script).printed
    }

    #[test]
    fn both_streams_are_kept_in_order() {
        let ended = run("echo one; echo two >&2; echo three; exit 3");
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
            Processes::new(0).run(&command, Start::Plain, &|| ()).unwrap_err().kind()
        };
        assert_eq!(kind("/no/such/program", "/"), io::ErrorKind::NotFound);
        assert_eq!(kind("/bin/sh", "/no/such/folder"), io::ErrorKind::NotFound);
        assert_eq!(kind("/", "/"), io::ErrorKind::PermissionDenied);
        let bad = Command::new(Path::new("/bin/sh"), ["a\0b"], [], Path::new("/"));
        assert_eq!(bad.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn what_stays_in_the_background_ends_with_its_group() {
        let start = Instant::now();
        let ended = run("(trap '' TERM; sleep 20) & echo $!; (sleep 20 & echo $!; wait) & sleep 0.2");
        assert!(ended.status.success() && start.elapsed() < Duration::from_secs(10));
        assert_eq!(ended.printed.lines().count(), 2);
        for process in ended.printed.split_whitespace() {
            assert!(!Path::new("/proc").join(process).exists(), "it is gone before anybody looks at what it wrote");
        }
    }

    /// Waits until a process is known to run: it may do its first work before the thread that started it goes on.
    fn first_group(processes: &Processes) -> libc::pid_t {
        loop {
            let known = processes.groups().keys().next().copied();
            if let Some(group) = known {
                return group;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_group_is_stopped_with_its_children() {
        let processes = Processes::new(0);
        let start = Instant::now();
        std::thread::scope(|scope| {
            let running = scope.spawn(|| processes.run(&sh("sleep 20; sleep 20"), Start::Plain, &|| ()).unwrap());
            first_group(&processes);
            processes.stop(false);
            let ended = running.join().unwrap();
            assert!(ended.stopped && !ended.status.success());
        });
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    /// Runs a script that is watched; tells how it ended, and what it wrote.
    fn watched(script: &str, mut watch: impl FnMut() -> bool) -> (ExitStatus, String) {
        let mut output = unnamed_file().unwrap();
        let status = run_watched(&sh(script), &output, &mut watch).unwrap();
        (status, contents(&mut output).unwrap())
    }

    #[test]
    fn what_is_watched_ends_by_itself_or_when_told_with_all_it_started() {
        let (status, printed) = watched("echo hello; exit 3", || false);
        assert_eq!((status.code(), printed.as_str()), (Some(3), "hello\n"));
        let start = Instant::now();
        let dir = tempfile::TempDir::new().unwrap();
        let deaf = dir.path().join("deaf");
        let script = format!("trap '' TERM; (trap '' TERM; sleep 30) & echo $!; : > {}; sleep 30; sleep 30", deaf.display());
        let (status, printed) = watched(&script, || deaf.exists());
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        assert!((PATIENCE..Duration::from_secs(20)).contains(&start.elapsed()));
        assert!(is_gone(printed.trim().parse().unwrap()));
    }

    #[test]
    fn nothing_watched_stays_in_the_background() {
        let (status, printed) = watched("sleep 30 & echo $!", || false);
        assert!(status.success() && is_gone(printed.trim().parse().unwrap()));
    }

    /// Whether a process was killed; who reaps it may take a moment.
    fn is_gone(process: libc::pid_t) -> bool {
        let state = |text: &str| text.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'));
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            match std::fs::read_to_string(format!("/proc/{process}/stat")) {
                Ok(text) if !state(&text) => std::thread::sleep(SHORTEST_LOOK),
                _ => return true,
            }
        }
        false
    }

    #[test]
    fn children_that_do_not_listen_end_with_their_group() {
        let processes = Processes::new(0);
        let dir = tempfile::TempDir::new().unwrap();
        let ready = dir.path().join("ready");
        let script = format!("(trap '' TERM; echo > {}; sleep 20 & wait; sleep 20) & wait", ready.display());
        std::thread::scope(|scope| {
            let running = scope.spawn(|| processes.run(&sh(&script), Start::Plain, &|| ()).unwrap());
            while !ready.exists() {
                std::thread::sleep(Duration::from_millis(1));
            }
            let group = first_group(&processes);
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
