//! Chains as pictures: `text` for terminals, `dot`, `mermaid` and `svg` for people, `json` for programs. Answers about targets and
//! actions likewise.
//!
//! Pure: data in, text out. Knows no files and no terminal.

pub mod actions;
pub mod network;
pub mod targets;

mod drawing;

mod dot;
mod json;
mod layout;
mod mermaid;
mod svg;
mod text;

use ouro_rules::chain::ChainSpec;

use drawing::Drawing;

/// The kinds of picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A tree for terminals.
    Text,
    /// Graphviz.
    Dot,
    /// Mermaid, which many web pages draw.
    Mermaid,
    /// The facts; see [`draw`] for the schema.
    Json,
    /// A picture that needs nothing else.
    Svg,
}

/// A chain in a format; ends in a line feed. `color` matters to `Format::Text` alone.
///
/// # JSON
/// An object. Keys are only ever added.
///
/// - `chain`, `name`: the chain's label and the name of its deployment; `table_size`: entries of its jump table; `counting`:
///   whether its jumps count.
/// - `attach`: where the entry is attached. Objects with `hook` (`"xdp"`, `"tc"`, `"cgroup"`, ...) and what
///   it was given: for `xdp` an `interface` and a `mode` (`"generic"`, `"native"`, `"offload"`); for `tc` an `interface`, a
///   `direction` (`"ingress"`, `"egress"`), a `priority`, a `handle` and `via` (`"auto"`, `"tcx"`, `"clsact"`).
/// - `programs`: objects with `label`, `type`, `entry` (a boolean), `slot` (null for an entry nobody jumps to), `maps` (names)
///   and `hidden` (left out of the pictures). The entry is the first.
/// - `jumps`: objects with `from` and `to` (labels), `name` (in the C source), `on_miss` (the return value), `verdict` (its
///   name, or null) and `loop` (how often it is taken at most in one run, or null).
/// - `maps`: objects with `name`, `type`, `key`, `value` (C types, empty if none), `max_entries` and `flags` (bits).
pub fn draw(spec: &ChainSpec, format: Format, color: bool) -> String {
    match format {
        Format::Text => text::draw(spec, color),
        Format::Dot => dot::draw(&Drawing::of(spec)),
        Format::Mermaid => mermaid::draw(&Drawing::of(spec)),
        Format::Json => json::draw(spec),
        Format::Svg => svg::draw(&Drawing::of(spec)),
    }
}

#[cfg(test)]
mod examples;
