//! Boxes and lines as SVG elements.
//!
//! Knows no colours; the classes do.

use super::area::Area;
use super::{Point, Size};
use crate::view::drawing::{ArrowKind, BoxKind};

/// The outline of a box: attach points have round ends, maps are drums.
pub(super) fn outline(kind: BoxKind, middle: Point, size: Size) -> String {
    let Size { width, height } = size;
    let (left, top) = (middle.x - width / 2.0, middle.y - height / 2.0);
    match kind {
        BoxKind::Attach => rect("attach", left, top, size, height / 2.0),
        BoxKind::Program => rect("program", left, top, size, 7.0),
        BoxKind::Map => {
            let (right, bottom, half) = (left + width, top + height, width / 2.0);
            let body = format!("M{left:.1} {top:.1}V{bottom:.1}A{half:.1} 6 0 0 0 {right:.1} {bottom:.1}V{top:.1}");
            let lid = format!("A{half:.1} 6 0 0 0 {left:.1} {top:.1}A{half:.1} 6 0 0 0 {right:.1} {top:.1}");
            format!("<path class=\"map\" d=\"{body}{lid}\"/>")
        }
    }
}

fn rect(class: &str, left: f64, top: f64, size: Size, radius: f64) -> String {
    let Size { width, height } = size;
    format!(
        "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{radius:.1}\"/>"
    )
}

/// What keeps lines from running through a label.
pub(super) fn backdrop(area: Area) -> String {
    let size = Size { width: area.right - area.left, height: area.bottom - area.top };
    rect("backdrop", area.left, area.top, size, 4.0)
}

/// A line through points two by two: a curve between the layers, straight through one.
pub(super) fn path(points: &[Point]) -> String {
    let mut path = String::new();
    for (place, pair) in points.chunks_exact(2).enumerate() {
        let (from, to) = (pair[0], pair[1]);
        let half = (from.y + to.y) / 2.0;
        let start = if place == 0 { 'M' } else { 'L' };
        path.push_str(&format!(
            "{start}{:.1} {:.1}C{:.1} {half:.1} {:.1} {half:.1} {:.1} {:.1}",
            from.x, from.y, from.x, to.x, to.x, to.y
        ));
    }
    path
}

/// A point of the curve [`path`] draws, from 0 at its beginning to 1 at its end.
pub(super) fn on_curve(from: Point, to: Point, way: f64) -> Point {
    let half = (from.y + to.y) / 2.0;
    let rest = 1.0 - way;
    let ends = (rest * rest * rest + 3.0 * rest * rest * way, 3.0 * rest * way * way + way * way * way);
    let y = rest * rest * rest * from.y + 3.0 * rest * way * half + way * way * way * to.y;
    Point { x: ends.0 * from.x + ends.1 * to.x, y }
}

/// A line from the right side of a box back to it.
pub(super) fn round(middle: Point, size: Size, reach: f64) -> String {
    let (x, low, high) = (middle.x + size.width / 2.0, middle.y + 13.0, middle.y - 13.0);
    // A curve gets three quarters of the way to its control points.
    let out = x + reach / 0.75 - 8.0;
    format!("M{x:.1} {low:.1}C{out:.1} {low:.1} {out:.1} {high:.1} {x:.1} {high:.1}")
}

/// The arrow tips, one for each kind of line: a tip cannot take its line's colour in every viewer.
pub(super) fn tips() -> String {
    let tip = |kind| {
        let class = class(kind);
        format!(
            "<marker id=\"{class}\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
             <path class=\"tip {class}\" d=\"M0 1L9 5L0 9Z\"/></marker>"
        )
    };
    [ArrowKind::Attach, ArrowKind::Jump, ArrowKind::Loop].map(tip).concat()
}

/// The class of a line, its tip and its label.
pub(super) fn class(kind: ArrowKind) -> &'static str {
    match kind {
        ArrowKind::Attach => "to-attach",
        ArrowKind::Jump => "to-jump",
        ArrowKind::Loop => "to-loop",
        ArrowKind::Use => "to-use",
    }
}

/// Text as XML, in elements and in attributes.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escaped("a<b>&\"'"), "a&lt;b&gt;&amp;&quot;&#39;");
    }

    #[test]
    fn a_curve_begins_and_ends_at_its_points() {
        let (from, to) = (Point { x: 0.0, y: 0.0 }, Point { x: 10.0, y: 20.0 });
        assert_eq!(on_curve(from, to, 0.0), from);
        assert_eq!(on_curve(from, to, 1.0), to);
        assert_eq!(on_curve(from, to, 0.5), Point { x: 5.0, y: 10.0 });
    }
}
