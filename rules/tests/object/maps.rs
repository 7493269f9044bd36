//! Maps: their sizes, and whether the source has those that are declared.

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
