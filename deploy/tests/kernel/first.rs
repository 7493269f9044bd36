//! The first deploy: packets, counts, status against bpftool, and nothing left afterwards.

use ouro_deploy::{Counts, Problem, Step};

use crate::chain::{Chain, count, if_udp, map, ring};
use crate::support::{Lab, bpftool, is_gone, lab, sh};
use crate::{deployed, status, undeployed};

#[test]
fn packets_take_the_chain_and_are_counted() {
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        deployed(lab, &bundle);
        assert_eq!(lab.ping(20), 20);
        lab.udp(4000, 30);
        let status = status(lab);
        assert_eq!(status.problems, []);
        assert_eq!((status.name.as_str(), status.generation, &status.digest), ("fw", Some(1), &bundle.digest));
        let counts = |name: &str| status.edges.iter().find(|edge| edge.name == name).and_then(|edge| edge.counts).unwrap();
        assert_eq!(counts("block"), Counts { taken: 30, missed: 0 });
        // The far end asks for our address too.
        assert!((20..40).contains(&counts("allow").taken) && counts("allow").missed == 0, "{status:?}");
        assert_eq!(seen(lab), 30, "the shared map was counted in by the second program");
        undeployed(lab, "fw");
        assert_eq!(lab.ping(5), 5);
    });
}

/// The counter that `block` adds to.
fn seen(lab: &Lab) -> u64 {
    let path = lab.bpffs.join("ouro/fw/maps").join(map("seen", "array", 1).pin());
    let dump = bpftool(&["map", "dump", "pinned", path.to_str().unwrap()]);
    dump[0]["formatted"]["value"].as_u64().unwrap_or_else(|| panic!("the map has BTF: {dump}"))
}

#[test]
fn bpftool_agrees_with_status() {
    lab(|lab| {
        deployed(lab, &Chain::firewall().bundle(lab.folder()));
        lab.udp(4000, 3);
        let status = status(lab);
        for program in &status.programs {
            let shown = bpftool(&["prog", "show", "pinned", program.path.to_str().unwrap()]);
            assert_eq!((shown["id"].as_u64(), shown["name"].as_str()), (program.id.map(u64::from), Some(program.name.as_str())));
            assert_eq!(shown["type"], "xdp");
        }
        let hook = &status.hooks[0];
        let link = bpftool(&["link", "show", "pinned", hook.path.as_ref().unwrap().to_str().unwrap()]);
        assert_eq!((link["id"].as_u64(), link["prog_id"].as_u64()), (hook.link.map(u64::from), hook.program.map(u64::from)));
        assert_eq!(sh("cat /proc/net/dev").lines().filter(|line| line.contains("near0")).count(), 1);
        let maps = &status.maps[0];
        let map = bpftool(&["map", "show", "pinned", maps.path.to_str().unwrap()]);
        assert_eq!(
            (map["id"].as_u64(), map["type"].as_str(), map["max_entries"].as_u64()),
            (Some(maps.id.into()), Some("array"), Some(1))
        );
        let generation = lab.bpffs.join("ouro/fw/gen-1/maps");
        let table = bpftool(&["map", "show", "pinned", generation.join("table").to_str().unwrap()]);
        assert_eq!((table["type"].as_str(), table["frozen"].as_u64()), (Some("prog_array"), Some(1)));
        let counts = bpftool(&["map", "dump", "pinned", generation.join("counts").to_str().unwrap()]);
        assert_eq!(taken(&counts[0]), status.edges[0].counts.unwrap().taken);
        assert_eq!(taken(&counts[0]), 3);
    });
}

/// The first eight bytes of each CPU's value, added up.
fn taken(element: &serde_json::Value) -> u64 {
    let byte = |value: &serde_json::Value| u8::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    let low = |cpu: &serde_json::Value| {
        cpu["value"].as_array().unwrap()[..8].iter().rev().fold(0, |sum, digit| sum << 8 | u64::from(byte(digit)))
    };
    element["values"].as_array().unwrap().iter().map(low).sum()
}

#[test]
fn nothing_is_left_in_the_kernel() {
    lab(|lab| {
        let chain = Chain::firewall().map(ring("ring", 5000));
        let body = count("seen");
        let chain = chain.program(
            "logs",
            "xdp",
            &format!("{body} void *e = bpf_ringbuf_reserve(&ring, 8, 0); if (e) bpf_ringbuf_discard(e, 0); return XDP_PASS;"),
            &[],
        );
        deployed(lab, &chain.bundle(lab.folder()));
        let status = status(lab);
        // Also the maps nobody pinned: read-only data and the like.
        let mut maps: Vec<u64> = Vec::new();
        for program in &status.programs {
            let shown = bpftool(&["prog", "show", "pinned", program.path.to_str().unwrap()]);
            maps.extend(shown["map_ids"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_u64));
        }
        assert!(maps.len() >= 5, "{maps:?}");
        undeployed(lab, "fw");
        for id in maps {
            assert!(is_gone("map", u32::try_from(id).unwrap()), "map {id} is left");
        }
    });
}

#[test]
fn a_chain_of_one_program_needs_no_table() {
    lab(|lab| {
        let chain = Chain::new("one").program("only", "xdp/only", &if_udp("return XDP_DROP;", "return XDP_PASS;"), &[]);
        let steps = deployed(lab, &chain.bundle(lab.folder()));
        assert!(!steps.iter().any(|step| matches!(step, Step::CreateTable { .. } | Step::CreateCounts { .. })), "{steps:?}");
        assert_eq!(lab.ping(5), 5);
        undeployed(lab, "one");
    });
}

#[test]
fn a_chain_that_does_not_count_has_no_counts() {
    lab(|lab| {
        let mut bundle = Chain::firewall().bundle(lab.folder());
        bundle.manifest.counting = false;
        let steps = deployed(lab, &bundle);
        assert!(!steps.iter().any(|step| matches!(step, Step::CreateCounts { .. })), "{steps:?}");
        assert_eq!(lab.ping(5), 5);
        assert!(status(lab).edges.iter().all(|edge| edge.counts.is_none()));
        undeployed(lab, "fw");
    });
}

#[test]
fn a_chain_that_attaches_nowhere_is_live_when_whole() {
    lab(|lab| {
        let bundle = Chain::firewall().attach(&[]).bundle(lab.folder());
        deployed(lab, &bundle);
        assert_eq!((status(lab).generation, status(lab).problems), (Some(1), vec![]));
        assert_eq!(deployed(lab, &bundle), [], "it is live");
        std::fs::remove_file(lab.bpffs.join("ouro/fw/gen-1/progs/allow")).unwrap();
        assert!(status(lab).problems.contains(&Problem::ProgramGone { program: "allow".to_owned() }));
        deployed(lab, &bundle);
        assert_eq!((status(lab).generation, status(lab).problems), (Some(2), vec![]));
        undeployed(lab, "fw");
    });
}

#[test]
fn it_works_inside_ip_netns_exec() {
    // A named namespace hides nothing of ours: its /sys is mounted anew, the bpffs stays where it is.
    const INSIDE: &str = "OURO_TEST_BPFFS";
    if let Some(bpffs) = std::env::var_os(INSIDE) {
        let folder = tempfile::tempdir().unwrap();
        let bundle = Chain::firewall().bundle(folder.path());
        ouro_deploy::deploy(bpffs.as_ref(), &bundle, &ouro_deploy::Options::default(), &mut |_| {}).unwrap();
        return;
    }
    lab(|lab| {
        let namespace = Namespace(format!("ouro-test-{}", std::process::id()));
        let name = &namespace.0;
        sh(&format!(
            "ip netns add {name} && ip link set near0 netns {name} && ip -n {name} addr add 10.99.0.1/24 dev near0 && ip -n {name} link set near0 up"
        ));
        let exe = std::env::current_exe().unwrap();
        let test = "first::it_works_inside_ip_netns_exec";
        sh(&format!("{INSIDE}={} ip netns exec {name} {} --exact {test} --nocapture", lab.bpffs.display(), exe.display()));
        assert_eq!(lab.ping(5), 5);
        lab.udp(4000, 7);
        assert_eq!(seen(lab), 7);
        // A link is removed by its pin, from any namespace.
        undeployed(lab, "fw");
    });
}

/// A named network namespace, deleted when dropped.
struct Namespace(String);

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = std::process::Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}
