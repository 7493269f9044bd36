//! Arguments of declared probes: programs read, by libbpf's `usdt.bpf.h`, what the probed code has in registers and memory.

use std::hint::black_box;

use ouro_deploy::{Error, Options, Problem, Step};
use ouro_rules::manifest::{Attach, Usdt};

use crate::chain::{Chain, map};
use crate::missing::{lacks_for_a_part, precedes};
use crate::probes::{lacks_links_for_events, this_binary};
use crate::stopped::stopped;
use crate::support::{Lab, bpftool, lab, sh};
use crate::{deploy, deployed, map_pin, redeployed, status, undeployed};

#[inline(never)]
fn sizes(number: i64) {
    declare!("sizes", "-1@%sil 1@%sil -2@%di 2@%r8w -4@%edx 4@%r9d 8@%rcx -4@\\044-9 8@\\0445 -8@%rcx",
        in("rsi") number, in("rdi") number, in("r8") number, in("rdx") number, in("r9") number, in("rcx") number);
}

#[inline(never)]
fn memory(numbers: &[i32; 4]) {
    declare!("memory", "-4@(%rdi) 4@4(%rdi) -4@-8(%rsi) 8@-16(%rsi)",
        in("rdi") numbers.as_ptr(), in("rsi") numbers.as_ptr_range().end);
}

#[inline(never)]
fn element(numbers: &[u16; 4], index: usize) {
    declare!("element", "2@(%rdi,%rsi,2) 2@2(%rdi,%rsi,2)", in("rdi") numbers.as_ptr(), in("rsi") index);
}

/// One probe in two places, whose arguments are found differently.
#[inline(never)]
fn twice(number: u64) {
    declare!("twice", "8@%rdi", in("rdi") number);
    declare!("twice", "8@%rsi 4@\\0447", in("rsi") number + 1);
}

#[inline(never)]
fn none() {
    declare!("none", "");
}

#[inline(never)]
fn strange() {
    declare!("strange", "8@%rdi 8f@%xmm0");
}

/// What stands before programs that read arguments.
const HEADER: &str = "#define __TARGET_ARCH_x86\n#include <stdbool.h>\n#include <linux/ptrace.h>\n#include <bpf/usdt.bpf.h>\n";

/// A part of what `usdt.bpf.h` is since libbpf 1.7: an argument that is found by an index.
const INDEXED: &str = r#"
#include <stdbool.h>
enum kind { CONSTANT, REGISTER, MEMORY, ELEMENT };
struct argument {
	__u64 val_off;
	enum kind arg_type: 8;
	__u16 idx_reg_off: 12;
	__u16 scale_bitshift: 4;
	__u8 __reserved: 8;
	short reg_off;
	bool arg_signed;
	char arg_bitshift;
};
struct spec { struct argument args[12]; __u64 usdt_cookie; short arg_cnt; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 256); __type(key, int); __type(value, struct spec); } __bpf_usdt_specs SEC(".maps");
static __always_inline long element(void *ctx, int number) {
	int id = bpf_get_attach_cookie(ctx);
	struct spec *spec = bpf_map_lookup_elem(&__bpf_usdt_specs, &id);
	unsigned long base = 0, index = 0, value = 0;
	if (!spec || spec->args[number].arg_type != ELEMENT)
		return -1;
	struct argument *argument = &spec->args[number];
	bpf_probe_read_kernel(&base, 8, ctx + argument->reg_off);
	bpf_probe_read_kernel(&index, 8, ctx + argument->idx_reg_off);
	bpf_probe_read_user(&value, 8, (void *)(base + (index << argument->scale_bitshift) + argument->val_off));
	return value << argument->arg_bitshift >> argument->arg_bitshift;
}
"#;

/// Writes all arguments, how many there are, and how often it ran.
fn write(rest: &str) -> String {
    let mut body = "if ((__u32)bpf_get_current_pid_tgid() != thread) return 0;\nlong x = 0; __u32 k; __u64 v, *n;\n".to_owned();
    for number in 0..10 {
        body.push_str(&format!(
            "bpf_usdt_arg(ctx, {number}, &x); k = {number}; v = x; bpf_map_update_elem(&values, &k, &v, 0);\n"
        ));
    }
    body.push_str("k = 12; v = bpf_usdt_arg_cnt(ctx); bpf_map_update_elem(&values, &k, &v, 0);\n");
    body.push_str("k = 13; n = bpf_map_lookup_elem(&values, &k); if (n) __sync_fetch_and_add(n, 1);\n");
    body + rest
}

fn chain(header: &str, probes: &[&str]) -> Chain {
    // SAFETY: no pointers.
    let thread = unsafe { libc::gettid() };
    let (provider, binary) = ("ouro".to_owned(), this_binary());
    let place = Usdt { binary, provider, probe: String::new(), pid: None, arguments: None };
    let probes: Vec<Attach> =
        probes.iter().map(|probe| Attach::Usdt(Usdt { probe: (*probe).to_owned(), ..place.clone() })).collect();
    let chain = Chain::new("fw").map(map("values", "array", 16)).attach(&probes).global("thread", thread.into());
    Chain { declarations: header.to_owned(), ..chain }
}

/// A chain of one program that writes what it reads at these probes.
fn reading(probes: &[&str]) -> Chain {
    reading_as("usdt", probes)
}

fn reading_as(section: &str, probes: &[&str]) -> Chain {
    chain(HEADER, probes).program("watch", section, &write("return 0;"), &[])
}

fn values(lab: &Lab) -> Vec<u64> {
    let path = map_pin(lab, "values");
    let dump = bpftool(&["map", "dump", "pinned", path.to_str().unwrap()]);
    dump.as_array().unwrap().iter().map(|element| element["formatted"]["value"].as_u64().unwrap()).collect()
}

/// The first arguments that were read in what `happen` made happen, which is one probe.
fn read<const COUNT: usize>(lab: &Lab, happen: impl FnOnce()) -> [u64; COUNT] {
    let before = values(lab)[13];
    happen();
    let found = values(lab);
    assert_eq!((found[12], found[13] - before), (COUNT as u64, 1), "{found:?}");
    found[..COUNT].try_into().unwrap()
}

fn minus(number: u64) -> u64 {
    number.wrapping_neg()
}

#[test]
fn arguments_of_all_sizes_and_places_are_read() {
    if lacks_links_for_events() {
        return;
    }
    lab(|lab| {
        for section in ["usdt", "usdt.s"] {
            if section == "usdt.s" && lacks_for_a_part("`uprobe.s` programs", "6.0") {
                continue;
            }
            deployed(lab, &reading_as(section, &["sizes"]).bundle(lab.folder()));
            let found = read(lab, || sizes(-2));
            let (byte, half, word) = (0xfe, 0xfffe, 0xffff_fffe);
            assert_eq!(found, [minus(2), byte, minus(2), half, minus(2), word, minus(2), minus(9), 5, minus(2)]);
            let found = read(lab, || sizes(black_box(0x1234_5678_9abc_def0)));
            let (half, word) = (0xdef0_u64, 0x9abc_def0_u64);
            let signed = [half as u8 as i8 as u64, half as u16 as i16 as u64, word as u32 as i32 as u64];
            let whole = 0x1234_5678_9abc_def0;
            assert_eq!(found, [signed[0], 0xf0, signed[1], half, signed[2], word, whole, minus(9), 5, whole]);
            undeployed(lab, "fw");
        }
        deployed(lab, &reading(&["memory", "none"]).bundle(lab.folder()));
        assert_eq!(read(lab, || memory(black_box(&[-1, -2, -3, 4]))), [minus(1), 0xffff_fffe, minus(3), 0xffff_fffe_ffff_ffff]);
        assert_eq!(read::<0>(lab, none), [0; 0]);
        undeployed(lab, "fw");
    });
}

#[test]
fn each_place_of_a_probe_has_its_own() {
    if precedes("links of many probes", "6.6") {
        return;
    }
    lab(|lab| {
        deployed(lab, &reading(&["twice", "sizes"]).bundle(lab.folder()));
        twice(black_box(40));
        let found = values(lab);
        assert_eq!((&found[..2], found[12], found[13]), (&[41, 7][..], 2, 2), "{found:?}");
        assert_eq!(read::<10>(lab, || sizes(1))[6], 1);
        undeployed(lab, "fw");
    });
}

/// Each object has tables of its own: the second program found nothing.
#[test]
fn all_programs_of_a_chain_read_them() {
    if lacks_links_for_events() {
        return;
    }
    lab(|lab| {
        let jump = "if ((__u32)bpf_get_current_pid_tgid() != thread) return 0;\nJUMP(second);";
        let chain = chain(HEADER, &["memory", "sizes"]).program("first", "usdt", jump, &["second"]);
        deployed(lab, &chain.program("second", "usdt", &write("return 0;"), &[]).bundle(lab.folder()));
        assert_eq!(read(lab, || memory(black_box(&[1, 2, 3, 4]))), [1, 2, 3, 0x2_0000_0001]);
        assert_eq!(read::<10>(lab, || sizes(3))[6], 3);
        undeployed(lab, "fw");
    });
}

/// What hooks run is a stub, whose link stays as it was: a new generation has to take its numbers for what they are.
#[test]
fn links_that_stay_keep_their_arguments() {
    if lacks_links_for_events() {
        return;
    }
    lab(|lab| {
        let right = |case: &str, probes: &[&str]| {
            assert_eq!(status(lab).problems, [], "{case}");
            let before = values(lab)[13];
            memory(black_box(&[1, 2, 3, 4]));
            let found = values(lab);
            let wanted = if probes.contains(&"memory") { (1, [1, 2, 3, 0x2_0000_0001]) } else { (0, [0; 4]) };
            assert_eq!(found[13] - before, wanted.0, "{case}");
            assert!(wanted.0 == 0 || found[..4] == wanted.1, "{case}: {found:?}");
            if probes.contains(&"sizes") {
                assert_eq!(read::<10>(lab, || sizes(6))[6], 6, "{case}");
            }
        };
        let (one, two) = (reading(&["memory"]).bundle(lab.folder()), reading(&["sizes", "memory"]).bundle(lab.folder()));
        deployed(lab, &one);
        right("the first", &["memory"]);
        redeployed(lab, &one);
        right("another", &["memory"]);
        deployed(lab, &two);
        right("one hook more, before the other", &["sizes", "memory"]);
        ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
        right("back", &["memory"]);
        ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
        right("and forth", &["sizes", "memory"]);
        // Whichever generation a link leads to: what one needed was told to both.
        let table = |generation: u32| {
            let path = lab.bpffs.join(format!("ouro/fw/gen-{generation}/maps/specs"));
            bpftool(&["map", "dump", "pinned", path.to_str().unwrap()])
        };
        assert_eq!((table(2), table(3).as_array().unwrap().len()), (table(3), 256));
        let link = status(lab).hooks.iter().find(|hook| hook.name.contains("memory")).unwrap().path.clone().unwrap();
        std::fs::remove_file(link).unwrap();
        deployed(lab, &two);
        right("attached anew", &["sizes", "memory"]);
        ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
        right("back again", &["memory"]);
        undeployed(lab, "fw");
    });
}

/// Programs that read none leave links without numbers, which would stand for no arguments.
#[test]
fn who_reads_arguments_only_now_finds_them() {
    if lacks_links_for_events() {
        return;
    }
    lab(|lab| {
        let unread = chain("", &["memory"]).program("watch", "usdt", "return 0;", &[]);
        deployed(lab, &unread.bundle(lab.folder()));
        deployed(lab, &reading(&["memory"]).bundle(lab.folder()));
        assert_eq!(read(lab, || memory(black_box(&[1, 2, 3, 4]))), [1, 2, 3, 0x2_0000_0001]);
        ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
        undeployed(lab, "fw");
    });
}

/// The table of the live generation, removed by somebody, told which number of a link stands for what.
#[test]
fn a_table_that_is_lost_misleads_nobody() {
    if lacks_links_for_events() {
        return;
    }
    lab(|lab| {
        let bundle = reading(&["sizes", "memory"]).bundle(lab.folder());
        deployed(lab, &bundle);
        std::fs::remove_file(lab.bpffs.join("ouro/fw/gen-1/maps/specs")).unwrap();
        assert_eq!(status(lab).problems, [Problem::ArgumentsGone]);
        // Nor does another map in its place.
        let other = lab.bpffs.join("ouro/fw/gen-1/maps/specs");
        sh(&format!("bpftool map create {} type hash key 8 value 208 entries 4 name other", other.display()));
        assert_eq!(status(lab).problems, [Problem::ArgumentsGone]);
        // A number of the link was read as another: it stood for the second probe, and for the first in the new table.
        let next = reading(&["memory"]).bundle(lab.folder());
        stopped(lab, &next, &Options::default(), |step| step.moved_hook().is_some(), &|| {});
        stopped(lab, &next, &Options::default(), |step| matches!(step, Step::SwitchRoot { .. }), &|| {});
        deployed(lab, &next);
        assert_eq!(read(lab, || memory(black_box(&[1, 2, 3, 4]))), [1, 2, 3, 0x2_0000_0001]);
        undeployed(lab, "fw");
    });
}

/// The root was switched before the links were made anew: whoever came after a deploy that was killed in between took a link without
/// numbers, or with those of another table, for one of its own.
#[test]
fn a_stopped_change_of_how_arguments_are_read_misleads_nobody() {
    if lacks_links_for_events() {
        return;
    }
    let stops: [fn(&Step) -> bool; 3] = [
        |step| step.moved_hook().is_some(),
        |step| step.moved_hook().is_some_and(|hook| hook.name().contains("sizes")),
        |step| matches!(step, Step::MarkLive { .. }),
    ];
    lab(|lab| {
        let bundle = reading(&["memory", "sizes"]).bundle(lab.folder());
        let unread = chain("", &["memory", "sizes"]).program("watch", "usdt", "return 0;", &[]).bundle(lab.folder());
        for stop in stops {
            deployed(lab, &unread);
            stopped(lab, &bundle, &Options::default(), stop, &|| {});
            deployed(lab, &bundle);
            assert_eq!(status(lab).problems, []);
            assert_eq!(read(lab, || memory(black_box(&[1, 2, 3, 4]))), [1, 2, 3, 0x2_0000_0001]);
            assert_eq!(read::<10>(lab, || sizes(6))[6], 6);
            // And back, where the one that is stopped reads nothing.
            stopped(lab, &unread, &Options::default(), stop, &|| {});
            deployed(lab, &bundle);
            assert_eq!(read(lab, || memory(black_box(&[1, 2, 3, 4]))), [1, 2, 3, 0x2_0000_0001]);
            undeployed(lab, "fw");
        }
    });
}

/// The link was removed first, and a deploy that failed later left nothing at the probe.
#[test]
fn a_deploy_that_fails_after_a_table_was_lost_leaves_the_probe_attached() {
    if lacks_links_for_events() {
        return;
    }
    lab(|lab| {
        deployed(lab, &reading(&["memory"]).bundle(lab.folder()));
        std::fs::remove_file(lab.bpffs.join("ouro/fw/gen-1/maps/specs")).unwrap();
        let (next, live) = (reading(&["memory"]).bundle(lab.folder()), lab.bpffs.join("ouro/fw/gen-2/live"));
        let mut obstruct = |step: &Step| {
            if matches!(step, Step::MarkLive { .. }) {
                std::fs::create_dir(&live).unwrap();
            }
        };
        let force = Options { force: true, ..Options::default() };
        let error = ouro_deploy::deploy(&lab.bpffs, &next, &force, &mut obstruct).unwrap_err();
        assert!(matches!(error, Error::Failed { .. }), "{error}");
        let _ = std::fs::remove_dir(&live);
        assert_eq!(read(lab, || memory(black_box(&[1, 2, 3, 4]))), [1, 2, 3, 0x2_0000_0001]);
        deployed(lab, &next);
        assert_eq!(read(lab, || memory(black_box(&[4, 3, 2, 1]))), [4, 3, 2, 0x3_0000_0004]);
        assert_eq!(status(lab).problems, []);
        undeployed(lab, "fw");
    });
}

#[test]
fn an_index_is_read_by_headers_that_know_of_it() {
    if lacks_links_for_events() {
        return;
    }
    lab(|lab| {
        let body = "if ((__u32)bpf_get_current_pid_tgid() != thread) return 0;\n__u32 k; __u64 v;\n\
                    k = 0; v = element(ctx, 0); bpf_map_update_elem(&values, &k, &v, 0);\n\
                    k = 1; v = element(ctx, 1); bpf_map_update_elem(&values, &k, &v, 0);\nreturn 0;";
        let indexed = chain(INDEXED, &["element"]).program("watch", "usdt", body, &[]);
        deployed(lab, &indexed.bundle(lab.folder()));
        element(black_box(&[10, 20, 30, 40]), black_box(2));
        assert_eq!(values(lab)[..2], [30, 40]);
        undeployed(lab, "fw");
    });
}

#[test]
fn what_cannot_be_read_is_told_before_anything_is_loaded() {
    if lacks_links_for_events() {
        return;
    }
    strange();
    lab(|lab| {
        for (probe, words) in [
            ("strange", "programs cannot read its arguments: argument 1, `8f@%xmm0`, is a floating-point number"),
            ("element", "one is found by an index, of which libbpf's `usdt.bpf.h` knows since 1.7"),
        ] {
            let error = deploy(lab, &reading(&[probe]).bundle(lab.folder())).unwrap_err();
            assert!(matches!(error, Error::Conflicts(_)) && error.to_string().contains(words), "{error}");
            assert!(!lab.bpffs.join("ouro").exists());
        }
        // Nobody reads them, nobody is disturbed; who is to read them now is told at once, though the probe is attached already.
        let unread = chain("", &["strange"]).program("watch", "usdt", "return 0;", &[]);
        deployed(lab, &unread.bundle(lab.folder()));
        let before = status(lab);
        let error = deploy(lab, &reading(&["strange"]).bundle(lab.folder())).unwrap_err();
        assert!(matches!(error, Error::Conflicts(_)) && error.to_string().contains("`8f@%xmm0`"), "{error}");
        assert_eq!((&status(lab).hooks[0].link, status(lab).problems), (&before.hooks[0].link, vec![]));
        undeployed(lab, "fw");
    });
}
