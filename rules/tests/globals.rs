//! Global variables of real objects: found with what they hold, and values that do not fit are findings.

#[expect(dead_code, reason = "no program here has several sources")]
mod clang;

use std::collections::BTreeMap;

use ouro_rules::header::HeaderSpec;
use ouro_rules::manifest::Scalar;
use ouro_rules::object::{Form, Global, check_globals, globals};

const SOURCE: &str = r#"
#include <ouro/program.h>
const volatile __u16 limit = 7;
const volatile __s8 delta SEC(".rodata.more") = -1;
const volatile _Bool strict;
const volatile char name[4] = "abc";
const volatile int many[2];
static volatile int hidden = 1;
__u64 seen;

SEC("xdp") int parse(struct xdp_md *ctx)
{
	(void)ctx;
	seen += hidden + many[limit & 1];
	return strict && delta && name[0] ? 1 : 2;
}
char _license[] SEC("license") = "GPL";
"#;

fn object() -> Vec<u8> {
    clang::compile(&HeaderSpec::default(), SOURCE, &[]).unwrap()
}

fn named<'a>(globals: &'a [Global], name: &str) -> &'a Global {
    globals.iter().find(|global| global.name == name).unwrap_or_else(|| panic!("{name}"))
}

#[test]
fn variables_are_found_with_what_they_hold() {
    let found = globals(&object()).unwrap();
    let int = |signed| Form::Int { signed };
    let forms: Vec<(&str, Form)> = found.iter().map(|global| (global.name.as_str(), global.form)).collect();
    assert_eq!(
        forms,
        [
            ("delta", int(true)),
            ("hidden", int(true)),
            ("limit", int(false)),
            ("many", Form::Other),
            ("name", Form::Text),
            ("seen", int(false)),
            ("strict", Form::Bool),
        ]
    );
    assert_eq!((named(&found, "delta").section.as_str(), named(&found, "delta").offset), (".rodata.more", 0));
    assert_eq!(named(&found, "seen").section, ".bss");
}

#[test]
fn values_become_the_bytes_of_the_variable() {
    let found = globals(&object()).unwrap();
    let encode = |name: &str, value: Scalar| named(&found, name).encode(&value);
    assert_eq!(encode("limit", Scalar::Int(258)), Ok(vec![2, 1]));
    assert_eq!(encode("delta", Scalar::Int(-2)), Ok(vec![0xfe]));
    assert_eq!(encode("strict", Scalar::Bool(true)), Ok(vec![1]));
    assert_eq!(encode("name", Scalar::Text("hi".to_owned())), Ok(b"hi\0\0".to_vec()));
    assert_eq!(encode("limit", Scalar::Int(65536)).unwrap_err(), "65536 does not fit `limit`, which takes 0 to 65535");
    assert_eq!(encode("delta", Scalar::Int(128)).unwrap_err(), "128 does not fit `delta`, which takes -128 to 127");
    assert_eq!(encode("strict", Scalar::Int(1)).unwrap_err(), "`strict` holds a truth value, and cannot be 1");
    let long = encode("name", Scalar::Text("long".to_owned())).unwrap_err();
    assert_eq!(long, "\"long\" does not fit `name`, which takes 3 bytes without a zero");
    assert!(encode("many", Scalar::Int(1)).unwrap_err().contains("more than one value"));
}

#[test]
fn texts_mean_what_the_variable_holds() {
    let found = globals(&object()).unwrap();
    let parse = |name: &str, text: &str| named(&found, name).parse(text);
    assert_eq!(parse("limit", "0x10"), Ok(Scalar::Int(16)));
    assert_eq!(parse("strict", "true"), Ok(Scalar::Bool(true)));
    assert_eq!(parse("name", "12"), Ok(Scalar::Text("12".to_owned())));
    assert!(parse("limit", "ten").unwrap_err().contains("holds a whole number"));
}

#[test]
fn every_value_that_cannot_be_is_a_finding() {
    let given = BTreeMap::from([("limt".to_owned(), Scalar::Int(1)), ("delta".to_owned(), Scalar::Int(1000))]);
    let findings = check_globals("//fw:parse", &object(), &given);
    let messages: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "`globals` of `//fw:parse`: 1000 does not fit `delta`, which takes -128 to 127",
            "`//fw:parse` has no global variable `limt`"
        ]
    );
    assert_eq!(findings[1].help.as_deref(), Some("did you mean `limit`?"));
    assert!(check_globals("//fw:parse", b"", &BTreeMap::new()).is_empty());
}
