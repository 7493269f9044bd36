//! Skips have to be earned: a test is skipped where the kernel says that it lacks what the test is about, and is older than what
//! has it. A newer kernel that lacks it fails the test. `scripts/test-kernels` counts what is said here.

use ouro_deploy::{ErrorKind, Has, Offered, features, offered};
use ouro_rules::hook::Hook;

use crate::chain::Chain;
use crate::support::{Lab, kernel_is_at_least};
use crate::{deploy, undeployed};

/// Whether a feature of `ouro doctor`'s list is missing, and the test ends here.
pub fn lacks(feature: &str) -> bool {
    let (known, has) = features().into_iter().find(|(known, _)| known.name == feature).expect("a feature of the list");
    has != Has::Yes && is_older(known.since) && skip(feature, known.since)
}

/// The same of an attach constructor, for what the list does not tell apart.
pub fn does_not_offer(constructor: &str, since: &str) -> bool {
    let offer = offered().into_iter().find(|offer| offer.constructor == constructor).expect("a constructor");
    offer.state == Offered::Missing && is_older(since) && skip(constructor, since)
}

/// The same of a part of a test, which goes on.
pub fn lacks_for_a_part(what: &str, since: &str) -> bool {
    let lacks = is_older(since);
    if lacks {
        tell(&format!("left out: no {what}, which Linux {since} brought"));
    }
    lacks
}

/// The same of how the kernel does what it always did, of which only its version tells.
pub fn precedes(what: &str, since: &str) -> bool {
    is_older(since) && skip(what, since)
}

fn is_older(than: &str) -> bool {
    let (major, minor) = than.split_once('.').expect("a version");
    !kernel_is_at_least(major.parse().expect("a number"), minor.parse().expect("a number"))
}

fn skip(what: &str, since: &str) -> bool {
    tell(&format!("skipped: no {what}, which Linux {since} brought"));
    true
}

/// The kernel that brought a type of programs, of those that not every kernel has on which these tests run.
pub fn since(hook: &Hook) -> &'static str {
    match hook.prefix {
        "lsm.s" => "5.11",
        "syscall" => "5.14",
        "lsm_cgroup" => "6.0",
        "netfilter" => "6.4",
        "struct_ops.s" => "6.3",
        "kprobe.session" => "6.10",
        "uprobe.session" | "uprobe.session.s" => "6.13",
        prefix if prefix.starts_with("xdp.frags") => "5.18",
        prefix if prefix.ends_with("_unix") => "6.7",
        _ if hook.prog_type == "kprobe" && hook.sleepable => "6.0",
        _ => "5.10",
    }
}

/// Without it among the security modules that are asked, programs for their hooks are attached and never run.
pub fn lacks_security_module() -> bool {
    let modules = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let lacks = !modules.split(',').any(|module| module.trim() == "bpf");
    if lacks {
        tell("skipped: no `bpf` among the security modules, for which Linux boots with `lsm=...,bpf`");
    }
    lacks
}

/// Set to 1 where there must be a simulated network card, so that its tests fail rather than be skipped.
const NETDEVSIM: &str = "OURO_TEST_NETDEVSIM";

/// Whether there is no simulated network card: netdevsim is a module that is made for tests alone, and that Debian does not have. No
/// version of Linux tells whether it should be there: whoever runs the tests does.
pub fn lacks_netdevsim() -> bool {
    let lacks = !std::path::Path::new("/sys/bus/netdevsim").exists();
    let is_demanded = std::env::var(NETDEVSIM).is_ok_and(|value| value == "1");
    assert!(!lacks || !is_demanded, "no netdevsim, and {NETDEVSIM} says that there is: `modprobe netdevsim`");
    if lacks {
        tell("skipped: no netdevsim, for which Linux is made with CONFIG_NETDEVSIM");
    }
    lacks
}

/// Whether the kernel is locked down and refuses this chain, of which nothing is left then.
pub fn is_locked_down(lab: &Lab, what: &str, chain: &Chain) -> bool {
    let Err(error) = deploy(lab, &chain.bundle(lab.folder())) else {
        undeployed(lab, &chain.name);
        return false;
    };
    assert_eq!(error.kind(), ErrorKind::NotPermitted, "{what}: {error}");
    assert!(!lab.bpffs.join("ouro").exists(), "{error}");
    tell(&format!("skipped: no {what}, which a Linux that is locked down refuses"));
    true
}

/// Says what a test leaves out, so that nobody takes silence for success.
#[expect(clippy::print_stderr, reason = "tests have nobody else to tell")]
pub fn tell(what: &str) {
    eprintln!("{what}");
}
