//! Maps: their sizes, and whether the source has those that are declared.

use ouro_rules::manifest::{Layout, MapSpec, Member};

use crate::declared::{PASS, map, xdp};

#[test]
fn declared_maps_get_their_sizes() {
    let maps =
        [map("flows", "hash", "struct ethhdr", "__u64"), map("events", "ringbuf", "", ""), map("todo", "queue", "", "__u8[6]")];
    let mut declared = xdp(&[]).maps(&maps);
    declared.header.includes = vec!["linux/if_ether.h".to_owned()];
    let facts = declared.facts(PASS);
    let sizes: Vec<_> = facts.maps.iter().map(|map| (map.name.as_str(), map.key_size, map.value_size)).collect();
    assert_eq!(sizes, [("events", 0, 0), ("flows", 14, 8), ("todo", 0, 6)]);
}

#[test]
fn a_map_that_is_not_declared_is_a_finding() {
    let source = r#"struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} mine SEC(".maps");
SEC("xdp") int parse(struct xdp_md *ctx) {
	__u32 key = ctx->rx_queue_index;
	return bpf_map_lookup_elem(&mine, &key) ? 1 : 2;
}"#;
    assert_eq!(xdp(&[]).finding(source), "fw/parse.c:10: map `mine` is not declared");
    assert_eq!(xdp(&[]).finding(&source.replace("} mine", "} static mine")), "fw/parse.c:10: map `mine` is not declared");
    let mut declared = xdp(&[]);
    declared.expected.maps = vec![map("mine", "hash", "__u32", "__u64")];
    assert_eq!(declared.finding(source), "fw/parse.c:10: map `mine` is not defined in the source as it is declared");
}

#[test]
fn the_key_of_an_array_has_four_bytes() {
    let declared = xdp(&[]).maps(&[map("flows", "array", "__u64", "__u64"), map("socks", "xskmap", "__u32", "__u8")]);
    let source = "SEC(\"xdp\") int parse(struct xdp_md *ctx) { return bpf_redirect_map(&socks, 0, 0) + !!bpf_map_lookup_elem(&flows, &(__u64){0}) + !ctx; }";
    let findings = declared.inspect(source).unwrap_err();
    assert_eq!(
        findings.iter().map(|finding| finding.message.as_str()).collect::<Vec<_>>(),
        [
            "the value of map `socks` has 1 bytes, and `xskmap` maps take one of 4",
            "the key of map `flows` has 8 bytes, and `array` maps take one of 4",
        ]
    );
    xdp(&[]).maps(&[map("flows", "array", "int", "__u64")]).facts(&source.replace("bpf_redirect_map(&socks, 0, 0)", "0"));
}

#[test]
fn a_type_without_size_is_a_finding() {
    let declared = xdp(&[]).maps(&[map("flows", "hash", "__u32", "struct unknown")]);
    assert_eq!(declared.finding(PASS), "the size of `struct unknown`, the value of map `flows`, is not known in the source");
}

/// How keys and values lie in memory is told with the map, so that maps of equal sizes can be told apart.
#[test]
fn maps_come_with_the_layout_of_their_types() {
    let value = "struct { __u8 kind : 3; __u8 : 2; __u8 flags : 3; __s16 port; union { __u32 v4; __u8 raw[4]; }; struct { __u64 a; __u64 *p; }; \
                 struct bpf_spin_lock lock; }";
    let map = MapSpec { value: value.to_owned(), ..map("flows", "hash", "__u32", "") };
    let source = "SEC(\"xdp\") int parse(struct xdp_md *ctx) { __u32 k = ctx->rx_queue_index; return bpf_map_lookup_elem(&flows, &k) ? 1 : 2; }";
    let facts = xdp(&[]).maps(&[map]).facts(source);
    let Some(Layout::Struct { bytes: 32, members }) = &facts.maps[0].value_layout else { panic!("{facts:?}") };
    let shown = |member: &Member| (member.name.clone(), member.at, member.bits, member.layout.describe());
    let shown: Vec<_> = members.iter().map(shown).collect();
    let shown: Vec<_> = shown.iter().map(|(name, at, bits, layout)| (name.as_str(), *at, *bits, layout.as_str())).collect();
    assert_eq!(
        shown,
        [
            ("kind", 0, Some(3), "a number of 1 byte"),
            ("flags", 5, Some(3), "a number of 1 byte"),
            ("port", 16, None, "a number of 2 bytes"),
            ("", 32, None, "a union of 4 bytes"),
            ("a", 64, None, "a number of 8 bytes"),
            ("p", 128, None, "a pointer"),
            ("lock", 192, None, "`struct bpf_spin_lock`"),
        ]
    );
    assert!(matches!(&members[2].layout, Layout::Int { bytes: 2, signed: true }));
    assert_eq!(facts.maps[0].key_layout, Some(Layout::Int { bytes: 4, signed: false }));
}

#[test]
fn maps_of_maps_say_what_those_are_like() {
    let inner = MapSpec { flags: 1, ..map("any", "hash", "__u64", "__u16") };
    let outer = |inner| MapSpec { inner: Some(Box::new(inner)), ..map("outer", "array_of_maps", "__u32", "") };
    let source = "SEC(\"xdp\") int parse(struct xdp_md *ctx) { __u32 k = ctx->rx_queue_index; __u64 l = 0; void *in = bpf_map_lookup_elem(&outer, &k);\n\
                  return in && bpf_map_lookup_elem(in, &l) ? 1 : 2; }";
    let facts = xdp(&[]).maps(&[outer(inner.clone())]).facts(source);
    let found = facts.maps[0].inner.as_ref().unwrap();
    assert_eq!((facts.maps[0].value_size, found.key_size, found.value_size, found.flags), (4, 8, 2, 1));
    // A header that is older than the BUILD file.
    let mut stale = xdp(&[]).maps(&[outer(inner.clone())]);
    stale.expected.maps = vec![outer(MapSpec { flags: 0, ..inner })];
    assert!(stale.finding(source).contains("is not defined in the source as it is declared"));
}
