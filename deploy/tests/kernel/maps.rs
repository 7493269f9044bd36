//! Maps of every type, what they hold at first, and what becomes of that when their definitions change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ouro_deploy::{Conflict, DeploymentStatus, Error, RemoveOptions, Step};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Bytes, Content, Element, Layout, MapSpec, Member, OnChange};
use ouro_rules::map_type::{MAP_TYPES, Need, Size};

use crate::chain::{Chain, if_udp, map, ring};
use crate::missing::{lacks_for_a_part, precedes};
use crate::raw::{elements, fill, map_update};
use crate::support::{Lab, bpftool, lab};
use crate::{deploy, deployed, undeployed};

/// The status; of maps, those of the live generation.
fn status(lab: &Lab) -> DeploymentStatus {
    let mut found = crate::status(lab);
    found.maps.retain(|map| map.live);
    found
}

/// The pin of the map of this name.
fn path(lab: &Lab, name: &str) -> PathBuf {
    let maps: Vec<_> = status(lab).maps.into_iter().filter(|map| map.name == name).collect();
    assert_eq!(maps.len(), 1, "{maps:?}");
    maps[0].path.clone()
}

/// Counts UDP packets by the port they go to.
fn counting(flows: MapSpec, value: &str) -> Chain {
    let count = format!(
        "__u32 port; {value} one = {{}}, *n;\n\
         if (p + 38 > (unsigned char *)(long)ctx->data_end) return XDP_PASS;\n\
         port = p[36] << 8 | p[37];\n\
         n = bpf_map_lookup_elem(&flows, &port);\n\
         if (n) __sync_fetch_and_add(&n->hits, 1); else {{ one.hits = 1; bpf_map_update_elem(&flows, &port, &one, BPF_ANY); }}\n\
         return XDP_DROP;"
    );
    Chain::new("fw").map(flows).program("count", "xdp", &if_udp(&count, "return XDP_PASS;"), &[])
}

fn int(bytes: u32) -> Layout {
    Layout::Int { bytes, signed: false }
}

fn record(bytes: u32, members: &[(&str, u32, u32)]) -> Layout {
    let member =
        |(name, at, size): &(&str, u32, u32)| Member { name: (*name).to_owned(), at: at * 8, bits: None, layout: int(*size) };
    Layout::Struct { bytes, members: members.iter().map(member).collect() }
}

/// `struct { __u32 hits, old; }` by port.
fn first(ty: &str, max_entries: u32, on_change: OnChange) -> Chain {
    let layout = Some(record(8, &[("hits", 0, 4), ("old", 4, 4)]));
    let spec = MapSpec {
        value: "struct first".to_owned(),
        value_layout: layout,
        key_layout: Some(int(4)),
        on_change,
        ..map("flows", ty, max_entries)
    };
    Chain { declarations: "struct first { __u32 hits, old; };\n".to_owned(), ..counting(spec, "struct first") }
}

/// `struct { __u64 fresh, hits; }` by port.
fn second(on_change: OnChange) -> Chain {
    let layout = Some(record(16, &[("fresh", 0, 8), ("hits", 8, 8)]));
    let sizes = MapSpec { value_size: 16, value_layout: layout, key_layout: Some(int(4)), on_change, ..map("flows", "hash", 16) };
    let spec = MapSpec { value: "struct second".to_owned(), ..sizes };
    Chain { declarations: "struct second { __u64 fresh, hits; };\n".to_owned(), ..counting(spec, "struct second") }
}

/// What was counted, by port.
fn hits(lab: &Lab) -> BTreeMap<u64, u64> {
    let dump = bpftool(&["map", "dump", "pinned", path(lab, "flows").to_str().unwrap()]);
    let entry = |entry: &serde_json::Value| {
        let entry = &entry["formatted"];
        (entry["key"].as_u64().unwrap(), entry["value"]["hits"].as_u64().unwrap_or_else(|| panic!("{dump}")))
    };
    dump.as_array().unwrap().iter().map(entry).collect()
}

#[test]
fn a_changed_definition_is_refused_unless_something_is_said() {
    lab(|lab| {
        deployed(lab, &first("hash", 16, OnChange::Keep).bundle(lab.folder()));
        lab.udp(4000, 10);
        let refusal = |chain: Chain| match deploy(lab, &chain.bundle(lab.folder())).unwrap_err() {
            Error::Conflicts(found) => (found[0].to_string(), found[0].help()),
            other => panic!("{other}"),
        };
        let (text, help) = refusal(second(OnChange::Keep));
        assert_eq!(
            text,
            "map `flows` is pinned with another definition: value size is 8, declared is 16; `fresh` of the value is missing, declared is \
             a number of 8 bytes at byte 0; `hits` of the value is a number of 4 bytes at byte 0, declared is a number of 8 bytes at byte \
             8; `old` of the value is a number of 4 bytes at byte 4, declared is missing"
        );
        assert!(help.contains("`on_change = \"convert\"`"), "{help}");
        let (_, help) = refusal(first("lru_hash", 32, OnChange::Keep));
        assert!(help.contains("`on_change = \"copy\"`"), "{help}");
        let (text, help) = refusal(second(OnChange::Copy));
        assert_eq!(
            text,
            "what map `flows` holds cannot be copied: the value has other members, which `copy` does not carry over"
        );
        assert!(help.contains("`on_change = \"reset\"`"), "{help}");
        assert_eq!(hits(lab), [(4000, 10)].into());
        undeployed(lab, "fw");
    });
}

#[test]
fn each_policy_does_what_it_says() {
    lab(|lab| {
        deployed(lab, &first("hash", 16, OnChange::Keep).bundle(lab.folder()));
        lab.udp(4000, 10);
        lab.udp(5000, 3);
        let old = status(lab);
        deployed(lab, &first("hash", 16, OnChange::Copy).bundle(lab.folder()));
        assert_eq!(status(lab).maps[0].id, old.maps[0].id, "the same definition is the same map");
        deployed(lab, &first("lru_hash", 64, OnChange::Copy).bundle(lab.folder()));
        let copied = status(lab);
        assert_ne!(copied.maps[0].id, old.maps[0].id);
        let facts = (copied.maps[0].ty.as_str(), copied.maps[0].max_entries, copied.maps[0].entries, copied.maps[0].on_change);
        assert_eq!(facts, ("lru_hash", 64, Some(2), Some(OnChange::Copy)));
        lab.udp(4000, 1);
        assert_eq!(hits(lab), [(4000, 11), (5000, 3)].into());
        deployed(lab, &second(OnChange::Convert).bundle(lab.folder()));
        lab.udp(5000, 1);
        assert_eq!(hits(lab), [(4000, 11), (5000, 4)].into());
        // And back, as a rollback would.
        deployed(lab, &first("hash", 16, OnChange::Convert).bundle(lab.folder()));
        lab.udp(6000, 2);
        assert_eq!(hits(lab), [(4000, 11), (5000, 4), (6000, 2)].into());
        // The generation before has a map of the next definition, and would lend it; one more has it go.
        crate::redeployed(lab, &first("hash", 16, OnChange::Convert).bundle(lab.folder()));
        deployed(lab, &second(OnChange::Reset).bundle(lab.folder()));
        lab.udp(6000, 2);
        assert_eq!(hits(lab), [(6000, 2)].into());
        assert_eq!(status(lab).maps.len(), 1, "maps that nothing uses are gone");
        undeployed(lab, "fw");
    });
}

#[test]
fn what_does_not_fit_changes_nothing() {
    lab(|lab| {
        deployed(lab, &second(OnChange::Keep).bundle(lab.folder()));
        lab.udp(4000, 2);
        lab.udp(5000, 2);
        let before = status(lab);
        let refusal = |chain: Chain| {
            let error = deploy(lab, &chain.bundle(lab.folder())).unwrap_err();
            assert!(error.help().is_some_and(|help| help.contains("`flows` `on_change = \"reset\"`")), "{error}");
            error.to_string()
        };
        let error = refusal(first("hash", 1, OnChange::Convert));
        let told = "what map `flows` holds cannot be carried over: it holds 2 elements, and the new one has room for 1";
        assert!(error.contains(told), "{error}");
        let large = [[0; 8], (1u64 << 40).to_ne_bytes()].concat();
        map_update(&path(lab, "flows"), 4000, &large).unwrap();
        let error = refusal(first("hash", 16, OnChange::Convert));
        assert!(error.contains("at the key 4000: `hits` is 1099511627776, which 32 bits cannot hold"), "{error}");
        assert!(error.contains("everything before it was undone"), "{error}");
        assert_eq!((status(lab).generation, &status(lab).maps, &status(lab).problems), (Some(1), &before.maps, &vec![]));
        lab.udp(5000, 1);
        assert_eq!(hits(lab), [(4000, 1 << 40), (5000, 3)].into());
        undeployed(lab, "fw");
    });
}

/// Each ping has a key of its own, so that a lost element is a lost packet.
fn pings(max_entries: u32) -> Chain {
    let note = "if (p + 42 <= (unsigned char *)(long)ctx->data_end && p[12] == 8 && p[13] == 0 && p[23] == 1 && p[34] == 8) {\n\
                __u32 key = *(__u32 *)(p + 38); __u64 one = 1; bpf_map_update_elem(&pings, &key, &one, BPF_ANY); }\nreturn XDP_PASS;";
    let spec = MapSpec { on_change: OnChange::Copy, ..map("pings", "hash", max_entries) };
    let body = format!("unsigned char *p = (void *)(long)ctx->data;\n{note}");
    Chain::new("fw").map(spec).program("note", "xdp", &body, &[])
}

#[test]
fn what_changes_while_it_is_copied_is_not_lost() {
    lab(|lab| {
        deployed(lab, &pings(400_000).bundle(lab.folder()));
        let bundles: Vec<Bundle> = (1..=6).map(|round| pings(400_000 + round).bundle(lab.folder())).collect();
        let flood = lab.flood();
        bundles.iter().for_each(|bundle| drop(deployed(lab, bundle)));
        let (sent, received) = flood.stop();
        assert!(sent > 1_000 && sent == received, "{sent} {received}");
        assert_eq!(elements(&path(lab, "pings")).len(), sent as usize);
        undeployed(lab, "fw");
    });
}

#[test]
fn a_hundred_thousand_elements_are_carried_over() {
    lab(|lab| {
        for ty in ["hash", "lru_hash", "percpu_hash"] {
            deployed(lab, &pings_like(ty, 200_000).bundle(lab.folder()));
            fill(&path(lab, "pings"), 0..100_000);
            let before = elements(&path(lab, "pings"));
            let steps = deployed(lab, &pings_like(ty, 250_000).bundle(lab.folder()));
            assert!(steps.iter().any(|step| matches!(step, Step::CatchUpMap { .. })), "{steps:?}");
            assert!(before.len() == 100_000 && elements(&path(lab, "pings")) == before);
            undeployed(lab, "fw");
        }
    });
}

fn pings_like(ty: &str, max_entries: u32) -> Chain {
    let mut chain = pings(max_entries);
    chain.maps[0].ty = ty.to_owned();
    chain
}

#[test]
fn maps_of_an_earlier_version_are_adopted() {
    lab(|lab| {
        let mut old = Chain::firewall().bundle(lab.folder());
        old.manifest.format = 1;
        deployed(lab, &old);
        lab.udp(4000, 10);
        let pins = lab.bpffs.join("ouro/fw/maps");
        std::fs::rename(pins.join(map("seen", "array", 1).pin()), pins.join("seen")).unwrap();
        let before = status(lab);
        assert_eq!((&before.foreign, &before.problems, &before.maps[0].abi), (&vec![], &vec![], &None));
        let steps = deployed(lab, &Chain::firewall().bundle(lab.folder()));
        let map = map("seen", "array", 1).pin();
        assert!(steps.contains(&Step::AdoptMap { map: map.clone(), from: "seen".to_owned() }), "{steps:?}");
        lab.udp(4000, 1);
        let after = status(lab);
        assert_eq!((after.maps.len(), after.maps[0].id, &after.maps[0].path), (1, before.maps[0].id, &pins.join(map)));
        assert_eq!(elements(&after.maps[0].path), [(0, 11)].into());
        undeployed(lab, "fw");
    });
}

#[test]
fn kept_maps_are_carried_over_too() {
    lab(|lab| {
        deployed(lab, &first("hash", 16, OnChange::Keep).bundle(lab.folder()));
        lab.udp(4000, 10);
        let keep = RemoveOptions { keep_maps: true, ..RemoveOptions::default() };
        ouro_deploy::undeploy(&lab.bpffs, "fw", &keep, &mut |_| {}).unwrap();
        deployed(lab, &second(OnChange::Convert).bundle(lab.folder()));
        lab.udp(4000, 1);
        assert_eq!(hits(lab), [(4000, 11)].into());
        undeployed(lab, "fw");
    });
}

/// What a first contents' element is.
fn element(key: &[u8], value: &[u8]) -> Element {
    Element { key: Bytes(key.to_vec()), value: Content::Bytes(Bytes(value.to_vec())) }
}

#[test]
fn maps_hold_what_is_declared_and_frozen_ones_keep_it() {
    lab(|lab| {
        let numbers =
            |keys: std::ops::Range<u32>| keys.map(|key| element(&key.to_ne_bytes(), &u64::from(key + 7).to_ne_bytes())).collect();
        let table = |keys| MapSpec { contents: numbers(keys), frozen: true, flags: 1 << 7, ..map("table", "array", 4) };
        let held = MapSpec { max_entries: 9, ..map("held", "hash", 4) };
        let outer = MapSpec {
            value: String::new(),
            value_size: 4,
            inner: Some(Box::new(map("like", "hash", 4))),
            contents: vec![Element { key: Bytes(vec![1, 0, 0, 0]), value: Content::Map(held.pin()) }],
            ..map("outer", "array_of_maps", 2)
        };
        let queue =
            MapSpec { key: String::new(), key_size: 0, contents: vec![element(&[], &[5; 8])], ..map("queue", "queue", 4) };
        let cpus = MapSpec { contents: numbers(0..2), ..map("cpus", "percpu_array", 2) };
        let program = "__u32 one = 1; void *in = bpf_map_lookup_elem(&outer, &one); __u64 *n, v = 1;\n\
                       __u32 two = 2; n = bpf_map_lookup_elem(&table, &two);\n\
                       if (in && n) bpf_map_update_elem(in, n, &v, BPF_ANY);\nreturn XDP_PASS;";
        let chain = |keys| {
            let maps = Chain::new("fw").map(outer.clone()).map(queue.clone()).map(cpus.clone()).map(table(keys));
            maps.program("look", "xdp", program, &[])
        };
        let mut bundle = chain(0..4).bundle(lab.folder());
        bundle.manifest.maps.push(held.clone());
        deployed(lab, &bundle);
        assert_eq!(lab.ping(3), 3);
        assert_eq!(elements(&path(lab, "held")), [(9, 1)].into(), "found through the outer map, and by what the table says");
        assert_eq!(elements(&path(lab, "cpus")), [(0, 7), (1, 8)].into());
        assert!(map_update(&path(lab, "table"), 0, &[0; 8]).is_err(), "it is frozen");
        assert!(status(lab).maps.iter().any(|map| map.name == "table" && map.frozen));
        // Another table is another map, whatever `on_change` says: it holds nothing that could be lost.
        let before = path(lab, "table");
        let mut other = chain(0..3).bundle(lab.folder());
        other.manifest.maps.push(held);
        deployed(lab, &other);
        assert_ne!(path(lab, "table"), before);
        assert_eq!(elements(&path(lab, "table"))[&3], 0);
        undeployed(lab, "fw");
    });
}

/// The kernel compares the locks and timers of a map with those of the one that stands for it, so that needs its types as well:
/// what `ouro verify` took could not be deployed.
#[test]
fn a_map_of_maps_holds_maps_with_locks() {
    if precedes("maps of maps with locks", "6.2") {
        return;
    }
    lab(|lab| {
        let locked = |name| MapSpec { value: "struct locked".to_owned(), ..map(name, "array", 1) };
        let held = locked("held");
        let outer = MapSpec {
            value: String::new(),
            value_size: 4,
            inner: Some(Box::new(locked("like"))),
            contents: vec![Element { key: Bytes(vec![0; 4]), value: Content::Map(held.pin()) }],
            ..map("outer", "array_of_maps", 1)
        };
        let program = "__u32 zero = 0; void *in = bpf_map_lookup_elem(&outer, &zero); struct locked *at;\n\
                       if (!in || !(at = bpf_map_lookup_elem(in, &zero))) return XDP_PASS;\n\
                       bpf_spin_lock(&at->lock); at->hits++; bpf_spin_unlock(&at->lock);\nreturn XDP_PASS;";
        let chain =
            Chain { declarations: "struct locked { struct bpf_spin_lock lock; __u32 hits; };\n".to_owned(), ..Chain::new("fw") };
        let bundle = chain.map(outer).map(held).program("look", "xdp", program, &[]).bundle(lab.folder());
        deployed(lab, &bundle);
        assert_eq!(lab.ping(3), 3);
        assert!(elements(&path(lab, "held"))[&0] >> 32 >= 3, "{:?}", elements(&path(lab, "held")));
        undeployed(lab, "fw");
    });
}

/// A map as a BUILD file can declare it.
fn of_type(name: &str) -> MapSpec {
    let ty = MAP_TYPES.iter().find(|ty| ty.name == name).unwrap();
    let (key, key_size) = match ty.key {
        Need::Nothing => ("", 0),
        Need::Given => ("__u64", 8),
        Need::Cgroup => ("struct bpf_cgroup_storage_key", 16),
        _ => ("__u32", 4),
    };
    let (value, value_size) = match ty.value {
        Need::Nothing => ("", 0),
        Need::Maps => ("", 4),
        Need::U32 => ("__u32", 4),
        _ if ["devmap", "devmap_hash", "cpumap", "sockmap", "sockhash", "reuseport_sockarray"].contains(&name) => ("__u32", 4),
        _ => ("__u64", 8),
    };
    let max_entries = match ty.size {
        Size::Owners | Size::Cpus => 0,
        Size::Bytes => 4096,
        _ => 2,
    };
    MapSpec {
        key: key.to_owned(),
        value: value.to_owned(),
        key_size,
        value_size,
        flags: ty.implied_flags(),
        map_extra: if name == "arena" { 1 << 44 } else { 0 },
        inner: ty.holds_maps().then(|| Box::new(map("like", "array", 2))),
        ..map(&name[..name.len().min(15)], name, max_entries)
    }
}

#[test]
fn every_type_can_be_created() {
    lab(|lab| {
        for ty in MAP_TYPES {
            let chain = Chain::new("fw").program("pass", "xdp", "return XDP_PASS;", &[]).map(of_type(ty.name));
            let bundle = chain.bundle(lab.folder());
            let since = match ty.name {
                "task_storage" => "5.11",
                "bloom_filter" => "5.16",
                "user_ringbuf" => "6.1",
                "cgrp_storage" => "6.2",
                "arena" => "6.9",
                _ => "5.10",
            };
            if lacks_for_a_part(&format!("`{}` maps", ty.name), since) {
                let error = crate::deploy(lab, &bundle).unwrap_err().to_string();
                assert!(error.contains(&format!("the kernel has no `{}` maps", ty.name)), "{error}");
                continue;
            }
            deployed(lab, &bundle);
            let status = status(lab);
            let [shown] = status.maps.as_slice() else { panic!("{status:?}") };
            assert_eq!((shown.ty.as_str(), shown.key_size, &status.problems), (ty.name, chain.maps[0].key_size, &vec![]));
            undeployed(lab, "fw");
        }
    });
}

#[test]
fn what_a_killed_deploy_copied_is_copied_again() {
    lab(|lab| {
        deployed(lab, &first("hash", 16, OnChange::Keep).bundle(lab.folder()));
        lab.udp(4000, 10);
        let bundle = second(OnChange::Convert).bundle(lab.folder());
        // A deploy that ends before the switch, as if it had been killed: the generation and its map stay.
        let mut stopped = 0;
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            ouro_deploy::deploy(&lab.bpffs, &bundle, &Default::default(), &mut |step| {
                stopped += 1;
                assert!(!matches!(step, Step::Switch { .. }), "here it ends");
            })
        }));
        assert!(end.is_err() && stopped > 3);
        let pins = std::fs::read_dir(lab.bpffs.join("ouro/fw/maps")).unwrap().count();
        assert_eq!(pins, 3, "two maps, and the sign that one is a copy");
        lab.udp(4000, 10);
        let steps = deployed(lab, &bundle);
        assert!(steps.iter().any(|step| matches!(step, Step::ConvertMap { .. })), "{steps:?}");
        assert_eq!(hits(lab), [(4000, 20)].into());
        undeployed(lab, "fw");
    });
}

#[test]
fn a_map_that_somebody_replaced_is_not_used() {
    lab(|lab| {
        let chain = Chain::firewall().map(ring("ring", 4096));
        deployed(lab, &chain.bundle(lab.folder()));
        let (seen, ring) = (path(lab, "seen"), path(lab, "ring"));
        replace(&ring, &seen);
        let error = ouro_deploy::deploy(
            &lab.bpffs,
            &chain.bundle(lab.folder()),
            &ouro_deploy::Options { force: true, ..Default::default() },
            &mut |_| {},
        );
        let Err(Error::Conflicts(found)) = error else { panic!("{error:?}") };
        assert!(matches!(&found[..], [Conflict::MapChanged { map, remedy: None, .. }] if map == "seen"), "{found:?}");
        assert!(found[0].help().contains("ouro undeploy fw"));
        undeployed(lab, "fw");
    });
}

/// Puts a pin in the place of another.
fn replace(from: &Path, to: &Path) {
    std::fs::rename(from, to).unwrap();
}
