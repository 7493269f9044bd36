//! How this machine gets its packages.
//!
//! Knows names of packages, and not which are missing.

/// A family of distributions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// Debian, Ubuntu and theirs.
    Debian,
    /// Fedora, RHEL and theirs.
    Fedora,
    /// Arch and theirs.
    Arch,
    /// Alpine.
    Alpine,
    /// openSUSE and SLES.
    Suse,
    /// NixOS.
    Nix,
    /// One that is not in the table.
    Other,
}

/// What may be missing.
#[derive(Debug, Clone, Copy)]
pub enum Package {
    /// The compiler.
    Clang,
    /// Its linker and tools.
    Llvm,
    /// libbpf's headers.
    Libbpf,
    /// The kernel's headers for programs.
    KernelHeaders,
}

impl Distribution {
    /// As `/etc/os-release` says.
    pub fn of(os_release: &str) -> Distribution {
        let value = |key: &str| os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let words = [value("ID"), value("ID_LIKE")].into_iter().flatten().flat_map(|text| text.trim_matches('"').split(' '));
        words.into_iter().find_map(Distribution::named).unwrap_or(Distribution::Other)
    }

    fn named(name: &str) -> Option<Distribution> {
        match name {
            "debian" | "ubuntu" => Some(Distribution::Debian),
            "fedora" | "rhel" | "centos" => Some(Distribution::Fedora),
            "arch" => Some(Distribution::Arch),
            "alpine" => Some(Distribution::Alpine),
            "suse" | "opensuse" | "opensuse-tumbleweed" | "opensuse-leap" | "sles" => Some(Distribution::Suse),
            "nixos" => Some(Distribution::Nix),
            _ => None,
        }
    }

    /// How to get a package; `version` is a suffix such as `-19`, for who has packages of several versions.
    pub fn install(self, package: Package, version: &str) -> String {
        let (debian, fedora, arch, alpine, suse, nix) = match package {
            Package::Clang => ("clang", "clang", "clang", "clang", "clang", "clang"),
            Package::Llvm => ("llvm", "llvm", "llvm", "llvm", "llvm", "llvm"),
            Package::Libbpf => ("libbpf-dev", "libbpf-devel", "libbpf", "libbpf-dev", "libbpf-devel", "libbpf"),
            Package::KernelHeaders => {
                ("linux-libc-dev", "kernel-headers", "linux-api-headers", "linux-headers", "linux-glibc-devel", "linuxHeaders")
            }
        };
        let versioned = matches!(package, Package::Clang | Package::Llvm);
        let version = if versioned { version } else { "" };
        match self {
            Distribution::Debian => format!("install it: `apt-get install {debian}{version}`"),
            Distribution::Fedora => format!("install it: `dnf install {fedora}`"),
            Distribution::Arch => format!("install it: `pacman -S {arch}`"),
            Distribution::Alpine => format!("install it: `apk add {alpine}`"),
            Distribution::Suse => format!("install it: `zypper install {suse}`"),
            Distribution::Nix => format!("add `{nix}` to the packages of the shell"),
            Distribution::Other => format!("install it; Debian's package is `{debian}{version}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_known_by_their_own_words() {
        for (text, expected) in [
            ("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n", Distribution::Debian),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", Distribution::Debian),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", Distribution::Fedora),
            ("ID=manjaro\nID_LIKE=arch\n", Distribution::Arch),
            ("ID=alpine\n", Distribution::Alpine),
            ("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", Distribution::Suse),
            ("ID=slackware\n", Distribution::Other),
            ("", Distribution::Other),
        ] {
            assert_eq!(Distribution::of(text), expected, "{text}");
        }
        assert_eq!(Distribution::Debian.install(Package::Llvm, "-19"), "install it: `apt-get install llvm-19`");
        assert_eq!(Distribution::Debian.install(Package::Libbpf, "-19"), "install it: `apt-get install libbpf-dev`");
        assert_eq!(Distribution::Fedora.install(Package::Libbpf, "-19"), "install it: `dnf install libbpf-devel`");
    }
}
