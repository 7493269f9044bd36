//! How the running kernel was configured, for externs in `__kconfig`.
//!
//! Knows names and texts, not how objects want them written.

use std::collections::BTreeMap;
use std::fs;
use std::sync::OnceLock;

use super::inflate::gunzip;
use crate::object::Reason;

/// The kernel's settings, read when first asked for.
#[derive(Default)]
pub(super) struct Settings {
    configured: OnceLock<Option<BTreeMap<String, String>>>,
}

impl Settings {
    /// A setting as the kernel's configuration writes it; none if it is not set, or nobody says.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let version = kernel_version();
        let flag = |holds: bool| Some(if holds { "y" } else { "n" }.to_owned());
        match name {
            "LINUX_KERNEL_VERSION" => Some(version.to_string()),
            "LINUX_HAS_BPF_COOKIE" => flag(version >= code(5, 15, 0)),
            "LINUX_HAS_SYSCALL_WRAPPER" => {
                let wraps = cfg!(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "s390x"));
                flag(wraps && version >= code(4, 19, 0))
            }
            _ => self.configured().and_then(|configured| configured.get(name).cloned()),
        }
    }
}

impl Settings {
    /// What a setting is as C sees it; one that may be missing is `n` only if the kernel tells of the others.
    pub(super) fn value(&self, name: &str, is_weak: bool) -> Result<Option<String>, Reason> {
        match self.get(name) {
            Some(text) => Ok(Some(text)),
            None if self.configured().is_none() => Err(format!(
                "nothing tells how the kernel was made, which `{name}` asks for: neither `/boot/config-{}` nor `/proc/config.gz` can be read",
                release()
            )),
            None if is_weak => Ok(None),
            None => Err(format!("the kernel's configuration has no `{name}`")),
        }
    }

    fn configured(&self) -> Option<&BTreeMap<String, String>> {
        self.configured.get_or_init(read).as_ref()
    }
}

/// `KERNEL_VERSION(major, minor, patch)`; a patch beyond 255 is taken for that.
fn code(major: u32, minor: u32, patch: u32) -> u32 {
    (major << 16) + (minor << 8) + patch.min(255)
}

/// The version of the running kernel.
fn kernel_version() -> u32 {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    version(&release(), &read("/proc/sys/kernel/version"), &read("/proc/version_signature"))
}

/// Distributions keep a release's name while they go from one version to the next: Debian writes `6.1.0-13-amd64` and, in what
/// `uname -v` says, `Debian 6.1.55-1`; Ubuntu `5.15.0-91-generic` and the signature `Ubuntu 5.15.0-91.101-generic 5.15.131`.
fn version(release: &str, build: &str, signature: &str) -> u32 {
    let debian = || build.split_once("Debian ").map(|(_, version)| version);
    let ubuntu = signature.split_whitespace().nth(2);
    let text = ubuntu.or_else(debian).unwrap_or(release);
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    code(next(), next(), next())
}

fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// Distributions keep the configuration beside the kernel; others have the kernel itself keep it.
fn read() -> Option<BTreeMap<String, String>> {
    let beside = fs::read(format!("/boot/config-{}", release())).ok();
    let text = beside.or_else(|| gunzip(&fs::read("/proc/config.gz").ok()?))?;
    let lines = String::from_utf8_lossy(&text);
    Some(lines.lines().filter(|line| line.starts_with("CONFIG_")).filter_map(|line| line.split_once('=')).map(own).collect())
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_may_stand_for_many_versions() {
        let debian = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.55-1 (2023-09-29)\n";
        assert_eq!(version("6.1.0-13-amd64", debian, ""), code(6, 1, 55));
        let ubuntu = "Ubuntu 5.15.0-91.101-generic 5.15.131\n";
        assert_eq!(version("5.15.0-91-generic", "#101-Ubuntu SMP Tue Nov 14\n", ubuntu), code(5, 15, 131));
        assert_eq!(version("6.18.44-fc", "#1 SMP PREEMPT_DYNAMIC @0\n", ""), code(6, 18, 44));
        assert_eq!((version("6.12.57+deb13-amd64", "", ""), version("", "", "")), (code(6, 12, 57), 0));
    }

    /// Nobody's word was taken for a no: a program went the wrong way without one.
    #[test]
    fn a_kernel_that_tells_nothing_does_not_say_no() {
        let settings = |told| Settings { configured: OnceLock::from(told) };
        let silent = settings(None);
        assert!(silent.value("CONFIG_X", true).unwrap_err().contains("nothing tells how the kernel was made"));
        assert!(silent.value("LINUX_KERNEL_VERSION", false).unwrap().is_some());
        let told = settings(Some(BTreeMap::from([own(("CONFIG_Y", "m"))])));
        assert_eq!((told.value("CONFIG_X", true), told.value("CONFIG_Y", false)), (Ok(None), Ok(Some("m".to_owned()))));
        assert!(told.value("CONFIG_X", false).unwrap_err().contains("has no `CONFIG_X`"));
    }

    #[test]
    fn the_kernel_says_how_it_was_made() {
        let settings = Settings::default();
        let version: u32 = settings.get("LINUX_KERNEL_VERSION").unwrap().parse().unwrap();
        assert!(version > code(4, 0, 0) && version < code(100, 0, 0));
        let says = fs::exists("/proc/config.gz").unwrap() || fs::exists(format!("/boot/config-{}", release())).unwrap();
        // Every kernel these tests run on has BPF.
        assert_eq!(settings.get("CONFIG_BPF_SYSCALL").as_deref(), says.then_some("y"));
        assert_eq!(settings.get("CONFIG_NO_SUCH_THING"), None);
    }
}
