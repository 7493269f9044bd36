//! Tokens to expressions.
//!
//! Knows the functions, not what they do, and not what words mean.

use ouro_rules::diagnostic::{Diagnostic, did_you_mean};
use regex::Regex;

use super::expr::{Arg, Call, Expr, Operator, Word};
use super::function::{Param, Signature, Subject};
use super::token::{self, Token, TokenKind};

/// How deep expressions may stand in each other: each costs stack.
const DEPTH: usize = 128;

/// Words with a meaning of their own.
const KEYWORDS: [&str; 6] = ["except", "in", "intersect", "let", "set", "union"];

/// Reads an expression.
pub(super) fn parse(text: &str, subject: Subject) -> Result<Expr, Diagnostic> {
    let mut parser = Parser { tokens: token::tokens(text)?, at: 0, subject, variables: Vec::new(), depth: 0 };
    let expr = parser.expression()?;
    match parser.peek().kind {
        TokenKind::End => Ok(expr),
        _ => Err(parser.unexpected("an operator (`+`, `-`, `^`) or the end")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    subject: Subject,
    /// The variables that may be used here.
    variables: Vec<String>,
    depth: usize,
}

impl Parser {
    fn expression(&mut self) -> Result<Expr, Diagnostic> {
        self.depth += 1;
        if self.depth > DEPTH {
            let finding = Diagnostic::error(&self.peek().span, "expression too deep");
            return Err(finding.help("split it into several queries"));
        }
        let first = self.operand()?;
        let mut rest = Vec::new();
        while let Some(operator) = self.operator() {
            rest.push((operator, self.operand()?));
        }
        self.depth -= 1;
        Ok(if rest.is_empty() { first } else { Expr::Chain(Box::new(first), rest) })
    }

    fn operator(&mut self) -> Option<Operator> {
        let operator = match &self.peek().kind {
            TokenKind::Sign('+') => Operator::Union,
            TokenKind::Sign('-') => Operator::Except,
            TokenKind::Sign('^') => Operator::Intersect,
            TokenKind::Word(word, false) => match word.as_str() {
                "union" => Operator::Union,
                "except" => Operator::Except,
                "intersect" => Operator::Intersect,
                _ => return None,
            },
            _ => return None,
        };
        self.at += 1;
        Some(operator)
    }

    fn operand(&mut self) -> Result<Expr, Diagnostic> {
        match self.peek().kind.clone() {
            TokenKind::Sign('(') => {
                self.at += 1;
                let inner = self.expression()?;
                self.sign(')')?;
                Ok(inner)
            }
            TokenKind::Word(word, false) if word == "let" => self.binding(),
            TokenKind::Word(word, false) if word == "set" => self.set(),
            TokenKind::Word(word, false) if KEYWORDS.contains(&word.as_str()) => Err(self.unexpected("a target")),
            TokenKind::Word(_, quoted) => {
                let word = self.word("a target")?;
                match word.text.strip_prefix('$') {
                    _ if !quoted && self.peek().kind == TokenKind::Sign('(') => self.call(word),
                    Some(name) if !quoted => self.variable(name, &word),
                    _ => Ok(Expr::Word(word)),
                }
            }
            TokenKind::Sign(_) | TokenKind::End => Err(self.unexpected("a target")),
        }
    }

    /// `let name = value in body`
    fn binding(&mut self) -> Result<Expr, Diagnostic> {
        self.at += 1;
        let name = self.word("the name of a variable")?;
        if !is_name(&name.text) {
            let finding = Diagnostic::error(&name.span, format!("`{}` is no name of a variable", name.text));
            return Err(finding.help("use letters, digits and `_`"));
        }
        self.sign('=')?;
        let value = self.expression()?;
        match &self.peek().kind {
            TokenKind::Word(word, false) if word == "in" => self.at += 1,
            _ => return Err(self.unexpected("`in`")),
        }
        self.variables.push(name.text.clone());
        let body = self.expression()?;
        self.variables.pop();
        Ok(Expr::Let(name, Box::new(value), Box::new(body)))
    }

    fn variable(&self, name: &str, word: &Word) -> Result<Expr, Diagnostic> {
        if self.variables.iter().any(|known| known == name) {
            return Ok(Expr::Variable(Word { text: name.to_owned(), span: word.span.clone() }));
        }
        let near = did_you_mean(name, self.variables.iter().map(String::as_str));
        let help = near.unwrap_or_else(|| format!("define it: `let {name} = ... in ...`"));
        Err(Diagnostic::error(&word.span, format!("there is no variable `{name}` here")).help(help))
    }

    /// `set(a b)`
    fn set(&mut self) -> Result<Expr, Diagnostic> {
        self.at += 1;
        self.sign('(')?;
        let mut words = Vec::new();
        while self.peek().kind != TokenKind::Sign(')') {
            words.push(self.word("a target or `)`; a set lists words with spaces between")?);
        }
        self.at += 1;
        Ok(Expr::Set(words))
    }

    fn call(&mut self, name: Word) -> Result<Expr, Diagnostic> {
        let signature = self.subject.functions().find(|signature| signature.name == name.text);
        let signature = signature.ok_or_else(|| self.unknown_function(&name))?;
        self.sign('(')?;
        let mut args = Vec::new();
        for param in signature.params {
            if !args.is_empty() {
                if args.len() >= signature.required && self.peek().kind != TokenKind::Sign(',') {
                    break;
                }
                self.sign(',').map_err(|finding| finding.help(usage(signature)))?;
            }
            args.push(self.arg(*param)?);
        }
        self.sign(')').map_err(|finding| finding.help(usage(signature)))?;
        Ok(Expr::Call(Call { function: signature.function, name, args }))
    }

    fn unknown_function(&self, name: &Word) -> Diagnostic {
        let names: Vec<&str> = self.subject.functions().map(|signature| signature.name).collect();
        let finding = Diagnostic::error(&name.span, format!("unknown function `{}`", name.text));
        finding
            .help(did_you_mean(&name.text, names.iter().copied()).unwrap_or_else(|| format!("there are: {}", names.join(", "))))
    }

    fn arg(&mut self, param: Param) -> Result<Arg, Diagnostic> {
        match param {
            Param::Targets => self.expression().map(Arg::Targets),
            Param::Attribute => self.word("the name of an attribute").map(Arg::Attribute),
            Param::Number => {
                let word = self.word("a number")?;
                let wrong = || Diagnostic::error(&word.span, format!("`{}` is no whole number", word.text));
                word.text.parse().map(Arg::Number).map_err(|_| wrong())
            }
            Param::Regex => {
                let word = self.word("a regular expression")?;
                let regex = Regex::new(&word.text).map_err(|error| bad_regex(&word, &error))?;
                Ok(Arg::Regex(word, regex))
            }
        }
    }

    fn word(&mut self, wanted: &str) -> Result<Word, Diagnostic> {
        match self.peek().clone() {
            Token { kind: TokenKind::Word(text, quoted), span } if quoted || !KEYWORDS.contains(&text.as_str()) => {
                self.at += 1;
                Ok(Word { text, span })
            }
            _ => Err(self.unexpected(wanted)),
        }
    }

    fn sign(&mut self, sign: char) -> Result<(), Diagnostic> {
        match self.peek().kind {
            TokenKind::Sign(found) if found == sign => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.unexpected(&format!("`{sign}`"))),
        }
    }

    fn unexpected(&self, wanted: &str) -> Diagnostic {
        let Token { kind, span } = self.peek();
        let found = match kind {
            TokenKind::Word(word, _) => format!("`{word}`"),
            TokenKind::Sign(sign) => format!("`{sign}`"),
            TokenKind::End => "the end".to_owned(),
        };
        let finding = Diagnostic::error(span, format!("expected {wanted}, found {found}"));
        match kind {
            TokenKind::Word(word, false) if KEYWORDS.contains(&word.as_str()) => {
                finding.help(format!("`{word}` is a keyword; a target of that name needs quotes"))
            }
            _ => finding,
        }
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at]
    }
}

fn is_name(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(|c: char| is_part(c) && !c.is_ascii_digit()) && text.chars().all(is_part)
}

fn usage(signature: &Signature) -> String {
    format!("write `{}`", signature.usage)
}

/// The last line of what the crate says is the reason; those before draw the place.
fn bad_regex(word: &Word, error: &regex::Error) -> Diagnostic {
    let text = error.to_string();
    let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    Diagnostic::error(&word.span, format!("bad regular expression `{}`: {reason}", word.text))
}
