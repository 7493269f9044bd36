//! Objects compiled from real C, read and compared with declarations.

mod clang;

use clang::{compile, compile_many};
use ouro_rules::diagnostic::Diagnostic;
use ouro_rules::header::HeaderSpec;
use ouro_rules::manifest::{Layout, MapSpec, Member};
use ouro_rules::object::{Expected, Facts, inspect, link_symbols};

const LICENSE: &str = "char _license[] SEC(\"license\") = \"GPL\";\n";

/// A program as a BUILD file declares it.
#[derive(Clone)]
struct Declared {
    header: HeaderSpec,
    expected: Expected,
}

fn xdp(jumps: &[&str]) -> Declared {
    let jumps: Vec<String> = jumps.iter().map(|name| (*name).to_owned()).collect();
    let label = "//fw:parse".to_owned();
    Declared {
        header: HeaderSpec {
            label: label.clone(),
            jumps: jumps.iter().map(|name| (name.clone(), 1)).collect(),
            ..HeaderSpec::default()
        },
        expected: Expected { label, ty: "xdp".to_owned(), function: None, jumps, maps: Vec::new() },
    }
}

fn map(name: &str, ty: &str, key: &str, value: &str) -> MapSpec {
    let text = |text: &str| text.to_owned();
    MapSpec {
        name: text(name),
        ty: text(ty),
        key: text(key),
        value: text(value),
        max_entries: 4096,
        flags: 0,
        ..MapSpec::default()
    }
}

impl Declared {
    fn maps(mut self, maps: &[MapSpec]) -> Declared {
        (self.header.maps, self.expected.maps) = (maps.to_vec(), maps.to_vec());
        self
    }

    fn ty(mut self, ty: &str) -> Declared {
        self.expected.ty = ty.to_owned();
        self
    }

    fn function(mut self, name: &str) -> Declared {
        self.expected.function = Some(name.to_owned());
        self
    }

    /// The header offers these jumps, whatever is declared: what a stale or home-made header would do.
    fn offering(mut self, jumps: &[&str]) -> Declared {
        self.header.jumps = jumps.iter().map(|name| ((*name).to_owned(), 1)).collect();
        self
    }

    fn object(&self, source: &str, flags: &[&str]) -> Vec<u8> {
        let source = format!("#include <ouro/program.h>\n{source}\n{LICENSE}");
        compile(&self.header, &source, flags).unwrap_or_else(|message| panic!("{message}"))
    }

    fn inspect(&self, source: &str) -> Result<Facts, Vec<Diagnostic>> {
        inspect(&self.object(source, &[]), &self.expected)
    }

    /// The facts of a source that has nothing wrong; line 2 of the file is its first.
    fn facts(&self, source: &str) -> Facts {
        self.inspect(source).unwrap_or_else(|findings| panic!("{findings:#?}"))
    }

    /// The only finding, as `file:line: message`.
    fn finding(&self, source: &str) -> String {
        let findings = self.inspect(source).unwrap_err();
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert!(findings[0].help.is_some(), "{findings:#?}");
        shown(&findings[0])
    }
}

fn shown(finding: &Diagnostic) -> String {
    match &finding.span {
        Some(span) => format!("{}:{}: {}", span.file, span.line, finding.message),
        None => finding.message.clone(),
    }
}

fn sites(facts: &Facts) -> Vec<(&str, &str, u32)> {
    facts.jumps.iter().map(|jump| (jump.name.as_str(), jump.function.as_str(), jump.line)).collect()
}

const TWO_JUMPS: &str = r#"
SEC("xdp") int parse(struct xdp_md *ctx) {
	if (ctx->rx_queue_index)
		OURO_JUMP(ctx, block_list);
	else
		JUMP_TO_PROGRAM(ctx, PROG_rate_limit);
}"#;

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
fn calls_through_pointers_are_a_finding() {
    let declared = xdp(&["a"]);
    let source = "SEC(\"xdp\") int parse(struct xdp_md *ctx) {\n\tbpf_tail_call(ctx, &ouro_jumps, PROG_a);\n\treturn 0;\n}";
    assert_eq!(sites(&inspect(&declared.object(source, &["-O1"]), &declared.expected).unwrap()), [("a", "parse", 3)]);
    // Unoptimised, the helper's number is a variable, and the call one through a pointer.
    let findings = inspect(&declared.object(source, &["-O0"]), &declared.expected).unwrap_err();
    assert_eq!(findings.iter().map(shown).collect::<Vec<_>>(), ["fw/parse.c:3: `parse` calls a function through a pointer"]);
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

/// A program whose own frame has so many bytes, and that calls a function with a frame of its own.
fn nested(own: u32, callee: u32, in_callee: &str) -> String {
    format!(
        r#"static __noinline int inner(struct xdp_md *ctx) {{
	volatile __u64 room[{callee} / 8];
	for (int i = 0; i < {callee} / 8; i++) room[i] = i;
	if (room[0]) return 3;
	{in_callee}
}}
SEC("xdp") int parse(struct xdp_md *ctx) {{
	volatile __u64 room[{own} / 8];
	for (int i = 0; i < {own} / 8; i++) room[i] = i;
	return inner(ctx) + room[0];
}}"#
    )
}

#[test]
fn the_stack_above_a_jump_is_bounded() {
    let jump = "OURO_JUMP(ctx, a);";
    assert_eq!(xdp(&["a"]).facts(&nested(240, 16, jump)).stack, 256);
    assert_eq!(
        xdp(&["a"]).finding(&nested(248, 16, jump)),
        "fw/parse.c:6: `inner` jumps with 256 bytes of stack in its callers; the kernel allows less than 256"
    );
    // Without a jump the same frames are fine.
    assert_eq!(xdp(&[]).facts(&nested(248, 16, "return ctx->rx_queue_index;")).stack, 272);
}

#[test]
fn the_whole_stack_is_bounded() {
    let plain = "return ctx->rx_queue_index;";
    assert_eq!(xdp(&[]).facts(&nested(256, 256, plain)).stack, 512);
    assert_eq!(
        xdp(&[]).finding(&nested(256, 264, plain)),
        "fw/parse.c:2: `inner` needs 528 bytes of stack, 256 of them in its callers; the kernel has 512"
    );
}

#[test]
fn endless_recursion_is_a_finding() {
    let source = r#"__attribute__((noinline)) int inner(struct xdp_md *ctx, int n);
__attribute__((noinline)) int inner(struct xdp_md *ctx, int n) {
	int more = n > 9 ? 1 : inner(ctx, n + 1);
	asm volatile("" : "+r"(more));
	return more + 1;
}
SEC("xdp") int parse(struct xdp_md *ctx) { return inner(ctx, 0); }"#;
    assert_eq!(xdp(&[]).finding(source), "fw/parse.c:3: `parse` reaches `inner` through more than 8 functions");
}

const PASS: &str = "SEC(\"xdp\") int parse(struct xdp_md *ctx) { return ctx->rx_queue_index; }";

#[test]
fn the_program_is_the_only_function_of_its_type() {
    assert_eq!(xdp(&[]).facts(&PASS.replace("SEC(\"xdp\")", "SEC(\"xdp/first\")")).section, "xdp/first");
    let tc = "SEC(\"classifier\") int parse(struct __sk_buff *skb) { return skb->mark; }";
    assert_eq!(xdp(&[]).ty("tc").facts(tc).section, "classifier");
    assert_eq!(xdp(&[]).finding(""), "the sources of `//fw:parse` hold no `xdp` program");
    assert_eq!(xdp(&[]).finding(&PASS.replace("SEC(\"xdp\")", "")), "the sources of `//fw:parse` hold no `xdp` program");
}

#[test]
fn a_program_of_another_type_is_a_finding() {
    let tc = PASS.replace("SEC(\"xdp\")", "SEC(\"xdp/devmap\")");
    assert_eq!(xdp(&[]).finding(&tc), "fw/parse.c:2: `parse` is in section `xdp/devmap`, but `//fw:parse` is declared as `xdp`");
    let both = format!("{PASS}\nSEC(\"tc\") int other(struct __sk_buff *skb) {{ return skb->mark; }}");
    assert_eq!(
        xdp(&[]).finding(&both),
        "fw/parse.c:3: `other` in section `tc` is a second program beside `parse`, of another type"
    );
}

#[test]
fn several_programs_need_a_name() {
    let both = format!("{PASS}\nSEC(\"xdp\") int other(struct xdp_md *ctx) {{ return ctx->ingress_ifindex; }}");
    let findings = xdp(&[]).inspect(&both).unwrap_err();
    assert_eq!(shown(&findings[0]), "the sources of `//fw:parse` hold several `xdp` programs: `parse`, `other`");
    assert_eq!(findings[0].related.len(), 2);
    assert_eq!(xdp(&[]).function("other").facts(&both).function, "other");
    assert_eq!(xdp(&[]).function("othr").finding(&both), "the sources of `//fw:parse` hold no program `othr`");
}

#[test]
fn a_long_name_and_no_license_are_findings() {
    let long = PASS.replace("parse", "a_name_of_17_char");
    assert_eq!(xdp(&[]).finding(&long), "fw/parse.c:2: function name `a_name_of_17_char` has 17 characters; the kernel keeps 15");
    let source = format!("#include <ouro/program.h>\n{PASS}\n");
    let findings = inspect(&compile(&xdp(&[]).header, &source, &[]).unwrap(), &xdp(&[]).expected).unwrap_err();
    assert_eq!(shown(&findings[0]), "`//fw:parse` has no license");
}

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
