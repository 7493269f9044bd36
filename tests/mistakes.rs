//! What people get wrong in BUILD files, sources and on the command line, and what they are told, with the real compiler.

mod support;

use support::Workspace;

/// The two mistakes that everybody makes: clang's words for them name no attribute.
#[test]
fn a_jump_or_map_that_is_not_listed_is_told_with_what_to_add() {
    let source = |name: &str, body: &str| {
        format!(
            "#include <ouro/program.h>\nSEC(\"xdp\") int {name}(struct xdp_md *ctx) {{ {body} }}\nchar _license[] SEC(\"license\") = \"GPL\";\n"
        )
    };
    let build = "bpf_program(name = \"first\", srcs = [\"first.c\"], type = \"xdp\", on_miss = \"pass\")\n\
                 bpf_program(name = \"second\", srcs = [\"second.c\"], type = \"xdp\")\n";
    let workspace = Workspace::with(&[
        ("fw/BUILD.ouro", build),
        (
            "fw/first.c",
            &source("first", "int *n = bpf_map_lookup_elem(&stats, ctx); if (n) return other; OURO_JUMP(ctx, second);"),
        ),
        ("fw/second.c", &source("second", "return XDP_PASS;")),
        ("lib/BUILD.ouro", "bpf_map(name = \"stats\", type = \"array\", max_entries = 1)\n"),
    ]);
    let said = workspace.fails(1, &["build", "//fw:first"]);
    assert!(!said.err.contains("<scratch space>") && !said.err.contains("ouro_no_such_jump"), "{}", said.err);
    let order = ["names `second`", "undeclared identifier 'other'"].map(|words| said.err.find(words).unwrap());
    assert!(order.is_sorted(), "what has a remedy comes first: {}", said.err);
    said.says("`//fw:first` names `second`, which is not among its `jumps`").says("add `\":second\"` to `jumps` of `//fw:first`");
    said.says("`//fw:first` names `stats`, which is not among its `maps`");
    said.says("add `\"//lib:stats\"` to `maps` of `//fw:first`, and `//fw:__pkg__` to `visibility` of `//lib:stats`");
    assert!(!said.err.contains("names `other`"), "it is no map: {}", said.err);
    workspace.edit("lib/BUILD.ouro", "max_entries = 1", "max_entries = 1, visibility = [\"//fw:__pkg__\"]");
    workspace.edit("fw/BUILD.ouro", "on_miss", "maps = [\"//lib:stats\"], jumps = [\":second\"], on_miss");
    workspace.edit("fw/first.c", "return other;", "return XDP_DROP;");
    workspace.edit("fw/first.c", "ctx, second", "ctx, secnd");
    workspace.fails(1, &["build", "//fw:first"]).says("names `secnd`").says("did you mean `second`?");
    workspace.edit("fw/first.c", "ctx, secnd", "ctx, second");
    workspace.ok(&["build", "//fw:first"]);
}

/// The place told was one in a source, or in a generated header, and the mistake stands in the BUILD file of a map.
#[test]
fn a_type_of_a_map_that_is_declared_nowhere_is_told_where_the_map_is() {
    let source = "#include <ouro/program.h>\nSEC(\"xdp\") int p(struct xdp_md *ctx)\n{\n\t__u32 key = 0;\n\tstruct stats *s = bpf_map_lookup_elem(&stats, &key);\n\tUSE\n\treturn 0;\n}\nchar _license[] SEC(\"license\") = \"GPL\";\n";
    let build = "\nbpf_map(\n    name = \"stats\",\n    type = \"array\",\n    value = \"TYPE\",\n    max_entries = 1,\n    visibility = [\"//fw:__pkg__\"],\n)\n";
    for (c_type, use_of_it) in
        [("struct stats", "if (s) return 1;"), ("struct stats", "if (s) return s->x;"), ("sturct stats", ""), ("stats_t", "")]
    {
        let workspace = Workspace::with(&[
            ("fw/BUILD.ouro", "bpf_program(name = \"p\", srcs = [\"p.c\"], type = \"xdp\", maps = [\"//lib:stats\"])\n"),
            ("fw/p.c", &source.replace("USE", use_of_it)),
            ("lib/BUILD.ouro", &build.replace("TYPE", c_type)),
        ]);
        let said = workspace.fails(1, &["build", "//..."]);
        said.says(&format!("`{c_type}`, the value of ")).says("--> lib/BUILD.ouro:5:13");
        said.says("correct it, or list the header that declares it in `hdrs` of `//lib:stats`");
        assert_eq!(said.err.matches("lib/BUILD.ouro").count(), 1, "{}", said.err);
    }
}

/// The shell's own words name neither the rule's place nor how the command ended.
#[test]
fn a_command_that_fails_is_told_with_its_place_and_how_it_ended() {
    let workspace = Workspace::with(&[("BUILD.ouro", "\ngenrule(name = \"g\", outs = [\"x\"], cmd = \"sedd x > $@\")\n")]);
    let said = workspace.fails(1, &["build", "//..."]);
    said.says("sedd").says("genrule of `//:g` failed: exit status: 127").says("BUILD.ouro:2:1");
    let json = workspace.fails(1, &["build", "//...", "--message-format", "json"]);
    assert!(json.out.contains("failed: exit status: 127") && json.out.contains("\"file\":\"BUILD.ouro\""), "{}", json.out);
}

#[test]
fn a_folder_in_place_of_a_target_is_told() {
    let workspace = Workspace::example("firewall");
    workspace.fails(2, &["build", "fw"]).says("did you mean the package `//fw:all`?");
    workspace.fails(2, &["build", "fww"]).says("did you mean the package `//fw:all`?");
    workspace.fails(2, &["build", "//fw", "--flag", "x"]).says("needed for `//:x`");
}

/// Each of these was told without a word of what was meant.
#[test]
fn near_mistakes_are_told_with_what_was_meant() {
    let build = "bpf_program(name = \"p1\", srcs = [\"p1.c\"], type = \"xdp\")\nfilegroup(name = \"texts\", srcs = [\"p1.c\"])\n";
    let limits = "filegroup(name = \"limits\", srcs = [\"limits.h\"])\n";
    let workspace =
        Workspace::with(&[("fw/BUILD.ouro", build), ("fw/p1.c", ""), ("lib/BUILD.ouro", limits), ("lib/limits.h", "")]);
    let fails = |arguments: &[&str]| workspace.fails(2, arguments);
    fails(&["build", "--platform", "foo"]).says("`x86` (`x86_64`)").says("`arm64` (`aarch64`)");
    fails(&["build", "//fw:nope"]).says("the package has `p1`, `texts`");
    fails(&["build", ":limits"]).says("did you mean `//lib:limits`?");
    fails(&["build", "//...:all"]).says("write `//...`, which selects their targets");
    fails(&["build", "//fw:texts.bundle"]).says("if an output of `//fw:texts` is meant, name that target");
    fails(&["deploy", "fw/p1.bundle"]).says("there is no such file; give one with `--bundle FILE`");
    fails(&["run", "fw/p1.bundle"]).says("there is no such file");
    workspace.write("fw/p1.bundle", "");
    fails(&["plan", "fw/p1.bundle"]).says("give the file with `--bundle fw/p1.bundle`");
    fails(&["build", "//fw:p1.c"]).says("name the target that uses it: `//fw:p1` or `//fw:texts`");
    fails(&["build", "fw/p1.c"]).says("no package `//fw/p1.c`: it is a file").says("ouro query 'owner(fw/p1.c)'");
    fails(&["query", "lib/limts.h"]).says("did you mean the file `lib/limits.h`?");
    // As shells complete paths.
    for (folder, pattern) in [(".", "./lib/..."), (".", "lib/"), ("fw", "../lib:limits"), ("lib", "./limits"), ("lib", ".")] {
        workspace.ok(&["-C", folder, "build", pattern]);
    }
    workspace.edit("fw/BUILD.ouro", "\"xdp\"", "\"tracepont/sched/sched_switch\"");
    workspace.fails(1, &["build", "//fw:p1"]).says("did you mean `tracepoint/sched/sched_switch`?");
    workspace.write("fw/BUILD.ouro", "bpf_map(name = \"m\", type = \"array\", max_entries = \"16\")\n");
    workspace.fails(1, &["build", "//fw:m"]).says("write `16`, without quotes");
    workspace.write("fw/BUILD.ouro", "filegroup(name = \"a\",\n\nfilegroup(name = \"b\", srcs = [])\nfilegroup = 1\n");
    workspace.fails(1, &["build", "//fw:a"]).says("this `(` is never closed").says("1 | filegroup(name = \"a\",");
}

/// Who does not know which values there are, or what a command is called here, is told.
#[test]
fn what_there_is_to_choose_from_is_told() {
    let workspace = Workspace::with(&[
        ("BUILD.ouro", "sh_test(name = \"t\", srcs = [\"t.sh\"], timeout = 1)\n"),
        ("t.sh", ""),
        ("lib/BUILD.ouro", "bpf_program(name = \"p\", srcs = [\"p.c\", \"p.c\"], type = \"xdp\")\n"),
        ("lib/p.c", ""),
    ]);
    workspace.fails(1, &["build", "//:t"]).says("use one of `short`, `moderate`, `long`, `eternal`");
    workspace.fails(1, &["build", "//lib:p"]).says("`//lib:p.c` is listed twice in `srcs`").says("first listed here");
    workspace.fails(2, &["version"]).says("`ouro --version` says it");
    workspace.fails(2, &["targets"]).says("`ouro query //...` lists them");
    for command in ["attach", "detach"] {
        workspace.fails(2, &[command, "fw", "veth0"]).says("name the device with `--interface veth0`");
    }
    workspace.fails(2, &["verfy"]).says("'verify'");
    for command in [&["help", "rollback"][..], &["deploy", "--help"], &["help", "confirm"]] {
        let said = workspace.ok(command).out;
        assert!(!said.starts_with('`') && !said.starts_with("Usage"), "{said}");
    }
    let said = workspace.fails(2, &["build", "//none"]).err;
    assert!(!said.ends_with("\n\n"), "{said:?}");
}

/// A network card has maps and no other memory; the deploy would be told by the verifier, without the variable's name.
#[test]
fn a_global_variable_of_a_chain_for_a_card_is_a_finding_of_the_build() {
    let source = "#include <ouro/program.h>\nconst volatile __u32 limit = 7;\nSEC(\"xdp\") int p(struct xdp_md *ctx) { return ctx->data_end - ctx->data > limit ? XDP_PASS : XDP_DROP; }\n\
                  char _license[] SEC(\"license\") = \"GPL\";\n";
    let build = "bpf_program(name = \"p\", srcs = [\"p.c\"], type = \"xdp\")\n\
                 bpf_chain(name = \"card\", entry = \":p\", attach = [xdp(\"eth0\", mode = \"offload\")])\n";
    let workspace = Workspace::with(&[("fw/BUILD.ouro", build), ("fw/p.c", source)]);
    let said = workspace.fails(1, &["build", "//..."]);
    said.says("`//fw:p` has the global variable `limit`, and the network card of `eth0` has none")
        .says("`//fw:card` asks for the card");
    workspace.edit("fw/p.c", "const volatile __u32 limit = 7;", "enum { limit = 7 };");
    workspace.ok(&["build", "//..."]);
}
