//! Entering a network namespace, so that devices are the ones in there.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::error::{CliError, Kind, io};

/// Where `ip netns add` keeps its names.
const NAMED: &str = "/run/netns";

/// The inode of the network namespace that was left for another.
static LEFT: OnceLock<u64> = OnceLock::new();

/// The inode of the network namespace the command was started in, if it has left that.
pub fn left() -> Option<u64> {
    LEFT.get().copied()
}

/// Moves this thread into a network namespace: a name that `ip netns` knows, or a path such as `/proc/1234/ns/net`. The rest of
/// the process stays; nothing of ouro that has threads touches the network.
pub fn enter(name: Option<&str>) -> Result<(), CliError> {
    let Some(name) = name else { return Ok(()) };
    let path = if name.contains('/') { PathBuf::from(name) } else { Path::new(NAMED).join(name) };
    let file = File::open(&path).map_err(|error| {
        CliError::new(Kind::Usage, format!("cannot open the network namespace `{}`: {error}", path.display()))
            .help("`ip netns list` shows the names; a path such as `/proc/<pid>/ns/net` works too")
    })?;
    let home = std::fs::metadata("/proc/thread-self/ns/net").map(|facts| facts.st_ino());
    // SAFETY: `setns` reads a descriptor that is open for the length of the call.
    match unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => {
            if let Ok(home) = home {
                LEFT.get_or_init(|| home);
            }
            Ok(())
        }
        _ => {
            let error = std::io::Error::last_os_error();
            let kind = if error.kind() == std::io::ErrorKind::PermissionDenied { Kind::Refused } else { Kind::Failed };
            let error = CliError { kind, ..io(format!("cannot enter the network namespace `{}`", path.display()))(error) };
            Err(if kind == Kind::Refused {
                error.help("run it as root: entering a namespace takes CAP_SYS_ADMIN")
            } else {
                error
            })
        }
    }
}
