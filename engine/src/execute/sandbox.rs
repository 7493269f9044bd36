//! The sandbox: a process sees the files it declares and the system's, and changes nothing but its outputs.
//!
//! Knows files, not actions. It never changes a result: a process finds the same bytes with and without it, or else fails. So it is
//! no ingredient of keys. What is seen is decided here once for both mechanisms, `landlock` and `namespace`.

mod apart;
mod landlock;
mod namespace;
mod scratch;
mod system;

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::Deserialize;

pub use self::landlock::version as landlock_version;
pub(crate) use self::scratch::{Scratch, Slot};

use self::landlock::{Place, Rights, Ruleset};
use self::namespace::{Finished, Steps};
use self::system::{DEVICES, LINKS, Places};
use super::spawn::Command;

/// How processes are kept from what they do not declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxMode {
    /// By Landlock where the kernel has it, else only by looking at what compilers say they read.
    #[default]
    Auto,
    /// What is not declared cannot be opened.
    Landlock,
    /// What is not declared is not there, and neither is a network.
    Namespace,
    /// Not at all; what compilers say they read is looked at.
    Off,
}

/// The sandbox as it is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sandbox<'a> {
    /// How.
    pub mode: SandboxMode,
    /// Folders and files outside of the workspace that all processes may read besides the system's.
    pub read: &'a [PathBuf],
}

impl SandboxMode {
    /// Its names.
    pub const ALL: &'static [(&'static str, SandboxMode)] =
        &[("landlock", SandboxMode::Landlock), ("namespace", SandboxMode::Namespace), ("off", SandboxMode::Off)];

    /// The mode of this name.
    pub fn find(name: &str) -> Option<SandboxMode> {
        SandboxMode::ALL.iter().find(|(known, _)| *known == name).map(|(_, mode)| *mode)
    }

    /// Why it cannot be had here, and what to do about that.
    pub fn obstacle(self) -> Option<(String, String)> {
        match self {
            SandboxMode::Auto | SandboxMode::Off => None,
            SandboxMode::Landlock if landlock_version().is_some() => None,
            SandboxMode::Landlock => Some((
                "this kernel has no Landlock, or does not use it".to_owned(),
                "it takes Linux 5.13 or newer, started with `landlock` in `lsm=`; else use `--sandbox=namespace`".to_owned(),
            )),
            SandboxMode::Namespace => {
                try_namespaces().err().map(|error| (format!("namespaces cannot be used here: {error}"), namespace_remedy()))
            }
        }
    }
}

/// Runs a program that does nothing in namespaces of its own.
fn try_namespaces() -> io::Result<()> {
    let folder = tempfile::TempDir::new()?;
    let (root, work) = (folder.path().join("root"), folder.path().join("work"));
    [&root, &work].into_iter().try_for_each(fs::create_dir)?;
    let confinement = Confinement::new(&root, Sandbox { mode: SandboxMode::Namespace, read: &[] });
    let walls = confinement.cage(&Needs { work, ..Needs::default() })?.walls;
    let command = Command::new(Path::new("/bin/sh"), ["-c", ":"], [], &root)?.within(walls);
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let status = super::process::run_watched(&command, &null, &mut || false)?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("a process in them ended by {status}"))) }
}

/// Which of the usual switches is off.
fn namespace_remedy() -> String {
    let is =
        |name: &str, value: &str| fs::read_to_string(Path::new("/proc/sys").join(name)).is_ok_and(|text| text.trim() == value);
    let switches = [
        ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
        ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"),
    ];
    match switches.iter().find(|(name, value, _)| is(name, value)) {
        Some((_, _, command)) => format!("allow them: `{command}`, or use `--sandbox=landlock`"),
        None => "use `--sandbox=landlock`; containers mostly forbid namespaces inside of them".to_owned(),
    }
}

/// What is the same for all processes of a build.
#[derive(Debug)]
pub(crate) struct Confinement<'a> {
    /// The workspace, and the same without links.
    root: PathBuf,
    real_root: PathBuf,
    mechanism: Mechanism,
    read: &'a [PathBuf],
    places: OnceLock<Places>,
    /// The places and devices, open, for Landlock: opening them again for each process takes longer than allowing them.
    held: OnceLock<(Vec<Place>, Vec<Place>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mechanism {
    None,
    Landlock(u32),
    Namespace,
}

/// What one process may see and change. Paths are absolute.
#[derive(Debug, Default)]
pub(crate) struct Needs<'n> {
    /// Files it may read.
    pub(crate) files: Vec<PathBuf>,
    /// Folders and files of the machine it may read besides the system's.
    pub(crate) places: Vec<PathBuf>,
    /// Folders of its outputs.
    pub(crate) outputs: Vec<PathBuf>,
    /// Whether it never reads what it wrote: then it does not see what others wrote there, either.
    pub(crate) only_writes: bool,
    /// Folders that are its own.
    pub(crate) own: Vec<PathBuf>,
    /// A file it may write to under whatever name.
    pub(crate) log: Option<BorrowedFd<'n>>,
    /// Whether it may use TCP where it can be kept from that.
    pub(crate) network: bool,
    /// An empty folder for whoever starts it, on the file system of the outputs.
    pub(crate) work: PathBuf,
    /// Whether outputs of others must not be there at all, not only be closed.
    pub(crate) apart: bool,
}

/// What keeps one process in.
#[derive(Debug, Default)]
pub(crate) struct Cage {
    pub(crate) walls: Walls,
    pub(crate) staged: Staged,
    /// Where it starts, when that is not the workspace.
    pub(crate) folder: Option<PathBuf>,
}

/// Folders that stand for those of the outputs, when the process does not see those themselves.
#[derive(Debug, Default)]
pub(crate) struct Staged(Vec<(PathBuf, PathBuf)>);

/// What the process goes through before it becomes the program.
#[derive(Debug, Default)]
pub(crate) struct Walls {
    ruleset: Option<OwnedFd>,
    steps: Option<Finished>,
}

impl Walls {
    /// The Landlock ruleset, for whoever starts processes in another way: `PR_SET_NO_NEW_PRIVS`, then `landlock_restrict_self`.
    pub(crate) fn ruleset(&self) -> Option<BorrowedFd<'_>> {
        self.ruleset.as_ref().map(AsFd::as_fd)
    }

    /// Whether the ruleset is all: a copy of a program that runs already can go through nothing else.
    pub(crate) fn keep_in_a_copy(&self) -> bool {
        self.steps.is_none()
    }

    /// What `clone` must be told.
    pub(super) fn clone_flags(&self) -> libc::c_int {
        if self.steps.is_some() { namespace::FLAGS } else { 0 }
    }

    /// Goes through; whether that worked. `errno` says why not.
    ///
    /// # Safety
    /// Only makes system calls, so that it may stand between `vfork` and `execve`. It is for a child that was started with
    /// [`Walls::clone_flags`].
    pub(super) unsafe fn enter(&self) -> bool {
        // SAFETY: as the caller says.
        unsafe {
            self.steps.as_ref().is_none_or(|steps| steps.enter())
                && self.ruleset().is_none_or(|ruleset| landlock::enter(ruleset.as_raw_fd()))
        }
    }
}

impl Staged {
    /// Puts an output in its place, if it was made elsewhere.
    pub(crate) fn deliver(&self, output: &Path) -> io::Result<()> {
        let (Some(folder), Some(name)) = (output.parent(), output.file_name()) else { return Ok(()) };
        let Some((staged, _)) = self.0.iter().find(|(_, place)| place == folder) else { return Ok(()) };
        match fs::rename(staged.join(name), output) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => carry(&staged.join(name), output),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// What is no plain file stays what it is: whoever looks at the output judges that.
fn carry(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(from)?.file_type() {
        kind if kind.is_symlink() => std::os::unix::fs::symlink(fs::read_link(from)?, to),
        kind if kind.is_file() => fs::copy(from, to).map(drop),
        kind if kind.is_dir() => fs::create_dir(to),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file")),
    }
}

impl<'a> Confinement<'a> {
    /// For processes that start in the workspace at `root`.
    pub(crate) fn new(root: &Path, sandbox: Sandbox<'a>) -> Confinement<'a> {
        let landlock = || landlock_version().map_or(Mechanism::None, Mechanism::Landlock);
        let mechanism = match sandbox.mode {
            SandboxMode::Auto | SandboxMode::Landlock => landlock(),
            SandboxMode::Namespace => Mechanism::Namespace,
            SandboxMode::Off => Mechanism::None,
        };
        let real_root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        let (places, held) = (OnceLock::new(), OnceLock::new());
        Confinement { root: root.to_owned(), real_root, mechanism, read: sandbox.read, places, held }
    }

    /// How programs put it when they are kept from a file; none when nothing keeps them.
    pub(crate) fn complaint(&self) -> Option<&'static str> {
        match self.mechanism {
            Mechanism::None => None,
            Mechanism::Landlock(_) => Some("Permission denied"),
            Mechanism::Namespace => Some("No such file or directory"),
        }
    }

    /// Whether files that are not declared are not there for a process, rather than closed to it.
    pub(crate) fn hides_files(&self) -> bool {
        self.mechanism == Mechanism::Namespace
    }

    /// Whether every process may read this file of the machine.
    pub(crate) fn is_open(&self, path: &Path) -> bool {
        self.places().hold(path)
    }

    /// What a program of the machine needs of the places around it: one that does not come with the system mostly has libraries and
    /// other programs beside it.
    pub(crate) fn beside(&self, program: &Path) -> Vec<PathBuf> {
        let outside = |folder: &&Path| !self.real_root.starts_with(folder) && !folder.starts_with(&self.real_root);
        let around = program.ancestors().skip(1).take(2).filter(outside).last();
        [program].into_iter().chain(around).map(Path::to_owned).collect()
    }

    /// The cage for one process.
    pub(crate) fn cage(&self, needs: &Needs<'_>) -> io::Result<Cage> {
        let folder = (needs.apart && !self.hides_files()).then(|| needs.work.join("apart"));
        let staged = folder.as_ref().map_or(Ok(Staged::default()), |folder| apart::make(&self.root, folder, needs))?;
        match self.mechanism {
            Mechanism::None => Ok(Cage { walls: Walls::default(), staged, folder }),
            Mechanism::Landlock(version) => {
                let ruleset = Some(self.ruleset(version, needs, folder.as_deref())?);
                Ok(Cage { walls: Walls { ruleset, steps: None }, staged, folder })
            }
            Mechanism::Namespace => self.namespace(needs),
        }
    }

    fn ruleset(&self, version: u32, needs: &Needs<'_>, apart: Option<&Path>) -> io::Result<OwnedFd> {
        let ruleset = Ruleset::new(version, needs.network)?;
        let (places, devices) = self.held();
        places.iter().try_for_each(|place| ruleset.allow(place, Rights::Read))?;
        devices.iter().try_for_each(|device| ruleset.allow(device, Rights::ReadWrite))?;
        for place in self.more(needs).found.iter().filter_map(|(place, _)| Place::open(place).ok()) {
            ruleset.allow(&place, Rights::Read)?;
        }
        needs.files.iter().try_for_each(|file| ruleset.allow(&Place::file(file)?, Rights::Read))?;
        let outputs = if needs.only_writes { Rights::Write } else { Rights::All };
        needs.outputs.iter().try_for_each(|folder| ruleset.allow(&Place::open(folder)?, outputs))?;
        let own = needs.own.iter().map(PathBuf::as_path).chain(apart);
        own.into_iter().try_for_each(|folder| ruleset.allow(&Place::open(folder)?, Rights::All))?;
        if let Some(log) = needs.log {
            ruleset.allow(&Place::of_open(log)?, Rights::ReadWrite)?;
        }
        Ok(ruleset.into_fd())
    }

    fn namespace(&self, needs: &Needs<'_>) -> io::Result<Cage> {
        let new_root = needs.work.join("root");
        fs::create_dir(&new_root)?;
        let mut steps = Steps::new(&new_root)?;
        let more = self.more(needs);
        for places in [self.places(), &more] {
            places.found.iter().try_for_each(|(place, is_folder)| steps.show(place, *is_folder))?;
            places.links.iter().try_for_each(|(link, to)| steps.link(to, link))?;
        }
        let devices = DEVICES.iter().map(Path::new).filter(|device| device.exists());
        devices.into_iter().try_for_each(|device| steps.show(device, false))?;
        LINKS.iter().try_for_each(|(link, to)| steps.link(Path::new(to), Path::new(link)))?;
        steps.folder(&self.root)?;
        let mut staged = Vec::new();
        for (number, place) in needs.outputs.iter().enumerate() {
            let folder = needs.work.join(number.to_string());
            fs::create_dir(&folder)?;
            steps.show_writable(&folder, place)?;
            staged.push((folder, place.clone()));
        }
        needs.files.iter().try_for_each(|file| steps.show(file, false))?;
        needs.own.iter().try_for_each(|folder| steps.show_writable(folder, folder))?;
        Ok(Cage { walls: Walls { ruleset: None, steps: Some(steps.finish()?) }, staged: Staged(staged), folder: None })
    }

    /// What of a process's further places is not open to all.
    fn more(&self, needs: &Needs<'_>) -> Places {
        let mut more = Places::default();
        let own = needs.places.iter().filter(|place| !self.is_open(place));
        own.for_each(|place| more.add(place, &self.real_root));
        more
    }

    fn places(&self) -> &Places {
        self.places.get_or_init(|| {
            let mut places = Places::of_system(&self.real_root);
            self.read.iter().for_each(|place| places.add(place, &self.real_root));
            places
        })
    }

    /// What is gone or closed to us since it was found is closed to the process, too.
    fn held(&self) -> &(Vec<Place>, Vec<Place>) {
        self.held.get_or_init(|| {
            let places = self.places().found.iter().filter_map(|(place, _)| Place::open(place).ok());
            let devices = DEVICES.iter().filter_map(|device| Place::file(Path::new(device)).ok());
            (places.collect(), devices.collect())
        })
    }
}
