//! One program that waits before its `main`: starting it, asking it for copies of itself or to be the only one, ending it.
//!
//! Knows nothing of when that is worth while. `server.c` beside this file is the other side, and says what they tell each other.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::ptr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::library::Library;
use super::packet;
use crate::execute::spawn::{Command, Surroundings};

/// The version of the protocol that both sides must speak.
const VERSION: u64 = 1;

/// A server that has not greeted, or not answered, after this time is hung. Both take milliseconds; machines can be very busy.
const PATIENCE_WITH_GREETING: Duration = Duration::from_secs(10);
const PATIENCE_WITH_ANSWER: Duration = Duration::from_secs(3);

/// How many commands a program is to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serves {
    /// One: it becomes that itself.
    Once,
    /// As many as come, each by a copy of itself.
    Often,
}

/// A program that was started, and may become a server.
#[derive(Debug)]
pub(super) struct Starting {
    connection: Connection,
    since: Instant,
    /// Must stay open until it is linked.
    _library: Library,
}

/// A program that waits before its `main`; nothing once it failed us. Locked from a request to its answer.
#[derive(Debug)]
pub(super) struct Server(Mutex<Option<Connection>>);

#[derive(Debug)]
struct Connection {
    socket: UnixDatagram,
    /// Ends with the connection.
    process: Group,
}

/// A process group of ours, which ends with this value.
#[derive(Debug)]
struct Group(libc::pid_t);

impl Starting {
    /// Starts the program of this command, to serve commands that differ in arguments alone. The calling thread must outlive all
    /// copies: they are killed when it ends.
    pub(super) fn new(command: &Command, serves: Serves) -> io::Result<Starting> {
        let library = Library::new()?;
        let [socket, theirs] = packet::pair()?;
        socket.set_read_timeout(Some(PATIENCE_WITH_ANSWER))?;
        socket.set_write_timeout(Some(PATIENCE_WITH_ANSWER))?;
        // The server takes these out again; it counts on their number, and on the last one's name.
        let (now, once) = match serves {
            Serves::Once => ("", " once"),
            // Else each copy would look up again the hundreds of functions that it calls.
            Serves::Often => ("1", ""),
        };
        let variables = [
            format!("LD_BIND_NOW={now}"),
            format!("LD_PRELOAD={}", library.path()),
            format!("OURO_WARM_SOCKET={}{once}", theirs.as_raw_fd()),
        ];
        let variables = variables.map(|variable| CString::new(variable).expect("BUG: numbers and names hold no zero byte"));
        let nowhere = File::options().read(true).write(true).open("/dev/null")?;
        let kept = Some(theirs.as_fd());
        let surroundings = Surroundings { input: &nowhere, output: &nowhere, kept };
        // A program that nothing can be preloaded into runs with these arguments, and that must be harmless.
        let process = command.varied(&[c"--version"], &variables).spawn(&surroundings)?;
        let connection = Connection { socket, process: Group(process) };
        Ok(Starting { connection, since: Instant::now(), _library: library })
    }

    /// Whether it has greeted, or ended, or will be waited for no longer.
    pub(super) fn is_decided(&self) -> bool {
        self.since.elapsed() > PATIENCE_WITH_GREETING || packet::is_readable_within(&self.connection.socket, Duration::ZERO)
    }

    /// The server it became, or why it did not; waits until that is decided.
    pub(super) fn finish(self, program: &Path) -> Result<Server, String> {
        let left = PATIENCE_WITH_GREETING.saturating_sub(self.since.elapsed());
        if !packet::is_readable_within(&self.connection.socket, left) {
            return Err(format!("it did not answer within {} s", PATIENCE_WITH_GREETING.as_secs()));
        }
        let Ok(greeting) = packet::receive::<24>(&self.connection.socket) else {
            return Err("it is statically linked, or not for this C library".to_owned());
        };
        let word = |place: usize| u64::from_ne_bytes(std::array::from_fn(|byte| greeting[8 * place + byte]));
        let expected = fs::metadata(program).map_err(|error| error.to_string())?;
        if word(0) != VERSION {
            return Err(format!("it speaks version {} of the protocol", word(0)));
        }
        if (word(1), word(2)) != (expected.dev(), expected.ino()) {
            return Err("it is a script, and another program runs it".to_owned());
        }
        Ok(Server(Mutex::new(Some(self.connection))))
    }
}

impl Server {
    /// Has it run a copy with these arguments, as the leader of a process group of its own, and a child of ours. Returns the number
    /// of the process, which the caller must wait for. After an error the server has ended, with whatever it had begun.
    pub(super) fn run(&self, arguments: &[u8], output: &File, ruleset: Option<BorrowedFd<'_>>) -> io::Result<libc::pid_t> {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = place.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let process = connection.ask(arguments, output, ruleset);
        if process.is_err() {
            // What it may say later is no answer to the next request.
            *place = None;
        }
        process
    }

    /// The same of one that serves once, and is the process itself. Who holds its end is told before the kernel has taken it apart.
    pub(super) fn run_once(
        self,
        arguments: &[u8],
        output: &File,
        ruleset: Option<BorrowedFd<'_>>,
    ) -> io::Result<(libc::pid_t, Foretold)> {
        let connection = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Connection { socket, process } = connection.ok_or(io::ErrorKind::NotConnected)?;
        send(&socket, arguments, output, ruleset)?;
        Ok((process.into_number(), Foretold(socket)))
    }

    /// Whether it failed us. One that is being asked has not yet.
    pub(super) fn has_ended(&self) -> bool {
        self.0.try_lock().is_ok_and(|connection| connection.is_none())
    }
}

/// The end of a process, as it tells of it itself.
#[derive(Debug)]
pub(in crate::execute) struct Foretold(UnixDatagram);

impl Foretold {
    /// Waits until the process is about to end, and tells its exit code; nothing when it ended, or went on, in another way.
    pub(in crate::execute) fn code(self) -> Option<i32> {
        self.0.set_read_timeout(None).ok()?;
        packet::receive::<4>(&self.0).ok().map(i32::from_ne_bytes)
    }
}

impl Connection {
    fn ask(&self, arguments: &[u8], output: &File, ruleset: Option<BorrowedFd<'_>>) -> io::Result<libc::pid_t> {
        send(&self.socket, arguments, output, ruleset)?;
        let answer = packet::receive::<8>(&self.socket)?;
        let word = |place: usize| i32::from_ne_bytes(std::array::from_fn(|byte| answer[4 * place + byte]));
        match (word(0), word(1)) {
            (process @ 1.., _) => lead_own_group(process),
            (_, error) => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

fn send(socket: &UnixDatagram, arguments: &[u8], output: &File, ruleset: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let files: Vec<BorrowedFd<'_>> = [output.as_fd()].into_iter().chain(ruleset).collect();
    packet::send(socket, arguments, &files)
}

/// Until here the copy was in the server's group, and would have ended with it: none ever runs that nobody knows of.
fn lead_own_group(process: libc::pid_t) -> io::Result<libc::pid_t> {
    // SAFETY: takes plain numbers.
    if unsafe { libc::setpgid(process, process) } == 0 {
        return Ok(process);
    }
    let error = io::Error::last_os_error();
    // SAFETY: ends and reaps a child of ours that nobody else knows of yet.
    unsafe {
        libc::kill(process, libc::SIGKILL);
        libc::waitpid(process, ptr::null_mut(), 0);
    }
    Err(error)
}

impl Group {
    /// Leaves it to the caller, who must wait for it.
    fn into_number(self) -> libc::pid_t {
        ManuallyDrop::new(self).0
    }
}

impl Drop for Group {
    /// Ends the server, and a copy that it made and could not tell us of.
    fn drop(&mut self) {
        // SAFETY: the number is the group's own until its leader is reaped, which is here; the calls touch no memory.
        unsafe {
            libc::kill(-self.0, libc::SIGKILL);
            while libc::waitpid(-self.0, ptr::null_mut(), 0) > 0 {}
        }
    }
}
