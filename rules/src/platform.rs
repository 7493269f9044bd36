//! The machines programs are built for; the table to extend first for another one.
//!
//! Knows nothing of what any machine has installed.

use crate::diagnostic::did_you_mean;

/// A kind of machine.
#[derive(Debug, PartialEq, Eq)]
pub struct Platform {
    /// Its name in output folders. No two are the same.
    pub name: &'static str,
    /// What libbpf's `bpf_tracing.h` calls its CPU: the end of `__TARGET_ARCH_*`.
    pub arch: &'static str,
    /// Whether its programs are big-endian.
    pub big_endian: bool,
    /// Debian's name of it, below which the system keeps `asm/types.h`.
    pub triple: &'static str,
    /// What others call it.
    pub aliases: &'static [&'static str],
}

/// Every platform; each `__TARGET_ARCH_*` of libbpf has one at least.
pub const PLATFORMS: &[Platform] = &[
    platform("x86", "x86", false, "x86_64-linux-gnu", &["x86_64", "amd64", "x64"]),
    platform("i386", "x86", false, "i386-linux-gnu", &["i686"]),
    platform("arm64", "arm64", false, "aarch64-linux-gnu", &["aarch64"]),
    platform("arm", "arm", false, "arm-linux-gnueabihf", &["armhf", "armv7", "armv7l"]),
    platform("riscv", "riscv", false, "riscv64-linux-gnu", &["riscv64"]),
    platform("loongarch", "loongarch", false, "loongarch64-linux-gnu", &["loongarch64", "loong64"]),
    platform("powerpc", "powerpc", false, "powerpc64le-linux-gnu", &["ppc64le", "powerpc64le", "ppc64el"]),
    platform("ppc64", "powerpc", true, "powerpc64-linux-gnu", &["powerpc64"]),
    platform("s390", "s390", true, "s390x-linux-gnu", &["s390x"]),
    platform("sparc", "sparc", true, "sparc64-linux-gnu", &["sparc64"]),
    platform("mips", "mips", true, "mips64-linux-gnuabi64", &["mips64"]),
    platform("mipsel", "mips", false, "mips64el-linux-gnuabi64", &["mips64el"]),
    platform("arc", "arc", false, "arc-linux-gnu", &[]),
];

const fn platform(
    name: &'static str,
    arch: &'static str,
    big_endian: bool,
    triple: &'static str,
    aliases: &'static [&'static str],
) -> Platform {
    Platform { name, arch, big_endian, triple, aliases }
}

impl Platform {
    /// The CPU's name for clang's `-target`. Without an ending it is that of the machine clang runs on, so little-endian
    /// objects are the same as ever, on every machine but a big-endian one.
    pub fn target(&self) -> &'static str {
        match (self.big_endian, cfg!(target_endian = "big")) {
            (true, _) => "bpfeb",
            (false, true) => "bpfel",
            (false, false) => "bpf",
        }
    }
}

/// The platform of this name, in any of its spellings.
pub fn find(name: &str) -> Option<&'static Platform> {
    PLATFORMS.iter().find(|platform| platform.name == name || platform.aliases.contains(&name))
}

/// What to say of a name that is none.
pub fn remedy(name: &str) -> String {
    let names = || PLATFORMS.iter().flat_map(|platform| platform.aliases.iter().chain([&platform.name])).copied();
    let also = |platform: &Platform| platform.aliases.first().map(|alias| format!(" (`{alias}`)")).unwrap_or_default();
    let one = |platform: &Platform| format!("`{}`{}", platform.name, also(platform));
    let list = || PLATFORMS.iter().map(one).collect::<Vec<_>>().join(", ");
    did_you_mean(name, names()).unwrap_or_else(|| format!("use one of {}", list()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_spelling_means_two_platforms() {
        let spellings: Vec<&str> =
            PLATFORMS.iter().flat_map(|platform| platform.aliases.iter().chain([&platform.name])).copied().collect();
        assert_eq!(spellings.iter().collect::<BTreeSet<_>>().len(), spellings.len());
        assert_eq!((find("amd64").unwrap().name, find("aarch64").unwrap().arch), ("x86", "arm64"));
        assert!(find("s390x").unwrap().big_endian && !find("ppc64le").unwrap().big_endian);
        assert_eq!(find("vax"), None);
    }

    /// The names `bpf_tracing.h` knows.
    #[test]
    fn every_arch_of_libbpf_has_a_platform() {
        for arch in ["x86", "s390", "arm", "arm64", "mips", "powerpc", "sparc", "riscv", "arc", "loongarch"] {
            assert!(PLATFORMS.iter().any(|platform| platform.arch == arch), "{arch}");
        }
    }

    #[test]
    fn near_names_are_offered() {
        assert_eq!(remedy("aarch46"), "did you mean `aarch64`?");
        assert!(remedy("vax").starts_with("use one of `x86`"));
    }
}
