//! Maps from BUILD files to the kernel: what they hold at first, and what becomes of it when their declarations change.

#[path = "../deploy/tests/support/mod.rs"]
#[allow(dead_code, reason = "a laboratory has more than these tests use")]
mod lab;
mod support;

use lab::{Lab, NEAR, bpftool, lab};
use serde_json::Value;
use support::{Said, Workspace};

const BUILD: &str = r#"
LIMITS = {
    6: {"name": "tcp", "rate": 10, "dscp": 5, "steps": [1, -2]},
    1: {"name": "icmp", "rate": "0xffffffffffffffff", "v4": 7},
}

bpf_map(
    name = "limits",
    type = "hash",
    hdrs = ["fw.h"],
    value = "struct limit",
    max_entries = 8,
    contents = LIMITS,
    frozen = True,
)

bpf_map(
    name = "peers",
    type = "hash",
    hdrs = ["fw.h"],
    key = "struct peer",
    max_entries = 8,
    contents = [({"address": [10, 99, 0, 2], "port": 53}, 1)],
)

bpf_map(name = "ring_a", type = "array", max_entries = 1)
bpf_map(name = "ring_b", type = "array", max_entries = 1, contents = [5])

bpf_map(
    name = "rings",
    type = "array_of_maps",
    inner = ":ring_a",
    max_entries = 2,
    contents = {1: ":ring_b"},
)

bpf_map(
    name = "hits",
    type = "percpu_array",
    hdrs = ["fw.h"],
    value = "struct hits",
    max_entries = 1,
    on_change = "convert",
)

bpf_program(
    name = "fw",
    srcs = ["fw.c"],
    type = "xdp",
    maps = [":hits", ":limits", ":peers", ":rings"],
)

bpf_chain(name = "chain", entry = ":fw", attach = [xdp(interface = "eth0")])
"#;

const HEADER: &str = r#"
#pragma once
struct limit {
	char name[8];
	__u64 rate;
	union { __u32 v4; __u8 raw[4]; };
	__u32 dscp : 6, ecn : 2;
	__s16 steps[2];
};
struct peer { __u8 address[4]; __u16 port; };
struct hits { __u32 pings; };
"#;

const SOURCE: &str = r#"
#include <ouro/program.h>

SEC("xdp") int fw(struct xdp_md *ctx)
{
	unsigned char *p = (void *)(long)ctx->data;
	__u32 zero = 0, one = 1, kind;
	struct peer peer = {.address = {10, 99, 0, 2}, .port = 53};
	struct limit *limit;
	struct hits *hits;
	void *ring;
	__u64 *seen;

	if (p + 35 > (unsigned char *)(long)ctx->data_end || p[12] != 8 || p[13] != 0)
		return XDP_PASS;
	kind = p[23];
	limit = bpf_map_lookup_elem(&limits, &kind);
	ring = bpf_map_lookup_elem(&rings, &one);
	hits = bpf_map_lookup_elem(&hits_map, &zero);
	if (!limit || !ring || !hits || limit->rate + 1 != 0 || limit->v4 != 7 || !bpf_map_lookup_elem(&peers, &peer))
		return XDP_DROP;
	seen = bpf_map_lookup_elem(ring, &zero);
	if (seen)
		__sync_fetch_and_add(seen, 1);
	hits->pings++;
	return XDP_PASS;
}
char _license[] SEC("license") = "GPL";
"#;

fn workspace() -> Workspace {
    // `hits` is a variable of the program, too.
    let (build, source) = (BUILD.replace("\"hits\"", "\"hits_map\"").replace(":hits", ":hits_map"), SOURCE);
    Workspace::with(&[("fw/BUILD.ouro", &build), ("fw/fw.h", HEADER), ("fw/fw.c", source)])
}

fn ouro(lab: &Lab, workspace: &Workspace, arguments: &[&str]) -> Said {
    Said::of(workspace.command(arguments).arg("--bpffs").arg(&lab.bpffs).output().expect("ouro runs"))
}

#[track_caller]
fn ok(lab: &Lab, workspace: &Workspace, arguments: &[&str]) -> Said {
    let said = ouro(lab, workspace, arguments);
    assert_eq!(said.code, 0, "ouro {arguments:?}\n{}{}", said.out, said.err);
    said
}

const DEPLOY: &[&str] = &["deploy", "//fw:chain", "--interface", NEAR];

/// What bpftool says of the map of this name that packets meet.
fn dump(lab: &Lab, workspace: &Workspace, name: &str) -> Value {
    let status: Value = serde_json::from_str(&ok(lab, workspace, &["status", "--json"]).out).expect("JSON");
    let maps: Vec<&Value> =
        status[0]["maps"].as_array().expect("maps").iter().filter(|map| map["name"] == name && map["live"] == true).collect();
    assert_eq!(maps.len(), 1, "{status}");
    bpftool(&["map", "dump", "pinned", maps[0]["path"].as_str().expect("a path")])
}

fn pings(lab: &Lab, workspace: &Workspace) -> u64 {
    let dump = dump(lab, workspace, "hits_map");
    let values = dump[0]["formatted"]["values"].as_array().unwrap_or_else(|| panic!("{dump}"));
    values.iter().map(|value| value["value"]["pings"].as_u64().expect("a number")).sum()
}

#[test]
fn what_a_build_file_says_is_what_programs_see() {
    lab(|lab| {
        let workspace = workspace();
        ok(lab, &workspace, DEPLOY);
        assert_eq!(lab.ping(5), 5, "every map holds what it should, or the packet is dropped");
        let limits = dump(lab, &workspace, "limits");
        let tcp = limits.as_array().unwrap().iter().map(|entry| &entry["formatted"]).find(|entry| entry["key"] == 6).unwrap();
        let value = &tcp["value"];
        assert_eq!((&value["rate"], &value["dscp"], &value["ecn"]), (&10.into(), &"0x5".into(), &"0x0".into()), "{value}");
        assert_eq!(value["steps"], serde_json::json!([1, -2]));
        // No object declares it, so the kernel knows its bytes alone.
        assert_eq!(dump(lab, &workspace, "ring_b")[0]["value"][0], "0x0a");
        let said = ok(lab, &workspace, &["status"]);
        assert!(said.out.contains("hash of 8, 2 used") && said.out.contains("frozen"), "{}", said.out);

        // The counter grows, and gets a neighbour; nothing else is touched.
        workspace.edit("fw/fw.h", "__u32 pings;", "__u64 bytes, pings;");
        ok(lab, &workspace, DEPLOY);
        assert_eq!(lab.ping(3), 3);
        assert_eq!(pings(lab, &workspace), 8);
        // Another limit is another frozen table.
        workspace.edit("fw/BUILD.ouro", "\"rate\": 10", "\"rate\": 11");
        ok(lab, &workspace, DEPLOY);
        assert_eq!(lab.ping(2), 2);
        assert_eq!(pings(lab, &workspace), 10);
        // And what is not said is not done.
        workspace.edit(
            "fw/BUILD.ouro",
            "name = \"ring_b\", type = \"array\",",
            "name = \"ring_b\", type = \"array\", flags = [\"mmapable\"],",
        );
        workspace.edit(
            "fw/BUILD.ouro",
            "name = \"ring_a\", type = \"array\",",
            "name = \"ring_a\", type = \"array\", flags = [\"mmapable\"],",
        );
        let said = ouro(lab, &workspace, DEPLOY);
        assert_ne!(said.code, 0);
        said.says("map `ring_b` is pinned with another definition: flags is 0, declared is 1024");
        said.says("give the `bpf_map` `ring_b` `on_change = \"copy\"`");
        ok(lab, &workspace, &["undeploy", "fw-chain"]);
    });
}

#[test]
fn values_that_do_not_fit_are_told_where_they_are_written() {
    let workspace = workspace();
    workspace.edit("fw/BUILD.ouro", "\"dscp\": 5", "\"dscp\": 64");
    workspace.edit("fw/BUILD.ouro", "\"v4\": 7", "\"v5\": 7");
    workspace.edit("fw/BUILD.ouro", "\"port\": 53", "\"port\": \"dns\"");
    let said = workspace.fails(1, &["build", "//fw:chain"]);
    said.says("`64` does not fit: the type holds 0 to 63").says("fw/BUILD.ouro:13:16");
    said.says("there is no member `v5`").says("did you mean `v4`?");
    said.says("expected a number of 2 bytes, got `\"dns\"`").says("fw/BUILD.ouro:23:54");
}
