//! The order in which `.star` files are evaluated: each after those it loads.
//!
//! Knows only who loads whom. A cycle has no order, so it is a finding.

use std::collections::BTreeMap;

use ouro_rules::diagnostic::Diagnostic;
use ouro_rules::label::Label;

use super::parse::{Load, Parsed};

/// The files, each after those it loads; files in cycles are left out, and the cycles reported.
pub(super) fn order(parsed: &BTreeMap<Label, Parsed>, findings: &mut Vec<Diagnostic>) -> Vec<Label> {
    let mut walk = Walk { parsed, marks: BTreeMap::new(), path: Vec::new(), order: Vec::new(), findings };
    parsed.keys().for_each(|label| walk.visit(label));
    walk.order.into_iter().cloned().collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// On the path from the first file to the current one.
    Open,
    /// Everything below it has been seen.
    Closed,
    /// Part of a cycle.
    Cyclic,
}

struct Walk<'a> {
    parsed: &'a BTreeMap<Label, Parsed>,
    marks: BTreeMap<&'a Label, Mark>,
    path: Vec<(&'a Label, &'a Load)>,
    order: Vec<&'a Label>,
    findings: &'a mut Vec<Diagnostic>,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, label: &'a Label) {
        let Some(file) = self.parsed.get(label).filter(|_| !self.marks.contains_key(label)) else { return };
        self.marks.insert(label, Mark::Open);
        for load in &file.loads {
            let Ok(target) = &load.target else { continue };
            self.path.push((label, load));
            match self.marks.get(target) {
                Some(Mark::Open) => self.cycle(target),
                _ => self.visit(target),
            }
            self.path.pop();
        }
        if self.marks.insert(label, Mark::Closed) == Some(Mark::Cyclic) {
            self.marks.insert(label, Mark::Cyclic);
        } else {
            self.order.push(label);
        }
    }

    /// The path has come back to `target`.
    fn cycle(&mut self, target: &Label) {
        let start = self.path.iter().position(|(label, _)| *label == target).unwrap_or_default();
        let steps = &self.path[start..];
        let names: Vec<String> = steps.iter().map(|(label, _)| label.to_string()).chain([target.to_string()]).collect();
        let finding = Diagnostic::error(&steps[0].1.span, format!("load cycle: `{}`", names.join(" -> ")));
        let others = steps.iter().skip(1);
        let finding =
            others.fold(finding, |finding, (label, load)| finding.related(&load.span, format!("`{label}` goes on here")));
        self.findings.push(finding.help("move what both sides need into a file of its own"));
        let members: Vec<&Label> = steps.iter().map(|(label, _)| *label).collect();
        self.marks.extend(members.into_iter().map(|label| (label, Mark::Cyclic)));
    }
}
