//! Functions of the kernel, by probes, trampolines and hooks of security modules: what is attached to them fires, or it is told what
//! the kernel lacks.

use ouro_deploy::Offered;
use ouro_rules::manifest::{Attach, Kprobe, KprobeMulti, Ksyscall, Trace};

use crate::missing::{is_locked_down, lacks_for_a_part, lacks_security_module, tell};
use crate::probes::{call, offered, own};
use crate::support::{Lab, kernel_is_at_least, lab};
use crate::{deploy, fires};

/// Whether this kernel has a feature.
fn has(what: &str, file: &str) -> bool {
    // A locked-down kernel has files that nobody may read.
    let has = std::fs::read(file).is_ok();
    if !has {
        tell(&format!("left out: no {what}: {file} cannot be read"));
    }
    has
}

#[test]
fn probes_of_the_kernel_fire_or_name_what_is_missing() {
    lab(|lab| {
        let function = if cfg!(target_arch = "x86_64") { "__x64_sys_getpgid" } else { "__arm64_sys_getpgid" }.to_owned();
        let kprobe = |returns| Attach::Kprobe(Kprobe { function: function.clone(), offset: 0, returns });
        let call_of = |returns| Attach::Ksyscall(Ksyscall { name: "getpgid".to_owned(), returns });
        for (section, attach) in
            [("kprobe", kprobe(false)), ("kretprobe", kprobe(true)), ("ksyscall", call_of(false)), ("kretsyscall", call_of(true))]
        {
            let chain = own(section, attach);
            if !kernel_is_at_least(5, 15) {
                let error = deploy(lab, &chain.bundle(lab.folder())).unwrap_err().to_string();
                assert!(error.contains("links for probes came with Linux 5.15"), "{error}");
                tell("left out: no links for probes, which Linux 5.15 brought");
            } else if has("kprobes", "/sys/bus/event_source/devices/kprobe/type") {
                fires(lab, &chain, &|| call(23));
            } else {
                let error = deploy(lab, &chain.bundle(lab.folder())).unwrap_err();
                assert!(error.help().is_some_and(|help| help.contains("CONFIG_KPROBES")), "{error}");
            }
        }
        let is_offered = offered("kprobe_multi") == Offered::Available
            && has("list of functions that can be probed", "/sys/kernel/tracing/available_filter_functions");
        let many = KprobeMulti { pattern: function.replace("pgid", "pgi?"), returns: false, session: false };
        for (section, returns) in [("kprobe.multi", false), ("kretprobe.multi", true)] {
            let chain = own(section, Attach::KprobeMulti(KprobeMulti { returns, ..many.clone() }));
            if is_offered {
                fires(lab, &chain, &|| call(23));
            } else {
                let error = deploy(lab, &chain.bundle(lab.folder())).unwrap_err();
                let said = format!("{error} {}", error.help().unwrap_or_default());
                assert!(said.contains("CONFIG_FPROBE"), "{said}");
                tell("left out: no kprobe_multi, for which Linux is made with CONFIG_FPROBE");
            }
        }
        let both = own("kprobe.session", Attach::KprobeMulti(KprobeMulti { session: true, ..many }));
        // Compiled wherever tests are: kernels that have it may have no compiler.
        both.bundle(lab.folder());
        if is_offered && kernel_is_at_least(6, 10) {
            fires(lab, &both, &|| 2 * call(23));
        }
    });
}

#[test]
fn functions_of_the_kernel_fire() {
    lab(|lab| {
        for (kind, target) in [("fentry", "do_getpgid"), ("fexit", "do_getpgid"), ("fmod_ret", "security_task_getpgid")] {
            traced(lab, kind, target, &|| call(17));
        }
    });
}

#[test]
fn hooks_of_security_modules_fire() {
    lab(|lab| {
        traced(lab, "lsm", "task_getpgid", &|| call(17));
        if lacks_for_a_part("`lsm.s` programs", "5.11") {
            return;
        }
        traced(lab, "lsm.s", "task_prctl", &|| {
            // SAFETY: no pointers.
            (0..9).filter(|_| unsafe { libc::prctl(libc::PR_GET_DUMPABLE) } >= 0).count() as u64
        });
    });
}

/// What is attached to a function fires, or a kernel that is locked down refuses it: it has no trampolines then.
fn traced(lab: &Lab, section: &str, target: &str, happen: &dyn Fn() -> u64) {
    let (kind, sleepable) = (section.trim_end_matches(".s").to_owned(), section.ends_with(".s"));
    let chain =
        own(&format!("{section}/{target}"), Attach::Trace(Trace { kind: kind.clone(), target: target.to_owned(), sleepable }));
    if !is_locked_down(lab, section, &chain) && (kind != "lsm" || !lacks_security_module()) {
        fires(lab, &chain, happen);
    }
}
