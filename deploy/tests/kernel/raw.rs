//! The bpf(2) commands a test needs to look where, and to do what, ouro does not.

use std::io;
use std::path::Path;

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

fn bpf(command: u32, attr: &mut [u64; 16]) -> io::Result<i32> {
    // SAFETY: every pointer in `attr` refers to memory that lives until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(attr)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(i32::try_from(result).expect("a descriptor or zero")) }
}

fn pair(low: i32, high: i32) -> u64 {
    u64::from(low.cast_unsigned()) | u64::from(high.cast_unsigned()) << 32
}

/// Opens a pin.
pub fn get(path: &Path) -> OwnedFd {
    let path = std::ffi::CString::new(path.to_str().expect("a plain path")).expect("no zero byte");
    let mut attr = [0; 16];
    attr[0] = path.as_ptr() as u64;
    let fd = bpf(7, &mut attr).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    // SAFETY: a new descriptor.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Makes a link run another program, whatever it runs.
pub fn link_update(link: &Path, program: &Path) {
    let (link, program) = (get(link), get(program));
    let mut attr = [0; 16];
    attr[0] = pair(link.as_raw_fd(), program.as_raw_fd());
    bpf(29, &mut attr).expect("the link takes the program");
}

/// Writes to a map from user space.
pub fn map_update(map: &Path, key: u32, value: &[u8]) -> io::Result<()> {
    let map = get(map);
    let mut attr = [0; 16];
    attr[0] = pair(map.as_raw_fd(), 0);
    attr[1] = (&raw const key) as u64;
    attr[2] = value.as_ptr() as u64;
    bpf(2, &mut attr).map(drop)
}

/// Adds elements to a hash whose keys and values are numbers of 4 and 8 bytes, one by one.
pub fn fill(map: &Path, keys: std::ops::Range<u32>) {
    let map = get(map);
    for key in keys {
        let value = u64::from(key) + 1;
        let mut attr = [0; 16];
        attr[0] = pair(map.as_raw_fd(), 0);
        attr[1] = (&raw const key) as u64;
        attr[2] = (&raw const value) as u64;
        bpf(2, &mut attr).expect("there is room");
    }
}

/// The elements of such a map that is not changed meanwhile, and of those CPUs' values the first.
pub fn elements(map: &Path) -> std::collections::BTreeMap<u32, u64> {
    let map = get(map);
    let (mut found, mut key) = (std::collections::BTreeMap::new(), None::<u32>);
    loop {
        let (mut next, mut value) = (0u32, [0u64; 64]);
        let mut attr = [0; 16];
        attr[0] = pair(map.as_raw_fd(), 0);
        attr[1] = key.as_ref().map_or(0, |key| std::ptr::from_ref(key) as u64);
        attr[2] = (&raw mut next) as u64;
        if bpf(4, &mut attr).is_err() {
            return found;
        }
        attr[1] = (&raw const next) as u64;
        attr[2] = value.as_mut_ptr() as u64;
        bpf(1, &mut attr).expect("the key was there");
        found.insert(next, value[0]);
        key = Some(next);
    }
}

/// A program's machine code and the address it lies at.
pub fn machine_code(program: &Path) -> (u64, Vec<u8>) {
    let fd = get(program);
    let read = |info: &mut [u64; 32]| {
        let mut attr = [0; 16];
        attr[0] = pair(fd.as_raw_fd(), i32::try_from(size_of_val(info)).expect("small"));
        attr[1] = info.as_mut_ptr() as u64;
        bpf(15, &mut attr).expect("the kernel tells of the program");
    };
    // struct bpf_prog_info: jited_prog_len at 16, jited_prog_insns at 24, nr_jited_ksyms at 104, jited_ksyms at 112.
    let mut info = [0u64; 32];
    read(&mut info);
    let length = info[2] & 0xffff_ffff;
    let mut code = vec![0u8; usize::try_from(length).expect("fits")];
    let mut address = 0u64;
    info = [0; 32];
    (info[2], info[3]) = (length, code.as_mut_ptr() as u64);
    (info[13], info[14]) = (1, (&raw mut address) as u64);
    read(&mut info);
    (address, code)
}
