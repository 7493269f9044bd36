//! What questions are about: nodes, with names that are borrowed from whoever holds them.
//!
//! Knows nothing of the edges between them.

use std::borrow::Cow;
use std::fmt;

use ouro_rules::label::{Label, join};
use serde::{Deserialize, Serialize};

/// A node of one graph: its place among all nodes, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ix(u32);

/// A label whose parts stand elsewhere; displays and sorts as a [`Label`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'g> {
    /// See [`Label::repo`].
    pub repo: &'g str,
    /// See [`Label::package`].
    pub package: &'g str,
    /// See [`Label::name`].
    pub name: &'g str,
}

/// A target or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node<'g> {
    /// Its name.
    pub label: Name<'g>,
    /// What it is.
    pub kind: Kind<'g>,
    /// Where it is declared; none for a source file, which is its own place.
    pub declared: Option<Place<'g>>,
    /// Free words to select by.
    pub tags: Vec<&'g str>,
    /// Whether its rule has an attribute for jumps.
    pub jumps: bool,
    /// Whether it is a test.
    pub test: bool,
    /// Whether it stands for other tests.
    pub suite: bool,
}

/// What a node is; displays as the function `kind()` sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'g> {
    /// A target of this rule.
    Rule(&'g str),
    /// A file written by people.
    Source,
    /// A file that a target's `outs` names.
    Generated,
}

/// A line and a column of a file, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'g> {
    /// Its path from the workspace root.
    pub file: &'g str,
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Ix {
    /// The node at a place.
    pub fn new(place: usize) -> Ix {
        Ix(u32::try_from(place).expect("BUG: fewer than four billion nodes"))
    }

    /// Its place.
    pub fn place(self) -> usize {
        self.0 as usize
    }
}

impl Name<'_> {
    /// The label of this name.
    pub fn to_label(self) -> Label {
        Label { repo: self.repo.into(), ..Label::new(self.package, self.name) }
    }

    /// The path from the workspace root when it names a file.
    pub fn path(self) -> String {
        join(self.package, self.name)
    }
}

impl<'g> From<&'g Label> for Name<'g> {
    fn from(label: &'g Label) -> Name<'g> {
        Name { repo: &label.repo, package: &label.package, name: &label.name }
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.repo.is_empty() {
            f.write_str("@")?;
            f.write_str(self.repo)?;
        }
        // Not by `write!`: of some commands this is half of the work.
        ["//", self.package, ":", self.name].into_iter().try_for_each(|part| f.write_str(part))
    }
}

impl<'g> Node<'g> {
    /// A source file.
    pub(super) fn source(label: Name<'g>) -> Node<'g> {
        Node { label, kind: Kind::Source, declared: None, tags: Vec::new(), jumps: false, test: false, suite: false }
    }

    /// The file it is declared in, from the workspace root; of a source file its own path.
    pub fn file(&self) -> Cow<'g, str> {
        match (self.declared, self.label.repo) {
            (Some(place), _) => place.file.into(),
            (None, "") => self.label.path().into(),
            (None, repo) => format!("@{repo}//{}", self.label.path()).into(),
        }
    }

    /// The line and the column it is declared at; of a source file the first.
    pub fn line_and_column(&self) -> (u32, u32) {
        self.declared.map_or((1, 1), |place| (place.line, place.column))
    }

    /// Whether it is a target, not a file.
    pub fn is_target(&self) -> bool {
        matches!(self.kind, Kind::Rule(_))
    }

    /// Whether it is a test.
    pub fn is_test(&self) -> bool {
        self.test
    }

    /// Whether it stands for other tests.
    pub fn is_suite(&self) -> bool {
        self.suite
    }

    /// Whether it wants to be named, and is left out of `:all` and `...` when things are built.
    pub fn is_manual(&self) -> bool {
        self.tags.contains(&"manual")
    }
}

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Rule(rule) => write!(f, "{rule} rule"),
            Kind::Source => f.write_str("source file"),
            Kind::Generated => f.write_str("generated file"),
        }
    }
}
