//! What every picture of a chain shows: boxes and the arrows between them.
//!
//! Knows no format and no place on a page.

use ouro_rules::chain::{ChainSpec, Member};
use ouro_rules::hook;
use ouro_rules::manifest::{Attach, Edge, MapSpec, Replaces};

/// A chain as boxes and arrows.
pub(super) struct Drawing {
    /// The chain's label.
    pub(super) title: String,
    /// How large it is.
    pub(super) subtitle: String,
    /// The boxes: attach points, then programs, then maps.
    pub(super) boxes: Vec<Box>,
    /// The arrows.
    pub(super) arrows: Vec<Arrow>,
}

/// A thing.
pub(super) struct Box {
    /// Unique, and a word in every format: `p0`.
    pub(super) id: String,
    pub(super) kind: BoxKind,
    pub(super) title: String,
    /// Smaller lines below the title.
    pub(super) details: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum BoxKind {
    Attach,
    Program,
    Map,
}

/// What one box has to do with another; boxes are places in [`Drawing::boxes`].
pub(super) struct Arrow {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) kind: ArrowKind,
    /// Empty but for jumps.
    pub(super) label: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ArrowKind {
    /// From an attach point to the entry.
    Attach,
    /// A tail call.
    Jump,
    /// A tail call that closes a cycle, and how often it may do so is declared.
    Loop,
    /// A program uses a map.
    Use,
}

impl Drawing {
    /// The boxes and arrows of a chain, without hidden programs.
    pub(super) fn of(spec: &ChainSpec) -> Drawing {
        let attach = spec.attach.iter().enumerate().map(|(place, point)| attach_box(place, point));
        let visible: Vec<usize> = (0..spec.programs.len()).filter(|place| !spec.programs[*place].hidden).collect();
        let programs = visible.iter().map(|place| program_box(spec, *place));
        let maps = spec.maps.iter().enumerate().map(|(place, map)| map_box(place, map));
        let boxes = attach.chain(programs).chain(maps).collect();
        let drawn = |place: usize| visible.iter().position(|known| *known == place).map(|at| spec.attach.len() + at);
        Drawing { title: spec.chain.to_string(), subtitle: size(spec), boxes, arrows: arrows(spec, &drawn, visible.len()) }
    }
}

fn attach_box(place: usize, point: &Attach) -> Box {
    let (title, detail) = point.words();
    Box { id: format!("a{place}"), kind: BoxKind::Attach, title, details: vec![detail] }
}

fn program_box(spec: &ChainSpec, place: usize) -> Box {
    let member = &spec.programs[place];
    let detail = format!("{} · {}", member.ty, slot_words(member, place));
    Box { id: format!("p{place}"), kind: BoxKind::Program, title: short_label(spec, member), details: vec![detail] }
}

fn map_box(place: usize, map: &MapSpec) -> Box {
    let details = [map_size(map), map_types(map)].into_iter().filter(|detail| !detail.is_empty()).collect();
    Box { id: format!("m{place}"), kind: BoxKind::Map, title: map.name.clone(), details }
}

fn arrows(spec: &ChainSpec, drawn: &dyn Fn(usize) -> Option<usize>, programs: usize) -> Vec<Arrow> {
    let entry = drawn(0);
    let arrow = |from, to, kind, label| Arrow { from, to, kind, label };
    let attach = (0..spec.attach.len()).filter_map(|from| Some(arrow(from, entry?, ArrowKind::Attach, String::new())));
    let jumps = spec.edges.iter().filter_map(|edge| {
        let kind = if edge.bound.is_some() { ArrowKind::Loop } else { ArrowKind::Jump };
        Some(arrow(drawn(edge.from as usize)?, drawn(edge.to as usize)?, kind, jump_words(spec, edge).join(", ")))
    });
    let first_map = spec.attach.len() + programs;
    let uses = spec.programs.iter().enumerate().filter_map(|(place, member)| Some((drawn(place)?, &member.maps)));
    let uses = uses.flat_map(|(from, maps)| maps.iter().map(move |map| (from, first_map + *map as usize)));
    attach.chain(jumps).chain(uses.map(|(from, to)| arrow(from, to, ArrowKind::Use, String::new()))).collect()
}

/// `4 programs, 5 jumps, 3 slots`; what there is none of is not mentioned.
pub(super) fn size(spec: &ChainSpec) -> String {
    let counts = [(spec.programs.len(), "program"), (spec.edges.len(), "jump"), (spec.table_size as usize, "slot")];
    let words = counts.iter().filter(|(number, _)| *number > 0);
    let plural = |(number, thing): &(usize, &str)| format!("{number} {thing}{}", if *number == 1 { "" } else { "s" });
    words.map(plural).collect::<Vec<_>>().join(", ")
}

/// A program as named in the chain's own package: `parse`, else by its whole label.
pub(super) fn short_label(spec: &ChainSpec, member: &Member) -> String {
    let near = member.label.repo == spec.chain.repo && member.label.package == spec.chain.package;
    if near { member.label.name.to_string() } else { member.label.to_string() }
}

/// `entry`, `slot 3`, or both for an entry that programs jump back to; of an extension what it replaces.
pub(super) fn slot_words(member: &Member, place: usize) -> String {
    if let Some(Replaces { program, function }) = &member.replaces {
        return format!("replaces {function} of {program}");
    }
    match (place, member.slot) {
        (0, None) => "entry".to_owned(),
        (0, Some(slot)) => format!("entry, slot {slot}"),
        (_, Some(slot)) => format!("slot {slot}"),
        (_, None) => "no slot".to_owned(),
    }
}

/// `hash, 1024 entries`.
pub(super) fn map_size(map: &MapSpec) -> String {
    let unit = match (map.ty.as_str(), map.max_entries) {
        ("ringbuf", _) => "bytes",
        (_, 1) => "entry",
        _ => "entries",
    };
    format!("{}, {} {unit}", map.ty, map.max_entries)
}

/// `__u32 → struct flow`; empty for maps with neither keys nor values.
pub(super) fn map_types(map: &MapSpec) -> String {
    match (map.key.as_str(), map.value.as_str()) {
        ("", value) => value.to_owned(),
        (key, value) => format!("{key} → {value}"),
    }
}

/// What there is to say of a jump: its name in C if it is not the target's, the verdict of a miss, the bound of a loop.
pub(super) fn jump_words(spec: &ChainSpec, edge: &Edge) -> Vec<String> {
    let mut words = Vec::new();
    let target = spec.programs.get(edge.to as usize).map(|member| &*member.label.name);
    if target != Some(&edge.name) {
        words.push(format!("as {}", edge.name));
    }
    words.push(format!("miss: {}", verdict(spec, edge).map_or_else(|| edge.on_miss.to_string(), str::to_owned)));
    words.extend(edge.bound.map(|bound| format!("loop ≤ {bound}")));
    words
}

/// The name of the verdict a missed jump returns.
pub(super) fn verdict(spec: &ChainSpec, edge: &Edge) -> Option<&'static str> {
    hook::find(&spec.programs.get(edge.from as usize)?.ty)?.common_name(edge.on_miss)
}
