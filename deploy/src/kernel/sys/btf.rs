//! BTF in the kernel: of objects, and of modules.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::Attr;

const GET_INFO: u32 = 15;
const BTF_LOAD: u32 = 18;
const BTF_GET_FD_BY_ID: u32 = 19;
const BTF_GET_NEXT_ID: u32 = 23;

/// Gives the kernel the types of an object.
pub(in crate::kernel) fn btf_load(bytes: &[u8]) -> io::Result<OwnedFd> {
    let size = u32::try_from(bytes.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    Attr::new().pointer(0, bytes.as_ptr()).u32(16, size).call_fd(BTF_LOAD)
}

/// The types of a module, as the kernel has them; none if it has no such module. Takes CAP_SYS_ADMIN.
pub(in crate::kernel) fn module_btf(module: &str) -> io::Result<Option<OwnedFd>> {
    let mut id = 0;
    loop {
        let mut attr = Attr::new().u32(0, id);
        if present(attr.call_mut(BTF_GET_NEXT_ID))?.is_none() {
            return Ok(None);
        }
        id = attr.get_u32(4);
        // Whose they are may have gone meanwhile.
        let btf = present(Attr::new().u32(0, id).call_fd(BTF_GET_FD_BY_ID))?;
        if let Some(btf) = btf
            && name(&btf)? == module
        {
            return Ok(Some(btf));
        }
    }
}

fn present<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
    match answer {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        other => other.map(Some),
    }
}

/// `struct bpf_btf_info`: types, their size, id, then the name and its length.
fn name(btf: &OwnedFd) -> io::Result<String> {
    let mut name = [0u8; 64];
    let mut info = [0u64; 5];
    info[2] = name.as_mut_ptr() as u64;
    info[3] = name.len() as u64;
    Attr::new().fd(0, btf.as_fd()).u32(4, 40).pointer(8, info.as_mut_ptr()).call(GET_INFO)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    Ok(String::from_utf8_lossy(&name[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Deploys failed at random where other programs came and went.
    #[test]
    fn types_that_go_meanwhile_are_no_failure() {
        // An int, so that there is something to load.
        let words = [0x1_eb9f_u32, 24, 0, 16, 16, 5, 1, 1 << 24, 4, 32];
        let types: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).chain(*b"\0int\0").collect();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    drop(btf_load(&types).expect("the kernel takes a number"));
                }
            });
            let all: Vec<io::Result<bool>> =
                (0..3000).map(|_| module_btf("ouro_no_such_module").map(|found| found.is_some())).collect();
            stop.store(true, Ordering::Relaxed);
            assert!(all.iter().all(|found| matches!(found, Ok(false))), "{:?}", all.iter().find(|found| found.is_err()));
        });
    }
}
