//! A chain as a picture that needs nothing else, readable on light and on dark pages.
//!
//! Knows what is drawn on top of what; the places come from [`super::layout`].

mod area;
mod shape;
mod style;

use std::collections::BTreeSet;

use super::drawing::{Arrow, ArrowKind, Box, BoxKind, Drawing};
use super::layout::{self, Layout, Link, Point, Size};
use area::Area;
use shape::{class, escaped};

const MARGIN: f64 = 28.0;
/// Room for the heading.
const HEADER: f64 = 56.0;
/// Rough widths of letters, for sans-serif fonts as wide as they come.
const HEADING_LETTER: f64 = 11.0;
const TITLE_LETTER: f64 = 8.8;
const DETAIL_LETTER: f64 = 6.6;
const LABEL_LETTER: f64 = 6.4;
/// From one line of text to the next.
const LINE: f64 = 14.0;
/// How far the line from a box to itself reaches out.
const LOOP: f64 = 30.0;
/// The places of a label on a piece of its line, best first.
const WAYS: [f64; 7] = [0.5, 0.3, 0.7, 0.4, 0.6, 0.18, 0.82];

pub(super) fn draw(drawing: &Drawing) -> String {
    let sizes: Vec<Size> = drawing.boxes.iter().map(size).collect();
    let link = |arrow: &Arrow| Link { from: arrow.from, to: arrow.to, merges: arrow.kind == ArrowKind::Use };
    let links: Vec<Link> = drawing.arrows.iter().map(link).collect();
    let layout = layout::layout(&with_loops(drawing, &sizes), &links);
    let mut page =
        Page { sizes: &sizes, layout: &layout, body: String::new(), area: None, taken: Vec::new(), drawn: BTreeSet::new() };
    drawing.arrows.iter().enumerate().for_each(|(place, arrow)| page.line(place, arrow));
    drawing.boxes.iter().enumerate().for_each(|(place, item)| page.item(place, item));
    drawing.arrows.iter().enumerate().for_each(|(place, arrow)| page.label(place, arrow));
    page.finish(drawing)
}

fn size(item: &Box) -> Size {
    let details = item.details.iter().map(|detail| letters(detail)).fold(0.0, f64::max);
    let width = (letters(&item.title) * TITLE_LETTER).max(details * DETAIL_LETTER) + 30.0;
    Size { width: width.max(96.0).ceil(), height: 34.0 + LINE * item.details.len() as f64 }
}

fn letters(text: &str) -> f64 {
    text.chars().count() as f64
}

/// Boxes with a line to themselves take the room of that line and its label, on both sides to stay in the middle.
fn with_loops(drawing: &Drawing, sizes: &[Size]) -> Vec<Size> {
    let mut sizes = sizes.to_vec();
    for arrow in drawing.arrows.iter().filter(|arrow| arrow.from == arrow.to) {
        sizes[arrow.from].width += 2.0 * (LOOP + letters(&arrow.label) * LABEL_LETTER);
    }
    sizes
}

struct Page<'a> {
    sizes: &'a [Size],
    layout: &'a Layout,
    body: String,
    area: Option<Area>,
    /// The boxes and labels drawn so far.
    taken: Vec<Area>,
    /// The pieces of lines drawn so far, by the bits of their ends.
    drawn: BTreeSet<[u64; 4]>,
}

impl Page<'_> {
    fn line(&mut self, place: usize, arrow: &Arrow) {
        let class = class(arrow.kind);
        let tip = if arrow.kind == ArrowKind::Use { String::new() } else { format!(" marker-end=\"url(#{class})\"") };
        let points = &self.layout.lines[place];
        points.iter().for_each(|point| self.cover(Area::around(*point, Size { width: 0.0, height: 0.0 })));
        let path = if points.is_empty() {
            shape::round(self.layout.boxes[arrow.from], self.sizes[arrow.from], LOOP)
        } else {
            shape::path(self.new_part(points))
        };
        if !path.is_empty() {
            self.add(&format!("<path class=\"line {class}\" d=\"{path}\"{tip}/>"));
        }
    }

    /// A line up to where it comes together with one drawn before: dots drawn twice would fill each other's gaps.
    fn new_part<'p>(&mut self, points: &'p [Point]) -> &'p [Point] {
        let bits = |pair: &[Point]| [pair[0].x, pair[0].y, pair[1].x, pair[1].y].map(f64::to_bits);
        let pieces = points.chunks_exact(2);
        let fresh = pieces.map(bits).take_while(|piece| self.drawn.insert(*piece)).count();
        &points[..2 * fresh]
    }

    fn item(&mut self, place: usize, item: &Box) {
        let (middle, size) = (self.layout.boxes[place], self.sizes[place]);
        self.cover(Area::around(middle, size));
        self.taken.push(Area::around(middle, size));
        let first = middle.y - size.height / 2.0 + if item.kind == BoxKind::Map { 23.0 } else { 20.0 };
        let mut texts = text("title", Point { x: middle.x, y: first }, &item.title);
        for (line, detail) in item.details.iter().enumerate() {
            texts.push_str(&text("detail", Point { x: middle.x, y: first + 3.0 + LINE * (line + 1) as f64 }, detail));
        }
        self.add(&format!("<g>{}{texts}</g>", shape::outline(item.kind, middle, size)));
    }

    /// Puts a label on its line, where it hides no other label and no box if there is such a place.
    fn label(&mut self, place: usize, arrow: &Arrow) {
        if arrow.label.is_empty() {
            return;
        }
        let size = Size { width: letters(&arrow.label) * LABEL_LETTER, height: 15.0 };
        let spots = self.spots(place, arrow, size);
        let hidden = |spot: &&Point| self.taken.iter().filter(|taken| taken.meets(Area::around(**spot, size))).count();
        let spot = *spots.iter().min_by_key(hidden).unwrap_or(&spots[0]);
        let area = Area::around(spot, size);
        self.taken.push(area);
        self.cover(area);
        let label = text(&format!("label {}", class(arrow.kind)), Point { x: spot.x, y: spot.y + 3.5 }, &arrow.label);
        self.add(&format!("<g>{}{label}</g>", shape::backdrop(area)));
    }

    /// Where a label could stand, best first; at least one place.
    fn spots(&self, place: usize, arrow: &Arrow, size: Size) -> Vec<Point> {
        let points = &self.layout.lines[place];
        if points.is_empty() {
            let middle = self.layout.boxes[arrow.from];
            return vec![Point { x: middle.x + self.sizes[arrow.from].width / 2.0 + LOOP + size.width / 2.0, y: middle.y }];
        }
        let beside = size.width / 2.0 + 6.0;
        // A loop often runs beside the jump it answers: its label stands on the other side.
        let asides = if arrow.kind == ArrowKind::Loop { [beside, 0.0, -beside] } else { [0.0, beside, -beside] };
        let spot = |piece: &[Point], aside: f64, way| {
            let on_line = shape::on_curve(piece[0], piece[1], way);
            Point { x: on_line.x + aside, ..on_line }
        };
        let along = |piece, aside| WAYS.map(|way| spot(piece, aside, way));
        asides.iter().flat_map(|aside| points.chunks_exact(2).flat_map(move |piece| along(piece, *aside))).collect()
    }

    fn cover(&mut self, area: Area) {
        self.area = Some(self.area.map_or(area, |old| old.with(area)));
    }

    fn add(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }

    fn finish(self, drawing: &Drawing) -> String {
        let area = self.area.unwrap_or_default();
        let heading = (letters(&drawing.title) * HEADING_LETTER).max(letters(&drawing.subtitle) * DETAIL_LETTER);
        let width = (area.right - area.left).max(heading) + 2.0 * MARGIN;
        let height = area.bottom - area.top + HEADER + 2.0 * MARGIN;
        // A heading wider than the chain below it leaves the chain in the middle.
        let (x, y) = ((width - area.right - area.left) / 2.0, MARGIN + HEADER - area.top);
        let name = escaped(&drawing.title);
        let heading = text("heading", Point { x: MARGIN, y: MARGIN + 13.0 }, &drawing.title);
        let subtitle = text("subtitle", Point { x: MARGIN, y: MARGIN + 32.0 }, &drawing.subtitle);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             role=\"img\" aria-label=\"{name}\">\n<title>{name}</title>\n<style>{}</style>\n<defs>{}</defs>\n\
             <rect class=\"page\" width=\"100%\" height=\"100%\"/>\n{heading}\n{subtitle}\n\
             <g transform=\"translate({x:.1} {y:.1})\">\n{}</g>\n</svg>\n",
            style::STYLE,
            shape::tips(),
            self.body,
        )
    }
}

fn text(class: &str, at: Point, content: &str) -> String {
    format!("<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>", at.x, at.y, escaped(content))
}
