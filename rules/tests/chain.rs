//! Chains of sizes that nobody writes by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use ouro_rules::chain::{Draft, MAX_EDGES, validate};
use ouro_rules::object::Expected;
use ouro_rules::provider::{Jump, ProgramInfo};
use ouro_rules::{Artifact, Label, Span};

fn label(index: usize) -> Label {
    Label::new("fw", format!("p{index}"))
}

/// Jumps as targets, each with how often it may be taken.
fn program(index: usize, jumps: &[(usize, Option<u32>)]) -> Arc<ProgramInfo> {
    let span = Span::point("fw/BUILD.ouro", index as u32 + 1, 1);
    let jump = |(place, (target, bound)): (usize, &(usize, Option<u32>))| Jump {
        target: label(*target),
        name: format!("j{place}"),
        on_miss: 1,
        bound: *bound,
        span: span.clone(),
    };
    Arc::new(ProgramInfo {
        label: label(index),
        ty: "xdp".to_owned(),
        ty_span: span.clone(),
        object: Artifact::Output("p.o".into()),
        expected: Expected {
            label: "//:p".to_owned(),
            ty: "xdp".to_owned(),
            function: None,
            jumps: Vec::new(),
            maps: Vec::new(),
        },
        facts: Artifact::Output("p.facts.json".into()),
        jumps: jumps.iter().enumerate().map(jump).collect(),
        maps: Vec::new(),
        slot: None,
        hidden: false,
        globals: BTreeMap::new(),
        requires: Vec::new(),
        optional: None,
        candidates: Vec::new(),
        span: span.clone(),
    })
}

/// What is found in the chain of all these programs; the first is the entry.
fn findings(programs: Vec<Arc<ProgramInfo>>) -> Vec<String> {
    let entry = programs[0].clone();
    let draft = Draft {
        workspace: None,
        chain: &Label::new("fw", "fw"),
        span: &Span::point("fw/BUILD.ouro", 1, 1),
        entry: &entry,
        programs: &programs.into_iter().map(|program| (program.label.clone(), program)).collect::<BTreeMap<_, _>>(),
        listed: Vec::new(),
        extensions: Vec::new(),
        attach: Vec::new(),
        table_size: None,
        counting: true,
        atomic: false,
        tests: Vec::new(),
        has_btf: false,
        oldest: None,
    };
    validate(&draft).map_or_else(|findings| findings.into_iter().map(|finding| finding.message).collect(), |_| Vec::new())
}

/// Looking for circles once called itself for each program in a row, until the stack was full.
#[test]
fn a_hundred_thousand_programs_in_a_row_are_findings() {
    const COUNT: usize = 100_000;
    let row = (0..COUNT).map(|index| program(index, &[(index + 1, None)][usize::from(index + 1 == COUNT)..]));
    assert_eq!(
        findings(row.collect()),
        [
            "`//fw:fw` can take more than 33 tail calls in one run",
            "the chain has 99999 jumps; at most 65536 are possible",
            "the chain needs 99999 slots; a jump table has at most 65536",
        ]
    );
}

#[test]
fn jumps_are_counted() {
    let jumps = |count: usize| vec![program(0, &vec![(1, None); count]), program(1, &[])];
    assert_eq!(findings(jumps(MAX_EDGES)), [""; 0]);
    assert_eq!(findings(jumps(MAX_EDGES + 1)), ["the chain has 65537 jumps; at most 65536 are possible"]);
}

/// A circle told is a circle that can be mended, but thousands of them are no help.
#[test]
fn circles_without_end_are_told_in_part() {
    let all: Vec<(usize, Option<u32>)> = (0..60).map(|target| (target, None)).collect();
    let told = findings((0..60).map(|index| program(index, &all)).collect()).len();
    assert!((50..=100).contains(&told), "{told}");
}

#[test]
fn depth_is_exact_where_bounds_hang_together() {
    // A row of 17 programs, each of which may start once more: 16 + 17 jumps.
    let row = |count: usize| {
        (0..count).map(move |index| program(index, &[(index + 1, None), (index, Some(1))][usize::from(index + 1 == count)..]))
    };
    assert_eq!(findings(row(17).collect()), [""; 0]);
    assert_eq!(findings(row(18).collect()), ["`//fw:fw` can take more than 33 tail calls in one run"]);
}
