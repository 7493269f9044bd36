//! Extensions and tables of functions, from BUILD files to bundles: what must be there is told before anything is deployed.

mod support;

use support::{Workspace, has_btf};

const LICENSE: &str = "char _license[] SEC(\"license\") = \"GPL\";\n";

const PARSE: &str = r#"#include <ouro/program.h>
__weak int policy(struct xdp_md *ctx) { return XDP_PASS; }
__weak int weigh(struct xdp_md *ctx, __u64 size) { return size > 100; }
static __attribute__((noinline)) int hidden(struct xdp_md *ctx) { volatile int pass = XDP_PASS; return pass; }
int inlined(struct xdp_md *ctx) { return ctx->ingress_ifindex == 1; }
SEC("xdp") int parse(struct xdp_md *ctx) {
    if (inlined(ctx) || weigh(ctx, 7) || hidden(ctx) == XDP_DROP)
        return XDP_DROP;
    return policy(ctx);
}
"#;

const STRICT: &str = "#include <ouro/program.h>\nSEC(\"freplace/policy\") int strict(struct xdp_md *ctx) { return XDP_DROP; }\n";

/// A chain whose function of this name is replaced.
fn extended(function: &str) -> Workspace {
    let build = format!(
        "bpf_program(name = \"parse\", srcs = [\"parse.c\"], type = \"xdp\")\n\
         bpf_program(name = \"strict\", srcs = [\"strict.c\"], type = \"freplace/policy\")\n\
         bpf_chain(name = \"fw\", entry = \":parse\", extensions = [freplace(\":strict\", function = \"{function}\")])\n"
    );
    let (parse, strict) = (format!("{PARSE}{LICENSE}"), format!("{STRICT}{LICENSE}"));
    Workspace::with(&[("BUILD.ouro", &build), ("parse.c", &parse), ("strict.c", &strict)])
}

#[test]
fn an_extension_is_part_of_its_chain() {
    let workspace = extended("policy");
    workspace.ok(&["build", "//:fw"]);
    let drawn = workspace.ok(&["graph", "//:fw"]).out;
    assert!(drawn.contains("parse   entry") && drawn.contains("strict  replaces policy of parse"), "{drawn}");
    // The name of another function is a matter of the BUILD file: nothing is compiled for it.
    workspace.edit("BUILD.ouro", "\"policy\")]", "\"weigh\")]");
    let said = workspace.fails(1, &["build", "//:fw"]).err;
    assert!(
        said.contains("`//:strict` cannot replace `weigh` of `//:parse`: they have other types") && !said.contains("compile"),
        "{said}"
    );
    assert!(said.contains("`weigh` takes (struct xdp_md *, a number of 8 bytes) and gives a number of 4 bytes"), "{said}");
}

#[test]
fn a_function_that_cannot_be_replaced_is_told() {
    for (function, words) in [
        ("polcy", "has no function `polcy` that could be replaced\n"),
        ("polcy", "did you mean `policy`?"),
        ("hidden", "`hidden` of `//:parse` is static"),
        ("inlined", "`//:parse` never calls its function `inlined`"),
        ("inlined", "declare it `__weak int inlined(...)`"),
    ] {
        let said = extended(function).fails(1, &["build", "//:fw"]).err;
        assert!(said.contains(words), "{function}: {said}");
    }
}

const CALM: &str = r#"#include <ouro/program.h>
struct sock;
struct tcp_congestion_ops {
    unsigned int (*ssthresh)(struct sock *);
    void (*cong_avoid)(struct sock *, unsigned int, unsigned int);
    unsigned int (*undo_cwnd)(struct sock *);
    char name[16];
};
SEC("struct_ops") unsigned int ssthresh(unsigned long long *ctx) { return 2; }
SEC("struct_ops") void cong_avoid(unsigned long long *ctx) {
    __u32 zero = 0;
    __u64 *count = bpf_map_lookup_elem(&seen, &zero);
    if (count)
        *count += 1;
}
SEC("struct_ops") unsigned int undo_cwnd(unsigned long long *ctx) { return 10; }
SEC(".struct_ops.link") struct tcp_congestion_ops calm = {
    .ssthresh = (void *)ssthresh, .cong_avoid = (void *)cong_avoid, .undo_cwnd = (void *)undo_cwnd, .name = "ouro_calm",
};
"#;

fn congestion(attach: &str) -> Workspace {
    let build = format!(
        "bpf_map(name = \"seen\", type = \"array\", key = \"__u32\", value = \"__u64\", max_entries = 1)\n\
         bpf_program(name = \"calm\", srcs = [\"calm.c\"], type = \"struct_ops\", maps = [\":seen\"])\n\
         bpf_chain(name = \"cc\", entry = \":calm\", attach = [{attach}])\n"
    );
    Workspace::with(&[("BUILD.ouro", &build), ("calm.c", &format!("{CALM}{LICENSE}"))])
}

#[test]
fn a_table_is_one_program_with_all_its_functions() {
    let workspace = congestion("struct_ops()");
    workspace.ok(&["build", "//:cc"]);
    // The map stands in a function other than the first: all of them are looked into.
    workspace.edit("BUILD.ouro", ", maps = [\":seen\"]", "");
    let said = workspace.fails(1, &["build", "//:cc"]).err;
    assert!(said.contains("seen"), "{said}");
    workspace.edit("BUILD.ouro", "type = \"struct_ops\"", "type = \"struct_ops\", maps = [\":seen\"]");
    if has_btf() {
        let said = workspace.ok(&["verify", "//:cc"]).out;
        assert!(["calm ", "cong_avoid ", "undo_cwnd "].iter().all(|name| said.contains(name)), "{said}");
    }
}

#[test]
fn the_table_is_found_by_its_name() {
    let said = congestion("struct_ops(\"clam\")").fails(1, &["build", "//:cc"]).err;
    assert!(said.contains("hold no table of functions `clam`") && said.contains("did you mean `calm`?"), "{said}");
    let workspace = congestion("struct_ops()");
    workspace.edit(
        "calm.c",
        "SEC(\".struct_ops.link\")",
        "SEC(\".struct_ops\") struct tcp_congestion_ops other = { .name = \"x\" };\nSEC(\".struct_ops.link\")",
    );
    let said = workspace.fails(1, &["build", "//:cc"]).err;
    assert!(said.contains("hold several tables of functions") && said.contains("table = \"calm\""), "{said}");
}
