//! The order of each layer, such that few lines cross.

use super::Net;

/// How often the layers are gone through, down and up.
const SWEEPS: usize = 12;

/// The vertices of every layer from left to right.
pub(super) fn order(net: &Net) -> Vec<Vec<usize>> {
    let layers = net.vertices.iter().map(|vertex| vertex.layer).max().map_or(0, |last| last + 1);
    let mut rows = vec![Vec::new(); layers];
    for (index, vertex) in net.vertices.iter().enumerate() {
        rows[vertex.layer].push(index);
    }
    let mut best = (crossings(net, &rows), rows.clone());
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        for step in 1..layers {
            let layer = if down { step } else { layers - 1 - step };
            sort(net, &mut rows, layer, down);
        }
        let now = crossings(net, &rows);
        if now < best.0 {
            best = (now, rows.clone());
        }
    }
    best.1
}

/// Sorts a layer by the mean place of each vertex's neighbours in the layer gone through before.
fn sort(net: &Net, rows: &mut [Vec<usize>], layer: usize, down: bool) {
    let place = places(net, rows);
    let weight = |vertex: usize| {
        let neighbours: Vec<f64> = neighbours(net, vertex, down).map(|other| place[other]).collect();
        if neighbours.is_empty() { place[vertex] } else { neighbours.iter().sum::<f64>() / neighbours.len() as f64 }
    };
    let mut row: Vec<(f64, usize)> = rows[layer].iter().map(|vertex| (weight(*vertex), *vertex)).collect();
    row.sort_by(|a, b| a.0.total_cmp(&b.0));
    rows[layer] = row.into_iter().map(|(_, vertex)| vertex).collect();
}

/// The vertices a vertex has lines to, in the layer above or below.
pub(super) fn neighbours(net: &Net, vertex: usize, above: bool) -> impl Iterator<Item = usize> {
    let ends = net.pieces.iter().map(move |piece| if above { (piece.to, piece.from) } else { (piece.from, piece.to) });
    ends.filter(move |(own, _)| *own == vertex).map(|(_, other)| other)
}

fn places(net: &Net, rows: &[Vec<usize>]) -> Vec<f64> {
    let mut places = vec![0.0; net.vertices.len()];
    for row in rows {
        for (place, vertex) in row.iter().enumerate() {
            // Relative to the middle, so that rows of different length compare.
            places[*vertex] = place as f64 - (row.len() - 1) as f64 / 2.0;
        }
    }
    places
}

fn crossings(net: &Net, rows: &[Vec<usize>]) -> usize {
    let place = places(net, rows);
    let ends = |index: usize| (place[net.pieces[index].from], place[net.pieces[index].to]);
    let layer = |index: usize| net.vertices[net.pieces[index].from].layer;
    let pairs = (0..net.pieces.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
    let cross = |(a, b): &(usize, usize)| {
        let ((a_top, a_bottom), (b_top, b_bottom)) = (ends(*a), ends(*b));
        layer(*a) == layer(*b) && (a_top - b_top) * (a_bottom - b_bottom) < 0.0
    };
    pairs.filter(cross).count()
}
