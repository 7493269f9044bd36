//! Arguments of declared probes, from the BUILD file to what programs read of a program that a compiler made.

use std::process::Command;

use crate::lab::{bpftool, lab, sh};
use crate::support::Workspace;
use crate::{map, nothing_left, ok, status};

/// Declares probes as `sys/sdt.h` does: the compiler says where their arguments are.
const PROBED: &str = r#"
#define PROBE(name, arguments, ...) \
	__asm__ volatile("990: nop\n.pushsection .note.stapsdt, \"\", \"note\"\n.balign 4\n.4byte 992f-991f, 994f-993f, 3\n" \
		"991: .asciz \"stapsdt\"\n992: .balign 4\n993: .8byte 990b, 0, 0\n.asciz \"app\", \"" name "\", \"" arguments "\"\n" \
		"994: .balign 4\n.popsection" :: __VA_ARGS__)

static void __attribute__((noinline)) request(int id, short code, const char *path)
{
	PROBE("request", "-4@%0 -2@%1 8@%2 4@%3", "nor"(id), "nor"(code), "nor"(path), "nor"(7));
}

static void __attribute__((noinline)) answer(long size)
{
	PROBE("answer", "-8@%0", "nor"(size));
}

int main(int argc, char **argv)
{
	/* In memory that is there: programs of probes wait for none. */
	volatile char path[] = "/index";
	for (int i = 0; i < 3; i++) {
		request(i - 1, 404 * argc - i, (const char *)path);
		answer(-1000 * i);
	}
	return argv == 0;
}
"#;
const BUILD: &str = r#"
bpf_map(name = "read", type = "hash", key = "__s64", value = "__s64", max_entries = 64)
bpf_program(name = "request", srcs = ["request.c"], type = "usdt", maps = [":read"], jumps = [":answer"], on_miss = 0)
bpf_program(name = "answer", srcs = ["answer.c"], type = "usdt", maps = [":read"])
bpf_chain(name = "watch", entry = ":request", attach = [
    usdt(binary = "PROBED", provider = "app", probe = "request"),
    usdt(binary = "PROBED", provider = "app", probe = "answer"),
])
"#;
const HEADER: &str = "#include <linux/ptrace.h>\n#include <ouro/program.h>\n#include <stdbool.h>\n#include <bpf/usdt.bpf.h>\n\
    char _license[] SEC(\"license\") = \"GPL\";\n";
const REQUEST: &str = "SEC(\"usdt\") int BPF_USDT(request, int id, long code, const char *path, long seven) {\n\
    if (bpf_usdt_arg_cnt(ctx) == 1) OURO_JUMP(ctx, answer);\n\
    char first[2] = {}; bpf_probe_read_user(first, 2, path);\n\
    __s64 key = id, value = code * 1000 + first[1] * seven;\n\
    bpf_map_update_elem(&read, &key, &value, 0); return 0; }\n";
const ANSWER: &str = "SEC(\"usdt\") int BPF_USDT(answer, long size) {\n\
    __s64 key = 100 - size, value = size + FACTOR; bpf_map_update_elem(&read, &key, &value, 0); return 0; }\n";

#[test]
fn programs_read_what_the_compiler_says_that_they_can() {
    lab(|lab| {
        let app = lab.folder().join("app");
        let app = app.to_str().unwrap();
        std::fs::write(format!("{app}.c"), PROBED).unwrap();
        sh(&format!("cc -O2 -o {app} {app}.c"));
        let answer = |factor: &str| format!("{HEADER}{}", ANSWER.replace("FACTOR", factor));
        let (build, request) = (BUILD.replace("PROBED", app), format!("{HEADER}{REQUEST}"));
        let workspace = Workspace::with(&[("BUILD.ouro", &build), ("request.c", &request), ("answer.c", &answer("0"))]);
        let read = || {
            assert!(Command::new(app).status().unwrap().success());
            let dump = bpftool(&["map", "dump", "pinned", map(lab, "watch", "read").to_str().unwrap()]);
            let number = |element: &serde_json::Value, part: &str| element["formatted"][part].as_i64().unwrap();
            let mut all: Vec<(i64, i64)> =
                dump.as_array().unwrap().iter().map(|element| (number(element, "key"), number(element, "value"))).collect();
            all.sort_unstable();
            all
        };
        let letter = i64::from(b'i') * 7;
        let requests = [(-1, 404_000 + letter), (0, 403_000 + letter), (1, 402_000 + letter)];
        let expected = |more: i64| [&requests[..], &[(100, more), (1100, more - 1000), (2100, more - 2000)]].concat();
        ok(lab, &workspace, &["deploy", "//:watch"]);
        assert_eq!(read(), expected(0));
        workspace.write("answer.c", &answer("5"));
        ok(lab, &workspace, &["deploy", "//:watch"]);
        assert_eq!(read(), expected(5), "the links are those of the first generation");
        ok(lab, &workspace, &["rollback", "watch"]);
        assert_eq!(read(), expected(0));
        let before = status(lab, &workspace);
        ok(lab, &workspace, &["undeploy", "watch"]);
        nothing_left(lab, &before);
    });
}
