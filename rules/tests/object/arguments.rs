//! Arguments of declared probes: how the table of libbpf's `usdt.bpf.h` lies in memory, in the versions there are.

use ouro_rules::manifest::Arguments;
use ouro_rules::object::arguments;

use crate::declared::{Declared, PASS, xdp};

/// What stands before programs that read arguments.
const HEADER: &str = "#define __TARGET_ARCH_x86\n#include <stdbool.h>\n#include <linux/ptrace.h>\n#include <bpf/usdt.bpf.h>\n";

fn probe() -> Declared {
    xdp(&[]).ty("usdt")
}

/// The table of a source that defines it itself.
fn defined(argument: &str, rest: &str) -> Result<Option<Arguments>, String> {
    let source = format!(
        "#include <stdbool.h>\nstruct argument {{ {argument} }};\nstruct spec {{ struct argument args[12]; {rest} }};\n\
         struct {{ __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 256); __type(key, int); __type(value, struct spec); }}\n\
         __bpf_usdt_specs SEC(\".maps\");\n\
         SEC(\"usdt\") int parse(void *ctx) {{ int id = !ctx; return !!bpf_map_lookup_elem(&__bpf_usdt_specs, &id); }}"
    );
    let found = arguments(&probe().object(&source, &[])).map_err(|finding| finding.message);
    let told = probe().inspect(&source).map(drop).map_err(|findings| findings[0].message.clone());
    assert_eq!(found.as_ref().map(drop), told.as_ref().map(drop), "the compile tells it as well");
    found
}

/// Its maps were refused, as none of them is declared.
#[test]
fn the_header_of_this_machine_is_understood() {
    let source = format!("{HEADER}SEC(\"usdt\") int BPF_USDT(parse, int number) {{ return number + bpf_usdt_arg_cnt(ctx); }}");
    assert_eq!(probe().facts(&source).maps, []);
    let found = arguments(&probe().object(&source, &[])).unwrap().unwrap();
    assert_eq!((found.first, found.most, found.value), (0, 12, (0, 64)));
    assert_eq!(arguments(&xdp(&[]).object(PASS, &[])).unwrap(), None);
}

#[test]
fn versions_differ_in_where_members_are() {
    let (old, rest) =
        ("__u64 val_off; int arg_type; short reg_off; bool arg_signed; char arg_bitshift;", "__u64 usdt_cookie; short arg_cnt;");
    let found = defined(old, rest).unwrap().unwrap();
    assert_eq!((found.size, found.step, found.count, found.kind, found.register), (208, 16, (1600, 16), (64, 32), (96, 16)));
    assert_eq!((found.sign, found.shift, found.index), ((112, 8), (120, 8), None));
    let new = "__u64 val_off; int arg_type: 8; __u16 idx_reg_off: 12; __u16 scale_bitshift: 4; __u8 __reserved: 8; short reg_off;\
               bool arg_signed; char arg_bitshift;";
    let found = defined(new, rest).unwrap().unwrap();
    assert_eq!((found.size, found.step, found.count, found.kind, found.register), (304, 24, (2368, 16), (64, 8), (112, 16)));
    assert_eq!(found.index, Some(((80, 12), (92, 4))));
}

#[test]
fn what_is_new_or_missing_is_named() {
    let (old, rest) =
        ("__u64 val_off; int arg_type; short reg_off; bool arg_signed; char arg_bitshift;", "__u64 usdt_cookie; short arg_cnt;");
    for (argument, rest, words) in [
        (format!("{old} int arg_size;"), rest.to_owned(), "`struct argument` has a member `arg_size`"),
        (old.to_owned(), format!("{rest} int more;"), "`struct spec` has a member `more`"),
        (old.replace("bool arg_signed;", ""), rest.to_owned(), "`struct argument` has no `arg_signed`"),
        (format!("{old} int idx_reg_off;"), rest.to_owned(), "`struct argument` has no `scale_bitshift`"),
        (old.to_owned(), "__u64 usdt_cookie;".to_owned(), "`struct spec` has no `arg_cnt`"),
    ] {
        let error = defined(&argument, &rest).unwrap_err();
        assert!(error.ends_with(words) && error.starts_with("the arguments of declared probes"), "{error}");
    }
}
