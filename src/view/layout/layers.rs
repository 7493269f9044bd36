//! Which lines run backwards, and the layer of every box.

use super::Link;

/// Marks the lines that close a cycle when boxes are visited in their order; without them there is no cycle.
pub(super) fn back_links(boxes: usize, links: &[Link]) -> Vec<bool> {
    let mut visit = Visit { links, state: vec![State::New; boxes], back: vec![false; links.len()] };
    (0..boxes).for_each(|at| visit.enter(at));
    visit.back
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    Open,
    Done,
}

struct Visit<'a> {
    links: &'a [Link],
    state: Vec<State>,
    back: Vec<bool>,
}

impl Visit<'_> {
    fn enter(&mut self, at: usize) {
        if self.state[at] != State::New {
            return;
        }
        self.state[at] = State::Open;
        for index in 0..self.links.len() {
            let link = self.links[index];
            if link.from == at {
                match self.state[link.to] {
                    State::Open => self.back[index] = true,
                    State::New => self.enter(link.to),
                    State::Done => {}
                }
            }
        }
        self.state[at] = State::Done;
    }
}

/// The longest path from the top to every box. Terminates because lines marked in `back` are turned around.
pub(super) fn layers(boxes: usize, links: &[Link], back: &[bool]) -> Vec<usize> {
    let mut layers = vec![0; boxes];
    let mut changed = true;
    while changed {
        changed = false;
        for (link, back) in links.iter().zip(back) {
            let (top, bottom) = if *back { (link.to, link.from) } else { (link.from, link.to) };
            if top != bottom && layers[bottom] <= layers[top] {
                layers[bottom] = layers[top] + 1;
                changed = true;
            }
        }
    }
    layers
}
