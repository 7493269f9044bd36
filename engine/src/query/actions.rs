//! Asking for the actions of targets: an expression of targets, and conditions around it.
//!
//! Knows nothing of whether the actions ran.

use std::collections::HashSet;
use std::sync::Arc;

use ouro_rules::diagnostic::Diagnostic;
use ouro_rules::{Action, Artifact, Label};
use regex::Regex;

use super::expr::{Arg, Expr};
use super::function::{Function, Subject};
use super::parse;
use super::{Here, Query};
use crate::analyse::Analysed;
use crate::graph::{Graph, Node};

/// A question for actions.
#[derive(Debug, Clone)]
pub struct ActionQuery {
    /// Whose actions are meant.
    pub targets: Query,
    conditions: Vec<(Function, Regex)>,
}

impl ActionQuery {
    /// Reads an expression; the arguments are those of [`Query::parse`].
    pub fn parse(text: &str, here: Here<'_>) -> Result<ActionQuery, Vec<Diagnostic>> {
        let mut expr = parse::parse(text, Subject::Actions).map_err(|finding| vec![finding])?;
        let mut conditions = Vec::new();
        while let Some((condition, inner)) = condition(&expr) {
            conditions.push(condition);
            expr = inner;
        }
        let inside: Vec<Diagnostic> =
            expr.calls().into_iter().filter(|call| call.function.is_of_actions()).map(misplaced).collect();
        if !inside.is_empty() {
            return Err(inside);
        }
        Ok(ActionQuery { targets: Query::of(expr, here)?, conditions })
    }

    /// Asks which action of the package makes the file at this path.
    pub fn of_output(path: &str, package: &str, here: Here<'_>) -> Result<ActionQuery, Vec<Diagnostic>> {
        let asked = ActionQuery::parse(&format!("//{package}:all"), here)?;
        let path = Regex::new(&format!("^{}$", regex::escape(path))).expect("BUG: an escaped text is a pattern");
        Ok(ActionQuery { conditions: vec![(Function::Outputs, path)], ..asked })
    }

    /// The actions of these targets that meet the conditions, each once; for a generated file those that write it.
    pub fn select<'a>(&self, graph: &Graph<'_>, analysed: &'a Analysed, labels: &[Label]) -> Vec<&'a Arc<Action>> {
        let mut seen = HashSet::new();
        let all = labels.iter().flat_map(|label| actions(graph, analysed, label));
        let all = all.filter(|action| self.conditions.iter().all(|condition| meets(action, condition)));
        all.filter(|action| seen.insert(action.outputs[0].path())).collect()
    }
}

/// The outermost condition and what it stands around.
fn condition(expr: &Expr) -> Option<((Function, Regex), Expr)> {
    match expr {
        Expr::Call(call) if call.function.is_of_actions() => match call.args.as_slice() {
            [Arg::Regex(_, regex), Arg::Targets(inner)] => Some(((call.function, regex.clone()), inner.clone())),
            _ => None,
        },
        _ => None,
    }
}

fn misplaced(call: &super::expr::Call) -> Diagnostic {
    let finding = Diagnostic::error(&call.name.span, format!("`{}()` gives actions, where targets are wanted", call.name.text));
    finding.help(format!("put it around the whole expression: `{}(\"...\", ...)`", call.name.text))
}

fn actions<'a>(graph: &Graph<'_>, analysed: &'a Analysed, label: &Label) -> Vec<&'a Arc<Action>> {
    let Some(node) = graph.find(label) else { return Vec::new() };
    let own = |node| analysed.get(node).map(|analysis| analysis.actions.iter()).into_iter().flatten();
    match graph.node(node) {
        Node::Target(_) => own(node).collect(),
        Node::File(_) => Vec::new(),
        Node::Generated(_) => {
            let files: &[Artifact] = analysed.get(node).map_or(&[], |analysis| &analysis.providers.files);
            let makes = |action: &&Arc<Action>| action.outputs.iter().any(|output| files.contains(output));
            graph.edges(node).flat_map(|(maker, _)| own(maker)).filter(makes).collect()
        }
    }
}

fn meets(action: &Action, (function, regex): &(Function, Regex)) -> bool {
    let any = |files: &[Artifact]| files.iter().any(|file| regex.is_match(file.path()));
    match function {
        Function::Inputs => any(&action.inputs),
        Function::Outputs => any(&action.outputs),
        _ => regex.is_match(&action.mnemonic),
    }
}
