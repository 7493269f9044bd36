//! Namespaces: a file system that holds what was declared and nothing else, and no network.
//!
//! Knows nothing of actions. What the child has to do before it becomes the program is data, made before the child exists: it
//! shares our memory, so it must not allocate. The new root is a tmpfs in which everything is mounted from where it lies; then it
//! takes the place of the old one.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

/// What the child gets of its own. As user, for only who is root somewhere may mount.
pub(super) const FLAGS: libc::c_int =
    libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// One host name for all machines.
const HOST: &str = "ouro";

/// `struct mount_attr` of `linux/mount.h`.
#[repr(C)]
struct MountChange {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

const READ_ONLY: u64 = 1;

/// One thing the child does.
#[derive(Debug)]
enum Step {
    /// Writes to a file that is there.
    Say(&'static CStr, CString),
    /// Has no mount reach the other side.
    Private,
    /// Mounts an empty file system.
    Empty(CString),
    Folder(CString),
    File(CString),
    Link(CString, CString),
    /// Shows the first path at the second.
    Show(CString, CString),
    /// Refuses changes below this mount, other mounts included.
    Freeze(CString),
    /// Allows them again in this one.
    Thaw(CString),
    /// Makes this mount the root and leaves the old one.
    Enter(CString),
}

/// What the child does, in order.
#[derive(Debug)]
pub(super) struct Steps {
    root: PathBuf,
    steps: Vec<Step>,
    /// Folders of the new root that are there.
    folders: Vec<PathBuf>,
    thawed: Vec<CString>,
}

impl Steps {
    /// A new root at `root`, an empty folder.
    pub(super) fn new(root: &Path) -> io::Result<Steps> {
        // SAFETY: the calls only tell numbers.
        let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
        let text = |text: String| CString::new(text).map_err(io::Error::from);
        let steps = vec![
            Step::Say(c"/proc/self/setgroups", text("deny".to_owned())?),
            Step::Say(c"/proc/self/uid_map", text(format!("{user} {user} 1"))?),
            Step::Say(c"/proc/self/gid_map", text(format!("{group} {group} 1"))?),
            Step::Private,
            Step::Empty(path(root)?),
        ];
        Ok(Steps { root: root.to_owned(), steps, folders: vec![root.to_owned()], thawed: Vec::new() })
    }

    /// An empty folder.
    pub(super) fn folder(&mut self, at: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = at.ancestors().take_while(|folder| !self.knows(folder)).collect();
        for folder in missing.into_iter().rev() {
            let inside = self.inside(folder);
            self.steps.push(Step::Folder(path(&inside)?));
            self.folders.push(inside);
        }
        Ok(())
    }

    /// A file or folder as it is, at its own place.
    pub(super) fn show(&mut self, what: &Path, is_folder: bool) -> io::Result<()> {
        if is_folder {
            self.folder(what)?;
        } else {
            what.parent().map_or(Ok(()), |parent| self.folder(parent))?;
            self.steps.push(Step::File(path(&self.inside(what))?));
        }
        self.steps.push(Step::Show(path(what)?, path(&self.inside(what))?));
        Ok(())
    }

    /// A folder that may be changed, at a place that may be another one.
    pub(super) fn show_writable(&mut self, what: &Path, at: &Path) -> io::Result<()> {
        self.folder(at)?;
        let inside = path(&self.inside(at))?;
        self.steps.push(Step::Show(path(what)?, inside.clone()));
        self.thawed.push(inside);
        Ok(())
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, to: &Path, at: &Path) -> io::Result<()> {
        at.parent().map_or(Ok(()), |parent| self.folder(parent))?;
        self.steps.push(Step::Link(path(to)?, path(&self.inside(at))?));
        Ok(())
    }

    /// Nothing more is added: the new root becomes the root.
    pub(super) fn finish(mut self) -> io::Result<Finished> {
        let root = path(&self.root)?;
        self.steps.push(Step::Freeze(root.clone()));
        self.steps.extend(self.thawed.into_iter().map(Step::Thaw));
        self.steps.push(Step::Enter(root));
        Ok(Finished(self.steps))
    }

    fn knows(&self, folder: &Path) -> bool {
        let inside = self.inside(folder);
        self.folders.contains(&inside)
    }

    fn inside(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// Steps that end in the new root.
#[derive(Debug)]
pub(super) struct Finished(Vec<Step>);

impl Finished {
    /// Does all steps; whether all went well. `errno` says why not.
    ///
    /// # Safety
    /// Only makes system calls, so that it may stand between `vfork` and `execve`. It is for a child that was started with
    /// [`FLAGS`].
    pub(super) unsafe fn enter(&self) -> bool {
        // SAFETY: strings end with a zero byte and live as long as `self`; no call keeps a pointer.
        unsafe { libc::sethostname(HOST.as_ptr().cast(), HOST.len()) == 0 && self.0.iter().all(|step| done(step)) }
    }
}

/// # Safety
/// As [`Finished::enter`].
unsafe fn done(step: &Step) -> bool {
    let (none, nothing) = (c"none".as_ptr(), ptr::null());
    // SAFETY: as the caller says.
    unsafe {
        match step {
            Step::Say(file, text) => say(file, text),
            Step::Private => libc::mount(none, c"/".as_ptr(), nothing, libc::MS_REC | libc::MS_PRIVATE, ptr::null()) == 0,
            Step::Empty(at) => {
                let flags = libc::MS_NOSUID | libc::MS_NODEV;
                libc::mount(none, at.as_ptr(), c"tmpfs".as_ptr(), flags, c"mode=755".as_ptr().cast()) == 0
            }
            Step::Folder(at) => libc::mkdir(at.as_ptr(), 0o755) == 0 || *libc::__errno_location() == libc::EEXIST,
            Step::File(at) => {
                let fd = libc::open(at.as_ptr(), libc::O_CREAT | libc::O_WRONLY | libc::O_CLOEXEC, 0o644);
                fd >= 0 && libc::close(fd) == 0
            }
            Step::Link(to, at) => libc::symlink(to.as_ptr(), at.as_ptr()) == 0,
            Step::Show(what, at) => {
                libc::mount(what.as_ptr(), at.as_ptr(), nothing, libc::MS_BIND | libc::MS_REC, ptr::null()) == 0
            }
            Step::Freeze(at) => change_mount(at, libc::AT_RECURSIVE, READ_ONLY, 0),
            Step::Thaw(at) => change_mount(at, 0, 0, READ_ONLY),
            Step::Enter(root) => enter_root(root),
        }
    }
}

/// # Safety
/// As [`Finished::enter`].
unsafe fn say(file: &CStr, text: &CString) -> bool {
    let text = text.as_bytes();
    // SAFETY: as the caller says.
    unsafe {
        let fd = libc::open(file.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        fd >= 0 && libc::write(fd, text.as_ptr().cast(), text.len()) == text.len() as isize && libc::close(fd) == 0
    }
}

/// # Safety
/// As [`Finished::enter`].
unsafe fn change_mount(at: &CString, flags: libc::c_int, set: u64, clear: u64) -> bool {
    let change = MountChange { set, clear, propagation: 0, user_namespace: 0 };
    let size = size_of::<MountChange>();
    // SAFETY: as the caller says; the structure is read only during the call.
    unsafe { libc::syscall(libc::SYS_mount_setattr, libc::AT_FDCWD, at.as_ptr(), flags, &raw const change, size) == 0 }
}

/// The old root is mounted on the new one by the call, and then taken off.
///
/// # Safety
/// As [`Finished::enter`].
unsafe fn enter_root(root: &CString) -> bool {
    let here = c".".as_ptr();
    // SAFETY: as the caller says.
    unsafe {
        libc::chdir(root.as_ptr()) == 0
            && libc::syscall(libc::SYS_pivot_root, here, here) == 0
            && libc::umount2(here, libc::MNT_DETACH) == 0
            && libc::chdir(c"/".as_ptr()) == 0
    }
}

fn path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
