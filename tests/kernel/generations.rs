//! Plans, dry runs, rollbacks, trials and tests of chains.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Lab, NEAR, lab, sh};
use crate::support::{Said, Workspace};
use crate::{nothing_left, ok, ouro, send, status};

#[test]
fn a_plan_says_what_a_deploy_does_and_changes_nothing() {
    lab(|lab| {
        let workspace = Workspace::example("02-two-program-chain");
        let plan = |code: i32, arguments: &[&str]| {
            let all = [&["plan", "//:two", "--interface", NEAR, "--exit-code"], arguments].concat();
            let said = ouro(lab, &workspace, &all);
            assert_eq!(said.code, code, "{}{}", said.out, said.err);
            said
        };
        let first = plan(10, &[]);
        assert!(
            first.out.contains("+ program `ipv4`") && first.out.contains("5 to add, 0 to change, 0 to remove"),
            "{}",
            first.out
        );
        assert!(!lab.bpffs.join("ouro").exists());
        let json: Value = serde_json::from_str(&plan(10, &["--json"]).out).expect("JSON");
        let deployed: Value =
            serde_json::from_str(&ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR, "--json"]).out).unwrap();
        assert_eq!(json, deployed, "changes and steps alike");
        plan(0, &[]);
        workspace.edit("no_ping.c", "return XDP_DROP", "return XDP_TX");
        let second = plan(10, &[]).out;
        assert!(second.contains("~ program `no_ping`") && !second.contains("program `ipv4`"), "{second}");
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR])
            .says("deployed `//:two` as `two`: generation 2 is live at near0 (xdp generic); 1 added, 2 changed, 0 removed");
        fs::remove_file(lab.bpffs.join("ouro/two/links").join(format!("xdp-{NEAR}"))).unwrap();
        assert!(plan(10, &[]).out.contains("! drift: nothing is attached"));
        ok(lab, &workspace, &["undeploy", "two"]);
    });
}

#[test]
fn a_dry_run_leaves_nothing() {
    lab(|lab| {
        let workspace = Workspace::example("02-two-program-chain");
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR, "--dry-run"]).says("nothing was changed");
        workspace.edit("no_ping.c", "if ((void *)(icmp_type + 1) > (void *)(long)ctx->data_end)\n        return XDP_PASS;", "");
        let said = ouro(lab, &workspace, &["deploy", "//:two", "--interface", NEAR, "--dry-run"]);
        assert_eq!(said.code, 1, "{}", said.err);
        said.says("no_ping.c:");
        assert!(!lab.bpffs.join("ouro").exists());
    });
}

#[test]
fn a_rollback_leads_back_and_forward() {
    lab(|lab| {
        let workspace = Workspace::example("02-two-program-chain");
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        ouro(lab, &workspace, &["rollback", "two"]).says("has no generation to go back to");
        workspace.edit("no_ping.c", "return XDP_DROP", "return XDP_PASS");
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        assert_eq!(lab.ping(3), 3);
        ok(lab, &workspace, &["rollback", "//:two"]).says("rolled back `two`: generation 1 is live");
        assert_eq!(lab.ping(3), 0);
        assert!(ok(lab, &workspace, &["status"]).out.contains("previous: generation 2"));
        ok(lab, &workspace, &["rollback", "two"]).says("generation 2 is live");
        assert_eq!(lab.ping(3), 3);
        let live = status(lab, &workspace);
        ok(lab, &workspace, &["undeploy", "two"]);
        nothing_left(lab, &live);
    });
}

/// Starts `ouro deploy --confirm`, and waits until the new chain is live: pings pass it.
fn on_trial(lab: &Lab, workspace: &Workspace, time: &str) -> std::process::Child {
    let mut command = workspace.command(&["deploy", "//:two", "--interface", NEAR, "--confirm", time, "--bpffs"]);
    let child = command.arg(&lab.bpffs).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while lab.ping(1) == 0 {
        assert!(Instant::now() < until, "not deployed");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

#[test]
fn what_nobody_confirms_is_taken_back() {
    lab(|lab| {
        let workspace = Workspace::example("02-two-program-chain");
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        workspace.edit("no_ping.c", "return XDP_DROP", "return XDP_PASS");
        workspace.ok(&["build", "//..."]);
        let ended = |child: std::process::Child| Said::of(child.wait_with_output().unwrap());

        // The connection is lost: the deployer goes on waiting, and goes back when the time is over.
        let child = on_trial(lab, &workspace, "4s");
        send(&child, libc::SIGHUP);
        let told = ok(lab, &workspace, &["status"]).out;
        assert!(told.contains(&format!("on trial: generation 2: `ouro confirm two --bpffs {}`", lab.bpffs.display())), "{told}");
        let said = ended(child);
        assert_eq!(said.code, 1, "{}", said.err);
        said.says("nobody confirmed it in time; rolled back `two`: generation 1 is live");
        said.says(&format!("`ouro confirm two --bpffs {}` keeps it", lab.bpffs.display()));
        assert_eq!(lab.ping(3), 0);

        let child = on_trial(lab, &workspace, "1h");
        send(&child, libc::SIGINT);
        let said = ended(child);
        assert_eq!(said.code, 130, "{}", said.err);
        said.says("interrupted; rolled back");
        assert_eq!(lab.ping(3), 0);

        // Nobody is left to go back; the next command does.
        // A ping that is dropped takes a second: a shorter trial could come and go unseen.
        let mut child = on_trial(lab, &workspace, "4s");
        child.kill().unwrap();
        child.wait().unwrap();
        std::thread::sleep(Duration::from_millis(4100));
        let said = ouro(lab, &workspace, &["status"]);
        assert!(said.code == 1 && said.out.contains("nobody confirmed generation 2 in time"), "{}", said.out);
        ok(lab, &workspace, &["rollback", "two"]);
        assert_eq!(lab.ping(3), 0);

        let child = on_trial(lab, &workspace, "1h");
        ok(lab, &workspace, &["confirm", "two"]).says("confirmed `two`");
        let said = ended(child);
        assert_eq!(said.code, 0, "{}", said.err);
        said.says("`two` was confirmed");
        assert_eq!(lab.ping(3), 3);
        ok(lab, &workspace, &["status"]);
        ok(lab, &workspace, &["undeploy", "two"]);
    });
}

/// The connection is cut, and the second try is killed: the first one, which still waits, must not say that it was confirmed.
#[test]
fn who_waits_sees_to_the_trial_that_took_the_place_of_its_own() {
    lab(|lab| {
        let workspace = Workspace::example("02-two-program-chain");
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        workspace.edit("no_ping.c", "return XDP_DROP", "return XDP_PASS");
        let first = on_trial(lab, &workspace, "1h");
        workspace.edit("no_ping.c", "return XDP_PASS;", "return ctx->rx_queue_index == 999 ? XDP_DROP : XDP_PASS;");
        let mut second = on_trial(lab, &workspace, "5s");
        let until = Instant::now() + Duration::from_secs(20);
        let trial =
            || serde_json::from_str::<Value>(&ouro(lab, &workspace, &["status", "--json"]).out).unwrap()[0]["trial"].take();
        while trial()["generation"] != 3 {
            assert!(Instant::now() < until, "not deployed");
        }
        second.kill().unwrap();
        second.wait().unwrap();
        let said = Said::of(first.wait_with_output().unwrap());
        assert_eq!(said.code, 1, "{}", said.err);
        said.says("generation 3 is on trial now").says("was rolled back by another command: generation 1 is live");
        assert_eq!(lab.ping(3), 0, "what was live for good is live again");
        ok(lab, &workspace, &["status"]);
        // Another deploy ends a trial, too.
        let first = on_trial(lab, &workspace, "1h");
        workspace.edit("no_ping.c", "== 999", "== 998");
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        let said = Said::of(first.wait_with_output().unwrap());
        assert_eq!(said.code, 1, "{}", said.err);
        said.says("was replaced by another deploy: generation 3 is live").says("`ouro status two` shows what there is");
        ok(lab, &workspace, &["undeploy", "two"]);
    });
}

#[test]
fn what_is_in_the_way_of_going_back_is_waited_for() {
    lab(|lab| {
        let workspace = Workspace::example("02-two-program-chain");
        let far = |count| lab.ping_address("10.98.0.1", count);
        lab.cable("near1", "far1", "10.98.0");
        ok(lab, &workspace, &["deploy", "//:two", "--interface", "near1"]);
        assert_eq!(far(2), 0);
        workspace.edit("no_ping.c", "return XDP_DROP", "return XDP_PASS");
        workspace.ok(&["build", "//..."]);
        // Nobody reads what it has to say, either.
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command =
            workspace.command(&["deploy", "//:two", "--interface", "near1", "--confirm", "4s", "--json", "--bpffs"]);
        let mut child = command.arg(&lab.bpffs).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while far(1) == 0 {
            assert!(Instant::now() < until, "not deployed");
        }
        sh("ip link del near1");
        std::thread::sleep(Duration::from_millis(5000));
        assert!(child.try_wait().unwrap().is_none(), "it tries again");
        lab.cable("near1", "far1", "10.98.0");
        let said = Said::of(child.wait_with_output().unwrap());
        assert_eq!(said.code, 1, "{}", said.err);
        said.says("there is no network device `near1`")
            .says("nobody confirmed it in time; rolled back `two`: generation 1 is live");
        assert_eq!(far(2), 0);
        ok(lab, &workspace, &["undeploy", "two"]);
    });
}

#[test]
fn a_chain_that_fails_its_tests_does_not_go_live() {
    lab(|lab| {
        let workspace = Workspace::example("02-two-program-chain");
        // Ethernet and IPv4 with the protocol ICMP, then an echo request.
        let test = "tests = [packet(\"ping is dropped\", data = \"00\" * 12 + \"0800 4500001c00000000 4001\" + \"00\" * 10 + \"08\" + \"00\" * 7, \
                    verdict = \"drop\")],\n    entry = ";
        workspace.edit("BUILD.ouro", "entry = ", test);
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        let live = status(lab, &workspace);
        assert_eq!(live[0]["edges"][0]["counts"]["taken"], 0, "the test counted elsewhere");
        workspace.edit("no_ping.c", "return XDP_DROP", "return XDP_PASS");
        let said = ouro(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        assert_eq!(said.code, 1, "{}", said.err);
        said.says("test `ping is dropped`: the chain says `pass` instead of `drop`");
        assert_eq!((status(lab, &workspace), lab.ping(3)), (live, 0));
        ok(lab, &workspace, &["undeploy", "two"]);
    });
}
