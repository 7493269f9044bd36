//! A chain as a tree for terminals.
//!
//! Knows nothing of the terminal but whether it takes colours.

use std::collections::BTreeSet;

use ouro_rules::chain::ChainSpec;
use ouro_rules::manifest::{Edge, MapSpec};

use super::drawing::{jump_words, map_size, map_types, short_label, size, slot_words};
use crate::render::output::{Ink, paint};

/// The tree with two columns beside it, then the maps and who uses them.
pub(super) fn draw(spec: &ChainSpec, color: bool) -> String {
    let mut tree = Tree { spec, drawn: BTreeSet::new(), rows: Vec::new() };
    if !spec.programs.is_empty() {
        tree.program("", "", 0, String::new());
    }
    let extensions = spec.programs.iter().zip(0..).filter(|(member, _)| member.replaces.is_some() && !member.hidden);
    extensions.for_each(|(_, place)| tree.program("", "", place, String::new()));
    let mut text = format!("{}  {}\n", paint(color, Ink::Bold, &spec.chain.to_string()), paint(color, Ink::Dim, &size(spec)));
    for point in &spec.attach {
        let (place, how) = point.words();
        text.push_str(&format!("{} {}\n", paint(color, Ink::Cyan, &place), paint(color, Ink::Dim, &how)));
    }
    text.push_str(&columns(&tree.rows, color));
    if !spec.maps.is_empty() {
        text.push_str("maps\n");
        text.push_str(&columns(&maps(spec), color));
    }
    text
}

/// A line: what is drawn in front of the name, the name, and text for the columns.
struct Row {
    lead: String,
    name: String,
    cells: [String; 3],
}

struct Tree<'a> {
    spec: &'a ChainSpec,
    drawn: BTreeSet<usize>,
    rows: Vec<Row>,
}

impl Tree<'_> {
    /// Draws a program and what it jumps to. `lead` stands before the program itself, `below` before what follows it.
    fn program(&mut self, lead: &str, below: &str, place: usize, jump: String) {
        let spec = self.spec;
        let member = &spec.programs[place];
        let first = self.drawn.insert(place);
        let slot = if first { slot_words(member, place) } else { "(above)".to_owned() };
        self.rows.push(Row { lead: lead.to_owned(), name: short_label(spec, member), cells: [slot, jump, String::new()] });
        if !first {
            return;
        }
        let visible = |edge: &&Edge| edge.from as usize == place && !spec.programs[edge.to as usize].hidden;
        let mut jumps = spec.edges.iter().filter(visible).peekable();
        while let Some(edge) = jumps.next() {
            let (branch, rest) = if jumps.peek().is_some() { ("├─ ", "│  ") } else { ("└─ ", "   ") };
            let jump = jump_words(spec, edge).join(", ");
            self.program(&format!("{below}{branch}"), &format!("{below}{rest}"), edge.to as usize, jump);
        }
    }
}

fn maps(spec: &ChainSpec) -> Vec<Row> {
    let users = |map: u32| {
        let users = spec.programs.iter().filter(|member| member.maps.contains(&map) && !member.hidden);
        users.map(|member| short_label(spec, member)).collect::<Vec<_>>().join(", ")
    };
    let row = |(place, map): (u32, &MapSpec)| Row {
        lead: "  ".to_owned(),
        name: map.name.clone(),
        cells: [map_size(map), map_types(map), users(place)],
    };
    (0..).zip(&spec.maps).map(row).collect()
}

/// The rows with their cells one below the other; the names bold, all else pale.
fn columns(rows: &[Row], color: bool) -> String {
    let length = |text: &str| text.chars().count();
    let names = rows.iter().map(|row| length(&row.lead) + length(&row.name)).max().unwrap_or(0);
    let width = |cell: usize| rows.iter().map(|row| length(&row.cells[cell])).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    let mut text = String::new();
    for Row { lead, name, cells: [one, two, three] } in rows {
        let gap = " ".repeat(names - length(lead) - length(name));
        let cells = format!("{one:first$}  {two:second$}  {three}");
        let line = format!("{lead}{}{gap}  {}", paint(color, Ink::Bold, name), paint(color, Ink::Dim, cells.trim_end()));
        text.push_str(&line);
        text.push('\n');
    }
    text
}
