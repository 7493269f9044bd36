//! The command against the real kernel: every example deployed with real packets, and what is said when something is missing.

#[path = "../deploy/tests/support/mod.rs"]
#[allow(dead_code, reason = "a laboratory has more than these tests use")]
mod lab;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lab::{Lab, NEAR, bpftool, is_gone, lab, sh};
use serde_json::Value;
use support::{OURO, Said, Workspace, has_btf};

/// Runs ouro in the laboratory; the last arguments name its bpffs.
fn ouro(lab: &Lab, workspace: &Workspace, arguments: &[&str]) -> Said {
    Said::of(workspace.command(arguments).arg("--bpffs").arg(&lab.bpffs).output().expect("ouro runs"))
}

#[track_caller]
fn ok(lab: &Lab, workspace: &Workspace, arguments: &[&str]) -> Said {
    let said = ouro(lab, workspace, arguments);
    assert_eq!(said.code, 0, "ouro {arguments:?}\n{}{}", said.out, said.err);
    said
}

fn status(lab: &Lab, workspace: &Workspace) -> Value {
    serde_json::from_str(&ok(lab, workspace, &["status", "--json"]).out).expect("JSON")
}

/// Sums the per-CPU values behind a key.
fn per_cpu_sum(map: &Path, key: usize) -> u64 {
    let dump = bpftool(&["map", "dump", "pinned", map.to_str().expect("a plain path")]);
    let entry = &dump[key];
    let values = entry["formatted"]["values"].as_array().or(entry["values"].as_array()).unwrap_or_else(|| panic!("{dump}"));
    values.iter().map(|value| value["value"].as_u64().unwrap_or_else(|| panic!("{value}"))).sum()
}

fn nothing_left(lab: &Lab, before: &Value) {
    let status = before.as_array().expect("deployments");
    for deployment in status {
        for program in deployment["programs"].as_array().expect("programs") {
            assert!(is_gone("prog", program["id"].as_u64().expect("an id") as u32), "{program}");
        }
        for map in deployment["maps"].as_array().expect("maps") {
            assert!(is_gone("map", map["id"].as_u64().expect("an id") as u32), "{map}");
        }
    }
    assert!(!lab.bpffs.join("ouro").exists(), "the folder is gone, too");
}

#[test]
fn hello_counts_packets() {
    lab(|lab| {
        let workspace = Workspace::example("01-hello-xdp");
        ok(lab, &workspace, &["deploy", "//:hello", "--interface", NEAR]);
        assert_eq!(lab.ping(10), 10);
        assert!(per_cpu_sum(&lab.bpffs.join("ouro/hello/maps/packets"), 0) >= 10);
        let live = status(lab, &workspace);
        ok(lab, &workspace, &["undeploy", "hello"]);
        nothing_left(lab, &live);
        assert_eq!(lab.ping(2), 2);
    });
}

#[test]
fn members_of_kernel_structs_are_found_when_a_program_is_loaded() {
    if !has_btf() {
        return;
    }
    lab(|lab| {
        let workspace = Workspace::example("co-re");
        ok(lab, &workspace, &["deploy", "//:who", "--interface", NEAR]);
        assert_eq!(lab.ping(4), 4);
        let sent = bpftool(&["map", "dump", "pinned", lab.bpffs.join("ouro/who/maps/sent").to_str().expect("a plain path")]);
        let senders: Vec<&Value> = sent.as_array().expect("senders").iter().map(|entry| &entry["formatted"]).collect();
        let count: u64 = senders.iter().filter_map(|sender| sender["value"].as_u64()).sum();
        assert!(count >= 4 && senders.iter().all(|sender| sender["key"]["name"] != ""), "{sent}");
        ok(lab, &workspace, &["undeploy", "who"]);
    });
}

#[test]
fn the_second_program_of_two_decides() {
    lab(|lab| {
        let workspace = Workspace::example("02-two-program-chain");
        assert_eq!(lab.ping(3), 3);
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        assert_eq!(lab.ping(5), 0, "no_ping drops them");
        let live = status(lab, &workspace);
        let edge = &live[0]["edges"][0];
        assert!(edge["counts"]["taken"].as_u64().expect("a count") >= 5, "{edge}");
        assert_eq!(edge["counts"]["missed"], 0);
        ok(lab, &workspace, &["undeploy", "//:two"]);
        nothing_left(lab, &live);
        assert_eq!(lab.ping(3), 3);
    });
}

#[test]
fn programs_share_a_map() {
    lab(|lab| {
        let workspace = Workspace::example("03-shared-map");
        ok(lab, &workspace, &["deploy", "//:shared", "--interface", NEAR]);
        let ping = |count: &str, size: &str| {
            let output = lab
                .far("ping")
                .args(["-n", "-q", "-i", "0.01", "-W", "1", "-s", size, "-c", count, lab::NEAR_ADDRESS])
                .output()
                .expect("ping");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        assert!(ping("3", "1000").contains(" 3 received"), "within the quota");
        assert!(ping("20", "1000").contains("packet loss") && ping("2", "1000").contains(" 0 received"), "beyond it");
        let live = status(lab, &workspace);
        ok(lab, &workspace, &["undeploy", "shared"]);
        nothing_left(lab, &live);
    });
}

#[test]
fn a_table_of_routes_decides() {
    lab(|lab| {
        let workspace = Workspace::example("custom-rule");
        // Each class needs a route: a declared jump that the code never takes is an error.
        let others = "192.0.2.0/24,watched\n198.51.100.0/24,blocked\n";
        let deploy = |class: &str| {
            workspace.write("routes.csv", &format!("{}/32,{class}\n{others}", lab::FAR_ADDRESS));
            ok(lab, &workspace, &["deploy", "//:router", "--interface", NEAR]);
        };
        deploy("watched");
        assert_eq!(lab.ping(5), 5);
        assert!(per_cpu_sum(&lab.bpffs.join("ouro/router/maps/watched_pkts"), 0) >= 5);
        deploy("blocked");
        assert_eq!(lab.ping(3), 0, "the table says so");
        let live = status(lab, &workspace);
        ok(lab, &workspace, &["undeploy", "router"]);
        nothing_left(lab, &live);
    });
}

#[test]
fn traffic_control_decides_through_tcx_and_clsact() {
    for via in ["tcx", "clsact"] {
        lab(|lab| {
            let workspace = Workspace::example("02-two-program-chain");
            for (file, returns) in [("ipv4.c", "ipv4"), ("no_ping.c", "no_ping")] {
                let text = workspace.read(file).replace("SEC(\"xdp\")", "SEC(\"tc\")").replace("xdp_md", "__sk_buff");
                workspace.write(file, &text.replace("XDP_PASS", "0").replace("XDP_DROP", "2"));
                assert!(workspace.read(file).contains(returns));
            }
            let build = workspace.read("BUILD.ouro").replace("type = \"xdp\"", "type = \"tc\"");
            workspace.write(
                "BUILD.ouro",
                &build.replace(
                    "xdp(interface = \"eth0\", mode = \"generic\")",
                    &format!("tc(interface = \"{NEAR}\", via = \"{via}\")"),
                ),
            );
            ok(lab, &workspace, &["deploy", "//:two"]);
            assert_eq!(lab.ping(5), 0, "{via}");
            let live = status(lab, &workspace);
            assert_eq!(
                live[0]["hooks"][0]["hook"]["mechanism"].as_str().or(live[0]["hooks"][0]["mechanism"].as_str()),
                Some(via),
                "{live}"
            );
            ok(lab, &workspace, &["undeploy", "two"]);
            nothing_left(lab, &live);
            assert_eq!(lab.ping(3), 3, "{via}");
        });
    }
}

#[test]
fn a_redeploy_keeps_map_contents_and_an_unchanged_one_does_nothing() {
    lab(|lab| {
        let workspace = Workspace::example("01-hello-xdp");
        ok(lab, &workspace, &["deploy", "//:hello", "--interface", NEAR]);
        lab.ping(10);
        let first = status(lab, &workspace);
        ok(lab, &workspace, &["deploy", "//:hello", "--interface", NEAR]).says("nothing to do");
        workspace.edit("count.c", "*counter += 1", "*counter += 2");
        ok(lab, &workspace, &["deploy", "//:hello", "--interface", NEAR]).says("deployed");
        let second = status(lab, &workspace);
        assert_eq!(second[0]["generation"], 2);
        assert_eq!(first[0]["maps"][0]["id"], second[0]["maps"][0]["id"], "the map lives on");
        assert!(per_cpu_sum(&lab.bpffs.join("ouro/hello/maps/packets"), 0) >= 10);
        assert_eq!(second[0]["previous"]["generation"], 1, "the old generation stays for a rollback");
        ok(lab, &workspace, &["undeploy", "hello"]);
    });
}

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
            .says("deployed `//:two` as `two`: 1 added, 2 changed, 0 removed");
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
        let child = on_trial(lab, &workspace, "2s");
        send(&child, libc::SIGHUP);
        assert!(ok(lab, &workspace, &["status"]).out.contains("on trial:"));
        let said = ended(child);
        assert_eq!(said.code, 1, "{}", said.err);
        said.says("nobody confirmed it in time; rolled back `two`: generation 1 is live");
        assert_eq!(lab.ping(3), 0);

        let child = on_trial(lab, &workspace, "1h");
        send(&child, libc::SIGINT);
        let said = ended(child);
        assert_eq!(said.code, 130, "{}", said.err);
        said.says("interrupted; rolled back");
        assert_eq!(lab.ping(3), 0);

        // Nobody is left to go back; the next command does.
        let mut child = on_trial(lab, &workspace, "1s");
        child.kill().unwrap();
        child.wait().unwrap();
        std::thread::sleep(Duration::from_millis(1100));
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
fn a_live_chain_is_attached_to_more_devices_and_detached_without_loading_anything() {
    lab(|lab| {
        lab.cable("near1", "far1", "10.98.0");
        let ping_second = || lab.ping_address("10.98.0.1", 3);
        let workspace = Workspace::example("02-two-program-chain");
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        let first = status(lab, &workspace);
        assert_eq!((lab.ping(3), ping_second()), (0, 3));
        ok(lab, &workspace, &["attach", "two", "--interface", "near1", "--mode", "generic"]).says("attached `two` to `near1`");
        assert_eq!((lab.ping(3), ping_second()), (0, 0));
        let both = status(lab, &workspace);
        assert_eq!(both[0]["hooks"].as_array().map(Vec::len), Some(2), "{both}");
        assert_eq!(both[0]["problems"].as_array().map(Vec::len), Some(0), "{both}");
        let ids = |status: &Value| {
            status[0]["programs"].as_array().unwrap().iter().map(|program| program["id"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&first), ids(&both), "nothing was loaded anew");
        ok(lab, &workspace, &["detach", "//:two", "--interface", NEAR]).says("detached");
        assert_eq!((lab.ping(3), ping_second()), (3, 0));
        let said = ouro(lab, &workspace, &["detach", "two", "--interface", NEAR]);
        assert_eq!(said.code, 1, "{}", said.err);
        said.says("is not attached to").says("ouro status");
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        assert_eq!((lab.ping(3), ping_second()), (0, 3), "a deploy goes back to what is declared");
        let last = status(lab, &workspace);
        assert_eq!(ids(&first), ids(&last));
        assert!(last[0]["edges"][0]["counts"]["taken"].as_u64().unwrap() >= 12, "the counts went on: {last}");
        ok(lab, &workspace, &["undeploy", "two"]);
        nothing_left(lab, &last);
        ouro(lab, &workspace, &["attach", "two", "--interface", NEAR]).says("nothing is deployed as `two`");
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

#[test]
fn a_network_namespace_can_be_named() {
    lab(|lab| {
        let workspace = Workspace::example("01-hello-xdp");
        // From another namespace: only `--netns` leads to the laboratory's devices.
        let inside = format!("/proc/{}/task/{}/ns/net", std::process::id(), thread_id());
        let mut command = Command::new("unshare");
        command.args(["--net", OURO, "deploy", "//:hello", "--interface", NEAR, "--netns", &inside, "--bpffs"]).arg(&lab.bpffs);
        let ours = workspace.command(&[]);
        command.current_dir(workspace.root()).envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let said = Said::of(command.output().unwrap());
        assert_eq!(said.code, 0, "{}", said.err);
        assert_eq!(lab.ping(3), 3);
        assert!(per_cpu_sum(&lab.bpffs.join("ouro/hello/maps/packets"), 0) >= 3);
        ouro(lab, &workspace, &["deploy", "//:hello", "--netns", "no-such-namespace"])
            .says("cannot open the network namespace")
            .says("ip netns list");
        ok(lab, &workspace, &["undeploy", "hello"]);
    });
}

/// Sends a signal.
fn send(child: &std::process::Child, signal: i32) {
    // SAFETY: no pointers; the child is not waited for yet, so its id is its own.
    unsafe { libc::kill(i32::try_from(child.id()).unwrap(), signal) };
}

fn thread_id() -> i32 {
    // SAFETY: no arguments.
    unsafe { libc::gettid() }
}

#[test]
fn a_deploy_that_detaches_says_so_and_an_unknown_name_is_an_error() {
    lab(|lab| {
        lab.cable("near1", "far1", "10.98.0");
        let workspace = Workspace::example("02-two-program-chain");
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        ok(lab, &workspace, &["attach", "two", "--interface", "near1"]);
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]).says("detached from native XDP of `near1`");
        for command in [&["undeploy", "tow"][..], &["status", "tow"], &["detach", "tow", "--interface", NEAR]] {
            let said = ouro(lab, &workspace, command);
            assert_eq!(said.code, 1, "{command:?}: {}", said.err);
            said.says("nothing is deployed as `tow`").says("did you mean `two`?");
        }
        ok(lab, &workspace, &["undeploy", "two"]);
        ok(lab, &workspace, &["undeploy", "two", "--if-exists"]);
    });
}

#[test]
fn drift_is_shown_and_fails_the_command() {
    lab(|lab| {
        let workspace = Workspace::example("02-two-program-chain");
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        fs::remove_file(lab.bpffs.join("ouro/two/links").join(format!("xdp-{NEAR}"))).unwrap();
        let said = ouro(lab, &workspace, &["status"]);
        assert_eq!(said.code, 1, "{}", said.err);
        assert!(said.out.contains("drift:") && said.out.contains(NEAR), "{}", said.out);
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        ok(lab, &workspace, &["status"]);
        ok(lab, &workspace, &["undeploy", "two"]);
    });
}

#[test]
fn an_interrupted_deploy_leaves_what_was_live_and_the_next_one_converges() {
    lab(|lab| {
        let workspace = Workspace::example("02-two-program-chain");
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        for wait in [5, 15, 25, 40] {
            let mut command = workspace.command(&["deploy", "//:two", "--force", "--interface", NEAR, "--bpffs"]);
            let mut child = command.arg(&lab.bpffs).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(wait));
            send(&child, libc::SIGINT);
            child.wait().unwrap();
            assert_eq!(lab.ping(2), 0, "a chain is live after {wait} ms");
        }
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        let live = status(lab, &workspace);
        assert_eq!(live[0]["problems"].as_array().map(Vec::len), Some(0), "{live}");
        ok(lab, &workspace, &["undeploy", "two"]);
        nothing_left(lab, &live);
    });
}

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
        said.says("no_ping").says("no_ping.c:").says("`-v` shows the verifier's whole log");
        ouro(lab, &workspace, &["-v", "deploy", "//:two", "--interface", NEAR])
            .says("the verifier's log of `no_ping`")
            .says("R10=fp0");
        let after = status(lab, &workspace);
        assert_eq!(before[0]["programs"], after[0]["programs"]);
        assert_eq!(after[0]["problems"].as_array().map(Vec::len), Some(0), "{after}");
        assert_eq!(lab.ping(3), 0, "the old chain still drops");
        ok(lab, &workspace, &["undeploy", "two"]);
    });
}

#[test]
fn what_status_says_bpftool_says() {
    lab(|lab| {
        let workspace = Workspace::example("firewall");
        ok(lab, &workspace, &["deploy", "//fw:fw", "--interface", NEAR]);
        let live = status(lab, &workspace);
        for program in live[0]["programs"].as_array().unwrap() {
            let shown = bpftool(&["prog", "show", "pinned", program["path"].as_str().unwrap()]);
            assert_eq!(shown["id"], program["id"]);
            assert_eq!(shown["name"], program["name"]);
        }
        let table = bpftool(&["map", "dump", "pinned", lab.bpffs.join("ouro/fw/gen-1/maps/table").to_str().unwrap()]);
        let slots: Vec<&Value> =
            live[0]["programs"].as_array().unwrap().iter().filter(|program| !program["slot"].is_null()).collect();
        assert_eq!(table.as_array().unwrap().len(), slots.len());
        let links = bpftool(&["link", "show"]);
        let hook = &live[0]["hooks"][0];
        assert!(
            links.as_array().unwrap().iter().any(|link| link["id"] == hook["link"] && link["prog_id"] == hook["program"]),
            "{links} {hook}"
        );
        ok(lab, &workspace, &["undeploy", "fw"]);
    });
}

#[test]
fn a_new_workspace_deploys_at_once() {
    lab(|lab| {
        let workspace = Workspace::new();
        fs::remove_file(workspace.path("ouro.toml")).unwrap();
        workspace.ok(&["init"]);
        let graph = workspace.ok(&["-v", "build", "//..."]);
        let bundle = graph.err.lines().find(|line| line.ends_with(".bundle")).expect("a chain").trim().to_owned();
        ok(lab, &workspace, &["deploy", "--bundle", &bundle, "--interface", NEAR]);
        assert_eq!(lab.ping(3), 3);
        let live = status(lab, &workspace);
        let name = live[0]["name"].as_str().unwrap().to_owned();
        ok(lab, &workspace, &["undeploy", &name]);
        nothing_left(lab, &live);
    });
}

#[test]
fn the_demo_runs_and_leaves_nothing() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/demo");
    let before = (sh("ip netns list"), sh("grep -c ouro-demo /proc/self/mounts || true"));
    let said = Said::of(Command::new(&script).env("OURO", OURO).stdin(Stdio::null()).output().unwrap());
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    for word in ["allowed", "blocked", "rate-limited", "undeploy"] {
        assert!(said.out.contains(word), "`{word}` is missing in:\n{}", said.out);
    }
    assert_eq!(before, (sh("ip netns list"), sh("grep -c ouro-demo /proc/self/mounts || true")));
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/demo");
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(&script)
        .env("OURO", OURO)
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mine = format!("ouro-demo-{}-", child.id());
    let until = Instant::now() + Duration::from_secs(30);
    while !sh("ip netns list").contains(&mine) {
        assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "the demo makes its namespaces");
        std::thread::sleep(Duration::from_millis(20));
    }
    send(&child, libc::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(!sh("ip netns list").contains(&mine));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "its folder is gone");
}
