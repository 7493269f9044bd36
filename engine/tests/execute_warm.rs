//! Warm compilers: whatever is built, printed or said is what compilers started anew make of it.

mod execute_support;

use std::collections::BTreeMap;

use execute_support::{Built, TOOLCHAIN, Workspace, compile};
use ouro_engine::execute::warm_trouble;
use ouro_rules::{Action, ActionKind, Tool};

/// As many as it takes to see copies of a server in all its states: it changes a little with each of its first hundred requests.
const PROGRAMS: usize = 160;

/// A program in which every number counts.
fn program(number: usize) -> String {
    let includes = "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n#include \"lib.h\"\n";
    let warning = if number.is_multiple_of(5) { "\tint unused;\n" } else { "" };
    format!(
        "{includes}struct {{ __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, __u64); \
         __uint(max_entries, {number} + 1); }} map{number} SEC(\".maps\");\n\
         SEC(\"xdp\") int p{number}(struct xdp_md *ctx)\n{{\n{warning}\t__u32 key = {number};\n\
         \t__u64 *value = bpf_map_lookup_elem(&map{number}, &key);\n\
         \treturn value && *value > LIMIT ? XDP_DROP : XDP_PASS;\n}}\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n"
    )
}

/// What else compilers are asked for, and what goes wrong: each with its source and additional arguments.
const OTHERS: &[(&str, &str, &str)] = &[
    ("error", "int f(void) { return missing; }\n#warning careful\n", ""),
    ("absent", "#include \"absent.h\"\n", ""),
    ("flag", "int x;\n", "-fno-such-flag"),
    ("verbose", "int x;\n", "-v"),
    ("dry", "int x;\n", "-###"),
    ("library", "int x;\n", "-print-libgcc-file-name"),
    ("deps", "#include \"lib.h\"\nint x = LIMIT;\n", "-H"),
    ("time", "int f(int x) { return x; }\n", "-Rpass=.*"),
    // What only the back end refuses.
    ("backend", "int f(int n) { return *(volatile int *)__builtin_alloca(n); }\n", ""),
    ("assembler", "int f(void) { asm volatile(\"no such thing\"); return 0; }\n", ""),
];

fn with_arguments(mut action: Action, more: &str) -> Action {
    if let ActionKind::Run { args, .. } = &mut action.kind {
        *args = more.split_whitespace().chain(args.iter()).map(str::to_owned).collect::<Vec<_>>().into();
    }
    action
}

fn workspace(warm: bool) -> (Workspace, Vec<Action>) {
    let mut workspace = Workspace::new();
    (workspace.warm, workspace.keep_going, workspace.color) = (warm, true, true);
    workspace.write("fw/lib.h", "#define LIMIT 7\n");
    let mut actions = Vec::new();
    for number in 0..PROGRAMS {
        workspace.write(&format!("fw/p{number}.c"), &program(number));
        actions.push(compile(&format!("p{number}"), &["fw/lib.h"]));
    }
    for (name, source, more) in OTHERS {
        workspace.write(&format!("fw/{name}.c"), source);
        actions.push(with_arguments(compile(name, &["fw/lib.h"]), more));
    }
    (workspace, actions)
}

/// What actions printed, by owner.
fn printed(built: &Built, names: impl Iterator<Item = String>) -> BTreeMap<String, String> {
    use ouro_engine::event::Event;
    let names: Vec<String> = names.collect();
    let said = |event: &Event| match event {
        Event::Finished { owner, output, .. } => Some((owner.name.to_string(), output.clone())),
        Event::Failed { owner, output, findings, .. } => {
            let findings: String = findings.iter().map(|finding| format!("\n{}", finding.message)).collect();
            Some((owner.name.to_string(), output.clone() + &findings))
        }
        _ => None,
    };
    built.events.iter().filter_map(said).filter(|(name, _)| names.contains(name)).collect()
}

#[test]
fn everything_is_the_same_with_and_without() {
    let clang = TOOLCHAIN.tool(&Tool::Clang).unwrap();
    assert_eq!(warm_trouble(&clang.path), None);
    let [(warm, warm_built), (cold, cold_built)] = [true, false].map(|warm| {
        let (workspace, actions) = workspace(warm);
        let built = workspace.build(actions);
        (workspace, built)
    });
    let warmth = &warm_built.summary().warmth;
    assert!(warmth.runs > PROGRAMS / 2 && warmth.trouble.is_none(), "{warmth:?}");
    assert_eq!(cold_built.summary().warmth.runs, 0);
    assert_eq!(warm_built.ends(), cold_built.ends());
    let outputs = warm.outputs();
    assert!(outputs.len() >= PROGRAMS && outputs == cold.outputs(), "{outputs:?}");
    outputs.iter().for_each(|path| assert!(warm.read(path) == cold.read(path), "{path} differs"));
    let names = || (0..PROGRAMS).map(|number| format!("p{number}")).chain(OTHERS.iter().map(|(name, ..)| (*name).to_owned()));
    let (warm, cold) = (printed(&warm_built, names()), printed(&cold_built, names()));
    for name in names() {
        assert_eq!(warm[&name], cold[&name], "{name}");
    }
    assert!(cold["error"].contains("\x1b["), "with colours: {}", cold["error"]);
    assert!(cold["p5"].contains("unused variable") && cold["verbose"].contains("-cc1"));
}

/// Under the limit nothing is kept warm: it would not pay.
#[test]
fn a_few_programs_are_compiled_as_ever() {
    let (workspace, actions) = workspace(true);
    let built = workspace.build(actions.into_iter().take(3).collect());
    assert_eq!((built.summary().ran, built.summary().warmth.runs), (3, 0));
}
