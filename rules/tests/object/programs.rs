//! Which function of the sources is the program.

use ouro_rules::object::inspect;

use crate::clang::compile;
use crate::declared::{PASS, shown, xdp};

#[test]
fn the_program_is_the_only_function_of_its_type() {
    assert_eq!(xdp(&[]).facts(&PASS.replace("SEC(\"xdp\")", "SEC(\"xdp/first\")")).section, "xdp/first");
    let tc = "SEC(\"classifier\") int parse(struct __sk_buff *skb) { return skb->mark; }";
    assert_eq!(xdp(&[]).ty("tc").facts(tc).section, "classifier");
    assert_eq!(xdp(&[]).finding(""), "the sources of `//fw:parse` hold no `xdp` program");
    assert_eq!(xdp(&[]).finding(&PASS.replace("SEC(\"xdp\")", "")), "the sources of `//fw:parse` hold no `xdp` program");
}

/// Both were told to be damage, though every loader takes them.
#[test]
fn a_function_may_have_two_names_or_no_instructions() {
    let helpers = "__attribute__((noinline)) int low(int n) { return n & 7; }\n\
                   asm(\".globl lowest\\n.set lowest, low\");\n\
                   __attribute__((noinline)) int never(void) { __builtin_unreachable(); }\n";
    let calls = "SEC(\"xdp\") int parse(struct xdp_md *ctx) { return low(ctx->rx_queue_index); }";
    assert_eq!(xdp(&[]).facts(&format!("{helpers}{calls}")).function, "parse");
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
