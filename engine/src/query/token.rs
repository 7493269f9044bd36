//! Text to tokens.
//!
//! Knows neither the grammar nor what words mean.

use ouro_rules::{Diagnostic, Span};

use super::EXPRESSION;

/// A token with its place.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) span: Span,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A word; whether it was in quotes, where it is no keyword.
    Word(String, bool),
    /// One of [`SIGNS`].
    Sign(char),
    /// Behind the last one.
    End,
}

/// Signs that are tokens of their own, and no part of words outside of quotes. `-` is one only where no word stands before it:
/// `a-b` is a word.
const SIGNS: [char; 6] = ['(', ')', ',', '=', '+', '^'];

/// The tokens of a text, with an `End`.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Diagnostic> {
    let mut reader = Reader { rest: text, line: 1, column: 1 };
    let mut tokens = Vec::new();
    loop {
        let token = reader.token()?;
        let is_last = token.kind == TokenKind::End;
        tokens.push(token);
        if is_last {
            return Ok(tokens);
        }
    }
}

struct Reader<'t> {
    rest: &'t str,
    line: u32,
    column: u32,
}

impl<'t> Reader<'t> {
    fn token(&mut self) -> Result<Token, Diagnostic> {
        let space = self.rest.len() - self.rest.trim_start().len();
        self.take(space);
        let (line, column) = (self.line, self.column);
        let kind = match self.rest.chars().next() {
            None => TokenKind::End,
            Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
            Some(sign) if sign == '-' || SIGNS.contains(&sign) => {
                self.take(1);
                TokenKind::Sign(sign)
            }
            Some(_) => {
                let is_end = |c: char| c.is_whitespace() || SIGNS.contains(&c) || matches!(c, '"' | '\'');
                let end = self.rest.find(is_end).unwrap_or(self.rest.len());
                TokenKind::Word(self.take(end).to_owned(), false)
            }
        };
        let point = Span::point(EXPRESSION, line, column);
        let span = match kind {
            TokenKind::End => point,
            TokenKind::Word(..) | TokenKind::Sign(_) => Span { end_line: self.line, end_column: self.column, ..point },
        };
        Ok(Token { kind, span })
    }

    fn quoted(&mut self, quote: char) -> Result<TokenKind, Diagnostic> {
        let Some(length) = self.rest[1..].find(quote) else {
            let place = Span::point(EXPRESSION, self.line, self.column);
            return Err(Diagnostic::error(&place, format!("`{quote}` is never closed")).help("close the quotation"));
        };
        let word = &self.take(length + 2)[1..=length];
        Ok(TokenKind::Word(word.to_owned(), true))
    }

    /// The next `length` bytes.
    fn take(&mut self, length: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(length);
        for c in taken.chars() {
            (self.line, self.column) = if c == '\n' { (self.line + 1, 1) } else { (self.line, self.column + 1) };
        }
        self.rest = rest;
        taken
    }
}
