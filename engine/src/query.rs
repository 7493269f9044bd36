//! Asking the target graph: expressions in Bazel's query language, answered with targets and files.
//!
//! Pure: knows no file system and no output format. The graph is a compact one of its own, [`TargetGraph`], so that it may come
//! from loading or from elsewhere.

mod attributes;
mod links;
mod node;
mod target_graph;
mod texts;

mod gather;
mod jumps;

mod actions;
mod affected;

mod expr;
mod function;
mod parse;
mod token;

mod bits;
mod evaluate;
mod walk;
mod word;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ouro_rules::diagnostic::{Diagnostic, did_you_mean, sorted};
use ouro_rules::label::{Pattern, Scope};

pub use self::actions::ActionQuery;
pub use self::affected::{Change, affected};
pub use self::attributes::{AttributeTable, Plain};
pub use self::gather::everything;
pub use self::links::{Edge, Link, Links};
pub use self::node::{Ix, Kind, Name, Node, Place};
pub use self::target_graph::{Package, Parts, TargetGraph};
pub use self::word::Here;

use self::evaluate::Evaluation;
use self::expr::{Expr, Word};
use self::function::{Function, Subject};
use self::word::Meaning;
use crate::configure::Configured;
use crate::graph::Graph;
use crate::load::Loaded;

/// The file that places in an expression name; whoever draws findings gives it the expression as its text.
pub const EXPRESSION: &str = "<expression>";

/// What targets say of themselves: an attribute of a target as text, see [`AttributeTable::text`]; none when it was not given.
pub type Attributes<'a> = &'a dyn Fn(Name<'_>, &str) -> Option<String>;

/// An expression whose words have a meaning.
#[derive(Debug, Clone)]
pub struct Query {
    expr: Expr,
    meanings: BTreeMap<String, Meaning>,
}

impl Query {
    /// Reads an expression.
    pub fn parse(text: &str, here: Here<'_>) -> Result<Query, Vec<Diagnostic>> {
        let expr = parse::parse(text, Subject::Targets).map_err(|finding| vec![finding])?;
        Query::of(expr, here)
    }

    fn of(expr: Expr, here: Here<'_>) -> Result<Query, Vec<Diagnostic>> {
        let (mut meanings, mut findings) = (BTreeMap::new(), Vec::new());
        for word in expr.words() {
            match word::meaning(word, here) {
                Ok(meaning) => drop(meanings.insert(word.text.clone(), meaning)),
                Err(finding) => findings.push(finding),
            }
        }
        if findings.is_empty() { Ok(Query { expr, meanings }) } else { Err(sorted(findings)) }
    }

    /// What must be loaded to answer it.
    pub fn patterns(&self) -> Vec<Pattern> {
        let whole = self.asks_everything().then(|| ("".into(), true));
        let folders: BTreeSet<(Arc<str>, bool)> = self.meanings.values().filter_map(Meaning::folder).chain(whole).collect();
        let pattern = |(folder, below)| {
            let scope = if below { Scope::Subtree(folder) } else { Scope::Package(folder) };
            Pattern { negative: false, scope }
        };
        folders.into_iter().map(pattern).collect()
    }

    /// Whether the answer depends on targets that the expression does not name.
    fn asks_everything(&self) -> bool {
        self.expr.calls().iter().any(|call| match call.function {
            Function::Rdeps => call.targets().count() == 1,
            function => function == Function::Allrdeps,
        })
    }

    /// Whether the answer depends on attributes besides those that make edges.
    pub fn asks_attributes(&self) -> bool {
        self.expr.calls().iter().any(|call| call.function == Function::Attr)
    }

    /// The answer: nodes sorted by label; for `somepath()` alone the nodes of the way in its order.
    pub fn evaluate(&self, graph: &TargetGraph, attributes: Attributes<'_>) -> Result<Vec<Ix>, Vec<Diagnostic>> {
        let words = self.expr.words();
        let unknown = words.into_iter().filter_map(|word| self.meanings.get(&word.text)?.finding(word, graph));
        let attrs = self.expr.calls().into_iter().filter_map(expr::Call::attribute);
        let unknown = unknown.chain(attrs.filter_map(|name| unknown_attribute(name, graph)));
        let findings: Vec<Diagnostic> = unknown.collect();
        if !findings.is_empty() {
            return Err(sorted(findings));
        }
        let evaluation = Evaluation { graph, attributes, meanings: &self.meanings, variables: Vec::new() };
        Ok(evaluation.run(&self.expr))
    }
}

impl std::fmt::Display for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.expr.fmt(f)
    }
}

impl TargetGraph {
    /// The graph of everything that was loaded; `graph` was built with [`everything`] requested.
    pub fn of(loaded: &Loaded, graph: &Graph<'_>) -> TargetGraph {
        gather::gather(loaded, graph)
    }
}

impl AttributeTable {
    /// What the targets of a graph say of themselves.
    pub fn of_graph(configured: &Configured<'_>, graph: &TargetGraph) -> AttributeTable {
        let nodes = graph.ids().map(|node| graph.node(node));
        AttributeTable::new(nodes.map(|node| configured.target(&node.label.to_label()).filter(|_| node.is_target())))
    }
}

fn unknown_attribute(name: &Word, graph: &TargetGraph) -> Option<Diagnostic> {
    if graph.known_attrs().any(|known| known == name.text) {
        return None;
    }
    let finding = Diagnostic::error(&name.span, format!("no target here has an attribute `{}`", name.text));
    Some(finding.maybe_help(did_you_mean(&name.text, graph.known_attrs())))
}
