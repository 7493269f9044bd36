//! `ouro run` of a chain: it lives as long as the command.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::lab::{NEAR, lab};
use crate::support::{Said, Workspace};
use crate::{ok, ouro, send};

#[test]
fn run_follows_and_undeploys_when_interrupted() {
    lab(|lab| {
        let workspace = Workspace::example("02-two-program-chain");
        workspace.ok(&["build", "//..."]);
        let mut command = workspace.command(&["run", "//:two", "--interface", NEAR, "--bpffs"]);
        let mut child = command.arg(&lab.bpffs).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while !lab.bpffs.join("ouro/two/links").join(format!("xdp-{NEAR}")).exists() {
            assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "not deployed");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(lab.ping(5), 0);
        std::thread::sleep(Duration::from_millis(1200));
        send(&child, libc::SIGINT);
        let said = Said::of(child.wait_with_output().unwrap());
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(said.out.contains("ipv4 -> no_ping"), "{}", said.out);
        said.says("undeployed `two`");
        assert_eq!(lab.ping(3), 3);
        assert!(!lab.bpffs.join("ouro").exists());
    });
}

#[test]
fn run_leaves_a_deployment_of_others_alone() {
    lab(|lab| {
        let workspace = Workspace::example("02-two-program-chain");
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        let said = ouro(lab, &workspace, &["run", "//:two", "--interface", NEAR]);
        assert_eq!(said.code, 1, "{}", said.err);
        said.says("is deployed already").says("ouro undeploy two");
        assert_eq!(lab.ping(3), 0, "it still drops");
        ok(lab, &workspace, &["undeploy", ":two"]);
    });
}
