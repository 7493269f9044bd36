//! A chain for Mermaid, which web pages draw.
//!
//! Knows the language's quoting, not its layout.

use std::fmt::Write as _;

use super::drawing::{Arrow, ArrowKind, Box, BoxKind, Drawing};

pub(super) fn draw(drawing: &Drawing) -> String {
    let mut text = format!("---\ntitle: {}\n---\nflowchart TD\n", yaml(&drawing.title));
    for item in &drawing.boxes {
        writeln!(text, "    {}{}", item.id, shape(item)).expect("BUG: a string takes everything");
    }
    for arrow in &drawing.arrows {
        let (from, to) = (&drawing.boxes[arrow.from].id, &drawing.boxes[arrow.to].id);
        writeln!(text, "    {from} {} {to}", line(arrow)).expect("BUG: a string takes everything");
    }
    text
}

fn shape(item: &Box) -> String {
    let label =
        format!("\"{}<br/><small>{}</small>\"", escaped(&item.title), escaped(&item.details.join("\n")).replace('\n', "<br/>"));
    match item.kind {
        BoxKind::Attach => format!("([{label}])"),
        BoxKind::Program => format!("[{label}]"),
        BoxKind::Map => format!("[({label})]"),
    }
}

fn line(arrow: &Arrow) -> String {
    match arrow.kind {
        ArrowKind::Attach => "==>".to_owned(),
        ArrowKind::Jump => format!("-->|\"{}\"|", escaped(&arrow.label)),
        ArrowKind::Loop => format!("-.->|\"{}\"|", escaped(&arrow.label)),
        ArrowKind::Use => "-.-".to_owned(),
    }
}

/// Mermaid writes entities as `#name;`, so its own sign is the first to go.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '#' => escaped.push_str("#35;"),
            '&' => escaped.push_str("#amp;"),
            '<' => escaped.push_str("#lt;"),
            '>' => escaped.push_str("#gt;"),
            '"' => escaped.push_str("#quot;"),
            '`' => escaped.push_str("#96;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A YAML string in quotes.
pub(super) fn yaml(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_the_language_are_escaped() {
        assert_eq!(escaped("a#b\"c<d>&`"), "a#35;b#quot;c#lt;d#gt;#amp;#96;");
    }
}
