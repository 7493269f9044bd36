//! What is read of a file: where its numbers lie, in either order of bytes, and that no file is too damaged to be refused.

use ouro_rules::object::{inspect, link_symbols};

use crate::declared::{PASS, TWO_JUMPS, map, shown, xdp};

#[test]
fn without_debug_information_findings_name_the_function() {
    let declared = xdp(&[]).offering(&["a"]);
    let source = "SEC(\"xdp\") int parse(struct xdp_md *ctx) { OURO_JUMP(ctx, a); }";
    let findings = inspect(&declared.object(source, &["-g0"]), &declared.expected).unwrap_err();
    assert_eq!(
        findings.iter().map(shown).collect::<Vec<_>>(),
        ["`//fw:parse`: the object has no BTF, which says what its maps are"]
    );
    let stripped = "SEC(\"xdp\") int parse(struct xdp_md *ctx) { bpf_tail_call(ctx, (void *)0, 3); return 1; }";
    let findings = inspect(&xdp(&[]).object(stripped, &["-g0"]), &xdp(&[]).expected).unwrap_err();
    assert_eq!(shown(&findings[0]), "`parse` jumps through a table that is not known before it runs");
}

#[test]
fn link_symbols_are_where_the_numbers_lie() {
    let object = xdp(&["block_list", "rate_limit"]).object(TWO_JUMPS, &[]);
    let symbols = link_symbols(&object).unwrap();
    let read = |at: usize| u32::from_le_bytes(object[at..at + 4].try_into().unwrap());
    let values: Vec<_> = symbols.iter().map(|symbol| (symbol.name.as_str(), read(symbol.file_offset))).collect();
    let unlinked = u32::MAX;
    assert_eq!(
        values,
        [
            ("__ouro_counting", 0),
            ("__ouro_edge_block_list", unlinked),
            ("__ouro_edge_rate_limit", unlinked),
            ("__ouro_slot_block_list", unlinked),
            ("__ouro_slot_rate_limit", unlinked)
        ]
    );
    assert_eq!(link_symbols(&xdp(&[]).object(PASS, &[])).unwrap(), []);
}

#[test]
fn other_files_are_refused_clearly() {
    let message = |bytes: &[u8]| inspect(bytes, &xdp(&[]).expected).unwrap_err()[0].message.clone();
    assert_eq!(message(b""), "`//fw:parse`: the object is no ELF file");
    assert_eq!(message(b"int main;"), "`//fw:parse`: the object is no ELF file");
    let mut foreign = xdp(&[]).object(PASS, &[]);
    foreign[18] = 62;
    assert_eq!(message(&foreign), "`//fw:parse`: the object is an ELF file for another machine, not for BPF");
    assert!(link_symbols(b"no").is_err());
}

/// Programs for s390 were refused.
#[test]
fn big_endian_objects_say_the_same() {
    let declared = xdp(&["block_list", "rate_limit"]).maps(&[map("hits", "array", "__u32", "__u64")]);
    let source = TWO_JUMPS.replacen("{", "{\n__u32 key = 0; __u64 *n = bpf_map_lookup_elem(&hits, &key); if (n) ++*n;", 1);
    let (little, big) = (declared.object(&source, &[]), declared.object(&source, &["--target=bpfeb"]));
    assert_ne!(little, big);
    let facts = inspect(&big, &declared.expected).unwrap();
    assert_eq!(facts, inspect(&little, &declared.expected).unwrap());
    assert_eq!((facts.jumps.len(), facts.maps.len()), (2, 1));
    let symbols = link_symbols(&big).unwrap();
    assert_eq!(symbols.len(), 5);
    assert!(symbols.iter().all(|symbol| symbol.big_endian && symbol.bytes(1) == [0, 0, 0, 1]));
    for at in (0..big.len()).step_by(5) {
        let mut damaged = big.clone();
        damaged[at] ^= 0xff;
        let _ = inspect(&damaged, &declared.expected);
        let _ = link_symbols(&damaged);
    }
}

/// Everything that can be read must be read in bounds: any cut and any changed byte gives facts or findings.
#[test]
fn damaged_objects_are_findings_and_nothing_worse() {
    let declared = xdp(&["a", "b"]).maps(&[map("hits", "array", "__u32", "__u64")]);
    let source = r#"static __noinline int go(struct xdp_md *ctx) { OURO_JUMP(ctx, b); }
SEC("xdp") int parse(struct xdp_md *ctx) {
	__u32 key = 0;
	__u64 *count = bpf_map_lookup_elem(&hits, &key);
	if (count && ++*count > 9)
		return go(ctx);
	OURO_JUMP(ctx, a);
}"#;
    let object = declared.object(source, &[]);
    assert!(inspect(&object, &declared.expected).is_ok());
    for end in 0..object.len() {
        assert!(inspect(&object[..end], &declared.expected).is_err(), "cut at {end}");
        assert!(link_symbols(&object[..end]).is_err(), "cut at {end}");
    }
    for at in 0..object.len() {
        for byte in [0x00, 0x01, 0x7f, 0xff, object[at] ^ 0x80, object[at].wrapping_add(1)] {
            let mut damaged = object.clone();
            damaged[at] = byte;
            // Not every byte matters, so any answer will do; a panic or an endless loop will not.
            let _ = inspect(&damaged, &declared.expected);
            let _ = link_symbols(&damaged);
        }
    }
}

#[test]
fn noise_behind_a_good_header_is_a_finding() {
    let declared = xdp(&[]);
    let object = declared.object(PASS, &[]);
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..2000 {
        let mut damaged = object.clone();
        let count = damaged.len();
        for _ in 0..40 {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            damaged[64 + noise as usize % (count - 64)] = (noise >> 56) as u8;
        }
        let _ = inspect(&damaged, &declared.expected);
        let _ = link_symbols(&damaged);
    }
}
