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

/// The types of a module, as the kernel has them. Takes CAP_SYS_ADMIN.
pub(in crate::kernel) fn module_btf(module: &str) -> io::Result<OwnedFd> {
    let mut id = 0;
    loop {
        let mut attr = Attr::new().u32(0, id);
        attr.call_mut(BTF_GET_NEXT_ID)?;
        id = attr.get_u32(4);
        let btf = Attr::new().u32(0, id).call_fd(BTF_GET_FD_BY_ID)?;
        if name(&btf)? == module {
            return Ok(btf);
        }
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
