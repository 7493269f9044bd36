//! Bundles that are deployed where they were not made.

use std::fs;
use std::process::Command;

use crate::lab::{NEAR, lab};
use crate::ouro;
use crate::support::{OURO, Said, Workspace};

#[test]
fn a_bundle_deploys_without_workspace_or_compiler() {
    lab(|lab| {
        let workspace = Workspace::example("firewall");
        let bundle = lab.folder().join("fw.bundle");
        workspace.ok(&["bundle", "//fw:fw", "-o", bundle.to_str().unwrap()]);
        let run = |arguments: &[&str]| {
            let mut command = Command::new(OURO);
            command.args(arguments).arg("--bpffs").arg(&lab.bpffs).current_dir(lab.folder()).env("PATH", "/nonexistent");
            let said = Said::of(command.output().unwrap());
            assert_eq!(said.code, 0, "ouro {arguments:?}\n{}{}", said.out, said.err);
            said
        };
        let plan = run(&["plan", "--bundle", bundle.to_str().unwrap(), "--interface", NEAR]).out;
        assert!(plan.contains("+ program `parse`") && plan.contains("attach"), "{plan}");
        assert!(!lab.bpffs.join("ouro").exists(), "a plan changes nothing");
        run(&["deploy", "--bundle", bundle.to_str().unwrap(), "--interface", NEAR]);
        assert_eq!(lab.ping(5), 5);
        run(&["undeploy", "fw"]);
    });
}

#[test]
fn a_damaged_bundle_is_refused() {
    lab(|lab| {
        let workspace = Workspace::example("01-hello-xdp");
        workspace.ok(&["bundle", "//:hello", "-o", "a.bundle"]);
        let whole = fs::read(workspace.path("a.bundle")).unwrap();
        let at = whole.windows(4).rposition(|bytes| bytes == b"\x7fELF").expect("an object");
        let mut flipped = whole.clone();
        flipped[at + 100] ^= 1;
        for (bytes, why) in
            [(&flipped[..], "does not match its digest"), (&whole[..700], "not a bundle"), (b"garbage", "not a bundle")]
        {
            fs::write(workspace.path("bad.bundle"), bytes).unwrap();
            let said = ouro(lab, &workspace, &["deploy", "--bundle", "bad.bundle", "--interface", NEAR]);
            assert_eq!(said.code, 1, "{}", said.err);
            said.says(why).says("bad.bundle");
        }
        assert!(!lab.bpffs.join("ouro").exists());
    });
}
