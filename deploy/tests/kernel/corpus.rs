//! Objects of every kind are loaded, or refused for a reason that names what is missing: `tests/corpus` has one file for each
//! feature, and every section of the table is tried.

use std::fs;
use std::path::Path;

use ouro_deploy::{Error, ErrorKind, Verdict, VerifyOptions, verify_object};
use ouro_rules::hook::{HOOKS, Hook, Verdicts};

use crate::chain::compile;
use crate::missing::{lacks_for_a_part, precedes, since, tell};

/// A file of the corpus, compiled.
fn object(file: &str) -> Vec<u8> {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(file)).expect("a source");
    let folder = tempfile::tempdir().expect("a folder");
    compile(folder.path(), "corpus", &source)
}

/// What is said of a file of the corpus.
fn judged(file: &str) -> Vec<Verdict> {
    verify_object(file, &object(file), &VerifyOptions::default()).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every program of these files is taken, or refused with these words.
#[test]
fn every_feature_of_objects_is_loaded() {
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("arena.c", &[("counts", "")]),
        ("calls.c", &[("first", ""), ("second", ""), ("third", "")]),
        ("core.c", &[("core", ""), ("unguarded", "rejected `unguarded`")]),
        ("data.c", &[("data", "")]),
        ("flavours.c", &[("flavours", ""), ("wrong", "the kernel's `bpf_rcu_read_unlock` takes or returns something else")]),
        ("hidden.c", &[("hidden", "")]),
        ("kfuncs.c", &[("kfuncs", "")]),
        ("ksyms.c", &[("typed", "bpf_prog_active"), ("weak", "")]),
        ("maps.c", &[("maps", "")]),
        ("maps_of_maps.c", &[("outer", "")]),
        ("missing_kfunc.c", &[("wants", "the kernel has no `no_such_function`"), ("does_without", "")]),
        ("missing_setting.c", &[("wants", "no `CONFIG_NO_SUCH_THING`"), ("does_without", "")]),
        (
            "neighbours.c",
            &[
                ("good", ""),
                ("bad", "invalid access to packet"),
                ("unknown", "a section `nobody/knows`"),
                ("replacing", "nothing says which program"),
                ("optional", ""),
            ],
        ),
        ("settings.c", &[("settings", "")]),
        ("struct_ops.c", &[("ssthresh", ""), ("cong_avoid", ""), ("in_no_table", "no variable in `.struct_ops`")]),
        ("table.c", &[("pass", ""), ("drop", ""), ("entry", "")]),
    ];
    let mut wrong = Vec::new();
    for (file, expected) in cases {
        let lacks = match *file {
            "arena.c" => lacks_for_a_part("`arena` maps", "6.9"),
            "calls.c" | "hidden.c" => lacks_for_a_part(CALLBACKS, "5.17"),
            "kfuncs.c" | "flavours.c" => lacks_for_a_part("function `bpf_rcu_read_lock`", "6.2"),
            "maps.c" => lacks_for_a_part("`bloom_filter` maps", "5.16"),
            "settings.c" => tells_no_settings(),
            _ => false,
        };
        if lacks {
            continue;
        }
        let verdicts = judged(file);
        let names: Vec<&str> = verdicts.iter().map(|verdict| verdict.program.as_str()).collect();
        assert_eq!(names, expected.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "{file}");
        for (verdict, (name, words)) in verdicts.iter().zip(*expected) {
            let is_right = match &verdict.outcome {
                Ok(_) => words.is_empty() || is_variable(words),
                Err(error) => !words.is_empty() && error.to_string().contains(words),
            };
            if !is_right {
                wrong.push(format!("{file}: `{name}`, expected `{words}`: {:?}\n{}", verdict.outcome, verdict.log));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where distributions keep how they made the kernel, and where it may keep that itself.
fn tells_no_settings() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("every kernel has a release");
    let tells = ["/proc/config.gz", &format!("/boot/config-{}", release.trim())].iter().any(|path| Path::new(path).exists());
    if !tells {
        tell("left out: no settings of the kernel, which neither /proc/config.gz nor /boot has");
    }
    !tells
}

const CALLBACKS: &str = "helper `bpf_loop`";

/// Kernels made with CONFIG_KALLSYMS_ALL tell where their variables are.
fn is_variable(words: &str) -> bool {
    words == "bpf_prog_active"
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
    if precedes(CALLBACKS, "5.17") {
        return;
    }
    let verdicts = judged("calls.c");
    let verified = verdicts[0].outcome.as_ref().expect("it is loaded");
    assert!(verified.instructions > 20 && verified.frames.len() == 4, "{verified:?}");
    assert!(verified.stack > verified.frames[0] && verified.stack <= verified.frames.iter().sum(), "{verified:?}");
}

#[test]
fn types_of_another_kernel_are_taken_from_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let object = object("core.c");
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
    for file in ["core.c", "../core/types.c", "calls.c", "table.c", "settings.c", "struct_ops.c"] {
        let object = object(file);
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
    for hook in HOOKS {
        let object = compile(folder.path(), "section", &program(hook));
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

/// What attaches to functions of the kernel is refused where the kernel is locked down; other kinds where it is older than they are.
fn may_be_refused(hook: &Hook, error: &Error) -> bool {
    let text = error.to_string();
    let names_it = text.contains(&format!("`{}` program", hook.prefix));
    let cannot_sleep = hook.sleepable && text.contains("sleepable");
    match (hook.prog_type, hook.attach_type) {
        // A kernel that does not know it says only that such programs cannot sleep.
        ("tracing", "TRACE_FSESSION") => names_it || hook.sleepable,
        ("tracing", "TRACE_RAW_TP" | "TRACE_ITER") => false,
        // Where functions cannot be made to fail (CONFIG_FUNCTION_ERROR_INJECTION), nothing at them can sleep.
        ("tracing", _) if cannot_sleep => true,
        ("tracing" | "lsm", "LSM_MAC" | "TRACE_FENTRY" | "TRACE_FEXIT" | "MODIFY_RETURN" | "LSM_CGROUP")
            if names_it && error.kind() == ErrorKind::NotPermitted =>
        {
            true
        }
        ("ext", _) => text.contains("nothing says which program"),
        ("lirc_mode2" | "lwt_seg6local", _) => names_it,
        _ => (names_it || cannot_sleep) && lacks_for_a_part(&format!("`{}` programs", hook.prefix), since(hook)),
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
