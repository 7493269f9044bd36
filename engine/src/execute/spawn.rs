//! Starting a program without copying this process.
//!
//! Knows nothing of what the program does. `fork` copies the page tables, and then every page either side writes to: with
//! the 60 MB of a loaded workspace that was 4 ms for each action, more than a tenth of a compiler's run. The standard library
//! avoids it too (by `posix_spawn`), but not for children that must die with their parent. So this does what `posix_spawn`
//! does: the child borrows our memory, on a stack of its own, while our thread sleeps until it has become the program.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use super::sandbox::Walls;

/// The child calls a dozen functions of libc, each with a small frame.
const STACK: usize = 64 * 1024;

/// What a program finds open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// Its standard input.
    pub(super) input: &'a File,
    /// Its standard output and error.
    pub(super) output: &'a File,
    /// What else stays open, under its own number.
    pub(super) kept: Option<BorrowedFd<'a>>,
}

/// A program with everything it gets.
#[derive(Debug)]
pub(crate) struct Command {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    folder: CString,
    walls: Walls,
}

impl Command {
    /// Runs `program` (a path) in `folder`, with nothing but `environment`.
    pub(crate) fn new<'a, 'e>(
        program: &Path,
        arguments: impl IntoIterator<Item = &'a str>,
        environment: impl IntoIterator<Item = (&'e str, &'e str)>,
        folder: &Path,
    ) -> io::Result<Command> {
        let program = c_string(program.as_os_str())?;
        let arguments = arguments.into_iter().map(|argument| c_string(OsStr::new(argument)));
        let environment = environment.into_iter().map(|(name, value)| c_string(OsStr::new(&format!("{name}={value}"))));
        Ok(Command {
            arguments: [Ok(program.clone())].into_iter().chain(arguments).collect::<io::Result<_>>()?,
            program,
            environment: environment.collect::<io::Result<_>>()?,
            folder: c_string(folder.as_os_str())?,
            walls: Walls::default(),
        })
    }

    /// The same, kept in.
    pub(crate) fn within(self, walls: Walls) -> Command {
        Command { walls, ..self }
    }

    /// What keeps it in.
    pub(super) fn walls(&self) -> &Walls {
        &self.walls
    }

    /// The same, kept in by nothing.
    pub(super) fn without_walls(&self) -> Command {
        let (program, arguments) = (self.program.clone(), self.arguments.clone());
        let (environment, folder) = (self.environment.clone(), self.folder.clone());
        Command { program, arguments, environment, folder, walls: Walls::default() }
    }

    /// The same program with other arguments and additional variables, kept in by nothing.
    pub(super) fn varied(&self, arguments: &[&CStr], variables: &[CString]) -> Command {
        let mut varied = self.without_walls();
        varied.arguments.truncate(1);
        varied.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        varied.environment.extend_from_slice(variables);
        varied
    }

    /// Whether both run the same program in the same folder with the same environment.
    pub(super) fn differs_in_arguments_alone(&self, other: &Command) -> bool {
        self.program == other.program && self.environment == other.environment && self.folder == other.folder
    }

    /// The program's path.
    pub(super) fn program(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.program.as_bytes()))
    }

    /// What the program is called by, and its arguments.
    pub(super) fn arguments(&self) -> &[CString] {
        &self.arguments
    }

    /// Its variables, as `NAME=value`.
    pub(super) fn environment(&self) -> &[CString] {
        &self.environment
    }

    /// Starts it as the leader of a new process group, to be killed when the calling thread ends. Returns the number of the
    /// process, which the caller must wait for.
    pub(super) fn spawn(&self, surroundings: &Surroundings<'_>) -> io::Result<libc::pid_t> {
        let number = |file: Option<BorrowedFd<'_>>| file.map_or(-1, |file| file.as_raw_fd());
        let (arguments, environment) = (pointers(&self.arguments), pointers(&self.environment));
        let mut child = Child {
            program: self.program.as_ptr(),
            arguments: arguments.as_ptr(),
            environment: environment.as_ptr(),
            folder: self.folder.as_ptr(),
            input: surroundings.input.as_raw_fd(),
            output: surroundings.output.as_raw_fd(),
            kept: number(surroundings.kept),
            walls: &raw const self.walls,
            parent: std::process::id() as libc::pid_t,
            caught: false,
            error: 0,
        };
        let process = with_signals_blocked(|| clone(&raw mut child, self.walls.clone_flags()))?;
        // SAFETY: the child wrote through a pointer to these very fields before our thread went on.
        let (caught, error) =
            unsafe { (ptr::read_volatile(&raw const child.caught), ptr::read_volatile(&raw const child.error)) };
        if error == 0 {
            return Ok(process);
        }
        // SAFETY: reaps a child of ours that has ended; touches no memory.
        unsafe { libc::waitpid(process, ptr::null_mut(), 0) };
        let error = io::Error::from_raw_os_error(error);
        Err(if caught { io::Error::other(format!("cannot enter the sandbox: {error}")) } else { error })
    }
}

/// What the child needs, made before it exists: it must not allocate.
struct Child {
    program: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    folder: *const c_char,
    input: RawFd,
    output: RawFd,
    /// -1 when nothing else stays open.
    kept: RawFd,
    walls: *const Walls,
    parent: libc::pid_t,
    /// Whether it came no further than the walls.
    caught: bool,
    /// Why it did not become the program; 0 if it did.
    error: i32,
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("{text:?} contains a zero byte")))
}

/// As `execve` takes lists: pointers, the last one null.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// No handler of ours may run in the child, which shares our memory.
fn with_signals_blocked<T>(f: impl FnOnce() -> T) -> T {
    let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: each set is filled before it is read: `all` by the first call, `before` by the second.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        let result = f();
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
        result
    }
}

fn clone(child: *mut Child, flags: c_int) -> io::Result<libc::pid_t> {
    let mut stack = Box::<[u8]>::new_uninit_slice(STACK);
    // Stacks grow down, and start at a multiple of 16.
    let top = stack.as_mut_ptr_range().end.cast::<c_void>();
    let top = top.wrapping_byte_sub(top.addr() % 16);
    // SAFETY: with CLONE_VFORK this thread does not go on before the child has left our memory, so the stack and what `child`
    // points to outlive its use of them.
    let process =
        unsafe { libc::clone(become_program, top, libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD | flags, child.cast()) };
    if process < 0 { Err(io::Error::last_os_error()) } else { Ok(process) }
}

/// Runs in the child. Nothing here allocates, locks or panics.
extern "C" fn become_program(child: *mut c_void) -> c_int {
    let child = child.cast::<Child>();
    // SAFETY: `child` points to a whole value that nobody else uses meanwhile, and its pointers to lists and strings that end
    // as `execve` and `chdir` require. All calls are allowed between `vfork` and `execve`.
    unsafe {
        let ready = libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0
            && parent_lives((*child).parent)
            && libc::setpgid(0, 0) == 0
            && libc::dup2((*child).input, 0) >= 0
            && libc::dup2((*child).output, 1) >= 0
            && libc::dup2((*child).output, 2) >= 0
            && ((*child).kept < 0 || libc::fcntl((*child).kept, libc::F_SETFD, 0) == 0)
            && plain_limits();
        let caught = ready && !(*(*child).walls).enter();
        ptr::write_volatile(&raw mut (*child).caught, caught);
        // The folder may be there only within the walls.
        if ready && !caught && libc::chdir((*child).folder) == 0 {
            plain_signals();
            libc::execve((*child).program, (*child).arguments, (*child).environment);
        }
        ptr::write_volatile(&raw mut (*child).error, *libc::__errno_location());
        libc::_exit(127)
    }
}

/// A parent that died before the kernel was asked to tell us of its death.
///
/// # Safety
/// Only sets `errno`.
unsafe fn parent_lives(parent: libc::pid_t) -> bool {
    // SAFETY: `errno` always points to this thread's own.
    unsafe {
        *libc::__errno_location() = libc::ESRCH;
        libc::getppid() == parent
    }
}

/// What the user's own settings would change of what is made: modes of files, and a dump beside them of who crashed.
///
/// # Safety
/// For the child only.
unsafe fn plain_limits() -> bool {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is read only during the call.
    unsafe {
        libc::umask(0o022);
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none) == 0
    }
}

/// Gives the program what programs expect: nothing blocked, nothing handled, and death when a pipe breaks (Rust ignores that
/// signal). What was ignored when we started, as by `nohup`, stays ignored.
///
/// # Safety
/// For the child only: it unblocks signals.
unsafe fn plain_signals() {
    // SAFETY: the buffers are filled before they are read.
    unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        for signal in 1..=libc::SIGRTMAX() {
            let known = libc::sigaction(signal, ptr::null(), &raw mut action) == 0;
            let handled = !matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN);
            if known && (handled || signal == libc::SIGPIPE) {
                action.sa_sigaction = libc::SIG_DFL;
                action.sa_flags = 0;
                libc::sigaction(signal, &raw const action, ptr::null_mut());
            }
        }
        let mut none = MaybeUninit::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
    }
}
