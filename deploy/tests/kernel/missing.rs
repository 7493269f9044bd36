//! Skips have to be earned: a test is skipped where the kernel says that it lacks what the test is about, and is older than what
//! has it. A newer kernel that lacks it fails the test. `scripts/test-kernels` counts what is said here.

use ouro_deploy::{Has, Offered, features, offered};

use crate::support::kernel_is_at_least;

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

/// Says what a test leaves out, so that nobody takes silence for success.
#[expect(clippy::print_stderr, reason = "tests have nobody else to tell")]
pub fn tell(what: &str) {
    eprintln!("{what}");
}
