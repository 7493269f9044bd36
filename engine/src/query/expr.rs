//! Expressions as trees. They display as text that reads as the same expression.
//!
//! Knows nothing of graphs.

use std::fmt;

use ouro_rules::Span;
use regex::Regex;

use super::function::Function;

/// An expression.
#[derive(Debug, Clone)]
pub enum Expr {
    /// A pattern or file name.
    Word(Word),
    /// `$name`
    Variable(Word),
    /// `set(a b)`
    Set(Vec<Word>),
    /// A function.
    Call(Call),
    /// `a + b - c`, from left to right: all operators bind alike. A list, because scripts write very long ones.
    Chain(Box<Expr>, Vec<(Operator, Expr)>),
    /// `let name = value in body`
    Let(Word, Box<Expr>, Box<Expr>),
}

/// A word with its place.
#[derive(Debug, Clone)]
pub struct Word {
    /// What it says, without quotes.
    pub text: String,
    /// Where it stands in the expression.
    pub span: Span,
}

/// A function and its arguments.
#[derive(Debug, Clone)]
pub struct Call {
    /// The function.
    pub function: Function,
    /// Its name as written.
    pub name: Word,
    /// Its arguments, as many and of the kinds that it takes.
    pub args: Vec<Arg>,
}

/// An argument.
#[derive(Debug, Clone)]
pub enum Arg {
    /// An expression.
    Targets(Expr),
    /// A regular expression.
    Regex(Word, Regex),
    /// The name of an attribute.
    Attribute(Word),
    /// A number.
    Number(u32),
}

/// What is done with two sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `+`, `union`
    Union,
    /// `-`, `except`
    Except,
    /// `^`, `intersect`
    Intersect,
}

impl Expr {
    /// Calls `f` with this expression and all inside of it.
    pub(super) fn each<'e>(&'e self, f: &mut dyn FnMut(&'e Expr)) {
        f(self);
        match self {
            Expr::Word(_) | Expr::Variable(_) | Expr::Set(_) => {}
            Expr::Call(call) => call.targets().for_each(|inner| inner.each(f)),
            Expr::Chain(first, rest) => {
                first.each(f);
                rest.iter().for_each(|(_, inner)| inner.each(f));
            }
            Expr::Let(_, value, body) => {
                value.each(f);
                body.each(f);
            }
        }
    }

    /// Every word that names targets or files.
    pub(super) fn words(&self) -> Vec<&Word> {
        let mut words = Vec::new();
        self.each(&mut |expr| match expr {
            Expr::Word(word) => words.push(word),
            Expr::Set(all) => words.extend(all),
            _ => {}
        });
        words
    }

    /// Every function that is called.
    pub(super) fn calls(&self) -> Vec<&Call> {
        let mut calls = Vec::new();
        self.each(&mut |expr| {
            if let Expr::Call(call) = expr {
                calls.push(call);
            }
        });
        calls
    }
}

impl Call {
    /// The arguments that are expressions.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Expr> {
        self.args.iter().filter_map(|arg| match arg {
            Arg::Targets(expr) => Some(expr),
            Arg::Regex(..) | Arg::Attribute(_) | Arg::Number(_) => None,
        })
    }

    /// The name of the attribute it asks for.
    pub(super) fn attribute(&self) -> Option<&Word> {
        self.args.iter().find_map(|arg| if let Arg::Attribute(word) = arg { Some(word) } else { None })
    }

    /// The regular expression it compares with.
    pub(super) fn regex(&self) -> Option<&Regex> {
        self.args.iter().find_map(|arg| if let Arg::Regex(_, regex) = arg { Some(regex) } else { None })
    }

    /// The number it is given.
    pub(super) fn number(&self) -> Option<u32> {
        self.args.iter().find_map(|arg| if let Arg::Number(number) = arg { Some(*number) } else { None })
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Word(word) => write!(f, "{word}"),
            Expr::Variable(word) => write!(f, "${}", word.text),
            Expr::Set(words) => write!(f, "set({})", listed(words, " ")),
            Expr::Call(call) => write!(f, "{}({})", call.name.text, listed(&call.args, ", ")),
            Expr::Chain(first, rest) => {
                write!(f, "({first}")?;
                rest.iter().try_for_each(|(operator, expr)| write!(f, " {operator} {expr}"))?;
                f.write_str(")")
            }
            Expr::Let(name, value, body) => write!(f, "(let {} = {value} in {body})", name.text),
        }
    }
}

fn listed<T: ToString>(items: &[T], between: &str) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(between)
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arg::Targets(expr) => write!(f, "{expr}"),
            Arg::Regex(word, _) | Arg::Attribute(word) => write!(f, "{word}"),
            Arg::Number(number) => write!(f, "{number}"),
        }
    }
}

/// In quotes: any word may stand in them. No word holds both kinds, for there is no way to write it.
impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if self.text.contains('"') { '\'' } else { '"' };
        write!(f, "{quote}{}{quote}", self.text)
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operator::Union => "+",
            Operator::Except => "-",
            Operator::Intersect => "^",
        })
    }
}
