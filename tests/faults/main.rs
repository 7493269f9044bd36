//! Faults injected into builds: whatever is killed, damaged, full, shared or taken away, the next build has every byte that a clean
//! build of the same sources has.
//!
//! `OURO_FAULTS` says how often each kind is injected, `OURO_FAULTS_SEED` makes the places and times others. What was injected and
//! survived is printed at the end.

#![expect(clippy::print_stderr, reason = "the counts are what a long run is for")]

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod disk;

use bench::Bench;
use support::random::Random;

/// How often each kind of fault is injected.
const TIMES: usize = 2;

/// A kind of fault: what it is called, and how one is injected and survived.
type Kind = (&'static str, fn(&Bench, &mut Random));

const KINDS: &[Kind] = &[
    ("a build is killed", Bench::killed),
    ("a build that restores is killed", Bench::killed_while_restoring),
    ("blobs are damaged", Bench::damaged_blobs),
    ("records are damaged", Bench::damaged_records),
    ("the store's own files are damaged", Bench::damaged_bookkeeping),
    ("the workspace's memory is damaged", Bench::damaged_state),
    ("outputs are edited in their place", Bench::edited_outputs),
    ("the cache is full", Bench::full_cache),
    ("the cache is read-only", Bench::read_only_cache),
    ("the outputs' disk is full", Bench::full_outputs),
    ("many build the same workspace", Bench::crowded_workspace),
    ("many share the cache", Bench::crowded_cache),
    ("the cache is collected meanwhile", Bench::collected),
    ("sources change meanwhile", Bench::edited_meanwhile),
];

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn every_fault_is_survived() {
    let (times, seed) = (number("OURO_FAULTS", TIMES), number("OURO_FAULTS_SEED", 1));
    let (bench, mut random) = (Bench::new(), Random::new(seed as u64));
    eprintln!("faults, each kind {times} times, seed {seed}");
    for (name, inject) in KINDS {
        for _ in 0..times {
            inject(&bench, &mut random);
        }
        eprintln!("  {times} of {times} survived: {name}");
    }
    eprintln!("{} faults injected, {} survived", bench.injected(), bench.injected());
    assert!(bench.injected() >= times * KINDS.len());
}
