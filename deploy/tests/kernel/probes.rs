//! Tracepoints, probes, counters and iterators: what is attached to fires exactly as often as it happens.

use std::collections::BTreeSet;
use std::hint::black_box;

use ouro_deploy::{Error, Has, Offered, Problem, Step};
use ouro_rules::hook;
use ouro_rules::manifest::{Attach, Iter, PerfEvent, RawTracepoint, Sample, Trace, Tracepoint, Uprobe, UprobeMulti, Usdt};

use crate::chain::{Chain, count};
use crate::missing::{does_not_offer, lacks, precedes};
use crate::support::{kernel_is_at_least, lab, sh};
use crate::{counting, deploy, deployed, fires, redeployed, seen, status, undeployed};

/// A chain of [`counting`] for what this thread does, and nothing others do, such as other tests.
pub fn own(section: &str, attach: Attach) -> Chain {
    own_ending("return 0;", section, attach)
}

fn own_ending(end: &str, section: &str, attach: Attach) -> Chain {
    own_of("1", end, section, attach)
}

fn own_if(condition: &str, section: &str, attach: Attach) -> Chain {
    own_of(condition, "return 0;", section, attach)
}

fn own_of(condition: &str, end: &str, section: &str, attach: Attach) -> Chain {
    let mine = format!("(__u32)bpf_get_current_pid_tgid() == thread && {condition}");
    // SAFETY: no pointers.
    let thread = unsafe { libc::gettid() };
    counting(section, &format!("if ({mine}) {}{end}", count("seen")), attach).global("thread", thread.into())
}

/// A system call that nothing else in this thread makes. Of a process that is named, so that security modules are asked.
pub fn call(times: u64) -> u64 {
    for _ in 0..times {
        // SAFETY: no pointers.
        unsafe { libc::getpgid(libc::getpid()) };
    }
    times
}

/// Before, events had no links, and nothing could be pinned that keeps a program attached to one.
pub fn lacks_links_for_events() -> bool {
    does_not_offer("tracepoint", "5.15")
}

#[test]
fn tracepoints_count_every_event() {
    lab(|lab| {
        let attach = Attach::Tracepoint(Tracepoint { category: "syscalls".to_owned(), name: "sys_enter_getpgid".to_owned() });
        let chain = own("tracepoint/syscalls/sys_enter_getpgid", attach);
        if lacks_links_for_events() {
            let error = deploy(lab, &chain.bundle(lab.folder())).unwrap_err().to_string();
            assert!(error.contains("links for events came with Linux 5.15"), "{error}");
            return;
        }
        fires(lab, &chain, &|| call(37));
    });
}

/// Whether the call that a tracepoint of all calls tells of is [`call`]'s.
fn is_getpgid() -> String {
    format!("ctx[1] == {}", libc::SYS_getpgid)
}

#[test]
fn raw_tracepoints_count_every_event() {
    lab(|lab| {
        for section in ["raw_tracepoint/sys_enter", "raw_tp/sys_enter"] {
            let attach = Attach::RawTracepoint(RawTracepoint { name: "sys_enter".to_owned() });
            fires(lab, &own_if(&is_getpgid(), section, attach), &|| call(41));
        }
    });
}

#[test]
fn tracepoints_with_types_count_every_event() {
    lab(|lab| {
        let attach = Attach::Trace(Trace { kind: "tp_btf".to_owned(), target: "sys_enter".to_owned(), sleepable: false });
        fires(lab, &own_if(&is_getpgid(), "tp_btf/sys_enter", attach), &|| call(29));
    });
}

/// What the probes are attached to.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ouro_test_probed(number: u64) -> u64 {
    black_box(number) + 1
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ouro_test_probed_too(number: u64) -> u64 {
    black_box(number) + 2
}

fn probed(times: u64) -> u64 {
    let sum: u64 = (0..times).map(|number| black_box(ouro_test_probed(number) - number)).sum();
    assert_eq!(sum, times);
    times
}

pub fn this_binary() -> String {
    std::env::current_exe().unwrap().to_str().unwrap().to_owned()
}

fn uprobe(returns: bool, pid: Option<u32>) -> Attach {
    let function = Some("ouro_test_probed".to_owned());
    Attach::Uprobe(Uprobe { binary: this_binary(), function, offset: 0, pid, returns, sleepable: false })
}

/// One event for each probe: one for each CPU would count every call as often as there are CPUs.
#[test]
fn a_probed_function_is_counted_once_for_each_call() {
    if lacks_links_for_events() {
        return;
    }
    lab(|lab| {
        for (section, returns) in [("uprobe", false), ("uretprobe", true)] {
            for pid in [None, Some(std::process::id())] {
                fires(lab, &own(section, uprobe(returns, pid)), &|| probed(1000));
            }
        }
    });
}

#[test]
fn a_sleepable_probe_counts_too() {
    if precedes("`uprobe.s` programs", "6.0") {
        return;
    }
    lab(|lab| {
        let Attach::Uprobe(place) = uprobe(false, None) else { panic!("a probe") };
        let chain = own("uprobe.s", Attach::Uprobe(Uprobe { sleepable: true, ..place }));
        fires(lab, &chain, &|| probed(50));
    });
}

/// A deploy or rollback that is killed between two links leaves the new one beside the old one, and both run. It went with its
/// generation alone: one that stays for a rollback ran for good, and nobody saw it.
#[test]
fn a_link_that_was_left_beside_another_goes() {
    if precedes("`uprobe.s` programs", "6.0") {
        return;
    }
    lab(|lab| {
        let Attach::Uprobe(place) = uprobe(false, None) else { panic!("a probe") };
        let bundle = own("uprobe.s", Attach::Uprobe(Uprobe { sleepable: true, ..place })).bundle(lab.folder());
        deployed(lab, &bundle);
        let links = lab.bpffs.join("ouro/fw/links");
        let link = std::fs::read_dir(&links).unwrap().next().unwrap().unwrap().path();
        let name = link.file_name().unwrap().to_str().unwrap().to_owned();
        let (aside, beside) = (lab.bpffs.join("aside"), links.join(format!("{name}%new")));
        // Such a link cannot be detached: it lasts as long as its pin, and runs the generation that was live before.
        let leave = || {
            std::fs::hard_link(&link, &aside).unwrap();
            redeployed(lab, &bundle);
            std::fs::rename(&aside, &beside).unwrap();
        };
        let counted = || {
            let before = seen(lab);
            probed(50);
            seen(lab) - before
        };
        leave();
        assert_eq!(counted(), 100, "both run");
        let found = status(lab);
        assert_eq!((found.problems, found.foreign), (vec![Problem::TwoLinks { hook: name }], vec![]));
        let steps = deployed(lab, &bundle);
        assert!(matches!(&steps[..], [Step::RemoveBeside { .. }, Step::Wait]), "{steps:?}");
        assert_eq!((counted(), status(lab).problems, beside.exists()), (50, vec![], false));
        leave();
        ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
        assert_eq!((counted(), status(lab).problems, beside.exists()), (50, vec![], false));
        leave();
        undeployed(lab, "fw");
    });
}

#[test]
fn many_functions_are_probed_at_once() {
    if lacks("uprobe.multi") {
        return;
    }
    lab(|lab| {
        for (section, returns) in [("uprobe.multi", false), ("uretprobe.multi", true)] {
            let place = uprobes("ouro_test_probed*", returns, false);
            fires(lab, &own(section, Attach::UprobeMulti(place)), &|| {
                (0..7).for_each(|number| {
                    black_box(ouro_test_probed_too(number));
                });
                7 + probed(30)
            });
        }
    });
}

fn uprobes(pattern: &str, returns: bool, session: bool) -> UprobeMulti {
    UprobeMulti { binary: this_binary(), pattern: pattern.to_owned(), pid: None, returns, session, sleepable: false }
}

/// Of a name of its own: tests that run beside this one count what others call.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ouro_test_session(number: u64) -> u64 {
    black_box(number) + 3
}

/// Such programs could be built and loaded, and were never attached.
#[test]
fn a_session_runs_at_the_call_and_at_the_return() {
    if precedes("uprobe.session", "6.13") {
        return;
    }
    let call = |times: u64| (0..times).for_each(|number| assert_eq!(black_box(ouro_test_session(number)), number + 3));
    lab(|lab| {
        // What returns 1 at the call does not run at the return.
        for (end, each) in [("return 0;", 2), ("return 1;", 1)] {
            let attach = Attach::UprobeMulti(uprobes("ouro_test_session", false, true));
            fires(lab, &own_ending(end, "uprobe.session", attach), &|| {
                call(20);
                each * 20
            });
        }
    });
}

#[inline(never)]
#[cfg(target_arch = "x86_64")]
fn declared() {
    declare!("declared", "");
}

/// The same probe twice, as inlined functions have it.
#[inline(never)]
#[cfg(target_arch = "x86_64")]
fn declared_twice() {
    declare!("twice", "");
    declare!("twice", "");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_declared_probe_is_counted() {
    if lacks_links_for_events() {
        return;
    }
    lab(|lab| {
        let (provider, probe) = ("ouro".to_owned(), "declared".to_owned());
        let place = Usdt { binary: this_binary(), provider, probe, pid: None, arguments: None };
        fires(lab, &own("usdt", Attach::Usdt(place.clone())), &|| {
            (0..13).for_each(|_| declared());
            13
        });
        if kernel_is_at_least(6, 6) {
            let twice = Usdt { probe: "twice".to_owned(), ..place.clone() };
            fires(lab, &own("usdt", Attach::Usdt(twice)), &|| {
                (0..11).for_each(|_| declared_twice());
                22
            });
        }
        let wrong = Usdt { probe: "declraed".to_owned(), ..place };
        let error = deploy(lab, &counting("usdt", "return 0;", Attach::Usdt(wrong)).bundle(lab.folder())).unwrap_err();
        assert!(error.to_string().contains("declares no probe `ouro:declraed`"), "{error}");
    });
}

#[test]
fn a_counter_runs_the_program_on_every_cpu() {
    if lacks_links_for_events() {
        return;
    }
    lab(|lab| {
        for sample in [Sample::Frequency(500), Sample::Period(2_000_000)] {
            let place = PerfEvent { event: "cpu-clock".to_owned(), sample, cpu: None, pid: None };
            let bundle =
                counting("perf_event", &format!("{}return 0;", count("seen")), Attach::PerfEvent(place)).bundle(lab.folder());
            deployed(lab, &bundle);
            let rises = || {
                let before = seen(lab);
                let start = std::time::Instant::now();
                while start.elapsed().as_millis() < 500 {
                    black_box(0);
                }
                assert!(seen(lab) > before + 20, "{} to {}", before, seen(lab));
            };
            rises();
            assert_eq!(status(lab).hooks.len(), std::thread::available_parallelism().unwrap().get());
            redeployed(lab, &bundle);
            rises();
            undeployed(lab, "fw");
        }
    });
}

#[test]
fn reading_the_pin_of_an_iterator_runs_it() {
    lab(|lab| {
        let place = Iter { target: "bpf_map".to_owned(), map: None, cgroup: None, pid: None, sleepable: false };
        let body = format!("{}return 0;", count("seen"));
        fires(lab, &counting("iter/bpf_map", &body, Attach::Iter(place)), &|| {
            let before = seen(lab);
            sh(&format!("cat {}", status(lab).hooks[0].path.as_ref().unwrap().display()));
            let rise = seen(lab) - before;
            assert!(rise > 0, "there is at least one map");
            rise
        });
    });
}

#[test]
fn an_iterator_goes_through_one_map() {
    lab(|lab| {
        let place =
            Iter { target: "bpf_map_elem".to_owned(), map: Some("seen".to_owned()), cgroup: None, pid: None, sleepable: false };
        let chain = counting("iter/bpf_map_elem", "return 0;", Attach::Iter(place));
        deployed(lab, &chain.bundle(lab.folder()));
        sh(&format!("cat {}", status(lab).hooks[0].path.as_ref().unwrap().display()));
        undeployed(lab, "fw");
    });
}

#[test]
fn what_is_not_there_is_told_before_anything_is_loaded() {
    lab(|lab| {
        let tracepoint =
            |category: &str, name: &str| Attach::Tracepoint(Tracepoint { category: category.to_owned(), name: name.to_owned() });
        let Attach::Uprobe(place) = uprobe(false, None) else { panic!("a probe") };
        let misspelt = Uprobe { function: Some("ouro_test_porbed".to_owned()), ..place.clone() };
        let absent = Uprobe { binary: "/no/such/binary".to_owned(), ..place.clone() };
        // The kernel says of both only that it does not take them.
        let behind = Uprobe { offset: 1 << 40, ..place };
        let counted = "an offset counts bytes of the file, from its begin or from that of `function`";
        for (section, attach, help) in [
            ("tracepoint", tracepoint("sched", "sched_swich"), Some("did you mean `sched_switch`?")),
            ("tracepoint", tracepoint("schde", "sched_switch"), Some("did you mean `sched`?")),
            ("uprobe", Attach::Uprobe(misspelt), Some("did you mean `ouro_test_probed`?")),
            ("uprobe", Attach::Uprobe(absent), None),
            ("uprobe", Attach::Uprobe(Uprobe { function: None, ..behind.clone() }), Some(counted)),
            ("uprobe", Attach::Uprobe(behind), Some(counted)),
            (
                "raw_tp",
                Attach::RawTracepoint(RawTracepoint { name: "sched_swich".to_owned() }),
                Some("did you mean `sched_switch`?"),
            ),
        ] {
            let error = deploy(lab, &counting(section, "return 0;", attach).bundle(lab.folder())).unwrap_err();
            assert!(matches!(error, Error::Conflicts(_)), "{error}");
            if let Some(help) = help {
                assert_eq!(error.help().as_deref(), Some(help), "{error}");
            }
        }
    });
}

pub fn offered(constructor: &str) -> Offered {
    let offers = ouro_deploy::offered();
    offers.iter().find(|offer| offer.constructor == constructor).map(|offer| offer.state).expect("a constructor")
}

#[test]
fn the_kernel_says_what_it_offers() {
    let offers = ouro_deploy::offered();
    let named: BTreeSet<&str> = offers.iter().map(|offer| offer.constructor).collect();
    let mut wanted: BTreeSet<&str> = hook::HOOKS.iter().flat_map(|hook| hook.attach()).copied().collect();
    // Nobody can tell of this one before it is done.
    wanted.remove("struct_ops");
    assert_eq!(named, wanted);
    let state = |name: &str| offers.iter().find(|offer| offer.constructor == name).map(|offer| offer.state).unwrap();
    for name in ["xdp", "tc", "cgroup", "netns", "raw_tracepoint", "tp_btf", "iter"] {
        assert_eq!(state(name), Offered::Available, "{name}");
    }
    for name in ["tracepoint", "uprobe", "perf_event"] {
        assert_eq!(state(name) == Offered::Available, kernel_is_at_least(5, 15), "{name}");
    }
    for (name, (major, minor)) in [("tcx", (6, 6)), ("netfilter", (6, 4)), ("uprobe_multi", (6, 6)), ("sockmap", (6, 10))] {
        assert_eq!(state(name) == Offered::Available, kernel_is_at_least(major, minor), "{name}");
    }
    let has = |name: &str| ouro_deploy::features().into_iter().any(|(feature, has)| feature.name == name && has == Has::Yes);
    for name in ["kprobe.multi", "uprobe.multi"] {
        assert_eq!(has(name), state(&name.replace('.', "_")) == Offered::Available, "`ouro doctor` says the same of {name}");
    }
    let has_kprobes = std::path::Path::new("/sys/bus/event_source/devices/kprobe").exists();
    assert_eq!(state("kprobe") == Offered::Available, has_kprobes && kernel_is_at_least(5, 15));
    assert!(offers.iter().all(|offer| (offer.state == Offered::Available) == offer.why.is_none()), "{offers:?}");
}
