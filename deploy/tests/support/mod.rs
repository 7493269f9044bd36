//! A laboratory for kernel tests: private network namespaces joined by a veth pair, a private bpffs, real clang.
//!
//! Everything lives in namespaces of the test's own thread, so the kernel removes it when the thread ends, also by a panic or
//! a kill. Knows nothing of bundles and deployments.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// The near end of the cable, in the test's own namespace.
pub const NEAR: &str = "near0";
/// The far end, in the peer's namespace.
pub const FAR: &str = "far0";
/// The near end's address.
pub const NEAR_ADDRESS: &str = "10.99.0.1";
/// The far end's address.
pub const FAR_ADDRESS: &str = "10.99.0.2";

/// Two machines and a cable, as far as the kernel is concerned.
pub struct Lab {
    /// The bpffs.
    pub bpffs: PathBuf,
    far: File,
    folder: tempfile::TempDir,
}

/// Runs `test` in a laboratory of its own. On its own thread, as the namespaces are the thread's.
pub fn lab(test: impl FnOnce(&Lab) + Send) {
    let outcome = std::thread::scope(|scope| {
        let run = || {
            let lab = Lab::new().expect("a laboratory needs root, and iproute2");
            test(&lab);
        };
        scope.spawn(run).join()
    });
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

impl Lab {
    fn new() -> io::Result<Lab> {
        let folder = tempfile::tempdir()?;
        let bpffs = folder.path().join("bpf");
        fs::create_dir(&bpffs)?;
        unshare(libc::CLONE_NEWNS)?;
        mount(None, Path::new("/"), libc::MS_REC | libc::MS_PRIVATE)?;
        mount(Some(c"bpf"), &bpffs, 0)?;
        unshare(libc::CLONE_NEWNET)?;
        let far = File::open("/proc/thread-self/ns/net")?;
        unshare(libc::CLONE_NEWNET)?;
        let lab = Lab { bpffs, far, folder };
        lab.cable(NEAR, FAR, "10.99.0");
        sh("ip link set lo up");
        Ok(lab)
    }

    /// A folder for whatever a test writes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Joins the namespaces by one more cable; its ends have the addresses `<prefix>.1` and `<prefix>.2`.
    pub fn cable(&self, near: &str, far: &str, prefix: &str) {
        let namespace = format!("/proc/{}/fd/{}", std::process::id(), self.far.as_raw_fd());
        sh(&format!("ip link add {near} type veth peer name {far} netns {namespace}"));
        sh(&format!("ip addr add {prefix}.1/24 dev {near} && ip link set {near} up"));
        let far_end = format!("ip addr add {prefix}.2/24 dev {far} && ip link set {far} up");
        check(&self.far("sh").args(["-c", &far_end]).output().expect("sh runs"), &far_end);
    }

    /// A command in the far namespace.
    pub fn far(&self, program: &str) -> Command {
        in_namespace(Command::new(program), self.far.as_raw_fd())
    }

    /// Pings the near end from the far one this often; how many answers came.
    pub fn ping(&self, count: u32) -> u32 {
        self.ping_address(NEAR_ADDRESS, count)
    }

    /// Pings `address` from the far end.
    pub fn ping_address(&self, address: &str, count: u32) -> u32 {
        let count = count.to_string();
        let output =
            self.far("ping").args(["-n", "-q", "-i", "0.01", "-W", "1", "-c", &count, address]).output().expect("ping runs");
        received(&String::from_utf8_lossy(&output.stdout))
    }

    /// Starts a flood of pings at the near end, until [`Flood::stop`].
    pub fn flood(&self) -> Flood {
        self.floods(1)
    }

    /// The same by several at once. Counted by the kernel: what reaches a ping that has no time for it is not lost by the way.
    pub fn floods(&self, pings: usize) -> Flood {
        let stop = Arc::new(AtomicBool::new(false));
        let (until, far) = (stop.clone(), self.far.try_clone().expect("a descriptor"));
        let ping = move || {
            while !until.load(Ordering::Relaxed) {
                // Stopped by a signal, ping would not wait for the last answer; after a count it does.
                let arguments = ["-n", "-q", "-f", "-c", "2000", "-W", "2", NEAR_ADDRESS];
                Command::new("ping").args(arguments).output().expect("ping runs");
            }
        };
        let run = move || {
            enter(far.as_raw_fd()).expect("the far namespace is there");
            let (sent, received) = echoes();
            std::thread::scope(|scope| (0..pings).for_each(|_| drop(scope.spawn(&ping))));
            let (now_sent, now_received) = echoes();
            (now_sent - sent, now_received - received)
        };
        Flood { stop, thread: Some(std::thread::spawn(run)) }
    }

    /// Sends this many UDP packets to a port of the near end, from the far one.
    pub fn udp(&self, port: u16, count: u32) {
        std::thread::scope(|scope| {
            let send = || {
                enter(self.far.as_raw_fd()).expect("the far namespace is there");
                let socket = std::net::UdpSocket::bind((FAR_ADDRESS, 0)).expect("a socket");
                // A port nobody listens at answers with an error to the next packet.
                (0..count).for_each(|_| drop(socket.send_to(b"ouro", (NEAR_ADDRESS, port))));
            };
            scope.spawn(send).join().expect("sending does not panic");
            // The first packet waits for the neighbour's address, and all for a processor that has time.
            std::thread::sleep(std::time::Duration::from_millis(50));
        });
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let path = std::ffi::CString::new(self.bpffs.to_str().expect("a plain path")).expect("no zero byte");
        // SAFETY: unmounts a path of this thread's own mount namespace. The kernel would, too, but the folder could not be removed.
        unsafe {
            libc::umount2(path.as_ptr(), libc::MNT_DETACH);
        }
    }
}

/// A control group of a test's own, removed when dropped.
pub struct Group {
    folder: PathBuf,
    /// Its path from the mount of cgroup2.
    pub path: String,
}

impl Group {
    /// A new group below the root.
    pub fn new(name: &str) -> Group {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts can be read");
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 ")).expect("a cgroup2 file system is mounted");
        let path = format!("ouro-test-{name}-{}", std::process::id());
        let folder = Path::new(mount.split(' ').nth(4).expect("a mount has a place")).join(&path);
        fs::create_dir(&folder).expect("a group can be made");
        Group { folder, path }
    }

    /// Runs a shell command in it; what it wrote, and whether it succeeded.
    pub fn sh(&self, command: &str) -> (String, bool) {
        let entered = format!("echo $$ > {}/cgroup.procs && {{ {command}\n}} 2>&1", self.folder.display());
        let output = Command::new("bash").args(["-c", &entered]).output().expect("bash runs");
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that has just ended may still be counted.
        let removed = || (0..50).any(|_| fs::remove_dir(&self.folder).is_ok() || sleep_a_moment());
        if !removed() && !std::thread::panicking() {
            panic!("`{}` is left", self.folder.display());
        }
    }
}

fn sleep_a_moment() -> bool {
    std::thread::sleep(std::time::Duration::from_millis(20));
    false
}

/// A flood of pings.
pub struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<(u32, u32)>>,
}

impl Flood {
    /// Ends it; how many were sent and how many answers came.
    pub fn stop(mut self) -> (u32, u32) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it is stopped once").join().expect("pinging does not panic")
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// How many pings left this thread's network namespace, and how many answers came to it.
fn echoes() -> (u32, u32) {
    let text = fs::read_to_string("/proc/thread-self/net/snmp").expect("the counts of the kernel");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Icmp: ")).map(|line| line.split(' '));
    let (names, numbers) = (lines.next().expect("names"), lines.next().expect("numbers"));
    let counts: Vec<(&str, &str)> = names.zip(numbers).collect();
    let count = |wanted| counts.iter().find(|(name, _)| *name == wanted).and_then(|(_, number)| number.parse().ok());
    (count("OutEchos").expect("pings"), count("InEchoReps").expect("answers"))
}

fn received(text: &str) -> u32 {
    number_before(text, " received")
}

fn number_before(text: &str, words: &str) -> u32 {
    let before = text.split(words).next().unwrap_or_default();
    before
        .rsplit(|c: char| !c.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("no `{words}` in: {text}"))
}

/// Runs a shell command in the current namespaces; panics with its output if it fails.
pub fn sh(command: &str) -> String {
    check(&Command::new("sh").args(["-c", command]).output().expect("sh runs"), command)
}

fn check(output: &Output, what: &str) -> String {
    assert!(output.status.success(), "`{what}` failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether the kernel has at least this version. Tests ask for versions, not features, so that a newer kernel that lacks one fails.
pub fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let release = sh("uname -r");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<u32>().ok());
    (numbers.next().expect("a version"), numbers.next().expect("a version")) >= (major, minor)
}

/// What `bpftool --json` prints, read.
pub fn bpftool(args: &[&str]) -> serde_json::Value {
    let output = Command::new("bpftool").arg("--json").args(args).output().expect("bpftool runs");
    serde_json::from_str(&check(&output, &format!("bpftool {args:?}"))).expect("bpftool prints JSON")
}

/// Whether bpftool shows no object of this kind (`prog`, `map`, `link`) and id. The kernel frees objects a moment late.
pub fn is_gone(kind: &str, id: u32) -> bool {
    (0..100).any(|_| {
        let shown = Command::new("bpftool").args([kind, "show", "id", &id.to_string()]).output().expect("bpftool runs");
        let gone = !shown.status.success();
        if !gone {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        gone
    })
}

fn in_namespace(mut command: Command, namespace: RawFd) -> Command {
    // SAFETY: setns is all the child does before it becomes the program.
    unsafe { command.pre_exec(move || enter(namespace)) };
    command
}

fn enter(namespace: RawFd) -> io::Result<()> {
    // SAFETY: no pointers.
    result(unsafe { libc::setns(namespace, libc::CLONE_NEWNET) })
}

fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: no pointers; only this thread is affected.
    result(unsafe { libc::unshare(flags) })
}

fn mount(kind: Option<&std::ffi::CStr>, at: &Path, flags: libc::c_ulong) -> io::Result<()> {
    let at = std::ffi::CString::new(at.to_str().expect("a plain path")).expect("no zero byte");
    let kind = kind.map_or(std::ptr::null(), std::ffi::CStr::as_ptr);
    // SAFETY: the strings live until the call returns.
    result(unsafe { libc::mount(kind, at.as_ptr(), kind, flags, std::ptr::null()) })
}

fn result(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
