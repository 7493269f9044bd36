//! Layouts of chains of all shapes.

use super::*;

const SIZE: Size = Size { width: 100.0, height: 40.0 };

fn placed(boxes: usize, links: &[(usize, usize)]) -> Layout {
    let links: Vec<Link> = links.iter().map(|(from, to)| Link { from: *from, to: *to, merges: false }).collect();
    layout(&vec![SIZE; boxes], &links)
}

/// No two boxes overlap.
fn assert_apart(layout: &Layout) {
    for (place, a) in layout.boxes.iter().enumerate() {
        for b in &layout.boxes[..place] {
            let apart = (a.x - b.x).abs() >= SIZE.width || (a.y - b.y).abs() >= SIZE.height;
            assert!(apart, "{a:?} overlaps {b:?}");
        }
    }
}

#[test]
fn a_chain_is_a_straight_column() {
    let layout = placed(3, &[(0, 1), (1, 2)]);
    assert!(layout.boxes.iter().all(|middle| middle.x == layout.boxes[0].x));
    assert!(layout.boxes.windows(2).all(|pair| pair[0].y < pair[1].y));
    assert_eq!(layout.lines[0].len(), 2);
}

#[test]
fn a_long_line_goes_around_boxes() {
    let layout = placed(3, &[(0, 1), (1, 2), (0, 2)]);
    let line = &layout.lines[2];
    assert_eq!(line.len(), 4);
    assert!((line[1].x - layout.boxes[1].x).abs() > SIZE.width / 2.0, "{line:?}");
    assert_eq!(line[1].x, line[2].x);
}

#[test]
fn a_loop_runs_upwards_and_moves_nothing_down() {
    let layout = placed(3, &[(0, 1), (1, 2), (2, 0), (1, 1)]);
    assert!(layout.boxes[0].y < layout.boxes[1].y && layout.boxes[1].y < layout.boxes[2].y);
    let line = &layout.lines[2];
    assert!(line.first().unwrap().y > line.last().unwrap().y);
    assert_eq!(layout.lines[3], []);
}

#[test]
fn a_planar_graph_is_drawn_without_crossings() {
    // Two columns whose boxes are numbered such that the first order crosses.
    let layout = placed(5, &[(0, 1), (0, 2), (1, 4), (2, 3)]);
    assert_eq!(layout.boxes[1].x < layout.boxes[2].x, layout.boxes[4].x < layout.boxes[3].x);
    assert_apart(&layout);
}

#[test]
fn lines_that_merge_share_their_way() {
    let merge = |from, to| Link { from, to, merges: true };
    let plain = |from, to| Link { from, to, merges: false };
    let layout = layout(&[SIZE; 5], &[plain(0, 1), plain(1, 2), plain(2, 3), merge(0, 4), merge(1, 4), merge(3, 4)]);
    let trunk = |line: usize| layout.lines[line].iter().rev().take(2).copied().collect::<Vec<_>>();
    assert_eq!(trunk(3), trunk(4));
    assert_apart(&layout);
}

#[test]
fn any_graph_is_placed_without_overlap() {
    // A fixed sequence of links, some of them cycles and repetitions.
    let links: Vec<(usize, usize)> = (0..40).map(|n| (n * 7 % 15, n * n % 15)).collect();
    let layout = placed(15, &links);
    assert_apart(&layout);
    assert!(layout.lines.iter().flatten().all(|point| point.x.is_finite() && point.y.is_finite()));
    assert_eq!(placed(0, &[]).boxes, []);
    assert_eq!(placed(1, &[]).boxes.len(), 1);
}
