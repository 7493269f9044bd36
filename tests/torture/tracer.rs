//! Runs a command and strikes it at one of its system calls: kills it there, or has that call fail.
//!
//! Knows nothing of what the command does. Counts the calls of all its threads and processes; the order in which two threads
//! come to their calls may differ from run to run, so a place is a place of this run.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

/// What happens at a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// The whole process is killed before the call is done.
    Kill,
    /// The call is not done and fails with this error.
    Fail(i32),
}

/// Which system call the blow falls at: the n-th, counted from 1, of all or of those with one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Of all.
    Call(usize),
    /// Of those with this number.
    Nth(u64, usize),
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The system calls it came to: their numbers and first arguments.
    pub calls: Vec<(u64, u64)>,
    /// Its exit code; none when it was killed.
    pub code: Option<i32>,
}

/// Linux's number of `PTRACE_GET_SYSCALL_INFO`, and what it says of a call that begins.
const ENTRY: u8 = 1;
/// Where `struct user` has the number of a call and its result, in words.
#[cfg(target_arch = "x86_64")]
const NUMBER: usize = 15;
#[cfg(target_arch = "x86_64")]
const RESULT: usize = 10;

/// Runs a command to its end; the blow falls where it comes to this call.
pub fn run(command: &mut Command, blow: Option<(At, Blow)>) -> io::Result<Ended> {
    // SAFETY: all the child does is ask to be traced.
    unsafe { command.pre_exec(|| trace(libc::PTRACE_TRACEME, 0, 0, 0).map(drop)) };
    let child = command.spawn()?;
    let root = i32::try_from(child.id()).expect("an id of a process");
    let mut run = Run { root, calls: Vec::new(), blow, failing: BTreeMap::new() };
    run.begin()?;
    loop {
        match run.next()? {
            Some(code) => return Ok(Ended { calls: run.calls, code }),
            None => continue,
        }
    }
}

struct Run {
    root: i32,
    calls: Vec<(u64, u64)>,
    blow: Option<(At, Blow)>,
    /// Threads inside a call that is to fail, with its error.
    failing: BTreeMap<i32, i32>,
}

impl Run {
    /// Waits for the command to become the program, and asks to be told of whatever it starts.
    fn begin(&mut self) -> io::Result<()> {
        let (_, status) = wait()?;
        assert!(libc::WIFSTOPPED(status), "the command stops when it becomes the program: {status:#x}");
        let options = libc::PTRACE_O_TRACESYSGOOD
            | libc::PTRACE_O_TRACECLONE
            | libc::PTRACE_O_TRACEFORK
            | libc::PTRACE_O_TRACEVFORK
            | libc::PTRACE_O_EXITKILL;
        trace(libc::PTRACE_SETOPTIONS, self.root, 0, options as usize)?;
        go_on(self.root, 0)
    }

    /// Takes the next event; the exit code when the command is over.
    fn next(&mut self) -> io::Result<Option<Option<i32>>> {
        let (thread, status) = wait()?;
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
            return Ok((thread == self.root).then_some(code));
        }
        match libc::WSTOPSIG(status) {
            stop if stop == libc::SIGTRAP | 0x80 => self.at_call(thread)?,
            // Of clones and of programs that were begun; or a new thread's first stop.
            libc::SIGTRAP | libc::SIGSTOP => go_on(thread, 0)?,
            signal => go_on(thread, signal)?,
        }
        Ok(None)
    }

    fn at_call(&mut self, thread: i32) -> io::Result<()> {
        let Some(call) = begun(thread)? else {
            if let Some(error) = self.failing.remove(&thread) {
                set(thread, RESULT, -error)?;
            }
            return go_on(thread, 0);
        };
        self.calls.push(call);
        let count = |number| self.calls.iter().filter(|call| call.0 == number).count();
        let is_here = |at| match at {
            At::Call(place) => self.calls.len() == place,
            At::Nth(number, place) => call.0 == number && count(number) == place,
        };
        match self.blow.filter(|(at, _)| is_here(*at)) {
            Some((_, Blow::Kill)) => {
                // SAFETY: no pointers; the process is our child and not waited for yet.
                unsafe { libc::kill(self.root, libc::SIGKILL) };
                Ok(())
            }
            Some((_, Blow::Fail(error))) => {
                set(thread, NUMBER, -1)?;
                self.failing.insert(thread, error);
                go_on(thread, 0)
            }
            None => go_on(thread, 0),
        }
    }
}

/// The next event of whatever this thread traces. Children of other threads are theirs.
fn wait() -> io::Result<(i32, i32)> {
    let mut status = 0;
    // SAFETY: the kernel writes the status.
    match unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) } {
        -1 => Err(io::Error::last_os_error()),
        thread => Ok((thread, status)),
    }
}

/// The number and the first argument of the system call that a thread stopped at the begin of; none if it is at its end.
fn begun(thread: i32) -> io::Result<Option<(u64, u64)>> {
    let mut info = [0u64; 16];
    match trace(libc::PTRACE_GET_SYSCALL_INFO, thread, size_of_val(&info), info.as_mut_ptr() as usize) {
        // The kind, then where it was called from, then the call.
        Ok(_) => Ok((info[0].to_ne_bytes()[0] == ENTRY).then_some((info[3], info[4]))),
        // It was killed meanwhile.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

fn set(thread: i32, word: usize, value: i32) -> io::Result<()> {
    trace(libc::PTRACE_POKEUSER, thread, word * 8, i64::from(value) as usize).map(drop)
}

/// Lets a thread run to its next system call; one that was killed meanwhile needs no leave.
fn go_on(thread: i32, signal: i32) -> io::Result<()> {
    match trace(libc::PTRACE_SYSCALL, thread, 0, signal as usize) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error),
        _ => Ok(()),
    }
}

fn trace(request: libc::c_uint, thread: i32, address: usize, data: usize) -> io::Result<i64> {
    // SAFETY: what the kernel writes goes to `data` of `PTRACE_GET_SYSCALL_INFO`, whose length is `address`.
    match unsafe {
        libc::ptrace(request, thread, ptr::without_provenance_mut::<u8>(address), ptr::without_provenance_mut::<u8>(data))
    } {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}
