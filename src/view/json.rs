//! A chain as JSON; [`super::draw`] tells the schema.
//!
//! Knows nothing of pictures.

use ouro_rules::chain::ChainSpec;
use ouro_rules::manifest::{Attach, MapSpec, Replaces};
use serde::Serialize;

use super::drawing;

#[derive(Serialize)]
struct Chain<'a> {
    chain: String,
    name: &'a str,
    table_size: u32,
    counting: bool,
    attach: &'a [Attach],
    programs: Vec<Program<'a>>,
    jumps: Vec<Jump<'a>>,
    maps: Vec<Map<'a>>,
}

#[derive(Serialize)]
struct Program<'a> {
    label: String,
    #[serde(rename = "type")]
    ty: &'a str,
    entry: bool,
    slot: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<&'a Replaces>,
    maps: Vec<&'a str>,
    hidden: bool,
}

#[derive(Serialize)]
struct Jump<'a> {
    from: String,
    to: String,
    name: &'a str,
    on_miss: i32,
    verdict: Option<&'static str>,
    #[serde(rename = "loop")]
    bound: Option<u32>,
}

#[derive(Serialize)]
struct Map<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    ty: &'a str,
    key: &'a str,
    value: &'a str,
    max_entries: u32,
    flags: u32,
}

pub(super) fn draw(spec: &ChainSpec) -> String {
    let chain = Chain {
        chain: spec.chain.to_string(),
        name: &spec.name,
        table_size: spec.table_size,
        counting: spec.counting,
        attach: &spec.attach,
        programs: programs(spec),
        jumps: jumps(spec),
        maps: maps(spec),
    };
    let mut text = serde_json::to_string_pretty(&chain).expect("BUG: a chain is plain data");
    text.push('\n');
    text
}

fn programs(spec: &ChainSpec) -> Vec<Program<'_>> {
    let map_name = |map: &u32| spec.maps.get(*map as usize).map(|map| map.name.as_str());
    let mut programs = Vec::with_capacity(spec.programs.len());
    for member in &spec.programs {
        programs.push(Program {
            label: member.label.to_string(),
            ty: &member.ty,
            entry: programs.is_empty(),
            slot: member.slot,
            replaces: member.replaces.as_ref(),
            maps: member.maps.iter().filter_map(map_name).collect(),
            hidden: member.hidden,
        });
    }
    programs
}

fn jumps(spec: &ChainSpec) -> Vec<Jump<'_>> {
    let label = |place: u32| spec.programs.get(place as usize).map_or_else(String::new, |member| member.label.to_string());
    let mut jumps = Vec::with_capacity(spec.edges.len());
    for edge in &spec.edges {
        jumps.push(Jump {
            from: label(edge.from),
            to: label(edge.to),
            name: &edge.name,
            on_miss: edge.on_miss,
            verdict: drawing::verdict(spec, edge),
            bound: edge.bound,
        });
    }
    jumps
}

fn maps(spec: &ChainSpec) -> Vec<Map<'_>> {
    let mut maps = Vec::with_capacity(spec.maps.len());
    for MapSpec { name, ty, key, value, max_entries, flags, .. } in &spec.maps {
        maps.push(Map { name, ty, key, value, max_entries: *max_entries, flags: *flags });
    }
    maps
}
