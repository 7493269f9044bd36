//! The functions of the language, and what each takes.
//!
//! Knows nothing of what they do.

/// A function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `deps(e, depth)`
    Deps,
    /// `rdeps(universe, e, depth)`
    Rdeps,
    /// `allrdeps(e, depth)`
    Allrdeps,
    /// `somepath(from, to)`
    Somepath,
    /// `allpaths(from, to)`
    Allpaths,
    /// `kind(regex, e)`
    Kind,
    /// `attr(name, regex, e)`
    Attr,
    /// `filter(regex, e)`
    Filter,
    /// `labels(attr, e)`
    Labels,
    /// `owner(e)`
    Owner,
    /// `tests(e)`
    Tests,
    /// `buildfiles(e)`
    Buildfiles,
    /// `loadfiles(e)`
    Loadfiles,
    /// `siblings(e)`
    Siblings,
    /// `same_pkg_direct_rdeps(e)`
    SamePkgDirectRdeps,
    /// `some(e, n)`
    Some,
    /// `mnemonic(regex, e)`, of actions
    Mnemonic,
    /// `inputs(regex, e)`, of actions
    Inputs,
    /// `outputs(regex, e)`, of actions
    Outputs,
}

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Param {
    /// An expression.
    Targets,
    /// A regular expression.
    Regex,
    /// The name of an attribute.
    Attribute,
    /// A whole number.
    Number,
}

/// How a function is called.
pub(super) struct Signature {
    pub(super) name: &'static str,
    pub(super) function: Function,
    pub(super) params: &'static [Param],
    /// How many arguments it takes at least; the others may be left out.
    pub(super) required: usize,
    /// For people: `deps(e[, depth])`.
    pub(super) usage: &'static str,
}

use Param::{Attribute, Number, Regex, Targets};

/// Every function of targets.
const OF_TARGETS: &[Signature] = &[
    signature("deps", Function::Deps, &[Targets, Number], 1, "deps(e[, depth])"),
    signature("rdeps", Function::Rdeps, &[Targets, Targets, Number], 1, "rdeps(universe, e[, depth])` or `rdeps(e)"),
    signature("allrdeps", Function::Allrdeps, &[Targets, Number], 1, "allrdeps(e[, depth])"),
    signature("somepath", Function::Somepath, &[Targets, Targets], 2, "somepath(from, to)"),
    signature("allpaths", Function::Allpaths, &[Targets, Targets], 2, "allpaths(from, to)"),
    signature("kind", Function::Kind, &[Regex, Targets], 2, "kind(regex, e)"),
    signature("attr", Function::Attr, &[Attribute, Regex, Targets], 3, "attr(name, regex, e)"),
    signature("filter", Function::Filter, &[Regex, Targets], 2, "filter(regex, e)"),
    signature("labels", Function::Labels, &[Attribute, Targets], 2, "labels(attr, e)"),
    signature("owner", Function::Owner, &[Targets], 1, "owner(e)"),
    signature("tests", Function::Tests, &[Targets], 1, "tests(e)"),
    signature("buildfiles", Function::Buildfiles, &[Targets], 1, "buildfiles(e)"),
    signature("loadfiles", Function::Loadfiles, &[Targets], 1, "loadfiles(e)"),
    signature("siblings", Function::Siblings, &[Targets], 1, "siblings(e)"),
    signature("same_pkg_direct_rdeps", Function::SamePkgDirectRdeps, &[Targets], 1, "same_pkg_direct_rdeps(e)"),
    signature("some", Function::Some, &[Targets, Number], 1, "some(e[, n])"),
];

/// Every function of actions.
const OF_ACTIONS: &[Signature] = &[
    signature("mnemonic", Function::Mnemonic, &[Regex, Targets], 2, "mnemonic(regex, e)"),
    signature("inputs", Function::Inputs, &[Regex, Targets], 2, "inputs(regex, e)"),
    signature("outputs", Function::Outputs, &[Regex, Targets], 2, "outputs(regex, e)"),
];

const fn signature(
    name: &'static str,
    function: Function,
    params: &'static [Param],
    required: usize,
    usage: &'static str,
) -> Signature {
    Signature { name, function, params, required, usage }
}

/// What is asked for; decides which functions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// Targets and files.
    Targets,
    /// The actions of targets.
    Actions,
}

impl Subject {
    /// The functions.
    pub(super) fn functions(self) -> impl Iterator<Item = &'static Signature> {
        let of_actions = if self == Subject::Actions { OF_ACTIONS } else { &[] };
        OF_TARGETS.iter().chain(of_actions)
    }
}

impl Function {
    /// Whether it selects actions.
    pub(super) fn is_of_actions(self) -> bool {
        OF_ACTIONS.iter().any(|signature| signature.function == self)
    }
}
