//! `ouro systemd`

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ouro_deploy::needed_capabilities;
use ouro_rules::manifest::Manifest;

use crate::cli::Systemd;
use crate::commands::bundle;
use crate::commands::deploy::{bundle_of, bytes, trusted};
use crate::error::{CliError, Kind, io};
use crate::files;
use crate::session::{self, Session};
use crate::trust::Trust;

/// Writes a chain's bundle and, beside it, the unit that deploys it at every boot.
pub fn run(session: &Session, args: &Systemd) -> Result<(), CliError> {
    let (built, name) = bytes(session, &args.what)?;
    let signed = trusted(session, &args.what, built, &name)?;
    let manifest = bundle_of(&args.what, &signed, &name)?.manifest;
    let trust = Trust::configured(session, &args.what.trust, args.what.bundle.is_none())?;
    let program = session::program().ok_or_else(|| CliError::new(Kind::Failed, "cannot tell where ouro itself is"))?;
    let (folder, bpffs) = (absolute(&args.output)?, absolute(&args.bpffs)?);
    std::fs::create_dir_all(&folder).map_err(io(format!("cannot create the folder `{}`", folder.display())))?;
    let place = folder.join(format!("{}.bundle", manifest.name));
    let unit = Unit { manifest: &manifest, trust: &trust, program: &program, bundle: &place, bpffs: &bpffs, args };
    let service = folder.join(format!("ouro-{}.service", escaped(&manifest.name, "-")));
    let mut files = vec![(service.clone(), unit.text()?)];
    files.extend(mount(&bpffs)?.map(|(name, text)| (folder.join(name), text)));
    bundle::write(session, &place, &signed)?;
    for (file, text) in &files {
        files::replace(file, text.as_bytes())?;
        session.output.status(&format!("wrote {}\n", file.display()));
    }
    let others = files[1..].iter().map(|(file, _)| format!("systemctl link '{}'\n", file.display())).collect::<String>();
    session.fact(&format!("{others}systemctl enable --now {}\n", service.display()))
}

/// The unit that mounts a bpffs elsewhere than where systemd itself mounts one, and its name.
fn mount(bpffs: &Path) -> Result<Option<(String, String)>, CliError> {
    if bpffs == Path::new(ouro_deploy::BPFFS) {
        return Ok(None);
    }
    let name = path_text(bpffs)?.trim_matches('/').split('/').map(|part| escaped(part, "")).collect::<Vec<_>>().join("-");
    let place = specifiers(path_text(bpffs)?);
    let text = format!(
        "# Written by `ouro systemd`.\n[Unit]\nDescription=BPF file system of ouro\n\n\
         [Mount]\nWhat=bpf\nWhere={place}\nType=bpf\nOptions=mode=0700,nosuid,nodev,noexec\n"
    );
    Ok(Some((format!("{name}.mount"), text)))
}

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(io(format!("cannot tell where `{}` is", path.display())))
}

/// What a unit is made of.
struct Unit<'a> {
    manifest: &'a Manifest,
    trust: &'a Trust,
    program: &'a Path,
    bundle: &'a Path,
    bpffs: &'a Path,
    args: &'a Systemd,
}

impl Unit<'_> {
    fn text(&self) -> Result<String, CliError> {
        let Manifest { name, chain, .. } = self.manifest;
        let mut text = format!(
            "# Written by `ouro systemd`.\n[Unit]\nDescription=BPF chain {} as {}\n",
            specifiers(chain),
            specifiers(name)
        );
        self.order(&mut text)?;
        text += "\n[Service]\nType=oneshot\nRemainAfterExit=yes\n";
        let program = word(self.program)?;
        writeln!(text, "ExecStart={program} {}", self.deploy()?).expect("BUG: a string takes all text");
        if self.args.undeploy_on_stop {
            let bpffs = word(self.bpffs)?;
            writeln!(text, "ExecStop={program} undeploy --if-exists --bpffs {bpffs} {}", quoted(name))
                .expect("BUG: a string takes all text");
        }
        text +=
            "# A device may come late; what is live stays live while it is tried again.\nRestart=on-failure\nRestartSec=5s\n\n";
        self.harden(&mut text)?;
        text += "\n[Install]\nWantedBy=multi-user.target\n";
        Ok(text)
    }

    /// Behind the devices it attaches to, and the file systems it uses.
    fn order(&self, text: &mut String) -> Result<(), CliError> {
        // Which devices a pattern or a label means is not known before the boot.
        let is_name = |name: &&str| !name.contains(['*', '?', '[', ':']);
        let devices: BTreeSet<&str> = self.manifest.attach.iter().filter_map(|point| point.interface()).filter(is_name).collect();
        // The devices of another namespace have no units.
        for name in devices.iter().filter(|_| self.args.netns.is_none()) {
            let unit = format!("sys-subsystem-net-devices-{}.device", escaped(name, ""));
            *text += &format!("Wants={}\nAfter={}\n", specifiers(&unit), specifiers(&unit));
        }
        let folder = self.bundle.parent().unwrap_or(Path::new("/"));
        *text += &format!("RequiresMountsFor={} {}\n", word(self.bpffs)?, word(folder)?);
        Ok(())
    }

    fn deploy(&self) -> Result<String, CliError> {
        let mut line = format!("deploy --bundle {} --bpffs {}", word(self.bundle)?, word(self.bpffs)?);
        for interface in &self.args.what.interface {
            line += &format!(" --interface {}", quoted(interface));
        }
        for value in &self.args.what.set {
            line += &format!(" --set {}", quoted(value));
        }
        // Trying packets takes a mount, which the unit may not make.
        if !self.manifest.tests.is_empty() {
            line += " --no-tests";
        }
        // At boot there is no workspace that names them, and no file beside it.
        for key in &self.trust.named {
            line += &format!(" --trusted-key {}", quoted(&key.to_string()));
        }
        Ok(if self.args.what.trust.allow_unsigned { line + " --allow-unsigned" } else { line })
    }

    /// The capabilities that deploying takes, one folder to write to, and nothing else.
    fn harden(&self, text: &mut String) -> Result<(), CliError> {
        let capabilities = needed_capabilities(self.manifest).join(" ");
        *text += &format!(
            "CapabilityBoundingSet={capabilities}\nAmbientCapabilities={capabilities}\nReadWritePaths={}\n",
            word(self.bpffs)?
        );
        if let Some(netns) = &self.args.netns {
            let path = if netns.contains('/') { PathBuf::from(netns) } else { Path::new("/run/netns").join(netns) };
            *text += &format!("NetworkNamespacePath={}\n", specifiers(path_text(&path)?));
        }
        *text += HARDENING;
        Ok(())
    }
}

/// What needs no name. Kernels before 5.11 count maps against the limit of locked memory, which takes more than these
/// capabilities to lift.
const HARDENING: &str = "\
LimitMEMLOCK=infinity
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
PrivateDevices=yes
RestrictAddressFamilies=AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service bpf capset membarrier perf_event_open
SystemCallFilter=~@chown @obsolete
SystemCallErrorNumber=EPERM
UMask=0077
";

fn path_text(path: &Path) -> Result<&str, CliError> {
    let text = path.to_str().filter(|text| !text.contains(char::is_control));
    text.ok_or_else(|| {
        CliError::new(Kind::Usage, format!("`{}` cannot stand in a unit", path.display())).help("choose a plain path")
    })
}

fn word(path: &Path) -> Result<String, CliError> {
    path_text(path).map(quoted)
}

/// As one word of a command line of systemd's, which knows quotes, `$` and `%`.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@".contains(c);
    let text = specifiers(text).replace('$', "$$");
    if text.chars().all(|c| plain(c) || c == '%') {
        text
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// Nothing in a bundle can begin another line of the unit.
fn specifiers(text: &str) -> String {
    text.replace('%', "%%").replace(char::is_control, "")
}

/// As a part of a unit's name; `also` are characters that need no disguise, besides those that never do.
fn escaped(text: &str, also: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":_.".contains(&byte) || also.as_bytes().contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("\\x{byte:02x}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_disguised_as_systemd_does() {
        assert_eq!(escaped("veth-a@1", ""), "veth\\x2da\\x401");
        assert_eq!(escaped("core-main", "-"), "core-main");
        assert_eq!(escaped("é", "-"), "\\xc3\\xa9");
    }

    #[test]
    fn a_bpffs_of_ones_own_is_mounted_by_a_unit_with_its_name() {
        assert_eq!(mount(Path::new("/sys/fs/bpf")).unwrap(), None);
        let (name, text) = mount(Path::new("/run/my-bpf")).unwrap().unwrap();
        assert_eq!(name, "run-my\\x2dbpf.mount");
        assert!(text.contains("\nWhere=/run/my-bpf\nType=bpf\n"), "{text}");
    }

    #[test]
    fn words_of_command_lines_are_quoted_where_needed() {
        assert_eq!(quoted("/usr/bin/ouro"), "/usr/bin/ouro");
        assert_eq!(quoted("ssh-ed25519 AAAA"), "\"ssh-ed25519 AAAA\"");
        assert_eq!(quoted("/a$b%c"), "\"/a$$b%%c\"");
        assert_eq!(quoted("/a\"b\\c"), "\"/a\\\"b\\\\c\"");
        assert_eq!(specifiers("//:x\nExecStart=/bin/sh"), "//:xExecStart=/bin/sh");
    }
}
