//! Jumps that are as they should be: each is found, with its place in the source.

use ouro_rules::object::{Facts, inspect, link_symbols};

use crate::clang::{compile, compile_many};
use crate::declared::{LICENSE, TWO_JUMPS, map, sites, xdp};

#[test]
fn jumps_are_found_with_their_lines() {
    let facts = xdp(&["block_list", "rate_limit"]).facts(TWO_JUMPS);
    assert_eq!(sites(&facts), [("block_list", "parse", 5), ("rate_limit", "parse", 7)]);
    assert_eq!(facts.jumps[0].file, "fw/parse.c");
    assert_eq!((facts.function.as_str(), facts.section.as_str(), facts.license.as_str()), ("parse", "xdp", "GPL"));
    assert_eq!(facts.stack, 0);
    assert_eq!(Facts::from_json(&facts.to_json()).unwrap(), facts);
}

#[test]
fn every_instruction_set_will_do() {
    let declared = xdp(&["block_list", "rate_limit"]);
    for cpu in ["-mcpu=v1", "-mcpu=v2", "-mcpu=v4"] {
        let empty = compile(&declared.header, LICENSE, &[cpu]);
        // Clang learnt the fourth instruction set in version 18; the others all of them know.
        if cpu == "-mcpu=v4" && empty.is_err_and(|message| message.contains("unknown target CPU")) {
            continue;
        }
        let facts = inspect(&declared.object(TWO_JUMPS, &[cpu]), &declared.expected).unwrap();
        assert_eq!(sites(&facts), [("block_list", "parse", 5), ("rate_limit", "parse", 7)], "{cpu}");
    }
}

#[test]
fn a_bare_tail_call_is_a_jump_too() {
    let facts = xdp(&["next"]).facts(
        r#"SEC("xdp") int parse(struct xdp_md *ctx) {
	bpf_tail_call(ctx, &PROG_MAP_NAME, PROG_next);
	return XDP_DROP;
}"#,
    );
    assert_eq!(sites(&facts), [("next", "parse", 3)]);
}

#[test]
fn a_slot_chosen_among_several_is_a_jump_to_each() {
    let source = |body: &str| format!("SEC(\"xdp\") int parse(struct xdp_md *ctx) {{\n\t__u32 slot;\n{body}\n\treturn 0;\n}}");
    let two = source("\tslot = ctx->rx_queue_index ? PROG_a : PROG_b;\n\tbpf_tail_call(ctx, &ouro_jumps, slot);");
    assert_eq!(sites(&xdp(&["a", "b"]).facts(&two)), [("a", "parse", 5), ("b", "parse", 5)]);

    let names: Vec<String> = (0..40).map(|index| format!("p{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let cases: String =
        names.iter().enumerate().map(|(index, name)| format!("case {index}: slot = PROG_{name}; break;")).collect();
    let many = source(&format!(
        "\tswitch (ctx->rx_queue_index) {{{cases} default: return 1;}}\n\tbpf_tail_call(ctx, &ouro_jumps, slot);"
    ));
    assert_eq!(xdp(&names).facts(&many).jumps.len(), 40);
}

#[test]
fn a_slot_is_followed_through_the_stack() {
    let source = r#"SEC("xdp") int parse(struct xdp_md *ctx) {
	volatile __u32 slot = PROG_a;
	bpf_tail_call(ctx, &ouro_jumps, slot);
	return 0;
}"#;
    assert_eq!(sites(&xdp(&["a"]).facts(source)), [("a", "parse", 4)]);
    // Behind a helper that was given its address, it may be anything.
    let exposed = r#"SEC("xdp") int parse(struct xdp_md *ctx) {
	__u32 slot = PROG_a;
	bpf_probe_read_kernel(&slot, sizeof slot, ctx);
	bpf_tail_call(ctx, &ouro_jumps, slot);
	return 0;
}"#;
    assert_eq!(xdp(&["a"]).finding(exposed), "fw/parse.c:5: `parse` jumps to a slot that is computed when it runs");
}

#[test]
fn a_jump_in_a_helper_is_told_where_it_was_written() {
    let source = r#"static __always_inline int decide(struct xdp_md *ctx) {
	OURO_JUMP(ctx, a);
}
static __noinline int count(struct xdp_md *ctx) {
	OURO_JUMP(ctx, b);
}
SEC("xdp") int parse(struct xdp_md *ctx) {
	if (ctx->rx_queue_index)
		return decide(ctx);
	return count(ctx);
}"#;
    let facts = xdp(&["a", "b"]).facts(source);
    assert_eq!(sites(&facts), [("a", "parse", 3), ("b", "count", 6)]);
}

#[test]
fn several_sources_make_one_program() {
    let declared = xdp(&["a", "b"]).maps(&[map("hits", "array", "__u32", "__u64")]);
    let first = format!(
        "#include <ouro/program.h>\nint other(struct xdp_md *ctx);\n\
         SEC(\"xdp\") int parse(struct xdp_md *ctx) {{ if (ctx->rx_queue_index) return other(ctx); OURO_JUMP(ctx, a); }}\n{LICENSE}"
    );
    let second = "#include <ouro/program.h>\n__attribute__((noinline)) int other(struct xdp_md *ctx) { OURO_JUMP(ctx, b); }\n";
    let object = compile_many(&declared.header, &[&first, second]).unwrap_or_else(|message| panic!("{message}"));
    let facts = inspect(&object, &declared.expected).unwrap();
    let files: Vec<_> = facts.jumps.iter().map(|jump| (jump.name.as_str(), jump.function.as_str(), jump.file.as_str())).collect();
    assert_eq!(files, [("a", "parse", "fw/parse.c"), ("b", "other", "fw/part1.c")]);
    assert_eq!(link_symbols(&object).unwrap().len(), 5);
}
