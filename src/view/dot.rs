//! A chain for Graphviz.
//!
//! Knows the language's quoting, not its layout.

use std::fmt::Write as _;

use super::drawing::{Arrow, ArrowKind, Box, BoxKind, Drawing};

pub(super) fn draw(drawing: &Drawing) -> String {
    let mut text = format!("digraph {} {{\n", quoted(&drawing.title));
    text.push_str("    node [fontname=\"sans-serif\", fontsize=11];\n    edge [fontname=\"sans-serif\", fontsize=9];\n");
    for item in &drawing.boxes {
        writeln!(text, "    {} [label={}, {}];", item.id, label(item), look(item.kind)).expect("BUG: a string takes everything");
    }
    for arrow in &drawing.arrows {
        let (from, to) = (&drawing.boxes[arrow.from].id, &drawing.boxes[arrow.to].id);
        writeln!(text, "    {from} -> {to} [{}];", line(arrow)).expect("BUG: a string takes everything");
    }
    text.push_str("}\n");
    text
}

fn look(kind: BoxKind) -> &'static str {
    match kind {
        BoxKind::Attach => "shape=cds",
        BoxKind::Program => "shape=box, style=rounded",
        BoxKind::Map => "shape=cylinder, color=gray40, fontcolor=gray40",
    }
}

fn line(arrow: &Arrow) -> String {
    match arrow.kind {
        ArrowKind::Attach => "style=bold".to_owned(),
        ArrowKind::Jump => format!("label={}", quoted(&arrow.label)),
        // A loop must not push the program it returns to below itself.
        ArrowKind::Loop => format!("label={}, style=dashed, constraint=false", quoted(&arrow.label)),
        ArrowKind::Use => "style=dotted, arrowhead=none, color=gray40".to_owned(),
    }
}

fn label(item: &Box) -> String {
    quoted(&format!("{}\n{}", item.title, item.details.join("\n")))
}

pub(super) fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_are_escaped() {
        assert_eq!(quoted("a\"b\\c\nd"), "\"a\\\"b\\\\c\\nd\"");
    }
}
