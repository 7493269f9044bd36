//! Keys, signed bundles, and whose bundles are deployed.

#[path = "../deploy/tests/support/mod.rs"]
#[allow(dead_code, reason = "a laboratory has more than these tests use")]
mod lab;
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use lab::{Lab, NEAR, lab, sh};
use support::{OURO, Said, Workspace, copy};

/// The example, its bundle `hello.bundle`, and the keys `our.key` and `their.key`.
fn workspace() -> Workspace {
    let workspace = Workspace::example("01-hello-xdp");
    workspace.ok(&["key", "new", "our.key"]);
    workspace.ok(&["key", "new", "their.key"]);
    workspace.ok(&["bundle", "//:hello"]).says("wrote hello.bundle");
    workspace
}

/// Runs ouro in an empty folder without any environment: what is there on a machine that only deploys.
fn alone(lab: &Lab, arguments: &[&str]) -> Said {
    let empty = tempfile::tempdir().unwrap();
    let mut command = Command::new(OURO);
    command.args(arguments).arg("--bpffs").arg(&lab.bpffs).env_clear().current_dir(empty.path());
    Said::of(command.output().unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

#[test]
fn keys_are_secret_and_never_overwritten() {
    let workspace = Workspace::new();
    let said = workspace.ok(&["key", "new", "our.key"]);
    said.says("keep it secret");
    assert_eq!(workspace.read("our.key.pub"), said.out);
    assert!(said.out.starts_with("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI") && said.out.ends_with(" our.key\n"), "{}", said.out);
    let mode = |path: &str| fs::metadata(workspace.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("our.key"), mode("our.key.pub")), (0o600, 0o644));
    assert!(said.out.starts_with(workspace.ok(&["key", "public", "our.key"]).out.trim()));
    let before = workspace.read("our.key");
    workspace.fails(1, &["key", "new", "our.key"]).says("keys are not overwritten");
    workspace.write("other.pub", "");
    workspace.fails(1, &["key", "new", "other"]).says("cannot write `other.pub`");
    assert!(!workspace.path("other").exists() && workspace.read("our.key") == before);
    assert_ne!(workspace.ok(&["key", "new", "second.key"]).out, said.out);
}

#[test]
fn bundles_are_signed_when_built_and_afterwards() {
    let workspace = workspace();
    let plain = fs::read(workspace.path("hello.bundle")).unwrap();
    workspace.ok(&["bundle", "//:hello", "--sign", "our.key", "-o", "signed.bundle"]);
    assert_ne!(fs::read(workspace.path("signed.bundle")).unwrap(), plain);
    // Elsewhere, of a file alone.
    let elsewhere = tempfile::tempdir().unwrap();
    for file in ["hello.bundle", "our.key", "our.key.pub"] {
        fs::copy(workspace.path(file), elsewhere.path().join(file)).unwrap();
    }
    let run = |arguments: &[&str]| {
        Said::of(Command::new(OURO).args(arguments).current_dir(elsewhere.path()).env_clear().output().unwrap())
    };
    assert_eq!(run(&["bundle", "--bundle", "hello.bundle", "--sign", "our.key"]).code, 0);
    let signed = fs::read(elsewhere.path().join("hello.bundle")).unwrap();
    assert_eq!(signed, fs::read(workspace.path("signed.bundle")).unwrap(), "the same key and bundle make the same bytes");
    let said = run(&["bundle", "--verify", "hello.bundle", "--trusted-key", "our.key.pub"]);
    let line = workspace.read("our.key.pub").replace(" our.key\n", "");
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out.starts_with("`//:hello` as `hello`\ndigest ") && said.out.ends_with(&format!("\nsigned by {line}\n")),
        "{}",
        said.out
    );
    let listed = sh(&format!("tar tf {}", text(&elsewhere.path().join("hello.bundle"))));
    assert!(listed.starts_with("manifest.json\n") && listed.ends_with("\nsignature\n"), "{listed}");
}

#[test]
fn who_is_not_trusted_is_told_by_verify() {
    let workspace = workspace();
    let verify = |file: &str, key: &str| workspace.ouro(&["bundle", "--verify", file, "--trusted-key", key]);
    let said = verify("hello.bundle", "our.key.pub");
    assert_eq!(said.code, 3);
    said.says("`hello.bundle` is not signed");
    workspace.ok(&["bundle", "--bundle", "hello.bundle", "--sign", "their.key"]);
    let theirs = workspace.read("their.key.pub").replace(" their.key\n", "");
    let said = verify("hello.bundle", "our.key.pub");
    assert_eq!(said.code, 3);
    said.says("is signed by no key that is trusted here").says(&theirs);
    workspace.fails(3, &["bundle", "--verify", "hello.bundle"]).says("no key is trusted here").says("--trusted-key");
    // A key may be a line, too; and one of several signatures is enough.
    workspace.ok(&["bundle", "--bundle", "hello.bundle", "--sign", "our.key"]);
    let said = verify("hello.bundle", &theirs);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains(&format!("signed by {theirs}\n")) && said.out.contains(" (not trusted)\n"), "{}", said.out);
    let mut bytes = fs::read(workspace.path("hello.bundle")).unwrap();
    let at = bytes.windows(4).rposition(|bytes| bytes == b"\x7fELF").expect("an object");
    bytes[at + 100] ^= 1;
    fs::write(workspace.path("hello.bundle"), bytes).unwrap();
    let said = verify("hello.bundle", &theirs);
    assert_eq!(said.code, 1);
    said.says("the bundle was changed after it was signed");
}

#[test]
fn what_is_no_key_is_refused_with_a_remedy() {
    let workspace = workspace();
    workspace.write("empty.key", "");
    workspace
        .fails(1, &["bundle", "--bundle", "hello.bundle", "--sign", "our.key.pub"])
        .says("no Ed25519 private key")
        .says("ouro key new");
    workspace.fails(2, &["bundle", "--bundle", "hello.bundle", "--sign", "none.key"]).says("cannot read the key `none.key`");
    let verify = |key: &str| workspace.ouro(&["bundle", "--verify", "hello.bundle", "--trusted-key", key]);
    verify("our.key").says("it is a private key; the public one is in the file beside it");
    verify("empty.key").says("`empty.key` names no key");
    let said = verify("none.key");
    assert_eq!(said.code, 2);
    said.says("cannot read the trusted keys in `none.key`");
    verify("ssh-ed25519 AAAA").says("is no public key");
    workspace.fails(2, &["bundle", "--bundle", "hello.bundle"]).says("--sign");
    workspace.write("ouro.toml", "[deploy]\ntrusted_keys = ['ssh-ed25519 AAAA']\n");
    workspace.fails(2, &["deploy", "//:hello"]).says("ouro.toml:2:17").says("is no public key");
}

#[test]
fn a_workspace_with_trusted_keys_deploys_what_they_signed() {
    lab(|lab| {
        let workspace = workspace();
        workspace.write("ouro.toml", "[deploy]\ntrusted_keys = ['our.key.pub']\n");
        let deploy = |arguments: &[&str]| {
            let arguments = [&["deploy", "--interface", NEAR, "--bpffs", text(&lab.bpffs)], arguments].concat();
            workspace.ouro(&arguments)
        };
        let refused = |arguments: &[&str], why: &str| {
            let said = deploy(arguments);
            assert_eq!(said.code, 3, "{}", said.err);
            said.says(why).says("--sign KEY").says("--allow-unsigned");
            assert!(!lab.bpffs.join("ouro").exists());
        };
        refused(&["//:hello"], "`//:hello` is not signed");
        refused(&["--bundle", "hello.bundle"], "`hello.bundle` is not signed");
        refused(&["//:hello", "--sign", "their.key"], "`//:hello` is signed by no key that is trusted here");
        let said = deploy(&["//:hello", "--sign", "our.key"]);
        assert_eq!(said.code, 0, "{}", said.err);
        // A signature is no part of a bundle's identity.
        let said = deploy(&["//:hello", "--allow-unsigned"]);
        assert_eq!(said.code, 0, "{}", said.err);
        said.says("nothing to do");
        assert_eq!(deploy(&["//:hello", "--sign", "their.key", "--trusted-key", "their.key.pub"]).code, 0);
        assert_eq!(lab.ping(3), 3);
    });
}

/// No workspace, no sources, no compiler, no environment.
#[test]
fn a_signed_bundle_deploys_on_a_machine_that_has_nothing_else() {
    lab(|lab| {
        let workspace = workspace();
        let bundle = lab.folder().join("hello.bundle");
        workspace.ok(&["bundle", "//:hello", "--sign", "our.key", "-o", text(&bundle)]);
        fs::copy(workspace.path("our.key.pub"), lab.folder().join("our.key.pub")).unwrap();
        let (bundle, key) = (text(&bundle).to_owned(), text(&lab.folder().join("our.key.pub")).to_owned());
        drop(workspace);
        let arguments = ["deploy", "--bundle", &bundle, "--interface", NEAR, "--trusted-key", &key];
        let said = alone(lab, &arguments);
        assert_eq!(said.code, 0, "{}", said.err);
        assert_eq!(lab.ping(5), 5);
        let mut bytes = fs::read(&bundle).unwrap();
        let last = bytes.len() - 1025 - 512;
        bytes[last] ^= 1;
        fs::write(&bundle, bytes).unwrap();
        assert_eq!(alone(lab, &arguments).code, 1);
        assert_eq!(alone(lab, &["undeploy", "hello"]).code, 0);
    });
}

/// `/etc/ouro/trusted_keys` of a machine holds for all who deploy there.
#[test]
fn a_machine_has_trusted_keys_of_its_own() {
    lab(|lab| {
        let workspace = workspace();
        // Nothing of this leaves the test's own mount namespace.
        sh("mount -t tmpfs etc /etc && mkdir -p /etc/ouro/trusted_keys");
        fs::copy(workspace.path("our.key.pub"), "/etc/ouro/trusted_keys/ours.pub").unwrap();
        let bundle = workspace.path("hello.bundle");
        let deploy = || alone(lab, &["deploy", "--bundle", text(&bundle), "--interface", NEAR]);
        let said = deploy();
        assert_eq!(said.code, 3, "{}", said.err);
        said.says("is not signed");
        workspace.ok(&["bundle", "--bundle", "hello.bundle", "--sign", "our.key"]);
        let said = deploy();
        assert_eq!(said.code, 0, "{}", said.err);
        fs::write("/etc/ouro/trusted_keys/ours.pub", "").unwrap();
        deploy().says("names no key");
    });
}

/// Whoever sends a bundle can send an `ouro.toml` along with it: on a machine that says whom it trusts that adds nobody.
#[test]
fn a_workspace_adds_no_keys_for_a_bundle_from_elsewhere() {
    lab(|lab| {
        let workspace = workspace();
        workspace.write("ouro.toml", "[deploy]\ntrusted_keys = ['their.key.pub']\n");
        workspace.ok(&["bundle", "--bundle", "hello.bundle", "--sign", "their.key"]);
        workspace.fails(3, &["bundle", "--verify", "hello.bundle"]).says("no key is trusted here");
        let deploy = |arguments: &[&str]| {
            let arguments = [&["deploy", "--interface", NEAR, "--bpffs", text(&lab.bpffs)], arguments].concat();
            workspace.ouro(&arguments)
        };
        // By flag, and for all who deploy on this machine; nothing of this leaves the test's own mount namespace.
        let said = deploy(&["--bundle", "hello.bundle", "--trusted-key", "our.key.pub"]);
        assert_eq!(said.code, 3, "{}", said.err);
        sh("mount -t tmpfs etc /etc && mkdir /etc/ouro");
        fs::copy(workspace.path("our.key.pub"), "/etc/ouro/trusted_keys").unwrap();
        let said = deploy(&["--bundle", "hello.bundle"]);
        assert_eq!(said.code, 3, "{}", said.err);
        said.says("is signed by no key that is trusted here").says("the keys of `ouro.toml` count for what is built there");
        assert!(!lab.bpffs.join("ouro").exists());
        // What is built here is the workspace's own.
        let said = deploy(&["//:hello", "--sign", "their.key"]);
        assert_eq!(said.code, 0, "{}", said.err);
    });
}

/// Another folder, another user, another home: the same bytes.
#[test]
fn signed_bundles_depend_on_nothing_but_what_is_in_them() {
    let workspace = workspace();
    workspace.ok(&["bundle", "//:hello", "--sign", "our.key", "-o", "signed.bundle"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let home = elsewhere.path().join("a/longer/way/to/it");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/01-hello-xdp"), &home);
    fs::copy(workspace.path("our.key"), home.join("our.key")).unwrap();
    fs::copy(OURO, elsewhere.path().join("ouro")).unwrap();
    fs::set_permissions(elsewhere.path(), fs::Permissions::from_mode(0o755)).unwrap();
    sh(&format!("chown -R 65534:65534 {}", text(elsewhere.path())));
    chown(elsewhere.path().join("ouro"), Some(0), Some(0)).unwrap();
    let mut command = Command::new(elsewhere.path().join("ouro"));
    command.args(["bundle", "//:hello", "--sign", "our.key", "-o", "other.bundle"]).current_dir(&home).uid(65534).gid(65534);
    command
        .env("XDG_CACHE_HOME", elsewhere.path().join("cache"))
        .env("HOME", "/nowhere")
        .env_remove("OURO_CACHE")
        .env("TZ", "Asia/Tokyo");
    let said = Said::of(command.output().unwrap());
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(fs::read(home.join("other.bundle")).unwrap(), fs::read(workspace.path("signed.bundle")).unwrap());
}
