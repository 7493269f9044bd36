//! Boxes and arrows of any meaning, for Graphviz and Mermaid.
//!
//! Knows the languages' forms, not what is drawn.

use std::fmt::Write as _;

use super::dot::quoted;
use super::mermaid::{escaped, yaml};

/// A drawing.
pub struct Network {
    /// What is drawn.
    pub title: String,
    /// The texts of the boxes.
    pub boxes: Vec<Box>,
    /// Arrows between boxes, by their places.
    pub arrows: Vec<Arrow>,
}

/// A box.
pub struct Box {
    /// What stands in it.
    pub text: String,
    /// Whether it is something small, such as a file.
    pub small: bool,
}

/// An arrow.
pub struct Arrow {
    /// Where it begins.
    pub from: usize,
    /// Where it ends.
    pub to: usize,
    /// What stands beside it; may be empty.
    pub text: String,
}

/// For Graphviz.
pub fn dot(network: &Network) -> String {
    let mut text = format!("digraph {} {{\n", quoted(&network.title));
    text.push_str("    node [fontname=\"sans-serif\", fontsize=11];\n    edge [fontname=\"sans-serif\", fontsize=9];\n");
    for (item, place) in network.boxes.iter().zip(0..) {
        let look = if item.small { "shape=note, color=gray40, fontcolor=gray40" } else { "shape=box, style=rounded" };
        writeln!(text, "    n{place} [label={}, {look}];", quoted(&item.text)).expect("BUG: a string takes everything");
    }
    for Arrow { from, to, text: beside } in &network.arrows {
        let label = if beside.is_empty() { String::new() } else { format!(" [label={}]", quoted(beside)) };
        writeln!(text, "    n{from} -> n{to}{label};").expect("BUG: a string takes everything");
    }
    text.push_str("}\n");
    text
}

/// For Mermaid.
pub fn mermaid(network: &Network) -> String {
    let mut text = format!("---\ntitle: {}\n---\nflowchart TD\n", yaml(&network.title));
    for (item, place) in network.boxes.iter().zip(0..) {
        let label = format!("\"{}\"", escaped(&item.text).replace('\n', "<br/>"));
        let shape = if item.small { format!("([{label}])") } else { format!("[{label}]") };
        writeln!(text, "    n{place}{shape}").expect("BUG: a string takes everything");
    }
    for Arrow { from, to, text: beside } in &network.arrows {
        let label = if beside.is_empty() { String::new() } else { format!("|\"{}\"|", escaped(beside)) };
        writeln!(text, "    n{from} -->{label} n{to}").expect("BUG: a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Network {
        let item = |text: &str, small| Box { text: text.to_owned(), small };
        let arrow = |from, to, text: &str| Arrow { from, to, text: text.to_owned() };
        let boxes = vec![item("//fw:parse", false), item("//fw:a\"b.c\nsource", true)];
        Network { title: "deps(\"x\")".to_owned(), boxes, arrows: vec![arrow(0, 1, "srcs"), arrow(1, 0, "")] }
    }

    #[test]
    fn graphviz_is_drawn_with_its_signs_escaped() {
        let expected = "digraph \"deps(\\\"x\\\")\" {\n    node [fontname=\"sans-serif\", fontsize=11];\n    edge [fontname=\"sans-serif\", \
                        fontsize=9];\n    n0 [label=\"//fw:parse\", shape=box, style=rounded];\n    n1 [label=\"//fw:a\\\"b.c\\nsource\", \
                        shape=note, color=gray40, fontcolor=gray40];\n    n0 -> n1 [label=\"srcs\"];\n    n1 -> n0;\n}\n";
        assert_eq!(dot(&network()), expected);
    }

    #[test]
    fn mermaid_is_drawn_with_its_signs_escaped() {
        let expected = "---\ntitle: \"deps(\\\"x\\\")\"\n---\nflowchart TD\n    n0[\"//fw:parse\"]\n    n1([\"//fw:a#quot;b.c<br/>source\"])\n    \
                        n0 -->|\"srcs\"| n1\n    n1 --> n0\n";
        assert_eq!(mermaid(&network()), expected);
    }
}
