//! Objects of every kind are loaded, or refused for a reason that names what is missing: `tests/corpus` has one file for each
//! feature, and every section of the table is tried.

use std::fs;
use std::path::Path;
use std::process::Command;

use ouro_deploy::{Error, ErrorKind, Verdict, VerifyOptions, verify_object};
use ouro_rules::hook::{HOOKS, Hook, Verdicts};

use crate::support::kernel_is_at_least;

pub fn compile(source: &Path, folder: &Path) -> Vec<u8> {
    compile_with(source, folder, &[])
}

pub fn compile_with(source: &Path, folder: &Path, flags: &[&str]) -> Vec<u8> {
    let output = folder.join(source.file_stem().expect("a name")).with_extension("o");
    let arch = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x86_64" };
    let mut clang = Command::new("clang-19");
    clang.args(["-target", "bpf", "-O2", "-g", "-Wall", "-Werror", "-c", "-o"]).args([&output, source]);
    let done = clang.args(flags).arg(format!("-I/usr/include/{arch}-linux-gnu")).output().expect("clang-19 runs");
    assert!(done.status.success(), "{}: {}", source.display(), String::from_utf8_lossy(&done.stderr));
    fs::read(output).expect("clang wrote it")
}

/// What is said of a file of the corpus.
fn judged(file: &str) -> Vec<Verdict> {
    let folder = tempfile::tempdir().expect("a folder");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(file);
    let object = compile(&source, folder.path());
    verify_object(file, &object, &VerifyOptions::default()).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every program of these files is taken, or refused with these words.
#[test]
fn every_feature_of_objects_is_loaded() {
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("calls.c", &[("first", ""), ("second", ""), ("third", "")]),
        ("core.c", &[("core", ""), ("unguarded", "rejected `unguarded`")]),
        ("data.c", &[("data", "")]),
        ("flavours.c", &[("flavours", ""), ("wrong", "the kernel's `bpf_rcu_read_unlock` takes or returns something else")]),
        ("hidden.c", &[("hidden", "")]),
        ("kfuncs.c", &[("kfuncs", "")]),
        ("ksyms.c", &[("typed", "kernel symbol 'bpf_prog_active'"), ("weak", "")]),
        ("maps.c", &[("maps", "")]),
        ("maps_of_maps.c", &[("outer", "")]),
        ("missing_kfunc.c", &[("wants", "the kernel has no `no_such_function`"), ("does_without", "")]),
        ("missing_setting.c", &[("wants", "no `CONFIG_NO_SUCH_THING`"), ("does_without", "")]),
        (
            "neighbours.c",
            &[
                ("good", ""),
                ("bad", "outside of the packet"),
                ("unknown", "a section `nobody/knows`"),
                ("replacing", "nothing says which program"),
                ("optional", ""),
            ],
        ),
        ("settings.c", &[("settings", "")]),
        ("struct_ops.c", &[("ssthresh", ""), ("cong_avoid", ""), ("in_no_table", "no variable in `.struct_ops`")]),
        ("table.c", &[("pass", ""), ("drop", ""), ("entry", "")]),
    ];
    for (file, expected) in cases {
        let verdicts = judged(file);
        let names: Vec<&str> = verdicts.iter().map(|verdict| verdict.program.as_str()).collect();
        assert_eq!(names, expected.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "{file}");
        for (verdict, (name, words)) in verdicts.iter().zip(*expected) {
            match &verdict.outcome {
                Ok(_) => assert!(words.is_empty() || is_variable(words), "{file}: `{name}` is loaded, and not refused: {words}"),
                Err(error) => {
                    assert!(!words.is_empty() && error.to_string().contains(words), "{file}: `{name}`: {error}\n{}", verdict.log);
                }
            }
        }
    }
}

/// Kernels made with CONFIG_KALLSYMS_ALL tell where their variables are.
fn is_variable(words: &str) -> bool {
    words.contains("kernel symbol")
}

#[test]
fn every_file_of_the_corpus_is_tried() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let this = fs::read_to_string(folder.join("kernel/corpus.rs")).expect("this file");
    for entry in fs::read_dir(folder.join("corpus")).expect("the corpus") {
        let name = entry.expect("a file").file_name().to_string_lossy().into_owned();
        assert!(this.contains(&format!("(\"{name}\"")) || this.contains(&format!("\"{name}\",")), "{name} is tried nowhere");
    }
}

#[test]
fn the_verifier_tells_what_a_program_costs() {
    let verdicts = judged("calls.c");
    let verified = verdicts[0].outcome.as_ref().expect("it is loaded");
    assert!(verified.instructions > 20 && verified.frames.len() == 4, "{verified:?}");
    assert!(verified.stack > verified.frames[0] && verified.stack <= verified.frames.iter().sum(), "{verified:?}");
}

#[test]
fn types_of_another_kernel_are_taken_from_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let object = compile(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/core.c"), folder.path());
    let judged = |btf: &Path| {
        let options = VerifyOptions { btf: Some(btf.to_owned()), whole_log: true };
        verify_object("core.o", &object, &options)
    };
    let verdicts = judged(Path::new("/sys/kernel/btf/vmlinux")).expect("it is read");
    assert!(verdicts[0].outcome.is_ok() && verdicts[0].log.contains("exit"), "{verdicts:?}");
    let other = folder.path().join("other.btf");
    fs::write(&other, "no types").expect("a file");
    let error = judged(&other).unwrap_err().to_string();
    assert!(error.contains("other.btf` cannot be read"), "{error}");
}

/// Bytes are changed at random; whatever comes of it, it is an answer.
#[test]
fn damaged_objects_are_refused_or_loaded_and_nothing_worse() {
    let folder = tempfile::tempdir().expect("a folder");
    for file in ["core.c", "../core/types.c", "calls.c", "table.c", "settings.c", "struct_ops.c"] {
        let object = compile(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(file), folder.path());
        let mut seed = 1u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) as usize % below
        };
        for _ in 0..60 {
            let mut damaged = object.clone();
            for _ in 0..4 {
                let at = random(damaged.len());
                damaged[at] = random(256) as u8;
            }
            damaged.truncate(object.len() - if random(4) == 0 { random(object.len()) } else { 0 });
            let _ = verify_object(file, &damaged, &VerifyOptions::default());
        }
    }
}

#[test]
fn what_is_no_object_is_refused_clearly() {
    let said = |bytes: &[u8]| verify_object("x", bytes, &VerifyOptions::default()).unwrap_err().to_string();
    assert!(said(b"").contains("it is no ELF file"));
    assert!(said(b"\x7fELF\x02\x01").contains("damaged"));
    let own = fs::read(std::env::current_exe().expect("a path")).expect("this program");
    assert!(said(&own).contains("it is no object file for BPF"));
}

/// A program for each section; those that name what they attach to name something every kernel has.
#[test]
fn every_section_is_loaded_or_the_kernel_lacks_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut refused, mut wrong) = (0, Vec::new());
    for (number, hook) in HOOKS.iter().enumerate() {
        let source = folder.path().join(format!("section{number}.c"));
        fs::write(&source, program(hook)).expect("the folder can be written");
        let object = compile(&source, folder.path());
        let verdicts = verify_object(hook.prefix, &object, &VerifyOptions::default()).expect("it is read");
        let [verdict] = verdicts.as_slice() else { panic!("{}: {verdicts:?}", hook.prefix) };
        if let Err(error) = &verdict.outcome {
            refused += 1;
            if !may_be_refused(hook, error) {
                wrong.push(format!("{}: {error}\n{}", hook.prefix, verdict.log));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Most kinds are older than any kernel these tests run on.
    assert!(refused < HOOKS.len() / 2, "{refused}");
}

/// What attaches to functions of the kernel is refused where the kernel is locked down; the rest is as old as the kernel is.
fn may_be_refused(hook: &Hook, error: &Error) -> bool {
    let names_it = error.to_string().contains(&format!("`{}` program", hook.prefix));
    match (hook.prog_type, hook.attach_type) {
        // A kernel that does not know it says only that such programs cannot sleep.
        ("tracing", "TRACE_FSESSION") => names_it || hook.sleepable,
        ("tracing", "TRACE_RAW_TP" | "TRACE_ITER") => false,
        ("tracing" | "lsm", _) => names_it && error.kind() == ErrorKind::NotPermitted,
        ("ext", _) => error.to_string().contains("nothing says which program"),
        ("lirc_mode2" | "lwt_seg6local", _) => names_it,
        (_, attach_type) => names_it && attach_type.contains("SESSION") && !kernel_is_at_least(6, 13),
    }
}

fn program(hook: &Hook) -> String {
    let number = match hook.verdicts {
        Verdicts::Named(names) => names.iter().map(|(_, number)| *number).max().unwrap_or(0),
        Verdicts::Numbers(first, last) => 0.clamp(first, last),
    };
    let target = match (hook.prog_type, hook.attach_type) {
        ("tracing", "TRACE_RAW_TP") => "sched_switch",
        ("tracing", "TRACE_ITER") => "task",
        ("tracing", "MODIFY_RETURN") => "security_file_open",
        ("lsm", _) => "file_open",
        _ => "vfs_read",
    };
    let section = if hook.takes_name { format!("{}/{target}", hook.prefix) } else { hook.prefix.to_owned() };
    let table = match hook.prog_type {
        "struct_ops" => {
            "struct tcp_congestion_ops { unsigned int (*ssthresh)(void *); char name[16]; };\n\
             SEC(\".struct_ops\") struct tcp_congestion_ops ops = { .ssthresh = (void *)f, .name = \"ours\" };\n"
        }
        _ => "",
    };
    format!(
        "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n\
         SEC(\"{section}\") int f(unsigned long long *ctx) {{ return {number}; }}\n{table}\
         char _license[] SEC(\"license\") = \"GPL\";\n"
    )
}
