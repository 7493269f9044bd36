//! Declared probes: links carry numbers that stand for arguments, and must not be read as others.

use ouro_deploy::{Attachment, Generation, Hook, MapFacts, Observed, Options, Root, Runs, Step, diff, way_back};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Arguments, Attach, Usdt};

use crate::{NAMESPACE, bundle, generation, lines, made_live, nothing, pin, seen, steps};

/// How programs read arguments by a header whose elements have this size; 0 if they do not.
fn arguments(size: u32) -> Option<Arguments> {
    let (value, kind, register, sign, shift) = ((0, 64), (64, 32), (96, 16), (112, 8), (120, 8));
    let all =
        Arguments { size, first: 0, step: 16, most: 12, count: (1600, 16), value, kind, register, sign, shift, index: None };
    Some(all).filter(|_| size > 0)
}

fn probe(digest: &str, size: u32) -> Bundle {
    let text = |text: &str| text.to_owned();
    let (binary, provider, probe, arguments) = (text("/bin/sh"), text("sh"), text("line"), arguments(size));
    let mut bundle = bundle(digest, &[Attach::Usdt(Usdt { binary, provider, probe, pid: None, arguments })]);
    bundle.manifest.programs.iter_mut().for_each(|program| program.ty = "usdt".to_owned());
    bundle
}

fn hook(bundle: &Bundle) -> Hook {
    Hook::new(&bundle.manifest.attach[0], true)
}

/// The root that a first deploy of the bundle makes.
fn root(bundle: &Bundle) -> String {
    let made = steps(bundle, &nothing()).into_iter().find_map(|step| match step {
        Step::CreateRoot { root, .. } => Some(root),
        _ => None,
    });
    made.expect("a root")
}

fn table(max_entries: u32) -> Option<MapFacts> {
    Some(MapFacts { max_entries, ..MapFacts::default() })
}

/// Generation 1 of the bundle, whose stub the probe runs.
fn live(bundle: &Bundle) -> Observed {
    let mut observed = nothing();
    let first = Generation { specs: table(256), ..made_live(generation(bundle, 1), 1) };
    observed.generations.insert(1, first);
    observed.roots.insert(root(bundle), whole_root(10));
    let (hook, root) = (hook(bundle), Some(root(bundle)));
    let (target, generation) = (Some(0), Some(1));
    let attachment = Attachment { hook, link: Some(7), program: 10, root, target, generation, namespace: NAMESPACE };
    observed.attachments.insert(attachment.hook.name(), attachment);
    observed.maps.insert(pin(bundle), seen());
    Observed { has_folders: true, ..observed }
}

fn whole_root(program: u32) -> Root {
    Root { stub: Some(90 + program), table: Some(MapFacts::default()), program: Some(program) }
}

fn exchange(old: &Bundle, new: &Bundle) -> Step {
    let runs = |bundle: &Bundle, generation| Runs::Root { root: root(bundle), generation };
    Step::Exchange { hook: hook(new), from: runs(old, 1), to: runs(new, 2) }
}

/// The root was switched and then each link replaced: a deploy that was killed in between left links whose numbers meant nothing, or
/// something else, to programs that the next one took for theirs.
#[test]
fn no_program_runs_by_a_link_whose_numbers_it_reads_otherwise() {
    for (old, new) in [(0, 208), (208, 304), (208, 0)] {
        let (old, new) = (probe("a", old), probe("b", new));
        let mut observed = live(&old);
        let found = steps(&new, &observed);
        let at = |wanted: &Step| found.iter().position(|step| step == wanted);
        assert!(!found.iter().any(|step| matches!(step, Step::SwitchRoot { .. })), "{:?}", lines(&found));
        let made = at(&Step::CreateRoot { root: root(&new), generation: 2 });
        assert!(made.is_some() && made < at(&exchange(&old, &new)), "{:?}", lines(&found));
        // Killed right after the root was made: the link is the old one still, and seen as such.
        observed.generations.insert(2, Generation { specs: table(256), ..generation(&new, 2) });
        observed.roots.insert(root(&new), whole_root(20));
        assert!(steps(&new, &observed).contains(&exchange(&old, &new)), "{:?}", lines(&steps(&new, &observed)));
    }
}

/// The same header: the link stays, and its root leads elsewhere.
#[test]
fn links_stay_where_all_read_alike() {
    let (old, new) = (probe("a", 208), probe("b", 208));
    let found = steps(&new, &live(&old));
    assert!(found.contains(&Step::SwitchRoot { root: root(&old), from: Some(1), to: 2 }), "{:?}", lines(&found));
    assert!(found.iter().all(|step| step.moved_hook().is_none()), "{:?}", lines(&found));
}

/// A later step that failed left the probe without any program: the link had been removed, and nothing brought it back.
#[test]
fn a_link_whose_table_is_lost_goes_when_another_is_there() {
    let (old, new) = (probe("a", 208), probe("b", 208));
    let mut observed = live(&old);
    observed.generations.get_mut(&1).unwrap().specs = None;
    let found = diff(&new, &observed, &Options::default()).unwrap();
    let at = |wanted: &Step| found.steps.iter().position(|step| step == wanted);
    let made = at(&exchange(&old, &new));
    // A kill in between leaves what the next command sees for what it is.
    let switched = at(&Step::SwitchRoot { root: root(&old), from: Some(1), to: 2 });
    assert!(made.is_some() && made < switched, "{:?}", lines(&found.steps));
    assert!(!found.steps.iter().any(|step| matches!(step, Step::RemoveLink { .. })), "{:?}", lines(&found.steps));
}

/// What stands beyond the end of an older table its programs do not find.
#[test]
fn a_table_with_less_room_has_links_made_for_it() {
    let (old, new) = (probe("a", 208), probe("b", 208));
    let back = |room: u32| {
        let mut observed = live(&new);
        let older = Generation { specs: table(room), ..made_live(generation(&old, 2), 0) };
        observed.generations.insert(2, older);
        way_back(&observed).unwrap().steps
    };
    let is_moved = |steps: &[Step]| steps.iter().any(|step| matches!(step, Step::Exchange { .. }));
    assert_eq!((is_moved(&back(256)), is_moved(&back(255))), (false, true));
}
