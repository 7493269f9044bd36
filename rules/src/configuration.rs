//! Configurations: what a build is for. Plain data.
//!
//! Knows nothing of where they are written down, and not which flags there are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ouro_cache::Hasher;
use serde::{Deserialize, Serialize};

use crate::diagnostic::{Span, did_you_mean};
use crate::label::Label;
use crate::platform::Platform;

/// What a build is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// The folder of its outputs below that of all outputs, and its name for people: `x86`, `arm64-dbg`, `x86-small`. No two
    /// configurations of a workspace have the same.
    pub folder: String,
    /// The machine.
    pub platform: &'static Platform,
    /// What compilers are asked for.
    pub mode: Mode,
    /// The oldest kernel that must run it, when that is known.
    pub min_kernel: Option<KernelVersion>,
    /// The flags that were set; the others have their defaults.
    pub flags: BTreeMap<Label, Given>,
    /// The `bpf_toolchain` that compiles; the machine's own when none is named.
    pub toolchain: Option<Label>,
    /// More arguments for every compile.
    pub copts: Vec<String>,
    /// `NAME` or `NAME=value` for every compile.
    pub defines: Vec<String>,
}

/// What a flag was set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// As written.
    pub value: Arc<str>,
    /// Where; none when it was said on the command line.
    pub span: Option<Span>,
}

/// What compilers are asked for. BPF is always optimised: the verifier does not take anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// As it will run; the default.
    #[default]
    Opt,
    /// With `DEBUG` and `OURO_DEBUG=1` defined.
    Dbg,
}

/// A kernel by its first two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct KernelVersion {
    /// `5` of `5.15`.
    pub major: u32,
    /// `15` of `5.15`.
    pub minor: u32,
}

/// A text that is no kernel version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kernel version")]
pub struct BadKernelVersion(pub String);

/// What to write instead of a [`BadKernelVersion`].
pub const KERNEL_FORM: &str = "write its first two numbers: `5.15`";

impl Configuration {
    /// The plain one of a platform.
    pub fn plain(platform: &'static Platform) -> Configuration {
        Configuration {
            folder: platform.name.to_owned(),
            platform,
            mode: Mode::default(),
            min_kernel: None,
            flags: BTreeMap::new(),
            toolchain: None,
            copts: Vec::new(),
            defines: Vec::new(),
        }
    }

    /// What it adds to the command line of every compile; nothing for a plain one.
    pub fn compile_args(&self) -> Vec<String> {
        let debug: &[&str] = match self.mode {
            Mode::Opt => &[],
            Mode::Dbg => &["-DDEBUG", "-DOURO_DEBUG=1"],
        };
        let defines = self.defines.iter().map(|define| format!("-D{define}"));
        debug.iter().map(|arg| (*arg).to_owned()).chain(defines).chain(self.copts.iter().cloned()).collect()
    }

    /// Names it. `named` is the name it has in the settings, `changed` whether more was said than the settings say under that
    /// name, `compiler` whether another toolchain was chosen. A name begins with a letter and has no `-`, and what stands for the
    /// rest begins with a digit, so none is taken for another; only toolchains stand behind a `+`.
    pub fn name(&mut self, named: Option<&str>, changed: bool, compiler: bool) {
        let mode = (self.mode == Mode::Dbg).then_some("dbg".to_owned());
        let rest = changed.then(|| self.digest());
        let parts = [Some(self.platform.name.to_owned()), mode, named.map(str::to_owned), rest];
        self.folder = parts.into_iter().flatten().collect::<Vec<_>>().join("-");
        if compiler {
            self.folder += "+";
            self.folder += &self.toolchain.as_ref().map_or_else(|| "host".to_owned(), toolchain_name);
        }
    }

    /// Stands for what a name says nothing of.
    fn digest(&self) -> String {
        let mut hasher = Hasher::new("ouro configuration v1");
        hasher.field(self.min_kernel.map(String::from).unwrap_or_default().as_bytes());
        for (label, given) in &self.flags {
            hasher.field(label.to_string().as_bytes());
            hasher.field(given.value.as_bytes());
        }
        format!("0{}", &hasher.finish().to_string()[..11])
    }
}

/// `tools.clang17` for `//tools:clang17`: what is behind the last dot is the target, so no two labels have the same. One that has
/// dots of its own is told by a digest.
fn toolchain_name(label: &Label) -> String {
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match (label.package.split('/').all(plain), plain(&label.name), label.package.is_empty()) {
        (true, true, true) => label.name.to_string(),
        (true, true, false) => format!("{}.{}", label.package.replace('/', "."), label.name),
        _ => format!("0.{}", &ouro_cache::Digest::of(label.to_string().as_bytes()).to_string()[..11]),
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "platform `{}`, mode `{}`", self.platform.name, self.mode)?;
        match self.min_kernel {
            Some(version) => write!(f, ", kernel {version} or newer")?,
            None => write!(f, ", any kernel")?,
        }
        self.flags.iter().try_for_each(|(label, given)| write!(f, ", `{label}={}`", given.value))
    }
}

impl Mode {
    /// Every mode by its name.
    pub const ALL: &[(&str, Mode)] = &[("dbg", Mode::Dbg), ("opt", Mode::Opt)];

    /// The mode of this name.
    pub fn find(name: &str) -> Option<Mode> {
        Mode::ALL.iter().find(|(known, _)| *known == name).map(|(_, mode)| *mode)
    }

    /// What to say of a name that is none.
    pub fn remedy(name: &str) -> String {
        let near = did_you_mean(name, Mode::ALL.iter().map(|(known, _)| *known));
        near.unwrap_or_else(|| "use `dbg` or `opt`".to_owned())
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Opt => "opt",
            Mode::Dbg => "dbg",
        })
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl From<KernelVersion> for String {
    fn from(version: KernelVersion) -> String {
        version.to_string()
    }
}

impl TryFrom<String> for KernelVersion {
    type Error = BadKernelVersion;
    fn try_from(text: String) -> Result<KernelVersion, BadKernelVersion> {
        text.parse()
    }
}

impl std::str::FromStr for KernelVersion {
    type Err = BadKernelVersion;
    fn from_str(text: &str) -> Result<KernelVersion, BadKernelVersion> {
        let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let numbers: Option<Vec<u32>> = text.split('.').map(number).collect();
        match numbers.as_deref() {
            Some([major, minor] | [major, minor, _]) => Ok(KernelVersion { major: *major, minor: *minor }),
            _ => Err(BadKernelVersion(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform;

    fn kernel(text: &str) -> Option<(u32, u32)> {
        text.parse().ok().map(|KernelVersion { major, minor }| (major, minor))
    }

    #[test]
    fn kernel_versions_are_numbers_and_ordered_as_such() {
        assert_eq!((kernel("5.15"), kernel("6.1.0"), kernel("6.18")), (Some((5, 15)), Some((6, 1)), Some((6, 18))));
        for bad in ["", "5", "5.", "5.x", "+5.1", "5.15.1.2", "99999999999.1"] {
            assert_eq!(kernel(bad), None, "{bad}");
        }
        assert!("5.9".parse::<KernelVersion>().unwrap() < "5.15".parse().unwrap());
    }

    #[test]
    fn different_configurations_have_different_folders() {
        let plain = Configuration::plain(platform::find("aarch64").unwrap());
        let folder = |mode: Mode, named: Option<&str>, flag: Option<&str>| {
            let flags = flag.map(|value| (Label::new("fw", "trace"), Given { value: value.into(), span: None }));
            let mut made = Configuration { mode, flags: flags.into_iter().collect(), ..plain.clone() };
            made.name(named, flag.is_some(), false);
            made.folder
        };
        assert_eq!(folder(Mode::Opt, None, None), "arm64");
        assert_eq!(folder(Mode::Dbg, None, None), "arm64-dbg");
        assert_eq!(folder(Mode::Dbg, Some("small"), None), "arm64-dbg-small");
        let (on, off) = (folder(Mode::Opt, None, Some("on")), folder(Mode::Opt, None, Some("off")));
        assert!(on.starts_with("arm64-0") && off.starts_with("arm64-0") && on != off, "{on} {off}");
        assert_eq!(folder(Mode::Opt, Some("small"), Some("on")), format!("arm64-small{}", &on["arm64".len()..]));
        let with = |label: &str| {
            let mut made = Configuration { toolchain: Label::parse(label, "", "").ok(), ..plain.clone() };
            made.name(None, false, true);
            made.folder
        };
        assert_eq!((with("//:a"), with("//a/b:c")), ("arm64+a".to_owned(), "arm64+a.b.c".to_owned()));
        assert!(with("//a:b.c").starts_with("arm64+0.") && with("//a.b:c").starts_with("arm64+0."));
        assert_ne!(with("//a:b.c"), with("//a.b:c"));
    }
}
