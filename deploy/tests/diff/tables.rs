//! Extensions and tables of functions: parts of a generation that come between its programs and its hooks.

use ouro_deploy::{Attachment, Hook, Observed, Options, Step, diff};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Attach, Replaces, StructOps};

use crate::{NAMESPACE, bundle, deployed, generation, made_live, nothing, steps, xdp};

fn place(steps: &[Step], wanted: impl Fn(&Step) -> bool) -> usize {
    steps.iter().position(wanted).unwrap_or_else(|| panic!("{steps:?}"))
}

/// The second program replaces a function of the first.
fn extended(digest: &str, attach: &[Attach]) -> Bundle {
    let mut bundle = bundle(digest, attach);
    let program = &mut bundle.manifest.programs[1];
    (program.ty, program.slot) = ("freplace/policy".to_owned(), None);
    program.replaces = Some(Replaces { program: "parse".to_owned(), function: "policy".to_owned() });
    (bundle.manifest.table_size, bundle.manifest.edges) = (0, Vec::new());
    bundle
}

#[test]
fn a_function_is_replaced_when_both_are_loaded_and_nothing_runs_them() {
    let steps = steps(&extended("a", &[xdp("eth0")]), &nothing());
    let extends = place(&steps, |step| matches!(step, Step::Extend { .. }));
    assert_eq!(steps[extends].to_string(), "replace `policy` of `parse` by `block`");
    let last = steps.iter().rposition(|step| matches!(step, Step::LoadProgram { .. })).unwrap();
    assert!(last < extends && extends < place(&steps, |step| matches!(step, Step::Attach { .. })), "{steps:?}");
}

/// Whose extension lost its link answers as its entry does: such a generation is made anew.
#[test]
fn a_generation_without_its_extension_is_not_whole() {
    let wanted = extended("a", &[xdp("eth0")]);
    let mut observed = deployed(&wanted);
    assert!(steps(&wanted, &observed).iter().any(|step| matches!(step, Step::Extend { generation: 2, .. })));
    observed.generations.get_mut(&1).unwrap().extensions.insert("block".to_owned(), 5);
    assert_eq!(steps(&wanted, &observed), []);
    let moved = steps(&extended("a", &[xdp("eth1")]), &observed);
    assert!(moved.contains(&Step::AdoptGeneration { from: 1, generation: 2 }), "{moved:?}");
}

fn registering(digest: &str, table: &str, ty: &str) -> Bundle {
    bundle(digest, &[Attach::StructOps(StructOps { table: table.to_owned(), ty: ty.to_owned() })])
}

fn registered(bundle: &Bundle) -> Observed {
    let mut observed = deployed(&bundle_without_hooks(bundle));
    let mut whole = made_live(generation(bundle, 1), 1);
    whole.tables.extend(bundle.manifest.tables().map(|table| (table.to_owned(), 90)));
    observed.generations.insert(1, whole);
    let hook = Hook::new(&bundle.manifest.attach[0], true);
    let (link, target, generation) = (Some(7), Some(90), Some(1));
    let attached = Attachment { hook: hook.clone(), link, program: 10, root: None, target, generation, namespace: NAMESPACE };
    observed.attachments.insert(hook.name(), attached);
    observed
}

fn bundle_without_hooks(bundle: &Bundle) -> Bundle {
    let mut bundle = bundle.clone();
    bundle.manifest.attach.clear();
    bundle
}

#[test]
fn a_table_is_made_before_it_is_registered() {
    let wanted = registering("a", "calm", "tcp_congestion_ops");
    let steps = steps(&wanted, &nothing());
    let makes = place(&steps, |step| *step == Step::MakeTable { generation: 1, table: "calm".to_owned() });
    let last = steps.iter().rposition(|step| matches!(step, Step::LoadProgram { .. })).unwrap();
    assert!(last < makes && makes < place(&steps, |step| matches!(step, Step::Attach { .. })), "{steps:?}");
}

/// Of all types the kernel puts only some in each other's place; a plan says what becomes of the others.
#[test]
fn a_plan_says_when_nothing_is_registered_for_a_moment() {
    for (ty, is_atomic) in [("tcp_congestion_ops", true), ("sched_ext_ops", false)] {
        let observed = registered(&registering("a", "ours", ty));
        let wanted = registering("b", "ours", ty);
        let plan = diff(&wanted, &observed, &Options::default()).unwrap_or_else(|conflicts| panic!("{conflicts:?}"));
        assert!(plan.steps.iter().any(|step| matches!(step, Step::Switch { from: 1, to: 2, .. })), "{:?}", plan.steps);
        let told: Vec<String> = plan.changes.iter().map(|change| format!("{change:?}")).collect();
        assert_eq!(told.iter().any(|change| change.contains("Gap")), !is_atomic, "{told:?}");
    }
}

/// The same objects, and yet another table of them: what was loaded for the one has not the other.
#[test]
fn another_table_is_another_generation() {
    let observed = registered(&registering("a", "calm", "tcp_congestion_ops"));
    let steps = steps(&registering("a", "loud", "tcp_congestion_ops"), &observed);
    assert!(steps.contains(&Step::MakeTable { generation: 2, table: "loud".to_owned() }), "{steps:?}");
}
