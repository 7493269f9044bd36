//! Jumps that are not declared, not known before they run, or lose what the next program says.

use ouro_rules::object::inspect;

use crate::declared::{shown, sites, xdp};

#[test]
fn a_jump_that_is_not_declared_is_a_finding() {
    let declared = xdp(&["block_list"]).offering(&["blok_list"]);
    let source = "SEC(\"xdp\") int parse(struct xdp_md *ctx) { OURO_JUMP(ctx, blok_list); }";
    assert_eq!(declared.finding(source), "fw/parse.c:2: `parse` jumps to `blok_list`, which `//fw:parse` does not declare");
    assert_eq!(declared.inspect(source).unwrap_err()[0].help.as_deref(), Some("did you mean `block_list`?"));
}

#[test]
fn a_jump_that_is_declared_and_not_there_is_a_finding() {
    let source = "SEC(\"xdp\") int parse(struct xdp_md *ctx) { OURO_JUMP(ctx, a); }";
    assert_eq!(xdp(&["a", "b"]).finding(source), "`//fw:parse` declares the jump `b`, but its code never takes it");
}

#[test]
fn a_slot_by_number_is_a_finding() {
    let source = "SEC(\"xdp\") int parse(struct xdp_md *ctx) {\n\tbpf_tail_call(ctx, &ouro_jumps, 2);\n\treturn 1;\n}";
    assert_eq!(xdp(&["a"]).finding(source), "fw/parse.c:3: `parse` jumps to slot 2 by number");
}

#[test]
fn a_computed_slot_is_a_finding() {
    let source =
        "SEC(\"xdp\") int parse(struct xdp_md *ctx) {\n\tbpf_tail_call(ctx, &ouro_jumps, ctx->rx_queue_index);\n\treturn 1;\n}";
    assert_eq!(xdp(&["a"]).finding(source), "fw/parse.c:3: `parse` jumps to a slot that is computed when it runs");
    let sum = "SEC(\"xdp\") int parse(struct xdp_md *ctx) {\n\tbpf_tail_call(ctx, &ouro_jumps, PROG_a + 1);\n\treturn 1;\n}";
    assert_eq!(xdp(&["a"]).finding(sum), "fw/parse.c:3: `parse` jumps to a slot that is computed when it runs");
}

const OWN_TABLE: &str = "struct {\n\t__uint(type, BPF_MAP_TYPE_PROG_ARRAY);\n\t__uint(max_entries, 4);\n\t__type(key, __u32);\n\t__type(value, __u32);\n} own SEC(\".maps\");\n";

#[test]
fn a_table_of_ones_own_is_a_finding() {
    let source =
        format!("{OWN_TABLE}SEC(\"xdp\") int parse(struct xdp_md *ctx) {{\n\tbpf_tail_call(ctx, &own, 0);\n\treturn 1;\n}}");
    let findings = xdp(&[]).inspect(&source).unwrap_err();
    let messages: Vec<String> = findings.iter().map(shown).collect();
    assert_eq!(
        messages,
        [
            "fw/parse.c:9: `parse` jumps through `own`",
            "fw/parse.c:9: the source of `//fw:parse` defines the jump table `own` itself"
        ]
    );
}

#[test]
fn an_unknown_table_is_a_finding() {
    let source = format!(
        "{OWN_TABLE}SEC(\"xdp\") int parse(struct xdp_md *ctx) {{\n\tbpf_tail_call(ctx, ctx->rx_queue_index ? (void *)&own : (void *)&ouro_jumps, PROG_a);\n\treturn 1;\n}}"
    );
    let findings = xdp(&["a"]).inspect(&source).unwrap_err();
    assert!(shown(&findings[0]).contains("jumps through a table that is not known before it runs"), "{findings:#?}");
}

#[test]
fn a_table_filled_by_the_source_is_a_finding() {
    let source = r#"SEC("xdp") int next(struct xdp_md *ctx) { return ctx->rx_queue_index; }
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__array(values, int(struct xdp_md *));
} own SEC(".maps") = { .values = { [1] = &next } };
SEC("xdp") int parse(struct xdp_md *ctx) { return ctx->rx_queue_index; }"#;
    assert_eq!(xdp(&[]).function("parse").finding(source), "the source of `//fw:parse` fills the jump table `own` itself");
}

#[test]
fn a_jump_in_a_callback_is_a_finding() {
    let source = r#"static long each(__u32 index, void *data) {
	OURO_JUMP(data, a);
}
SEC("xdp") int parse(struct xdp_md *ctx) {
	bpf_loop(4, each, ctx, 0);
	OURO_JUMP(ctx, a);
}"#;
    let source = source.replace("__u32 index", "__attribute__((unused)) __u32 index");
    assert_eq!(xdp(&["a"]).finding(&source), "fw/parse.c:3: `each` is a callback, and callbacks cannot jump");
}

#[test]
fn calls_through_pointers_are_a_finding() {
    let declared = xdp(&["a"]);
    let source = "SEC(\"xdp\") int parse(struct xdp_md *ctx) {\n\tbpf_tail_call(ctx, &ouro_jumps, PROG_a);\n\treturn 0;\n}";
    assert_eq!(sites(&inspect(&declared.object(source, &["-O1"]), &declared.expected).unwrap()), [("a", "parse", 3)]);
    // Unoptimised, the helper's number is a variable, and the call one through a pointer.
    let findings = inspect(&declared.object(source, &["-O0"]), &declared.expected).unwrap_err();
    assert_eq!(findings.iter().map(shown).collect::<Vec<_>>(), ["fw/parse.c:3: `parse` calls a function through a pointer"]);
}

#[test]
fn a_function_that_jumps_must_return_an_integer() {
    let source = r#"static __noinline void go(struct xdp_md *ctx) {
	bpf_tail_call(ctx, &ouro_jumps, PROG_a);
}
SEC("xdp") int parse(struct xdp_md *ctx) {
	go(ctx);
	return 1;
}"#;
    let findings = xdp(&["a"]).inspect(source).unwrap_err();
    let messages: Vec<String> = findings.iter().map(shown).collect();
    assert_eq!(
        messages,
        [
            "fw/parse.c:3: `go` jumps, and returns something else than an integer",
            "fw/parse.c:6: `parse` loses the verdict of the program that `go` jumps to"
        ]
    );
}

/// What a user saw: the chain's last program said pass, and packets were dropped. LLVM had put the constant of the miss in place of
/// the result of the call.
#[test]
fn a_folded_return_value_is_a_finding() {
    let source = r#"static __noinline int go(struct xdp_md *ctx) {
	bpf_tail_call(ctx, &ouro_jumps, PROG_a);
	return 1;
}
SEC("xdp") int parse(struct xdp_md *ctx) {
	return go(ctx);
}"#;
    assert_eq!(xdp(&["a"]).finding(source), "fw/parse.c:7: `parse` loses the verdict of the program that `go` jumps to");
    let weak = source.replace("static __noinline int go", "__weak int go(struct xdp_md *ctx);\n__weak int go");
    xdp(&["a"]).facts(&weak);
    let with_macro = source.replace("bpf_tail_call(ctx, &ouro_jumps, PROG_a);\n\treturn 1;", "OURO_JUMP(ctx, a);");
    xdp(&["a"]).facts(&with_macro);
}
