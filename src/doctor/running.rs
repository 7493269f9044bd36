//! What loading and attaching programs needs. None of it is needed to build them.

use std::ffi::CString;
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ouro_deploy::{Feature, Has};

use super::Answer;

/// The oldest kernel that has what deployments are made of: links of XDP programs, and freezing of maps.
const OLDEST_KERNEL: (u32, u32) = (5, 9);
/// From this one on maps are counted against the memory of a cgroup, and no longer against a limit of the user.
const UNCOUNTED: (u32, u32) = (5, 11);

const BPF_FS: i64 = 0xcafe_4a11;

/// What loading and attaching takes, by the bit of the capability; `CAP_SYS_ADMIN` stands for the first two.
const CAPABILITIES: [(u32, &str); 3] = [(39, "CAP_BPF"), (38, "CAP_PERFMON"), (12, "CAP_NET_ADMIN")];
const SYS_ADMIN: u32 = 21;

/// How people ask again with all rights.
const AS_ROOT: &str = "ask as root: `sudo ouro doctor --kernel`";

pub(super) fn kernel(_: &Path) -> Answer {
    let (release, version) = release();
    match version >= OLDEST_KERNEL {
        true => Answer::ok(format!("Linux {release}")),
        false => Answer::warning(
            format!("Linux {release} cannot run chains"),
            format!("deploy on Linux {}.{} or newer; building works here", OLDEST_KERNEL.0, OLDEST_KERNEL.1),
        ),
    }
}

fn release() -> (String, (u32, u32)) {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version = version(&release);
    (release, version)
}

fn version(text: &str) -> (u32, u32) {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

/// A small file of the kernel's; nothing where it is missing or not ours to read.
fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

pub(super) fn types(_: &Path) -> Answer {
    let place = "/sys/kernel/btf/vmlinux";
    match fs::metadata(place) {
        Ok(found) => Answer::ok(format!("{place}, {} kB", found.len() / 1024)),
        Err(_) => Answer::warning(
            format!("no `{place}`"),
            "use a kernel with `CONFIG_DEBUG_INFO_BTF`; programs that follow kernel types cannot be loaded without",
        ),
    }
}

pub(super) fn jit(_: &Path) -> Answer {
    let enabled = read("/proc/sys/net/core/bpf_jit_enable");
    let hardened = read("/proc/sys/net/core/bpf_jit_harden");
    match (enabled.as_deref(), hardened.as_deref()) {
        (Some("0"), _) => Answer::warning(
            "off: programs are interpreted, and functions cannot jump",
            "turn it on: `sysctl net.core.bpf_jit_enable=1`",
        ),
        (_, Some("2")) => Answer::warning(
            "on, hardened for everybody: constants are hidden in the code, which makes it slower",
            "harden it for the unprivileged alone: `sysctl net.core.bpf_jit_harden=1`",
        ),
        (None, _) => Answer::ok("always on, as far as this user can see"),
        (Some(_), Some("1")) => Answer::ok("on, hardened for the unprivileged"),
        (Some(_), _) => Answer::ok("on"),
    }
}

pub(super) fn unprivileged(_: &Path) -> Answer {
    match read("/proc/sys/kernel/unprivileged_bpf_disabled").as_deref() {
        Some("0") => Answer::warning(
            "anybody may load some programs, by which processors have been made to leak memory",
            "forbid it: `sysctl kernel.unprivileged_bpf_disabled=2`",
        ),
        Some("1") => Answer::ok("forbidden until the next boot"),
        Some(_) => Answer::ok("forbidden"),
        None => Answer::ok("not told by this kernel"),
    }
}

pub(super) fn lockdown(_: &Path) -> Answer {
    let Some(mode) = lockdown_mode() else { return unknown_security("whether the kernel is locked down") };
    let remedy = "boot without `lockdown=`, or without Secure Boot, where such programs must run";
    match mode.as_str() {
        "none" => Answer::ok("none"),
        "confidentiality" => {
            Answer::warning("confidentiality: programs that read the kernel's memory are refused, even to root", remedy)
        }
        _ => Answer::warning(format!("{mode}: some kernels refuse trampolines (fentry, lsm, freplace), even to root"), remedy),
    }
}

/// `none`, or what the kernel keeps from root; nothing where it does not tell.
fn lockdown_mode() -> Option<String> {
    let modes = read("/sys/kernel/security/lockdown")?;
    Some(modes.split(['[', ']']).nth(1).unwrap_or(&modes).to_owned())
}

pub(super) fn security_modules(_: &Path) -> Answer {
    let Some(modules) = read("/sys/kernel/security/lsm") else { return unknown_security("which security modules there are") };
    match modules.split(',').any(|module| module == "bpf") {
        true => Answer::ok(modules),
        false => Answer::warning(
            format!("no `bpf` in `{modules}`: LSM programs can be attached and never run"),
            format!("boot with `lsm={modules},bpf`"),
        ),
    }
}

fn unknown_security(what: &str) -> Answer {
    let remedy = "mount securityfs to see: `mount -t securityfs securityfs /sys/kernel/security`";
    Answer::warning(format!("cannot tell {what}"), remedy)
}

pub(super) fn bpffs(place: &Path) -> Answer {
    let shown = place.display();
    if file_system(place) != Some(BPF_FS) {
        return Answer::warning(
            format!("no bpffs on {shown}: nothing can be deployed"),
            format!("mount it: `mount -t bpf bpf {shown}`"),
        );
    }
    let owner = fs::metadata(place)
        .map_or_else(|_| String::new(), |facts| format!("user {}, mode {:o}", facts.uid(), facts.mode() & 0o7777));
    match may_write(place) {
        true => Answer::ok(format!("mounted on {shown} ({owner}); this user may write")),
        false => Answer::warning(
            format!("mounted on {shown} ({owner}); this user may not write"),
            format!(
                "have one mounted for this user: `mount -t bpf -o uid={},mode=0700 bpf DIR`, and name it with `--bpffs DIR`",
                user()
            ),
        ),
    }
}

fn user() -> u32 {
    // SAFETY: no pointers.
    unsafe { libc::geteuid() }
}

fn may_write(place: &Path) -> bool {
    let Ok(path) = CString::new(place.as_os_str().as_bytes()) else { return false };
    // SAFETY: the path ends with a zero byte and lives until the call returns.
    unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::W_OK | libc::X_OK, libc::AT_EACCESS) == 0 }
}

fn file_system(place: &Path) -> Option<i64> {
    let path = CString::new(place.as_os_str().as_bytes()).ok()?;
    let mut found = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the path ends with a zero byte, and the buffer has room for one structure, which may be all zero.
    unsafe { (libc::statfs(path.as_ptr(), found.as_mut_ptr()) == 0).then(|| found.assume_init().f_type) }
}

pub(super) fn cgroups(_: &Path) -> Answer {
    let mounts = read("/proc/self/mounts").unwrap_or_default();
    let found = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let place = words.next()?;
        (words.next() == Some("cgroup2")).then_some(place)
    });
    match found {
        Some(place) => Answer::ok(format!("mounted on {place}")),
        None => Answer::warning(
            "no cgroup2 is mounted: nothing can be attached to cgroups",
            "mount it: `mount -t cgroup2 cgroup2 /sys/fs/cgroup`",
        ),
    }
}

pub(super) fn memory(_: &Path) -> Answer {
    let (release, version) = release();
    match version >= UNCOUNTED {
        true => Answer::ok("maps are not counted against `ulimit -l`"),
        false => Answer::ok(format!("Linux {release} counts maps against `ulimit -l`; it is lifted when something is deployed")),
    }
}

pub(super) fn privileges(_: &Path) -> Answer {
    let missing = missing_capabilities();
    let remedy = format!(
        "deploy as root (`sudo ouro deploy ...`), or grant them: `sudo setcap {}+ep $(command -v ouro)`; building needs no privileges",
        missing.join(",").to_lowercase()
    );
    match missing.as_slice() {
        [] => Answer::ok("programs can be loaded and attached"),
        ["CAP_PERFMON"] => {
            Answer::warning("no CAP_PERFMON: programs that follow the kernel (probes, tracepoints) cannot be deployed", remedy)
        }
        _ => Answer::warning(format!("no {}: nothing can be deployed", missing.join(", ")), remedy),
    }
}

fn missing_capabilities() -> Vec<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or_default();
    let has = |bit: u32| set & (1 << bit) != 0;
    let held = |bit: u32| has(bit) || (bit > SYS_ADMIN && has(SYS_ADMIN));
    CAPABILITIES.iter().filter(|(bit, _)| !held(*bit)).map(|(_, name)| *name).collect()
}

/// Whether programs of a kind can be loaded here: yes, no, or nobody is told.
pub(super) fn feature(feature: &Feature, has: Has) -> Answer {
    match has {
        Has::Yes => Answer::ok("yes"),
        Has::No => Answer::no("not in this kernel", better_kernel(feature.since, feature.option, &release())),
        Has::Refused if !missing_capabilities().is_empty() => Answer::refused("this user may not ask", AS_ROOT),
        Has::Refused => {
            Answer::refused("not permitted, even with all capabilities", policy(feature.trampoline, lockdown_mode().as_deref()))
        }
    }
}

/// What a kernel that lacks a feature should be instead of this one.
fn better_kernel(since: &str, option: &str, (release, running): &(String, (u32, u32))) -> String {
    match *running >= version(since) {
        true => format!("use a kernel that is built with `{option}`; Linux {release} is new enough"),
        false => format!("use Linux {since} or newer, with `{option}`"),
    }
}

/// Who may forbid what all capabilities do not permit, by what is known of the lockdown.
fn policy(is_trampoline: bool, lockdown: Option<&str>) -> String {
    let instead = "until then use `tp_btf`, `raw_tp` or `tracepoint`";
    match (is_trampoline, lockdown) {
        (_, Some("none")) => "look for a policy: there is no lockdown, but perhaps a security module".to_owned(),
        (true, Some(_)) => {
            format!("a kernel in lockdown refuses what changes its code: boot without `lockdown=`; {instead}")
        }
        (true, None) => {
            format!("perhaps a lockdown, which this kernel does not tell of and which refuses what changes its code; {instead}")
        }
        (false, _) => "look for a policy: lockdown, or a security module".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux 6.18 was told to be replaced by 6.7 or newer.
    #[test]
    fn a_kernel_that_is_new_enough_lacks_an_option() {
        let running = |release: &str| (release.to_owned(), version(release));
        let said = |release| better_kernel("6.7", "CONFIG_NETKIT", &running(release));
        assert_eq!(said("6.1.0-13-amd64"), "use Linux 6.7 or newer, with `CONFIG_NETKIT`");
        assert_eq!(said("6.18.4"), "use a kernel that is built with `CONFIG_NETKIT`; Linux 6.18.4 is new enough");
    }

    #[test]
    fn a_lockdown_is_told_only_where_it_is_known() {
        assert!(policy(true, Some("integrity")).starts_with("a kernel in lockdown"));
        assert!(policy(true, None).starts_with("perhaps"));
        assert!(!policy(true, Some("none")).contains("boot without"));
    }
}
