//! Warm programs: linked and initialised once, copied for each run. That saves two thirds of a small run of clang.
//!
//! Knows nothing of actions. Nothing depends on it: whatever does not work is started as any other program, and why is kept for
//! those who ask.

mod ahead;
mod library;
mod packet;
mod server;

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use self::ahead::HeadStart;

use self::ahead::Waiting;
use self::library::Library;
pub(super) use self::server::Foretold;
use self::server::{Server, Serves, Starting};
use super::key::FIXED_ENVIRONMENT;
use super::spawn::Command;

/// A program is kept warm once it was run this often: making it ready costs as much as one run of it, and what is saved after that
/// grows with every run.
const WORTH_IT: usize = 6;

/// A server is busy for less than a millisecond with each request, so several threads can share one.
const THREADS_OF_A_SERVER: usize = 8;

/// Servers are started anew so often when they fail.
const TRIES: usize = 3;

/// No more than so many programs, or environments of a program, are kept warm: each server holds its libraries' code once more.
const MOST_KINDS: usize = 2;

/// Longer requests do not fit into a packet.
const LONGEST: usize = 128 << 10;

/// The warm programs of one build.
#[derive(Debug)]
pub(super) struct Warm {
    /// Servers of one program, for as many threads as there are.
    most_servers: usize,
    /// Started before the build knew what for.
    waiting: Mutex<Option<Waiting>>,
    kinds: Mutex<Vec<Kind>>,
    runs: AtomicUsize,
}

/// A process that was linked before it was wanted.
#[derive(Debug)]
pub(super) struct Linked {
    pub(super) process: libc::pid_t,
    /// Who tells of its end before the kernel does, if anybody.
    pub(super) end: Option<Foretold>,
}

/// What can be told of warm programs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Warmth {
    /// How many processes were copies of a warm program, or the one that had been started ahead.
    pub runs: usize,
    /// Why a program that was to be kept warm was not, or no longer.
    pub trouble: Option<String>,
}

/// Commands that differ in arguments alone, and the servers that can run them.
#[derive(Debug)]
struct Kind {
    like: Command,
    runs: usize,
    starting: Option<Starting>,
    servers: Vec<Arc<Server>>,
    failures: usize,
    trouble: Option<String>,
}

impl Warm {
    /// For a build with so many threads; none are kept warm for 0.
    pub(super) fn new(threads: usize, waiting: Option<Waiting>) -> Warm {
        let most_servers = threads.div_ceil(THREADS_OF_A_SERVER);
        Warm { most_servers, waiting: Mutex::new(waiting), kinds: Mutex::default(), runs: AtomicUsize::new(0) }
    }

    /// Starts a copy of the command's program, as [`Command::spawn`] starts the program; nothing when it is not warm.
    pub(super) fn spawn(&self, command: &Command, output: &File) -> Option<Linked> {
        let words: Vec<u8> = command.arguments().iter().flat_map(|word| word.as_bytes_with_nul()).copied().collect();
        if !command.walls().keep_in_a_copy() || words.len() > LONGEST {
            return None;
        }
        let server = self.server(command);
        let copy = match self.waiting(command) {
            Some(waiting) => waiting.become_process(command, &words, output)?,
            None => Linked { process: server?.run(&words, output, command.walls().ruleset()).ok()?, end: None },
        };
        self.runs.fetch_add(1, Ordering::Relaxed);
        Some(copy)
    }

    /// What was started ahead, if for such a command; whoever comes first takes it.
    fn waiting(&self, command: &Command) -> Option<Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.take_if(|waiting| waiting.is_for(command))
    }

    /// Starts servers of what runs often, and looks after those that were started. To be called again and again, always on a
    /// thread that outlives all others.
    pub(super) fn tend(&self) {
        for kind in self.kinds().iter_mut().filter(|kind| kind.trouble.is_none()) {
            kind.tend(self.most_servers);
        }
    }

    /// Says that a copy ended badly where the program itself did not.
    pub(super) fn distrust(&self, command: &Command) {
        if let Some(kind) = self.kinds().iter_mut().find(|kind| kind.like.differs_in_arguments_alone(command)) {
            kind.give_up("a copy of it failed where the program itself did not".to_owned());
        }
    }

    /// What can be told.
    pub(super) fn tell(&self) -> Warmth {
        let trouble = self.kinds().iter().find_map(|kind| kind.trouble.clone());
        Warmth { runs: self.runs.load(Ordering::Relaxed), trouble }
    }

    fn server(&self, command: &Command) -> Option<Arc<Server>> {
        if self.most_servers == 0 {
            return None;
        }
        let mut kinds = self.kinds();
        let Some(kind) = kinds.iter_mut().find(|kind| kind.like.differs_in_arguments_alone(command)) else {
            if kinds.len() < MOST_KINDS && !changes_linking(command) {
                kinds.push(Kind::new(command));
            }
            return None;
        };
        kind.runs += 1;
        // One after the other.
        kind.servers.get(kind.runs % kind.servers.len().max(1)).cloned()
    }

    fn kinds(&self) -> MutexGuard<'_, Vec<Kind>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    fn new(command: &Command) -> Kind {
        let trouble = Library::missing().map(str::to_owned);
        Kind { like: command.without_walls(), runs: 1, starting: None, servers: Vec::new(), failures: 0, trouble }
    }

    fn tend(&mut self, most_servers: usize) {
        let before = self.servers.len();
        self.servers.retain(|server| !server.has_ended());
        self.failures += before - self.servers.len();
        if self.failures >= TRIES {
            return self.give_up("it ended, or did not answer, again and again".to_owned());
        }
        match self.starting.take() {
            Some(starting) if starting.is_decided() => match starting.finish(self.like.program()) {
                Ok(server) => self.servers.push(Arc::new(server)),
                Err(trouble) => self.give_up(trouble),
            },
            Some(starting) => self.starting = Some(starting),
            None if self.runs >= WORTH_IT && self.servers.len() < most_servers => self.start(),
            None => {}
        }
    }

    fn start(&mut self) {
        match Starting::new(&self.like, Serves::Often) {
            Ok(starting) => self.starting = Some(starting),
            Err(error) => self.give_up(error.to_string()),
        }
    }

    fn give_up(&mut self, trouble: String) {
        self.starting = None;
        self.servers.clear();
        self.trouble = Some(format!("`{}` is not kept warm: {trouble}", self.like.program().display()));
    }
}

/// Why a program cannot be kept warm here, found by trying; nothing when it can.
pub fn warm_trouble(program: &Path) -> Option<String> {
    let try_it = || {
        if let Some(trouble) = Library::missing() {
            return Err(trouble.to_owned());
        }
        let command = Command::new(program, [], FIXED_ENVIRONMENT, Path::new("/")).map_err(|error| error.to_string())?;
        let starting = Starting::new(&command, Serves::Often).map_err(|error| error.to_string())?;
        starting.finish(program).map(drop)
    };
    try_it().err()
}

/// Whether the environment says how programs are linked or how they get memory: that is read before `main`, and once.
fn changes_linking(command: &Command) -> bool {
    let before_main =
        |variable: &&[u8]| [&b"LD_"[..], b"GLIBC_TUNABLES=", b"MALLOC_"].iter().any(|name| variable.starts_with(name));
    command.environment().iter().any(|variable| before_main(&variable.as_bytes()))
}

#[cfg(test)]
mod tests;
