//! What loading and attaching programs needs. None of it is needed to build them.

use std::ffi::CString;
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Answer, Machine};

/// The oldest kernel that has what deployments are made of: links of XDP programs, and freezing of maps.
const OLDEST_KERNEL: (u32, u32) = (5, 9);

const BPF_FS: i64 = 0xcafe_4a11;

/// What loading and attaching takes, by the bit of the capability; `CAP_SYS_ADMIN` stands for the first two.
const CAPABILITIES: [(u32, &str); 3] = [(39, "CAP_BPF"), (38, "CAP_PERFMON"), (12, "CAP_NET_ADMIN")];
const SYS_ADMIN: u32 = 21;

pub(super) fn kernel(_: &Machine) -> Answer {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = text.trim();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    match version >= OLDEST_KERNEL {
        true => Answer::ok(format!("Linux {release}")),
        false => Answer::warning(
            format!("Linux {release} cannot run chains"),
            format!("deploy on Linux {}.{} or newer; building works here", OLDEST_KERNEL.0, OLDEST_KERNEL.1),
        ),
    }
}

pub(super) fn types(_: &Machine) -> Answer {
    let place = "/sys/kernel/btf/vmlinux";
    match fs::metadata(place) {
        Ok(found) => Answer::ok(format!("{place}, {} kB", found.len() / 1024)),
        Err(_) => Answer::warning(
            format!("no `{place}`"),
            "use a kernel with `CONFIG_DEBUG_INFO_BTF`; programs that follow kernel types cannot be loaded without",
        ),
    }
}

pub(super) fn bpffs(machine: &Machine) -> Answer {
    let place = &machine.bpffs;
    match file_system(place) {
        Some(BPF_FS) => Answer::ok(format!("mounted on {}", place.display())),
        _ => Answer::warning(
            format!("no bpffs on {}: nothing can be deployed", place.display()),
            format!("mount it: `mount -t bpf bpf {}`", place.display()),
        ),
    }
}

fn file_system(place: &Path) -> Option<i64> {
    let path = CString::new(place.as_os_str().as_bytes()).ok()?;
    let mut found = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the path ends with a zero byte, and the buffer has room for one structure, which may be all zero.
    unsafe { (libc::statfs(path.as_ptr(), found.as_mut_ptr()) == 0).then(|| found.assume_init().f_type) }
}

pub(super) fn privileges(_: &Machine) -> Answer {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or_default();
    let has = |bit: u32| set & (1 << bit) != 0;
    let held = |bit: u32| has(bit) || (bit > SYS_ADMIN && has(SYS_ADMIN));
    let missing: Vec<&str> = CAPABILITIES.iter().filter(|(bit, _)| !held(*bit)).map(|(_, name)| *name).collect();
    match missing.is_empty() {
        true => Answer::ok("programs can be loaded and attached"),
        false => Answer::warning(
            format!("no {}: nothing can be deployed", missing.join(", ")),
            "deploy as root (`sudo ouro deploy ...`); building needs no privileges",
        ),
    }
}
