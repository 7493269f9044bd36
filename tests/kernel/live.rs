//! What lives in the kernel: changed while packets flow, looked at, and undone.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::lab::{NEAR, bpftool, lab};
use crate::support::Workspace;
use crate::{map, nothing_left, ok, ouro, per_cpu_sum, send, status};

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
        assert!(per_cpu_sum(&map(lab, "hello", "packets"), 0) >= 10);
        assert_eq!(second[0]["previous"]["generation"], 1, "the old generation stays for a rollback");
        ok(lab, &workspace, &["undeploy", "hello"]);
    });
}

/// A chain that was tried on a device by a flag left it at the next deploy without the flag, and nobody was told.
#[test]
fn devices_that_a_flag_named_are_left_only_when_asked_for() {
    lab(|lab| {
        let workspace = Workspace::example("01-hello-xdp");
        workspace.edit("BUILD.ouro", "\"eth0\"", "\"lo\"");
        ok(lab, &workspace, &["deploy", "//:hello", "--interface", NEAR]).says("generation 1 is live at near0 (xdp generic); ");
        for command in ["plan", "deploy"] {
            let said = ouro(lab, &workspace, &[command, "//:hello"]);
            assert_eq!(said.code, 1, "{command}\n{}", said.err);
            said.says("`hello` was deployed with `--interface near0`, and without it would leave `near0`")
                .says("`--interface near0` stays there, `--interface lo` moves it");
        }
        assert_eq!(status(lab, &workspace)[0]["hooks"][0]["name"], "xdp-near0");
        ok(lab, &workspace, &["deploy", "//:hello", "--interface", NEAR, "--interface", "lo"]).says("lo (xdp generic)");
        ok(lab, &workspace, &["deploy", "//:hello", "--interface", "lo"]).says("detached from generic XDP of `near0`");
        ok(lab, &workspace, &["deploy", "//:hello"]).says("nothing to do");
        // Where it is attached in generic mode, no other is tried at the next device.
        ok(lab, &workspace, &["attach", "hello", "--interface", NEAR]);
        assert_eq!(status(lab, &workspace)[0]["hooks"][1]["mode"], "generic");
        ok(lab, &workspace, &["detach", "hello", "--interface", NEAR]);
        ok(lab, &workspace, &["detach", "hello", "--interface", "lo"]);
        assert!(ok(lab, &workspace, &["status", "hello"]).out.contains("  hook     attached nowhere\n"));
        let said = ouro(lab, &workspace, &["attach", "hello", NEAR]);
        assert_eq!(said.code, 2);
        ok(lab, &workspace, &["undeploy", "hello"]);
    });
}

/// Whoever deployed without `--netns`, and then with one, was told to name the namespace they stood in, or to undeploy.
#[test]
fn a_deployment_of_the_own_namespace_wants_no_flag() {
    lab(|lab| {
        let workspace = Workspace::example("01-hello-xdp");
        workspace.edit("BUILD.ouro", "\"eth0\"", "\"lo\"");
        ok(lab, &workspace, &["deploy", "//:hello"]);
        let mut holder = Command::new("unshare").args(["--net", "sleep", "600"]).spawn().unwrap();
        let netns = format!("/proc/{}/ns/net", holder.id());
        let own = fs::metadata("/proc/thread-self/ns/net").unwrap().ino();
        while fs::metadata(&netns).unwrap().ino() == own {
            std::thread::sleep(Duration::from_millis(5));
        }
        let said = ouro(lab, &workspace, &["deploy", "//:hello", "--netns", &netns]);
        assert_eq!(said.code, 1, "{}", said.err);
        said.says("was attached in another network namespace").says("leave out `--netns`");
        ok(lab, &workspace, &["undeploy", "hello"]);
        holder.kill().unwrap();
        holder.wait().unwrap();
    });
}

/// As root `ouro undeploy hello` ended in "not permitted: a descriptor of process N", with the right to look there given up.
#[test]
fn a_chain_at_a_socket_is_in_no_others_way() {
    lab(|lab| {
        let workspace = Workspace::example("01-hello-xdp");
        let (socket, _near) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let mut holder = Command::new("sleep").arg("600").stdin(std::os::fd::OwnedFd::from(socket)).spawn().unwrap();
        let at = format!("socket(pid = {}, fd = 0)", holder.id());
        workspace.write("guard/strict.c", STRICT);
        workspace.write("guard/BUILD", &GUARD.replace("SOCKET", &at));
        ok(lab, &workspace, &["deploy", "//guard"]);
        for _ in 0..2 {
            ok(lab, &workspace, &["deploy", "//:hello", "--interface", NEAR, "--force"]);
        }
        ok(lab, &workspace, &["rollback", "hello"]).says("generation 1 is live");
        lab.cable("near1", "far1", "10.98.0");
        ok(lab, &workspace, &["attach", "hello", "--interface", "near1"]);
        ok(lab, &workspace, &["detach", "hello", "--interface", "near1"]);
        let said = ouro(lab, &workspace, &["undeploy", "helo"]);
        said.says("did you mean `hello`?");
        ok(lab, &workspace, &["undeploy", "hello", "--keep-maps"]);
        ok(lab, &workspace, &["undeploy", "hello"]);
        assert_eq!(status(lab, &workspace)[0]["hooks"][0]["alive"], true);
        ok(lab, &workspace, &["undeploy", "guard", "--keep-maps"]);
        ok(lab, &workspace, &["undeploy", "guard"]);
        holder.kill().unwrap();
        holder.wait().unwrap();
    });
}

const STRICT: &str = "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n\
    struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } seen SEC(\".maps\");\n\
    SEC(\"socket\") int strict(struct __sk_buff *packet) { __u32 key = 0; return bpf_map_lookup_elem(&seen, &key) ? -1 : 0; }\n\
    char _license[] SEC(\"license\") = \"GPL\";\n";
const GUARD: &str = "bpf_map(name = \"seen\", type = \"array\", max_entries = 1)\n\
    bpf_program(name = \"strict\", srcs = [\"strict.c\"], type = \"socket\", maps = [\":seen\"])\n\
    bpf_chain(name = \"guard\", entry = \":strict\", attach = [SOCKET])\n";

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
fn a_deploy_that_detaches_says_so_and_an_unknown_name_is_an_error() {
    lab(|lab| {
        lab.cable("near1", "far1", "10.98.0");
        let workspace = Workspace::example("02-two-program-chain");
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]);
        ok(lab, &workspace, &["attach", "two", "--interface", "near1"]);
        ok(lab, &workspace, &["deploy", "//:two", "--interface", NEAR]).says("detached from generic XDP of `near1`");
        for command in [&["undeploy", "tow"][..], &["status", "tow"], &["detach", "tow", "--interface", NEAR]] {
            let said = ouro(lab, &workspace, command);
            assert_eq!(said.code, 2, "{command:?}: {}", said.err);
            said.says("nothing is deployed as `tow`").says("did you mean `two`?");
        }
        ok(lab, &workspace, &["undeploy", "two"]);
        ok(lab, &workspace, &["undeploy", "two", "--if-exists"]);
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
