//! Coordinates: of boxes along and across the layers, and of the points lines pass.

use std::collections::BTreeMap;
use std::iter;

use super::order::neighbours;
use super::{GAP, Layout, Net, Point};

/// How often every layer is moved towards its neighbours, and then lines are straightened.
const ROUNDS: usize = 24;
const STRAIGHTENINGS: usize = 16;
/// Between two lines that end at the same box; less where the box is narrow.
const PORT_GAP: f64 = 22.0;
/// A line through a layer needs less room than a box.
const CROSSING_GAP: f64 = 22.0;

pub(super) fn place(net: &Net, rows: &[Vec<usize>], boxes: usize, back: &[bool]) -> Layout {
    let x = across(net, rows);
    let tops = tops(net, rows);
    let ports = Ports::new(net, &x);
    let middle = |vertex: usize| {
        let (top, height) = tops[net.vertices[vertex].layer];
        Point { x: x[vertex], y: top + height / 2.0 }
    };
    let line = |(chain, back): (&Vec<usize>, &bool)| {
        let mut points: Vec<Point> = chain.iter().flat_map(|piece| ends(net, *piece, &ports, &tops)).collect();
        if *back {
            points.reverse();
        }
        points
    };
    Layout { boxes: (0..boxes).map(middle).collect(), lines: net.chains.iter().zip(back).map(line).collect() }
}

/// The two ends of a piece: at the edge of a box, or of the layer where a line passes.
fn ends(net: &Net, piece: usize, ports: &Ports, tops: &[(f64, f64)]) -> [Point; 2] {
    let (from, to) = (net.pieces[piece].from, net.pieces[piece].to);
    let edge = |vertex: usize, below: bool| {
        let (top, height) = tops[net.vertices[vertex].layer];
        let own = if net.vertices[vertex].size.width > 0.0 { net.vertices[vertex].size.height } else { height };
        let half = own / 2.0;
        top + height / 2.0 + if below { half } else { -half }
    };
    [Point { x: ports.below[piece], y: edge(from, true) }, Point { x: ports.above[piece], y: edge(to, false) }]
}

/// The upper edge and the height of every layer.
fn tops(net: &Net, rows: &[Vec<usize>]) -> Vec<(f64, f64)> {
    let mut top = 0.0;
    let mut tops = Vec::with_capacity(rows.len());
    for row in rows {
        let height = row.iter().map(|vertex| net.vertices[*vertex].size.height).fold(0.0, f64::max);
        tops.push((top, height));
        top += height + GAP.height;
    }
    tops
}

/// The middle of every vertex along its layer: near its neighbours, in order, with room between.
fn across(net: &Net, rows: &[Vec<usize>]) -> Vec<f64> {
    let mut x = vec![0.0; net.vertices.len()];
    for row in rows {
        spread(net, row, &mut x, &|_| (0.0, 1.0));
    }
    for round in 0..ROUNDS {
        let down = round % 2 == 0;
        for step in 0..rows.len() {
            let row = &rows[if down { step } else { rows.len() - 1 - step }];
            let old = x.clone();
            spread(net, row, &mut x, &|vertex| (wish(net, vertex, down, &old), 1.0));
        }
    }
    for _ in 0..STRAIGHTENINGS {
        let columns = columns(net, &x);
        for row in rows {
            let old = x.clone();
            spread(net, row, &mut x, &|vertex| match net.vertices[vertex].line {
                Some(line) => (columns[&line], 8.0),
                None => ((wish(net, vertex, true, &old) + wish(net, vertex, false, &old)) / 2.0, 1.0),
            });
        }
    }
    x
}

/// Where a vertex would like to be: in the middle of its neighbours in the layer gone through before.
fn wish(net: &Net, vertex: usize, above: bool, x: &[f64]) -> f64 {
    let mut near: Vec<usize> = neighbours(net, vertex, above).collect();
    if near.is_empty() {
        near.extend(neighbours(net, vertex, !above));
    }
    if near.is_empty() { x[vertex] } else { near.iter().map(|other| x[*other]).sum::<f64>() / near.len() as f64 }
}

/// The mean of every line's crossings: the column they should all stand in.
fn columns(net: &Net, x: &[f64]) -> BTreeMap<usize, f64> {
    let mut sums: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for (vertex, x) in net.vertices.iter().zip(x) {
        if let Some(line) = vertex.line {
            let sum = sums.entry(line).or_default();
            *sum = (sum.0 + x, sum.1 + 1.0);
        }
    }
    sums.into_iter().map(|(line, (sum, count))| (line, sum / count)).collect()
}

/// Puts a row as near to its wishes as order and distance allow: least squares, by pooling those that would collide. A wish is
/// a place and its weight.
fn spread(net: &Net, row: &[usize], x: &mut [f64], wish: &dyn Fn(usize) -> (f64, f64)) {
    let mut offsets = Vec::with_capacity(row.len());
    let mut offset = 0.0;
    for (place, vertex) in row.iter().enumerate() {
        offset += if place == 0 { 0.0 } else { distance(net, row[place - 1], *vertex) };
        offsets.push(offset);
    }
    // Each pool: the sum of what its members wish, their weight, and how many they are.
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for (vertex, offset) in row.iter().zip(&offsets) {
        let (wished, weight) = wish(*vertex);
        let mut pool = (weight * (wished - offset), weight, 1);
        while let Some(before) = pools.pop_if(|before| before.0 / before.1 > pool.0 / pool.1) {
            pool = (before.0 + pool.0, before.1 + pool.1, before.2 + pool.2);
        }
        pools.push(pool);
    }
    let places = pools.iter().flat_map(|(sum, weight, count)| iter::repeat_n(sum / weight, *count));
    for ((vertex, offset), place) in row.iter().zip(&offsets).zip(places) {
        x[*vertex] = place + offset;
    }
}

fn distance(net: &Net, left: usize, right: usize) -> f64 {
    let (left, right) = (net.vertices[left].size.width, net.vertices[right].size.width);
    let gap = if left == 0.0 || right == 0.0 { CROSSING_GAP } else { GAP.width };
    (left + right) / 2.0 + gap
}

/// Where along the edges of boxes the pieces begin and end.
struct Ports {
    below: Vec<f64>,
    above: Vec<f64>,
}

impl Ports {
    fn new(net: &Net, x: &[f64]) -> Ports {
        let mut ports = Ports { below: vec![0.0; net.pieces.len()], above: vec![0.0; net.pieces.len()] };
        for vertex in 0..net.vertices.len() {
            let leaving = |piece: &usize| net.pieces[*piece].from == vertex;
            let arriving = |piece: &usize| net.pieces[*piece].to == vertex;
            share(net, vertex, x, (0..net.pieces.len()).filter(leaving).collect(), &mut ports.below, &|piece| {
                net.pieces[piece].to
            });
            share(net, vertex, x, (0..net.pieces.len()).filter(arriving).collect(), &mut ports.above, &|piece| {
                net.pieces[piece].from
            });
        }
        ports
    }
}

/// Shares an edge of a vertex among pieces in the order of their other ends.
fn share(net: &Net, vertex: usize, x: &[f64], mut pieces: Vec<usize>, ports: &mut [f64], other: &dyn Fn(usize) -> usize) {
    pieces.sort_by(|a, b| x[other(*a)].total_cmp(&x[other(*b)]).then(a.cmp(b)));
    let room = net.vertices[vertex].size.width * 0.8;
    let gap = if pieces.len() < 2 { 0.0 } else { PORT_GAP.min(room / (pieces.len() - 1) as f64) };
    let first = x[vertex] - gap * (pieces.len().saturating_sub(1)) as f64 / 2.0;
    for (place, piece) in pieces.iter().enumerate() {
        ports[*piece] = first + gap * place as f64;
    }
}
