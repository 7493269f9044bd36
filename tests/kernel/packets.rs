//! Examples that are deployed, and what becomes of real packets.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use serde_json::Value;

use crate::lab::{FAR_ADDRESS, NEAR, NEAR_ADDRESS, bpftool, lab};
use crate::support::{OURO, Said, Workspace, has_btf};
use crate::{map, nothing_left, ok, ouro, per_cpu_sum, status};

#[test]
fn hello_counts_packets() {
    lab(|lab| {
        let workspace = Workspace::example("01-hello-xdp");
        ok(lab, &workspace, &["deploy", "//:hello", "--interface", NEAR]);
        assert_eq!(lab.ping(10), 10);
        assert!(per_cpu_sum(&map(lab, "hello", "packets"), 0) >= 10);
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
        let sent = bpftool(&["map", "dump", "pinned", map(lab, "who", "sent").to_str().expect("a plain path")]);
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
                .args(["-n", "-q", "-i", "0.01", "-W", "1", "-s", size, "-c", count, NEAR_ADDRESS])
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
            workspace.write("routes.csv", &format!("{FAR_ADDRESS}/32,{class}\n{others}"));
            ok(lab, &workspace, &["deploy", "//:router", "--interface", NEAR]);
        };
        deploy("watched");
        assert_eq!(lab.ping(5), 5);
        assert!(per_cpu_sum(&map(lab, "router", "watched_pkts"), 0) >= 5);
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
fn a_network_namespace_can_be_named() {
    lab(|lab| {
        let workspace = Workspace::example("01-hello-xdp");
        // From another namespace: only `--netns` leads to the laboratory's devices.
        let inside = format!("/proc/{}/task/{}/ns/net", std::process::id(), thread_id());
        let outside = |args: &[&str]| {
            let mut command = Command::new("unshare");
            command.args(["--net", OURO]).args(args).arg("--bpffs").arg(&lab.bpffs);
            let ours = workspace.command(&[]);
            command.current_dir(workspace.root()).envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let said = Said::of(command.output().unwrap());
            assert_eq!(said.code, 0, "{}", said.err);
            said
        };
        outside(&["deploy", "//:hello", "--interface", NEAR, "--netns", &inside]);
        assert_eq!(lab.ping(3), 3);
        let inode = fs::metadata(&inside).unwrap().ino();
        let told = outside(&["status"]).out;
        assert!(told.contains(&format!("in namespace {inode}  runs program")), "{told}");
        assert!(!outside(&["status", "--netns", &inside]).out.contains("in namespace"));
        assert!(per_cpu_sum(&map(lab, "hello", "packets"), 0) >= 3);
        ouro(lab, &workspace, &["deploy", "//:hello", "--netns", "no-such-namespace"])
            .says("cannot open the network namespace")
            .says("ip netns list");
        ok(lab, &workspace, &["undeploy", "hello"]);
    });
}

fn thread_id() -> i32 {
    // SAFETY: no arguments.
    unsafe { libc::gettid() }
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
