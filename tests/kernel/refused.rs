//! What is said when something is missing or wrong; nothing of it stays in the kernel.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::lab::{NEAR, lab};
use crate::support::{OURO, Said, Workspace};
use crate::{ok, ouro, status};

#[test]
fn a_missing_device_is_named_and_nothing_is_left() {
    lab(|lab| {
        let workspace = Workspace::example("01-hello-xdp");
        let said = ouro(lab, &workspace, &["deploy", "//:hello", "--interface", "nera0"]);
        assert_eq!(said.code, 1, "{}", said.err);
        said.says("nera0").says(NEAR);
        assert!(!lab.bpffs.join("ouro").exists());
    });
}

#[test]
fn without_a_bpffs_the_mount_command_is_said() {
    lab(|lab| {
        let workspace = Workspace::example("01-hello-xdp");
        let plain = lab.folder().join("plain");
        fs::create_dir(&plain).unwrap();
        let said = workspace.fails(3, &["deploy", "//:hello", "--interface", NEAR, "--bpffs", plain.to_str().unwrap()]);
        said.says("not on a BPF file system").says("mount -t bpf bpf");
        assert_eq!(fs::read_dir(&plain).unwrap().count(), 0);
    });
}

#[test]
fn without_rights_the_needed_ones_are_said() {
    lab(|lab| {
        let workspace = Workspace::example("01-hello-xdp");
        workspace.ok(&["bundle", "//:hello", "-o", "a.bundle"]);
        // Somebody without any rights needs copies they can reach.
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(OURO, folder.path().join("ouro")).unwrap();
        fs::copy(workspace.path("a.bundle"), folder.path().join("a.bundle")).unwrap();
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "./ouro",
            "deploy",
            "--bundle",
            "a.bundle",
        ]);
        command.args(["--interface", NEAR, "--bpffs"]).arg(&lab.bpffs).current_dir(folder.path());
        let said = Said::of(command.output().unwrap());
        assert_eq!(said.code, 3, "{}{}", said.out, said.err);
        said.says("not permitted").says("CAP_BPF");
        assert!(!lab.bpffs.join("ouro").exists());
    });
}

#[test]
fn a_program_the_verifier_refuses_is_shown_by_its_line_and_the_old_chain_stays() {
    lab(|lab| {
        let workspace = Workspace::example("02-two-program-chain");
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        let before = status(lab, &workspace);
        workspace.edit("no_ping.c", "if ((void *)(icmp_type + 1) > (void *)(long)ctx->data_end)\n        return XDP_PASS;", "");
        let said = ouro(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        assert_eq!(said.code, 1, "{}", said.err);
        said.says("no_ping").says("no_ping.c:").says("`--verifier-log` shows the verifier's whole log");
        said.says("compare the end of what you read with `ctx->data_end`");
        assert!(!said.err.contains("R10=fp0"), "{}", said.err);
        for flag in ["-v", "--verifier-log"] {
            let said = ouro(lab, &workspace, &["deploy", "//:two", "--interface", NEAR, flag]);
            said.says("the verifier's log of `no_ping`").says("R10=fp0");
        }
        let after = status(lab, &workspace);
        assert_eq!(before[0]["programs"], after[0]["programs"]);
        assert_eq!(after[0]["problems"].as_array().map(Vec::len), Some(0), "{after}");
        assert_eq!(lab.ping(3), 0, "the old chain still drops");
        ok(lab, &workspace, &["undeploy", "two"]);
    });
}

/// Two workspaces that nobody gave names, with equal labels: the second took the first one's place without a word.
#[test]
fn a_workspace_without_a_name_does_not_take_anothers_place() {
    lab(|lab| {
        let (one, other) = (Workspace::example("01-hello-xdp"), Workspace::example("01-hello-xdp"));
        let deploy = ["deploy", "//:hello", "--interface", NEAR];
        ok(lab, &one, &deploy);
        let said = ouro(lab, &other, &deploy);
        assert_eq!(said.code, 1, "{}", said.err);
        said.says(&format!("//:hello in {}", one.root().canonicalize().unwrap().display())).says("`[workspace] name`");
        ok(lab, &one, &deploy).says("nothing to do");
        ok(lab, &other, &[&deploy[..], &["--take-over"]].concat());
        ok(lab, &other, &deploy).says("nothing to do");
        // Attaching elsewhere does not change whose it is.
        ok(lab, &other, &["attach", "hello", "--interface", "lo", "--mode", "generic"]);
        assert_eq!(ouro(lab, &one, &deploy).code, 1);
        // A name that both have makes them checkouts of one project.
        one.write("ouro.toml", "[workspace]\nname = 'acme'\n");
        other.write("ouro.toml", "[workspace]\nname = 'acme'\n");
        assert_eq!(ouro(lab, &one, &deploy).code, 1, "what is live has no name");
        ok(lab, &one, &[&deploy[..], &["--take-over"]].concat());
        ok(lab, &other, &deploy).says("nothing to do");
        ok(lab, &other, &["undeploy", "hello"]);
    });
}
