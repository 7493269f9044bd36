//! Where the arguments of each call in a BUILD file stand, and the items inside them.
//!
//! The interpreter tells a native function only where its call is; everything finer is looked up here. Knows no values.

use std::sync::Arc;

use ouro_rules::diagnostic::Span;
use starlark::codemap::{CodeMap, Span as Bytes};
use starlark::syntax::AstModule;
use starlark::syntax::ast::{Argument, AstExpr, AstStmt, BinOp, Clause, Expr, Stmt};

/// The calls of one file, sorted by place.
pub(super) struct Places {
    file: Arc<str>,
    text: CodeMap,
    calls: Vec<Call>,
}

/// A call and its arguments.
pub(super) struct Call {
    at: Bytes,
    args: Vec<Arg>,
}

struct Arg {
    /// Where the name stands; none for an argument by position.
    name: Option<Bytes>,
    value: Node,
}

/// An expression, as far as it has parts with values of their own.
#[derive(Clone)]
pub(super) struct Node {
    at: Bytes,
    parts: Parts,
}

#[derive(Clone)]
enum Parts {
    /// A literal, a variable, a call: one value, or a list made elsewhere.
    None,
    /// `[a, b]`
    Items(Vec<Node>),
    /// `{a: b}`
    Pairs(Vec<(Node, Node)>),
    /// `a + b`, for lists.
    Sum(Box<(Node, Node)>),
    /// `[a for b in c]`: every item comes from `a`.
    Each(Box<Node>),
    /// `select({a: b})`
    Choice(Box<Node>),
}

impl Places {
    /// Walks the syntax tree of `file`.
    pub(super) fn new(file: &Arc<str>, ast: &AstModule) -> Places {
        let text = ast.file_span(ast.statement().span).file;
        let mut places = Places { file: file.clone(), text, calls: Vec::new() };
        places.statement(ast.statement());
        places.calls.sort_unstable_by_key(|call| key(call.at));
        places
    }

    /// The call at this place.
    pub(super) fn call(&self, at: Bytes) -> Option<&Call> {
        self.calls.binary_search_by_key(&key(at), |call| key(call.at)).ok().map(|index| &self.calls[index])
    }

    /// The place for people.
    pub(super) fn span(&self, at: Bytes) -> Span {
        let place = self.text.resolve_span(at);
        Span {
            file: self.file.clone(),
            line: place.begin.line as u32 + 1,
            column: place.begin.column as u32 + 1,
            end_line: place.end.line as u32 + 1,
            end_column: place.end.column as u32 + 1,
        }
    }

    /// Whether `other` is this file's text.
    pub(super) fn is_of(&self, other: &CodeMap) -> bool {
        other.filename() == &*self.file
    }

    fn statement(&mut self, statement: &AstStmt) {
        match &statement.node {
            Stmt::Statements(all) => all.iter().for_each(|one| self.statement(one)),
            other => other.visit_expr(|expr| {
                self.node(expr);
            }),
        }
    }

    /// Records the calls inside `expr` and returns its shape.
    fn node(&mut self, expr: &AstExpr) -> Node {
        let parts = match &expr.node {
            Expr::List(items) | Expr::Tuple(items) => Parts::Items(items.iter().map(|item| self.node(item)).collect()),
            Expr::Dict(pairs) => Parts::Pairs(pairs.iter().map(|(key, value)| (self.node(key), self.node(value))).collect()),
            Expr::Op(left, BinOp::Add, right) => Parts::Sum(Box::new((self.node(left), self.node(right)))),
            Expr::ListComprehension(item, first, clauses) => {
                self.node(&first.over);
                clauses.iter().for_each(|clause| self.clause(clause));
                Parts::Each(Box::new(self.node(item)))
            }
            Expr::Call(function, args) => {
                self.node(function);
                let args: Vec<Arg> = args.args.iter().map(|arg| self.argument(&arg.node)).collect();
                let is_select = matches!(&function.node, Expr::Identifier(name) if name.node.ident == "select");
                let branches = args.first().filter(|_| is_select).map(|arg| Box::new(arg.value.clone()));
                self.calls.push(Call { at: expr.span, args });
                branches.map_or(Parts::None, Parts::Choice)
            }
            other => {
                other.visit_expr(|inner| {
                    self.node(inner);
                });
                Parts::None
            }
        };
        Node { at: expr.span, parts }
    }

    fn clause(&mut self, clause: &Clause) {
        match clause {
            Clause::For(inner) => self.node(&inner.over),
            Clause::If(condition) => self.node(condition),
        };
    }

    fn argument(&mut self, argument: &Argument) -> Arg {
        let name = match argument {
            Argument::Named(name, _) => Some(name.span),
            _ => None,
        };
        Arg { name, value: self.node(argument.expr()) }
    }
}

fn key(at: Bytes) -> (u32, u32) {
    (at.begin().get(), at.end().get())
}

/// The place of a value: as exact as it is known.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// Written in the call.
    Written(&'a Places, &'a Node),
    /// Somewhere else; this call is to blame.
    Call(&'a Span),
}

impl<'a> Place<'a> {
    /// The place for people.
    pub(super) fn span(self) -> Span {
        match self {
            Place::Written(places, node) => places.span(node.at),
            Place::Call(span) => span.clone(),
        }
    }

    /// The place of item `index` of the `len` items of a list.
    pub(super) fn item(self, index: usize, len: usize) -> Place<'a> {
        match self {
            Place::Written(places, node) => Place::Written(places, node.item(index, len)),
            Place::Call(_) => self,
        }
    }

    /// The places of the `count` parts of a sum with a `select()` in it.
    pub(super) fn summands(self, count: usize) -> Vec<Place<'a>> {
        let whole = || vec![self; count];
        match self {
            Place::Written(places, node) => {
                let mut found = Vec::new();
                node.summands(&mut found);
                if found.len() != count { whole() } else { found.into_iter().map(|node| Place::Written(places, node)).collect() }
            }
            Place::Call(_) => whole(),
        }
    }

    /// The place of the branches of a `select()`, when it is written here.
    pub(super) fn branches(self) -> Option<Place<'a>> {
        match self {
            Place::Written(places, Node { parts: Parts::Choice(branches), .. }) => Some(Place::Written(places, branches)),
            _ => None,
        }
    }

    /// The places of key and value of entry `index` of a dictionary.
    pub(super) fn pair(self, index: usize) -> (Place<'a>, Place<'a>) {
        match self {
            Place::Written(places, Node { parts: Parts::Pairs(pairs), .. }) => match pairs.get(index) {
                Some((key, value)) => (Place::Written(places, key), Place::Written(places, value)),
                None => (self, self),
            },
            _ => (self, self),
        }
    }
}

impl Node {
    fn item(&self, index: usize, len: usize) -> &Node {
        match &self.parts {
            Parts::Items(items) => items.get(index).unwrap_or(self),
            Parts::Each(item) => item,
            Parts::Sum(sides) => self.summand(&sides.0, &sides.1, index, len),
            Parts::None | Parts::Pairs(_) | Parts::Choice(_) => self,
        }
    }

    /// The parts that stay apart when they are added: what has no `select()` in it is added at once.
    fn summands<'a>(&'a self, found: &mut Vec<&'a Node>) {
        match &self.parts {
            Parts::Sum(sides) if self.has_choice() => {
                sides.0.summands(found);
                sides.1.summands(found);
            }
            _ => found.push(self),
        }
    }

    fn has_choice(&self) -> bool {
        match &self.parts {
            Parts::Choice(_) => true,
            Parts::Sum(sides) => sides.0.has_choice() || sides.1.has_choice(),
            Parts::None | Parts::Items(_) | Parts::Pairs(_) | Parts::Each(_) => false,
        }
    }

    /// `glob(["*.c"]) + ["x.c"]`: one length known is enough to tell the sides apart.
    fn summand<'a>(&'a self, left: &'a Node, right: &'a Node, index: usize, len: usize) -> &'a Node {
        let split = match (left.fixed_len(), right.fixed_len()) {
            (Some(left), _) => left,
            (None, Some(right)) => len.saturating_sub(right),
            (None, None) => return self,
        };
        if index < split { left.item(index, split) } else { right.item(index - split, len.saturating_sub(split)) }
    }

    fn fixed_len(&self) -> Option<usize> {
        match &self.parts {
            Parts::Items(items) => Some(items.len()),
            Parts::Sum(sides) => Some(sides.0.fixed_len()? + sides.1.fixed_len()?),
            Parts::None | Parts::Pairs(_) | Parts::Each(_) | Parts::Choice(_) => None,
        }
    }
}

/// A call as its function sees it.
pub(super) struct Site<'a> {
    /// The call in the BUILD file.
    pub(super) span: Span,
    /// The calls below it, outermost first, when macros stand between.
    pub(super) trace: Vec<Span>,
    /// The call's arguments, when it stands in the BUILD file itself.
    pub(super) written: Option<(&'a Places, &'a Call)>,
}

impl Site<'_> {
    /// Where the value of the argument `name` stands.
    pub(super) fn argument(&self, name: &str) -> Place<'_> {
        self.find(|places, arg| arg.name.is_some_and(|at| places.text.source_span(at) == name))
    }

    /// Where the value of the first argument by position stands.
    pub(super) fn positional(&self) -> Place<'_> {
        self.find(|_, arg| arg.name.is_none())
    }

    /// Where the argument's name stands.
    pub(super) fn name_of(&self, name: &str) -> Span {
        let at = self.written.and_then(|(places, call)| {
            let names = call.args.iter().filter_map(|arg| arg.name);
            names.into_iter().find(|at| places.text.source_span(*at) == name).map(|at| places.span(at))
        });
        at.unwrap_or_else(|| self.span.clone())
    }

    fn find(&self, wanted: impl Fn(&Places, &Arg) -> bool) -> Place<'_> {
        let found = self.written.and_then(|(places, call)| {
            call.args.iter().find(|arg| wanted(places, arg)).map(|arg| Place::Written(places, &arg.value))
        });
        found.unwrap_or(Place::Call(&self.span))
    }
}
