//! `<ouro/program.h>` as clang reads it.

mod clang;

use clang::{compile, compile_many};
use ouro_rules::header::{HeaderSpec, SHARED, own};
use ouro_rules::hook::HOOKS;
use ouro_rules::manifest::MapSpec;
use ouro_rules::map_type::{MAP_TYPES, MapType, Need};

fn spec(jumps: &[&str]) -> HeaderSpec {
    HeaderSpec {
        label: "//fw:parse".to_owned(),
        jumps: jumps.iter().map(|name| ((*name).to_owned(), -1)).collect(),
        ..HeaderSpec::default()
    }
}

fn map(ty: &str, key: &str, value: &str, flags: u32) -> MapSpec {
    let text = |text: &str| text.to_owned();
    MapSpec { name: text(ty), ty: text(ty), key: text(key), value: text(value), max_entries: 4096, flags, ..MapSpec::default() }
}

fn complaint(spec: &HeaderSpec, body: &str) -> String {
    compile(spec, &format!("#include <ouro/program.h>\nSEC(\"xdp\") int parse(struct xdp_md *ctx) {{\n\t{body}\n}}\n"), &[])
        .unwrap_err()
}

fn is_in(object: &[u8], word: &str) -> bool {
    object.windows(word.len()).any(|window| window == word.as_bytes())
}

#[test]
fn a_jump_is_one_statement_in_every_hook() {
    for hook in HOOKS {
        let section = if hook.takes_name { format!("{}/x/y", hook.prefix) } else { hook.prefix.to_owned() };
        let source = format!(
            "#include <ouro/program.h>\n\
             struct anything;\n\
             static __always_inline int go(const struct anything *ctx) {{ OURO_JUMP(ctx, a); }}\n\
             SEC(\"{section}\") int parse(const struct anything *ctx) {{\n\
             \tif (bpf_get_smp_processor_id())\n\t\tOURO_JUMP(ctx, b);\n\telse\n\t\treturn go(ctx);\n}}\n"
        );
        compile(&spec(&["a", "b"]), &source, &[]).unwrap_or_else(|message| panic!("{section}: {message}"));
    }
}

#[test]
fn a_jump_that_is_not_declared_does_not_compile() {
    let message = complaint(&spec(&["block_list"]), "OURO_JUMP(ctx, blok_list);");
    // Versions of clang word it differently; the place and the name are in all of them.
    assert!(message.contains("fw/parse.c:3:2: error: ") && message.contains("'ouro_no_such_jump__blok_list'"), "{message}");
    assert_eq!(message.matches("fw/parse.c:3:2: error:").count(), 1, "{message}");
    let message = complaint(&spec(&[]), "OURO_JUMP(ctx, block_list);");
    assert!(message.contains("'ouro_no_such_jump__block_list'"), "{message}");
    let message = complaint(&spec(&["a"]), "JUMP_TO_PROGRAM(ctx, PROG_b);");
    assert!(message.contains("'ouro_no_such_jump__PROG_b'"), "{message}");
}

#[test]
fn an_undeclared_jump_is_an_error_where_the_language_only_warns() {
    let source = "#include <ouro/program.h>\nint parse(void *ctx) { OURO_JUMP(ctx, b); }\n";
    assert!(compile(&spec(&["a"]), source, &["-std=gnu89", "-Wno-error"]).unwrap_err().contains("error:"));
}

#[test]
fn names_do_not_get_in_each_others_way() {
    let source = "#include <ouro/program.h>\n\
                  int parse(void *ctx, int slot, int edge, int miss, int counter)\n\
                  { if (slot + edge + miss + counter) OURO_JUMP(ctx, a); else OURO_JUMP(ctx, a_miss); }\n\
                  int other(void *c, int name) { if (name) JUMP_TO_PROGRAM(c, PROG_id); OURO_JUMP(c, name); }\n";
    compile(&spec(&["a", "a_miss", "name", "id"]), source, &[]).unwrap_or_else(|message| panic!("{message}"));
}

#[test]
fn only_programs_that_jump_get_the_table() {
    let source = "#include <ouro/program.h>\nSEC(\"xdp\") int parse(struct xdp_md *ctx) { return ctx->rx_queue_index; }\n";
    let quiet = compile(&spec(&[]), source, &[]).unwrap();
    let jumping = compile(&spec(&["a"]), source, &[]).unwrap();
    for name in ["ouro_jumps", "ouro_counts", "__ouro_counting"] {
        assert!(is_in(&jumping, name) && !is_in(&quiet, name), "{name}");
    }
}

#[test]
fn kernel_types_may_come_from_vmlinux_h() {
    let source =
        "#define __VMLINUX_H__\n#include <linux/bpf.h>\n#include <ouro/program.h>\nint parse(void *ctx) { OURO_JUMP(ctx, a); }\n";
    compile(&spec(&["a"]), source, &[]).unwrap_or_else(|message| panic!("{message}"));
    assert!(SHARED.contains("#ifndef __VMLINUX_H__\n#include <linux/bpf.h>\n#endif\n"));
}

#[test]
fn maps_of_every_shape_compile_and_merge() {
    let maps = vec![
        map("lru_hash", "struct ethhdr", "__u64", 0),
        map("lpm_trie", "__u64", "__u8[6]", 1),
        map("ringbuf", "", "", 0),
        map("queue", "", "struct ethhdr", 0),
    ];
    let spec = HeaderSpec { maps, includes: vec!["linux/if_ether.h".to_owned()], ..spec(&["a"]) };
    let first = "#include <ouro/program.h>\nlong second(struct ethhdr *key);\n\
                 SEC(\"xdp\") int parse(struct xdp_md *ctx) { struct ethhdr key = {}; if (second(&key)) return 1; OURO_JUMP(ctx, a); }\n";
    let second =
        "#include <ouro/program.h>\nlong second(struct ethhdr *key) { return (long)bpf_map_lookup_elem(&lru_hash, key); }\n";
    compile_many(&spec, &[first, second]).unwrap_or_else(|message| panic!("{message}"));
    let text = own(&spec).unwrap();
    assert!(
        text.contains("__type(value, __u8[6]);\n\t__uint(map_flags, 1);\n} lpm_trie SEC(\".maps\") __attribute__((weak));"),
        "{text}"
    );
    assert!(text.contains("__uint(type, BPF_MAP_TYPE_RINGBUF);\n\t__uint(max_entries, 4096);\n} ringbuf"), "{text}");
}

/// Also of types that the headers of old kernels have no name for.
#[test]
fn maps_of_every_type_compile() {
    let spec_of = |ty: &MapType| MapSpec {
        key: if ty.key == Need::Nothing { "" } else { "__u32" }.to_owned(),
        value: if matches!(ty.value, Need::Nothing | Need::Maps) { "" } else { "__u64" }.to_owned(),
        inner: ty.holds_maps().then(|| Box::new(map("hash", "__u32", "struct ethhdr", 1))),
        map_extra: if ty.name == "arena" { 1 << 44 } else { 3 },
        numa_node: 1,
        ..map(ty.name, "", "", ty.implied_flags())
    };
    let maps: Vec<MapSpec> = MAP_TYPES.iter().map(spec_of).collect();
    let spec = HeaderSpec { maps, includes: vec!["linux/if_ether.h".to_owned()], ..spec(&[]) };
    compile(&spec, "#include <ouro/program.h>\n", &[]).unwrap_or_else(|message| panic!("{message}"));
    let text = own(&spec).unwrap();
    for part in [
        "__uint(type, 33);",
        "__uint(type, BPF_MAP_TYPE_USER_RINGBUF);",
        "\t__array(values, struct {\n\t\t__uint(type, BPF_MAP_TYPE_HASH);",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(&(1u64 << 44).to_string()), "the macro takes 32 bits");
}
