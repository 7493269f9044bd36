//! Rehearsals: a generation built in a BPF file system of its own, as it would be for a deploy, and tried with packets. Nothing
//! that is live is touched, not even by the verifier: a program that only is verified can make a live table its own for ever.
//!
//! Attaches nothing.

use ouro_rules::bundle::Bundle;
use ouro_rules::hook;
use ouro_rules::manifest::{Manifest, PacketTest};

use crate::Error;
use crate::apply::{Target, apply};
use crate::diff::build;
use crate::kernel::{CoreTypes, Host, Scratch, run_packet};
use crate::layout::Layout;
use crate::observe::Observed;
use crate::offload::for_kernel;
use crate::step::Step;

/// The only generation of a rehearsal.
const GENERATION: u32 = 1;

/// Loads everything, with maps and tables of its own, then runs the tests. A network card that is to run the chain is asked, too, but
/// runs no test packets: the kernel does.
pub(crate) fn rehearse(bundle: &Bundle, host: &Host, core: CoreTypes, progress: &mut dyn FnMut(&Step)) -> Result<(), Error> {
    let Some(for_kernel) = for_kernel(bundle) else { return try_out(bundle, host, core, progress) };
    try_out(&without_tests(bundle), host, core.clone(), progress)?;
    if for_kernel.manifest.tests.is_empty() { Ok(()) } else { try_out(&for_kernel, host, core, &mut |_| {}) }
}

/// Runs the tests alone, on what is loaded for them. A deploy is about to ask the card itself.
pub(crate) fn run_tests(bundle: &Bundle, host: &Host, core: CoreTypes) -> Result<(), Error> {
    try_out(for_kernel(bundle).as_ref().unwrap_or(bundle), host, core, &mut |_| {})
}

fn without_tests(bundle: &Bundle) -> Bundle {
    let manifest = Manifest { tests: Vec::new(), ..bundle.manifest.clone() };
    Bundle { manifest, ..bundle.clone() }
}

fn try_out(bundle: &Bundle, host: &Host, core: CoreTypes, progress: &mut dyn FnMut(&Step)) -> Result<(), Error> {
    let scratch = Scratch::new()?;
    let manifest = &bundle.manifest;
    let layout = Layout::new(&scratch.path(), &manifest.name)?;
    let nothing = Observed { name: manifest.name.clone(), host: host.clone(), ..Observed::default() };
    let mut steps = vec![Step::CreateFolders];
    steps.extend(build(bundle, &nothing, &[], GENERATION));
    let mut target = Target::new(&layout, host, Some(bundle));
    target.load_with(core);
    apply(&mut target, &steps, progress)?;
    manifest.tests.iter().filter(|_| takes_packets(manifest)).try_for_each(|test| run_test(&layout, manifest, test))
}

/// Whether the kernel runs packets through programs of the entry's type.
pub(crate) fn takes_packets(manifest: &Manifest) -> bool {
    entry_type(manifest).is_some_and(hook::Hook::takes_packets)
}

fn entry_type(manifest: &Manifest) -> Option<&'static hook::Hook> {
    hook::find(&manifest.programs.first()?.ty)
}

fn run_test(layout: &Layout, manifest: &Manifest, test: &PacketTest) -> Result<(), Error> {
    let entry = manifest.programs.first().map_or("", |program| program.name.as_str());
    let verdict = run_packet(&layout.program(GENERATION, entry), &test.bytes().unwrap_or_default())?;
    if verdict == test.verdict {
        return Ok(());
    }
    let word = |number: i32| match entry_type(manifest).and_then(|hook| hook.verdict_name(number)) {
        Some(name) => format!("`{name}`"),
        None => number.to_string(),
    };
    Err(Error::Test { test: test.name.clone(), expected: word(test.verdict), verdict: word(verdict) })
}
