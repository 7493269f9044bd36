//! Programs that depend on the kernel: candidates that this one takes or not, and optional programs.

use ouro_cache::Digest;
use ouro_deploy::{Change, Counts, Error, Options, Plan, VerifyOptions, verify_bundle};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::Candidate;

use crate::chain::{Chain, if_udp};
use crate::support::{Lab, kernel_is_at_least, lab, sh};
use crate::{deploy, deployed, generation_folders, status, undeployed};

/// No kernel takes these: a helper without a name, a function that is not there, and memory that nobody checked.
const UNKNOWN_HELPER: &str = "long (*none)(void) = (void *)9999; none(); JUMP(allow);";
const UNKNOWN_FUNCTION: &str = "ouro_no_such_function(); JUMP(allow);";
const UNCHECKED: &str = "if (*(unsigned char *)(long)ctx->data) return XDP_DROP; JUMP(allow);";
const GOOD: &str = "JUMP(allow);";

/// A candidate: its name, its body, what it requires.
type Body<'a> = (&'a str, &'a str, &'a [&'a str]);

/// A chain of three, `mid` in the middle.
fn chain(mid: &str) -> Chain {
    let chain = Chain { globals: "extern int ouro_no_such_function(void) __ksym;".to_owned(), ..Chain::new("fw") };
    chain
        .program("parse", "xdp", &if_udp("return XDP_DROP;", "JUMP(mid);"), &["mid"])
        .program("mid", "xdp", mid, &["allow"])
        .program("allow", "xdp", "return XDP_PASS;", &[])
}

/// The bundle of a chain in which a program has these candidates.
pub fn variants(lab: &Lab, place: &str, chain: &dyn Fn(&str) -> Chain, bodies: &[Body<'_>]) -> Bundle {
    let mut bundle = chain(bodies[0].1).bundle(lab.folder());
    let at = bundle.manifest.programs.iter().position(|program| program.name == place).unwrap();
    bundle.objects.remove(&bundle.manifest.programs[at].object);
    for (name, body, requires) in bodies {
        let object = chain(body).bundle(lab.folder()).objects.remove(&format!("objects/{place}.o")).unwrap();
        let candidate = Candidate {
            label: format!("//test:{name}"),
            name: (*name).to_owned(),
            function: place.to_owned(),
            object: format!("objects/{place}.{name}.o"),
            digest: Digest::of(&object).to_string(),
            globals: Default::default(),
            requires: requires.iter().map(|text| text.parse().unwrap()).collect(),
        };
        bundle.objects.insert(candidate.object.clone(), object);
        bundle.manifest.programs[at].candidates.push(candidate);
    }
    let first = bundle.manifest.programs[at].candidates[0].clone();
    (bundle.manifest.programs[at].object, bundle.manifest.programs[at].digest) = (first.object, first.digest);
    bundle.digest = Digest::of(format!("{:?}", bundle.manifest).as_bytes()).to_string();
    bundle
}

const MIXED: &[Body<'_>] = &[
    ("future", GOOD, &["99.0"]),
    ("lacking", GOOD, &["helper:ouro_none", "map_type:hash"]),
    ("helper", UNKNOWN_HELPER, &[]),
    ("function", UNKNOWN_FUNCTION, &[]),
    ("careless", UNCHECKED, &["helper:map_lookup_elem", "map_type:hash", "program_type:xdp", "3.0"]),
    ("plain", GOOD, &[]),
    ("never", GOOD, &[]),
];

fn plan(lab: &Lab, bundle: &Bundle) -> Plan {
    ouro_deploy::plan(&lab.bpffs, bundle, &Options::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn taken(lab: &Lab, program: &str) -> Option<String> {
    let status = status(lab);
    assert_eq!(status.problems, []);
    status.programs.iter().find(|known| known.name == program).unwrap().candidate.clone()
}

#[test]
fn the_first_candidate_that_the_kernel_takes_stands_in_the_middle() {
    lab(|lab| {
        let bundle = variants(lab, "mid", &chain, MIXED);
        let planned = plan(lab, &bundle);
        assert!(!lab.bpffs.join("ouro").exists(), "a plan leaves nothing");
        let [choice] = planned.choices.as_slice() else { panic!("{planned:?}") };
        assert_eq!((choice.program.as_str(), choice.taken.as_deref(), choice.candidates.len()), ("mid", Some("plain"), 7));
        let why: Vec<(&str, bool)> = choice.rejected.iter().map(|no| (no.candidate.as_str(), no.probed)).collect();
        assert_eq!(why, [("future", true), ("lacking", true), ("helper", false), ("function", false), ("careless", false)]);
        let said = choice.reasons().join("\n");
        for part in
            ["needs Linux 99.0", "no helper `bpf_ouro_none`", "9999", "`ouro_no_such_function`", "invalid access to packet"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(planned.changes.iter().any(|change| matches!(change, Change::Chosen { taken, .. } if taken == "plain")));
        deployed(lab, &bundle);
        assert_eq!(lab.ping(20), 20);
        let counts = |name: &str| status(lab).edges.iter().find(|edge| edge.name == name).and_then(|edge| edge.counts).unwrap();
        assert!(counts("mid").missed == 0 && counts("allow").missed == 0 && counts("allow").taken >= 20);
        assert_eq!(taken(lab, "mid").as_deref(), Some("plain"));
        assert_eq!(deploy(lab, &bundle).unwrap(), [], "the same bundle on the same kernel");
        undeployed(lab, "fw");
    });
}

/// A kernel that is older than an attach type takes a program for it; such a candidate was chosen, and could not be attached.
#[test]
fn types_that_came_with_an_attach_type_are_asked_for_with_it() {
    lab(|lab| {
        for (ty, needed) in [("tcx/ingress", (6, 6)), ("uprobe.multi", (6, 6)), ("uprobe.session", (6, 13)), ("syscall", (5, 14))]
        {
            let requires = format!("program_type:{ty}");
            let bundle = variants(lab, "mid", &chain, &[("asks", GOOD, &[&requires]), ("other", GOOD, &[])]);
            let taken = plan(lab, &bundle).choices[0].taken.clone();
            let expected = if kernel_is_at_least(needed.0, needed.1) { "asks" } else { "other" };
            assert_eq!(taken.as_deref(), Some(expected), "{ty}");
        }
    });
}

#[test]
fn a_rollback_goes_back_to_another_candidate() {
    lab(|lab| {
        let first = variants(lab, "mid", &chain, &[("helper", UNKNOWN_HELPER, &[]), ("old", GOOD, &[])]);
        let second = variants(
            lab,
            "mid",
            &chain,
            &[("new", "if (ctx->data == 1) return XDP_DROP; JUMP(allow);", &["btf"]), ("old", GOOD, &[])],
        );
        deployed(lab, &first);
        let flood = lab.flood();
        deployed(lab, &second);
        assert_eq!((status(lab).generation, taken(lab, "mid").as_deref()), (Some(2), Some("new")));
        ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
        assert_eq!((status(lab).generation, taken(lab, "mid").as_deref()), (Some(1), Some("old")));
        let (sent, received) = flood.stop();
        assert_eq!(sent, received);
        undeployed(lab, "fw");
    });
}

#[test]
fn an_entry_may_have_candidates() {
    lab(|lab| {
        let entry = |body: &str| {
            Chain::new("fw").program("parse", "xdp", body, &["next"]).program("next", "xdp", "return XDP_PASS;", &[])
        };
        let good = if_udp("return XDP_DROP;", "JUMP(next);");
        let bad = UNCHECKED.replace("allow", "next");
        deployed(lab, &variants(lab, "parse", &entry, &[("a", &bad, &[]), ("b", &good, &[])]));
        assert_eq!((lab.ping(5), taken(lab, "parse").as_deref()), (5, Some("b")));
        undeployed(lab, "fw");
    });
}

#[test]
fn where_all_fail_nothing_changes_and_every_reason_is_told() {
    lab(|lab| {
        let failing = variants(lab, "mid", &chain, &MIXED[..5]);
        let error = deploy(lab, &failing).unwrap_err();
        assert!(matches!(&error, Error::NoCandidate(choices) if choices.len() == 1), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with("the kernel takes no candidate of `mid`\n  `future`: it needs Linux 99.0"), "{text}");
        for name in ["future", "lacking", "helper", "function", "careless"] {
            assert!(text.contains(&format!("\n  `{name}`: ")), "{name}: {text}");
        }
        assert!(!lab.bpffs.join("ouro").exists(), "{}", sh(&format!("find {}", lab.bpffs.display())));
        deployed(lab, &chain(GOOD).bundle(lab.folder()));
        let (before, flood) = (status(lab), lab.flood());
        assert!(deploy(lab, &failing).is_err() && ouro_deploy::plan(&lab.bpffs, &failing, &Options::default()).is_err());
        let (sent, received) = flood.stop();
        assert_eq!(sent, received);
        let after = status(lab);
        assert_eq!((after.generation, &after.programs, after.problems.len()), (Some(1), &before.programs, 0));
        assert_eq!(generation_folders(lab).len(), 1);
        undeployed(lab, "fw");
    });
}

/// UDP goes to `extra`, which may be missing; a miss drops.
fn with_extra(body: &str) -> Chain {
    Chain::new("fw")
        .program("parse", "xdp", &if_udp("JUMP(extra);", "JUMP(allow);"), &["extra", "allow"])
        .program("extra", "xdp", body, &[])
        .program("allow", "xdp", "return XDP_PASS;", &[])
}

fn optional(lab: &Lab, body: &str) -> Bundle {
    let mut bundle = with_extra(body).bundle(lab.folder());
    bundle.manifest.programs[1].optional = true;
    bundle
}

#[test]
fn jumps_to_an_optional_program_that_is_missing_miss() {
    lab(|lab| {
        let bundle = optional(lab, "return *(unsigned char *)(long)ctx->data;");
        let planned = plan(lab, &bundle);
        let left_out =
            planned.changes.iter().find(|change| matches!(change, Change::LeftOut { .. })).expect("it is said").to_string();
        assert!(left_out.starts_with("`extra` is left out, jumps to it miss: "), "{left_out}");
        deployed(lab, &bundle);
        let flood = lab.flood();
        lab.udp(4000, 30);
        let (sent, received) = flood.stop();
        assert_eq!(sent, received);
        let now = status(lab);
        assert_eq!(now.problems, [], "it is no drift");
        let extra = now.programs.iter().find(|program| program.name == "extra").unwrap();
        assert_eq!((extra.left_out, extra.id), (true, None));
        let counts = now.edges.iter().find(|edge| edge.name == "extra").and_then(|edge| edge.counts).unwrap();
        assert_eq!(counts, Counts { taken: 0, missed: 30 });
        assert_eq!(deploy(lab, &bundle).unwrap(), []);
        // The same bundle where the kernel takes it.
        let mut better = bundle.clone();
        let good = optional(lab, "return XDP_DROP;").objects.remove("objects/extra.o").unwrap();
        better.objects.insert("objects/extra.o".to_owned(), good);
        deployed(lab, &better);
        let now = status(lab);
        let extra = now.programs.iter().find(|program| program.name == "extra").unwrap();
        assert!(now.generation == Some(2) && !extra.left_out && extra.id.is_some(), "{now:?}");
        assert_eq!(deploy(lab, &better).unwrap(), []);
        ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
        assert!(status(lab).problems.is_empty() && status(lab).programs.iter().any(|program| program.left_out));
        undeployed(lab, "fw");
    });
}

#[test]
fn what_a_program_requires_is_asked_before_it_is_loaded() {
    lab(|lab| {
        let mut bundle = with_extra("return XDP_DROP;").bundle(lab.folder());
        bundle.manifest.programs[1].requires = vec!["kfunc:ouro_no_such_function".parse().unwrap()];
        let error = deploy(lab, &bundle).unwrap_err().to_string();
        assert_eq!(error, "the kernel does not take `extra`\n  `extra`: the kernel has no function `ouro_no_such_function`");
        bundle.manifest.programs[1].requires = vec!["3.0".parse().unwrap(), "btf".parse().unwrap()];
        deployed(lab, &bundle);
        undeployed(lab, "fw");
    });
}

#[test]
fn all_candidates_are_judged() {
    lab(|lab| {
        let verdicts = verify_bundle(&variants(lab, "mid", &chain, MIXED), &VerifyOptions::default()).unwrap();
        let of_mid = verdicts.iter().filter(|verdict| verdict.place.as_deref() == Some("mid"));
        let told: Vec<(&str, bool)> = of_mid.map(|verdict| (verdict.program.as_str(), verdict.outcome.is_ok())).collect();
        let taken = ["future", "lacking", "plain", "never"];
        assert_eq!(told, MIXED.iter().map(|(name, ..)| (*name, taken.contains(name))).collect::<Vec<_>>());
        assert_eq!(verdicts.len(), MIXED.len() + 2);
    });
}

#[test]
fn types_that_travel_in_the_bundle_are_used() {
    lab(|lab| {
        let declarations = "#include <bpf/bpf_core_read.h>\n\
                            struct task_struct { int pid; } __attribute__((preserve_access_index));\n";
        let chain = Chain { declarations: declarations.to_owned(), ..Chain::new("fw") };
        let body = "return bpf_core_field_exists(((struct task_struct *)0)->pid) ? XDP_PASS : XDP_DROP;";
        let mut bundle = chain.program("parse", "xdp", body, &[]).bundle(lab.folder());
        bundle.btf = Some(b"no types".as_slice().into());
        let error = deploy(lab, &bundle).unwrap_err().to_string();
        assert!(error.contains("the types in the bundle cannot be read"), "{error}");
        bundle.btf = Some(std::fs::read("/sys/kernel/btf/vmlinux").unwrap().into());
        deployed(lab, &bundle);
        assert_eq!(lab.ping(3), 3);
        undeployed(lab, "fw");
    });
}
