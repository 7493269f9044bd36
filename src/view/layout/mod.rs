//! Places boxes on a page in layers, top to bottom, and leads lines between them around other boxes.
//!
//! The method of Sugiyama, Tagawa and Toda (1981): turn cycles around, give every box a layer by its longest path, order each
//! layer by the barycenters of its neighbours, then choose the places along the layer. Knows boxes by number and size only.

mod layers;
mod order;
mod place;

use std::collections::BTreeMap;

/// A box's size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A line from one box to another; boxes are places in the list of sizes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) from: usize,
    pub(super) to: usize,
    /// Whether it may run together with other such lines to the same box.
    pub(super) merges: bool,
}

/// A place on the page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// Where everything is.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// The middle of every box.
    pub(super) boxes: Vec<Point>,
    /// The points every line passes, in its own direction. Between two points it runs vertically or is a curve that begins and
    /// ends vertically. Empty for a line from a box to itself.
    pub(super) lines: Vec<Vec<Point>>,
}

/// Free space between layers, and between neighbours in one.
const GAP: Size = Size { width: 36.0, height: 70.0 };

/// What is placed: boxes first, then points where long lines cross a layer.
struct Vertex {
    size: Size,
    layer: usize,
    /// For a crossing: the line it belongs to, or the first of those that merge. Crossings of one line should stand in a column.
    line: Option<usize>,
}

/// A piece of a line between two neighbouring layers, from the upper to the lower vertex.
#[derive(Clone, Copy)]
struct Piece {
    from: usize,
    to: usize,
}

/// Boxes and crossings, with the pieces of all lines between them.
struct Net {
    vertices: Vec<Vertex>,
    pieces: Vec<Piece>,
    /// For every line its pieces from top to bottom.
    chains: Vec<Vec<usize>>,
}

/// Places the boxes and leads the lines. Boxes without lines to them come to lie on top.
pub(super) fn layout(sizes: &[Size], links: &[Link]) -> Layout {
    if sizes.is_empty() {
        return Layout::default();
    }
    let back = layers::back_links(sizes.len(), links);
    let layer_of = layers::layers(sizes.len(), links, &back);
    let net = net(sizes, links, &back, &layer_of);
    let rows = order::order(&net);
    place::place(&net, &rows, sizes.len(), &back)
}

/// Cuts every line into pieces, one between each two layers.
fn net(sizes: &[Size], links: &[Link], back: &[bool], layer_of: &[usize]) -> Net {
    let vertices = sizes.iter().zip(layer_of).map(|(size, layer)| Vertex { size: *size, layer: *layer, line: None }).collect();
    let mut net = Net { vertices, pieces: Vec::new(), chains: Vec::new() };
    let mut shared = BTreeMap::new();
    for (line, (link, back)) in links.iter().zip(back).enumerate() {
        let (top, bottom) = if *back { (link.to, link.from) } else { (link.from, link.to) };
        let shared = (link.merges && !back).then_some(&mut shared);
        let chain = if top == bottom { Vec::new() } else { chain(&mut net, line, [top, bottom], shared) };
        net.chains.push(chain);
    }
    net
}

/// The pieces from `top` to `bottom`. With `shared`, crossings of lines to the same box are found and left there.
fn chain(
    net: &mut Net,
    line: usize,
    [top, bottom]: [usize; 2],
    mut shared: Option<&mut BTreeMap<(usize, usize), usize>>,
) -> Vec<usize> {
    let mut chain = Vec::new();
    let mut above = top;
    for layer in net.vertices[top].layer + 1..=net.vertices[bottom].layer {
        let known = shared.as_ref().and_then(|shared| shared.get(&(bottom, layer)).copied());
        let next = if layer == net.vertices[bottom].layer { bottom } else { known.unwrap_or_else(|| crossing(net, line, layer)) };
        if let Some(shared) = &mut shared {
            shared.insert((bottom, layer), next);
        }
        chain.push(piece(net, above, next, known.is_some()));
        above = next;
    }
    chain
}

fn crossing(net: &mut Net, line: usize, layer: usize) -> usize {
    net.vertices.push(Vertex { size: Size { width: 0.0, height: 0.0 }, layer, line: Some(line) });
    net.vertices.len() - 1
}

/// A piece between two vertices; an old one where lines have come together.
fn piece(net: &mut Net, from: usize, to: usize, merged: bool) -> usize {
    let old = net.pieces.iter().position(|piece| merged && piece.from == from && piece.to == to);
    old.unwrap_or_else(|| {
        net.pieces.push(Piece { from, to });
        net.pieces.len() - 1
    })
}

#[cfg(test)]
mod tests;
