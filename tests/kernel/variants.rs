//! Programs that depend on the kernel, from the BUILD file to what `status` says.

use serde_json::Value;

use crate::lab::{NEAR, lab};
use crate::support::{Said, Workspace};
use crate::{ok, ouro, status};

/// All of `parts` stand in what was said.
#[track_caller]
fn says(said: &Said, parts: &[&str]) {
    let text = format!("{}{}", said.out, said.err);
    for part in parts {
        assert!(text.contains(part), "`{part}` is missing in:\n{text}");
    }
}

fn verify(workspace: &Workspace, arguments: &[&str]) -> Said {
    Said::of(workspace.command(&["verify"]).args(arguments).output().expect("ouro runs"))
}

const BUILD: &str = r#"
bpf_program(name = "entry", srcs = ["entry.c"], type = "xdp", jumps = [":mid", ":extra"], on_miss = "pass")
bpf_program(name = "future", srcs = ["good.c"], type = "xdp", requires = ["99.0"], globals = {"answer": 1})
bpf_program(name = "careless", srcs = ["bad.c"], type = "xdp")
bpf_program(name = "careful", srcs = ["good.c"], type = "xdp", globals = {"answer": 2})
bpf_variants(name = "mid", candidates = [":future", ":careless", ":careful"])
bpf_program(name = "extra", srcs = ["bad.c"], type = "xdp", optional = True)
bpf_chain(name = "fw", entry = ":entry", attach = [xdp("near0")])
"#;
const ENTRY: &str = "#include <ouro/program.h>\n\
    SEC(\"xdp\") int entry(struct xdp_md *ctx) { if (ctx->data_end - ctx->data > 600) OURO_JUMP(ctx, extra); OURO_JUMP(ctx, mid); }\n\
    char _license[] SEC(\"license\") = \"GPL\";\n";
const GOOD: &str = "#include <ouro/program.h>\nconst volatile int answer = 0;\n\
    SEC(\"xdp\") int good(struct xdp_md *ctx) { (void)ctx; return answer; }\n\
    char _license[] SEC(\"license\") = \"GPL\";\n";
const BAD: &str = "#include <ouro/program.h>\n\
    SEC(\"xdp\") int bad(struct xdp_md *ctx) { return *(unsigned char *)(long)ctx->data; }\n\
    char _license[] SEC(\"license\") = \"GPL\";\n";

fn workspace() -> Workspace {
    Workspace::with(&[("BUILD.ouro", BUILD), ("entry.c", ENTRY), ("good.c", GOOD), ("bad.c", BAD)])
}

#[test]
fn what_the_kernel_takes_is_planned_deployed_explained_and_shown() {
    lab(|lab| {
        assert_eq!(NEAR, "near0");
        let workspace = workspace();
        let planned = ok(lab, &workspace, &["plan", "//:fw", "--explain"]);
        let parts = [
            "of `mid` this kernel takes `careful`; its candidates are future, careless, careful",
            "`extra` is left out, jumps to it miss",
            "  `future` not tried: it needs Linux 99.0",
            "  `careless` not taken: the kernel's verifier rejected `careless`",
            "`extra`: left out",
        ];
        says(&planned, &parts);
        says(&ok(lab, &workspace, &["deploy", "//:fw"]), &["of `mid` this kernel takes `careful`", "`extra` is left out"]);
        assert_eq!(lab.ping(5), 5, "`answer` is the careful one's");
        let now = status(lab, &workspace);
        let program = |name: &str| {
            let all = now[0]["programs"].as_array().unwrap();
            all.iter().find(|program| program["name"] == name).cloned().unwrap_or(Value::Null)
        };
        assert_eq!((&program("mid")["candidate"], &program("extra")["left_out"]), (&Value::from("careful"), &Value::from(true)));
        says(&ok(lab, &workspace, &["status"]), &["candidate `careful`", "left out: the kernel does not take it"]);
        ok(lab, &workspace, &["deploy", "//:fw"]).says("nothing to do");
        ok(lab, &workspace, &["undeploy", "fw"]);
    });
}

#[test]
fn all_candidates_are_judged_and_one_is_enough() {
    lab(|lab| {
        let workspace = workspace();
        let said = verify(&workspace, &["//..."]);
        says(&said, &["mid: future", "mid: careless", "mid: careful", "rejected", "extra"]);
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        assert!(!said.err.contains("rejected `careless`"), "{}", said.err);
        says(&verify(&workspace, &["//:fw", "--explain"]), &["rejected `careless`"]);
        workspace.write("good.c", BAD.replace("bad(", "good(").as_str());
        workspace.edit("BUILD.ouro", "globals = {\"answer\": 1}", "");
        workspace.edit("BUILD.ouro", ", globals = {\"answer\": 2}", "");
        assert_eq!(verify(&workspace, &["//:fw"]).code, 1);
        let failed = ouro(lab, &workspace, &["deploy", "//:fw"]);
        says(&failed, &["the kernel takes no candidate of `mid`", "`careful`: the kernel's verifier rejected"]);
        assert_eq!(failed.code, 1);
    });
}
