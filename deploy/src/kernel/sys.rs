//! The bpf(2) commands aya does not offer, and the other system calls of deploying; the only unsafe code of the crate.
//!
//! Knows numbers and layouts (include/uapi/linux/bpf.h), not chains.

mod btf;
mod elements;
mod event;
mod link;
mod map;
mod prog;
mod socket;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

pub(super) use btf::{btf_load, module_btf};
pub(super) use elements::{Batch, Write, delete_element, element, elements, next_key, put_element, put_elements};
pub(super) use event::{Event, perf_event, trace_event};
pub(super) use link::{
    Relative, Uprobes, group_attach, group_detach, link_at, link_event, link_event_with, link_in_order, link_kprobes, link_map,
    link_netfilter, link_uprobes, link_walk, query, raw_tracepoint,
};
pub(super) use map::{NewMap, fill_arena, map_put, new_map};
pub(super) use prog::{Program, prog_load};
pub(super) use socket::{
    SocketFilter, bound_device, descriptor_of, is_filter_locked, namespace_of, open_process, protocol, shares_port,
    socket_attach, socket_cookie, socket_detach, socket_filter,
};

const MAP_CREATE: u32 = 0;
const MAP_LOOKUP: u32 = 1;
const MAP_UPDATE: u32 = 2;
const OBJ_PIN: u32 = 6;
const OBJ_GET: u32 = 7;
const PROG_TEST_RUN: u32 = 10;
const GET_INFO: u32 = 15;
const PROG_QUERY: u32 = 16;
const PROG_LOAD: u32 = 5;
const MAP_FREEZE: u32 = 22;
const LINK_CREATE: u32 = 28;
const LINK_UPDATE: u32 = 29;
const LINK_DETACH: u32 = 34;
const TOKEN_CREATE: u32 = 36;

/// Of include/uapi/linux/mount.h.
const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;

/// Update only if the link still runs the program named as the old one.
const BPF_F_REPLACE: u32 = 4;

/// Size of `union bpf_attr` on Linux 6.1. A newer kernel takes the rest as zero, an older one checks that it is.
const ATTR_SIZE: usize = 144;

/// A `union bpf_attr`, filled by the offsets of its fields.
#[derive(Clone)]
#[repr(C, align(8))]
struct Attr([u8; ATTR_SIZE]);

impl Attr {
    fn new() -> Attr {
        Attr([0; ATTR_SIZE])
    }

    fn u32(self, offset: usize, value: u32) -> Attr {
        self.bytes(offset, &value.to_ne_bytes())
    }

    fn pointer<T: ?Sized>(self, offset: usize, target: *const T) -> Attr {
        self.bytes(offset, &(target.cast::<u8>() as u64).to_ne_bytes())
    }

    fn fd(self, offset: usize, fd: BorrowedFd<'_>) -> Attr {
        self.bytes(offset, &fd.as_raw_fd().to_ne_bytes())
    }

    /// What the kernel wrote there.
    fn get_u32(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(*self.0[offset..].first_chunk().expect("BUG: a field of the attribute"))
    }

    fn bytes(mut self, offset: usize, bytes: &[u8]) -> Attr {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// What the kernel wrote at an offset.
    fn word(&self, offset: usize) -> u32 {
        self.0[offset..].first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    }

    fn call(mut self, command: u32) -> io::Result<i32> {
        self.call_mut(command)
    }

    fn call_mut(&mut self, command: u32) -> io::Result<i32> {
        // SAFETY: the attribute is as large as told, and every pointer in it refers to memory its caller keeps alive.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), ATTR_SIZE) };
        if result < 0 { Err(last_error()) } else { Ok(i32::try_from(result).unwrap_or_default()) }
    }

    fn call_fd(self, command: u32) -> io::Result<OwnedFd> {
        // SAFETY: the command gives a new file descriptor that nobody else has.
        self.call(command).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// The kernel's own ENOTSUPP (524) has no text in the C library.
fn last_error() -> io::Error {
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(524) {
        io::Error::new(io::ErrorKind::Unsupported, "not supported by the kernel")
    } else {
        error
    }
}

fn path_text(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// What a map is created with.
#[derive(Debug, Clone, Copy)]
pub(super) struct MapShape {
    pub(super) ty: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
}

pub(super) fn map_create(name: &str, shape: MapShape) -> io::Result<OwnedFd> {
    let name = &name.as_bytes()[..name.len().min(15)];
    let attr = Attr::new().u32(0, shape.ty).u32(4, shape.key_size).u32(8, shape.value_size).u32(12, shape.max_entries);
    attr.bytes(28, name).call_fd(MAP_CREATE)
}

/// Reads an element into `value`, which has the map's value size; false if there is none.
pub(super) fn map_lookup(map: BorrowedFd<'_>, key: u32, value: &mut [u8]) -> io::Result<bool> {
    let attr = Attr::new().fd(0, map).pointer(8, &raw const key).pointer(16, value.as_mut_ptr());
    match attr.call(MAP_LOOKUP) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes an element; `value` has the map's value size.
pub(super) fn map_update(map: BorrowedFd<'_>, key: u32, value: &[u8]) -> io::Result<()> {
    Attr::new().fd(0, map).pointer(8, &raw const key).pointer(16, value.as_ptr()).call(MAP_UPDATE).map(drop)
}

pub(super) fn map_freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    Attr::new().fd(0, map).call(MAP_FREEZE).map(drop)
}

pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = path_text(path)?;
    Attr::new().pointer(0, path.as_ptr()).fd(8, object).call(OBJ_PIN).map(drop)
}

pub(super) fn get(path: &Path) -> io::Result<OwnedFd> {
    let path = path_text(path)?;
    Attr::new().pointer(0, path.as_ptr()).call_fd(OBJ_GET)
}

/// The first words of a `bpf_prog_info`, `bpf_map_info` or `bpf_link_info`.
pub(super) fn info(object: BorrowedFd<'_>) -> io::Result<[u32; 32]> {
    let mut words = [0u32; 32];
    let size = u32::try_from(size_of_val(&words)).expect("BUG: 128 bytes");
    Attr::new().fd(0, object).u32(4, size).pointer(8, words.as_mut_ptr()).call(GET_INFO)?;
    Ok(words)
}

/// Whether the kernel can attach programs of this attach type to the device.
pub(super) fn attach_type_known(ifindex: u32, attach_type: u32) -> io::Result<bool> {
    match Attr::new().u32(0, ifindex).u32(4, attach_type).call(PROG_QUERY) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn link_create(program: BorrowedFd<'_>, ifindex: u32, attach_type: u32, flags: u32) -> io::Result<OwnedFd> {
    Attr::new().fd(0, program).u32(4, ifindex).u32(8, attach_type).u32(12, flags).call_fd(LINK_CREATE)
}

/// Makes the link run `new`, but only if it still runs `old`; EPERM otherwise.
pub(super) fn link_replace(link: BorrowedFd<'_>, old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> io::Result<()> {
    Attr::new().fd(0, link).fd(4, new).u32(8, BPF_F_REPLACE).fd(12, old).call(LINK_UPDATE).map(drop)
}

/// Makes the link run `new`, whatever it runs.
pub(super) fn link_update(link: BorrowedFd<'_>, new: BorrowedFd<'_>) -> io::Result<()> {
    Attr::new().fd(0, link).fd(4, new).call(LINK_UPDATE).map(drop)
}

pub(super) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    Attr::new().fd(0, link).call(LINK_DETACH).map(drop)
}

/// Runs a program once on this packet; what it returns.
pub(super) fn test_run(program: BorrowedFd<'_>, packet: &[u8]) -> io::Result<u32> {
    let size = u32::try_from(packet.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let mut attr = Attr::new().fd(0, program).u32(8, size).pointer(16, packet.as_ptr()).u32(32, 1);
    attr.call_mut(PROG_TEST_RUN)?;
    Ok(u32::from_ne_bytes(*attr.0[4..].first_chunk().expect("BUG: the attribute is larger")))
}

/// Mounts a BPF file system nowhere; it lasts as long as the descriptor.
pub(super) fn detached_bpffs() -> io::Result<OwnedFd> {
    let descriptor = |result: libc::c_long| match i32::try_from(result) {
        // SAFETY: the calls below give new file descriptors that nobody else has.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    };
    // SAFETY: the string lives for ever, and the other calls have no pointers but empty ones.
    unsafe {
        let context = descriptor(libc::syscall(libc::SYS_fsopen, c"bpf".as_ptr(), FSOPEN_CLOEXEC))?;
        let none = std::ptr::null::<libc::c_char>();
        if libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, none, none, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        descriptor(libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, 0))
    }
}

/// `MEMBARRIER_CMD_GLOBAL`: returns when every CPU has been through the scheduler, so no run of a program that was current
/// before is still going on.
pub(super) fn membarrier() -> io::Result<()> {
    // SAFETY: no pointers.
    if unsafe { libc::syscall(libc::SYS_membarrier, 1, 0, 0) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `f_type` of the file system at `path`.
pub(super) fn file_system(path: &Path) -> io::Result<i64> {
    let path = path_text(path)?;
    let mut facts = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the kernel fills the structure, which is valid when zero as well.
    let facts = unsafe {
        if libc::statfs(path.as_ptr(), facts.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        facts.assume_init()
    };
    Ok(facts.f_type)
}

/// Locks without waiting; the kernel unlocks when the last copy of the descriptor is closed, however its process ends.
pub(super) fn try_lock(file: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: no pointers.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::WouldBlock { Ok(false) } else { Err(error) }
}

/// Gives a lock back, for all copies of the descriptor. It cannot fail for one that is open.
pub(super) fn unlock(file: BorrowedFd<'_>) {
    // SAFETY: no pointers.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_UN) };
}

/// The effective capabilities of this thread, one bit each.
pub(super) fn capabilities() -> io::Result<u64> {
    // struct __user_cap_header_struct with _LINUX_CAPABILITY_VERSION_3, and two __user_cap_data_struct.
    let mut header = [0x2008_0522u32, 0];
    let mut data = [0u32; 6];
    // SAFETY: version 3 fills exactly two data structures of three words.
    if unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::from(data[0]) | u64::from(data[3]) << 32)
}

/// Lifts the limit that kernels before 5.11 count maps and programs against. Later ones ignore it, so a failure is no failure.
pub(super) fn lift_memory_limit() {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the kernel reads the structure, or fills it.
    unsafe {
        if libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) != 0
            && libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) == 0
        {
            // Without CAP_SYS_RESOURCE the limit goes as far as it was allowed to.
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit);
        }
    }
}

/// Has the process's table of descriptors room for this many at least. A table that is full is made twice as large, and where threads
/// share it, each time waits for all CPUs (`expand_fdtable` of fs/file.c): 10 ms. Without more room everything works as well.
pub(super) fn reserve_descriptors(count: usize) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the structure, and the other calls give new file descriptors that nobody else has.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        let count = i32::try_from(limit.rlim_cur.saturating_sub(1).min(count as u64)).unwrap_or(i32::MAX);
        let first = libc::eventfd(0, libc::EFD_CLOEXEC);
        let last = libc::fcntl(first, libc::F_DUPFD_CLOEXEC, count);
        [first, last].into_iter().filter(|fd| *fd >= 0).for_each(|fd| drop(OwnedFd::from_raw_fd(fd)));
    }
}

/// The CPUs that this process may run on. A share of their time that bounds it, too, bounds how long it takes, whatever threads there
/// are, and takes as long to be found out as a program to be verified.
pub(super) fn cores() -> usize {
    let mut set = std::mem::MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: the kernel fills the set within its size, which is valid when zero as well. More CPUs than a set has are an error.
    unsafe {
        match libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) {
            0 => usize::try_from(libc::CPU_COUNT(set.assume_init_ref())).unwrap_or(1),
            _ => std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// How long the machine has been up, sleep included.
pub(super) fn uptime() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the structure. The clock is there since Linux 2.6.39.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The size of a page, which the kernel rounds ring buffers to.
pub(super) fn page_size() -> u32 {
    // SAFETY: no pointers.
    u32::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// The index of a network device of the current namespace.
pub(super) fn device_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: the string lives until the call returns.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 { Err(io::Error::last_os_error()) } else { Ok(index) }
}

/// The name of the device with this index in the current network namespace.
pub(super) fn device_name(index: u32) -> io::Result<String> {
    let mut name = [0u8; libc::IF_NAMESIZE];
    // SAFETY: there is room for the longest name.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) };
    if found.is_null() {
        return Err(io::Error::last_os_error());
    }
    Ok(String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned())
}

/// A netlink socket of routing.
pub(super) fn netlink_socket() -> io::Result<OwnedFd> {
    // SAFETY: gives a new file descriptor that nobody else has.
    unsafe {
        let fd = libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

pub(super) fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the kernel reads `bytes` within its length.
    let sent = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Has `buffer` hold what comes next, as far as it has room: memory that nothing comes to is never touched.
pub(super) fn receive(socket: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    // SAFETY: the kernel writes into `buffer` within its capacity, and says how much of it.
    unsafe {
        let received = libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.capacity(), 0);
        buffer.set_len(usize::try_from(received).map_err(|_| io::Error::last_os_error())?);
    }
    Ok(())
}

/// Loads `return 0` as a program of this type, for this attach type and this type of the kernel's BTF (0 for none).
pub(super) fn probe_program(ty: u32, attach_type: u32, btf_id: u32) -> io::Result<OwnedFd> {
    // r0 = 0; exit
    let instructions: [u64; 2] = [0xb7, 0x95].map(u64::from_le);
    let attr = Attr::new().u32(0, ty).u32(4, 2).pointer(8, instructions.as_ptr()).pointer(16, c"GPL".as_ptr());
    attr.bytes(48, b"ouro_probe").u32(68, attach_type).u32(108, btf_id).call_fd(PROG_LOAD)
}

/// Asks for a token without saying where, which a kernel that has them takes for a bad descriptor.
pub(super) fn probe_token() -> io::Result<()> {
    match Attr::new().u32(4, u32::MAX).call(TOKEN_CREATE) {
        Err(error) if error.raw_os_error() != Some(libc::EBADF) => Err(error),
        _ => Ok(()),
    }
}

/// The user this process acts as.
pub(super) fn user() -> u32 {
    // SAFETY: no pointers.
    unsafe { libc::geteuid() }
}

/// Gives up every capability of this thread that is not in `keep`, and the means to get one back by running a program.
pub(super) fn limit_capabilities(keep: u64) -> io::Result<()> {
    let mut header = [0x2008_0522u32, 0];
    let mut data = [0u32; 6];
    // SAFETY: version 3 fills, and then reads, two data structures of three words.
    let done = unsafe {
        libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr()) == 0 && {
            for (at, word) in data.iter_mut().enumerate() {
                *word &= if at < 3 { keep as u32 } else { (keep >> 32) as u32 };
            }
            libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) == 0
                && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
        }
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Programs that were loaded on two cores waited twice for all CPUs, when 64 and 128 descriptors were open.
    #[test]
    fn there_is_room_for_descriptors_at_once() {
        let room = || {
            let facts = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = facts.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
            line.trim().parse::<usize>().unwrap()
        };
        let before = room();
        reserve_descriptors(before + 50);
        assert!(room() >= before + 50, "{} after {before}", room());
        assert!(cores() > 0);
    }

    /// The soft limit stayed at 64 KB, and the first map of a process with few rights was refused before kernel 5.11.
    #[test]
    fn the_memory_limit_goes_as_far_as_it_is_allowed_to() {
        const CAP_SYS_RESOURCE: u64 = 1 << 24;
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        let (mut before, mut after) = (none, none);
        let low;
        // SAFETY: the kernel reads the structures, or fills them.
        unsafe {
            assert_eq!(libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut before), 0);
            low = libc::rlimit { rlim_cur: 64 << 10, rlim_max: before.rlim_max.min(64 << 20) };
            assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const low), 0);
        }
        let lift = || limit_capabilities(!CAP_SYS_RESOURCE).map(|()| lift_memory_limit());
        std::thread::spawn(lift).join().expect("a thread").expect("capabilities can be given up");
        // SAFETY: as above.
        unsafe {
            assert_eq!(libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut after), 0);
            libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const before);
        }
        assert_eq!((after.rlim_cur, after.rlim_max), (low.rlim_max, low.rlim_max));
    }
}
