//! The little of a BUILD file's syntax that careful editing needs: words, strings, brackets, and calls at the top level.
//!
//! Knows no rules and evaluates nothing.

use std::ops::Range;

/// A piece of the text; comments and blanks are between pieces.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) range: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Word,
    /// A string; plain when its text is what stands between the quotes.
    String {
        plain: bool,
    },
    /// `(`, `[` or `{`.
    Open,
    /// `)`, `]` or `}`.
    Close,
    /// Anything else, one character.
    Sign,
}

/// A call at the top level of a file.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) function: &'a str,
    /// The arguments given by name.
    pub(super) args: Vec<Arg<'a>>,
    /// The closing bracket.
    pub(super) close: usize,
    /// The last piece before the closing bracket; the opening bracket when there is none.
    pub(super) last: Token,
}

/// `name = value`.
#[derive(Debug)]
pub(super) struct Arg<'a> {
    pub(super) name: &'a str,
    /// Where the name begins.
    pub(super) start: usize,
    /// The pieces of the value, at least one.
    pub(super) value: Vec<Token>,
}

/// The pieces of a text; none when a string or a bracket is never closed, or the brackets do not match.
pub(super) fn tokens(text: &str) -> Option<Vec<Token>> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut open = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (kind, end) = match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b'#' => {
                at += line_rest(&text[at..]);
                continue;
            }
            b'"' | b'\'' => string(text, at)?,
            byte if byte.is_ascii_alphanumeric() || byte == b'_' => word(text, at)?,
            byte @ (b'(' | b'[' | b'{') => {
                open.push(byte);
                (Kind::Open, at + 1)
            }
            byte @ (b')' | b']' | b'}') => {
                let matching = open.pop().is_some_and(|open| matches!((open, byte), (b'(', b')') | (b'[', b']') | (b'{', b'}')));
                (Kind::Close, matching.then_some(at + 1)?)
            }
            _ => (Kind::Sign, at + text[at..].chars().next().map_or(1, char::len_utf8)),
        };
        tokens.push(Token { kind, range: at..end });
        at = end;
    }
    open.is_empty().then_some(tokens)
}

/// A word, or a string with a letter in front: `r"..."`.
fn word(text: &str, at: usize) -> Option<(Kind, usize)> {
    let length = text[at..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len() - at);
    let end = at + length;
    let prefix = matches!(&text[at..end], "r" | "b" | "rb" | "br");
    if prefix && text[end..].starts_with(['"', '\'']) {
        let (_, end) = string_end(text, end)?;
        return Some((Kind::String { plain: false }, end));
    }
    Some((Kind::Word, end))
}

fn string(text: &str, at: usize) -> Option<(Kind, usize)> {
    let (quote, end) = string_end(text, at)?;
    let plain = quote == 1 && !text[at..end].contains('\\');
    Some((Kind::String { plain }, end))
}

/// The length of the quotes and where a string ends. A backslash keeps a quote from ending it, in raw strings, too.
fn string_end(text: &str, at: usize) -> Option<(usize, usize)> {
    let quote = &text[at..=at];
    let triple = quote.repeat(3);
    let quotes = if text[at..].starts_with(&triple) { triple.as_str() } else { quote };
    let mut end = at + quotes.len();
    loop {
        let rest = text.get(end..)?;
        let next = rest.chars().next()?;
        if rest.starts_with(quotes) {
            return Some((quotes.len(), end + quotes.len()));
        }
        if next == '\n' && quotes.len() == 1 {
            return None;
        }
        end += if next == '\\' { 1 + rest[1..].chars().next()?.len_utf8() } else { next.len_utf8() };
    }
}

/// How much of the line is left.
pub(super) fn line_rest(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// The calls at the top level: a word at the beginning of a line, and its brackets.
pub(super) fn calls<'a>(text: &'a str, tokens: &[Token]) -> Vec<Call<'a>> {
    let mut calls = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let close = close_of(tokens, at + 1);
        let begins_line = tokens[at].range.start == 0 || text.as_bytes()[tokens[at].range.start - 1] == b'\n';
        match close {
            Some(close) if tokens[at].kind == Kind::Word && begins_line && starts_with(text, tokens, at + 1, "(") => {
                calls.push(Call {
                    function: &text[tokens[at].range.clone()],
                    args: args(text, &tokens[at + 2..close]),
                    close: tokens[close].range.start,
                    last: tokens[close - 1].clone(),
                });
                at = close + 1;
            }
            _ => at = close_of(tokens, at).map_or(at + 1, |close| close + 1),
        }
    }
    calls
}

fn starts_with(text: &str, tokens: &[Token], at: usize, sign: &str) -> bool {
    tokens.get(at).is_some_and(|token| &text[token.range.clone()] == sign)
}

/// The bracket that closes the one at `at`, if there is one at `at`.
pub(super) fn close_of(tokens: &[Token], at: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (place, token) in tokens.iter().enumerate().skip(at) {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return (token.kind == Kind::Close).then_some(place);
        }
    }
    None
}

/// Splits arguments at their commas and keeps those with a name.
fn args<'a>(text: &'a str, tokens: &[Token]) -> Vec<Arg<'a>> {
    let mut parts: Vec<Vec<Token>> = vec![Vec::new()];
    let mut at = 0;
    while at < tokens.len() {
        let end = close_of(tokens, at).unwrap_or(at);
        if starts_with(text, tokens, at, ",") {
            parts.push(Vec::new());
        } else if let Some(part) = parts.last_mut() {
            part.extend_from_slice(&tokens[at..=end]);
        }
        at = end + 1;
    }
    parts.into_iter().filter_map(|part| arg(text, part)).collect()
}

fn arg(text: &str, mut part: Vec<Token>) -> Option<Arg<'_>> {
    let named = part.len() > 2 && part[0].kind == Kind::Word && starts_with(text, &part, 1, "=");
    let value = named.then(|| part.split_off(2))?;
    Some(Arg { name: &text[part[0].range.clone()], start: part[0].range.start, value })
}

impl<'a> Call<'a> {
    /// The argument of this name.
    pub(super) fn arg(&self, name: &str) -> Option<&Arg<'a>> {
        self.args.iter().find(|arg| arg.name == name)
    }

    /// The argument of this name, if it is nothing but a plain string.
    pub(super) fn string(&self, text: &'a str, name: &str) -> Option<&'a str> {
        let [value] = self.arg(name)?.value.as_slice() else { return None };
        string_text(text, value)
    }
}

/// What a plain string says.
pub(super) fn string_text<'a>(text: &'a str, token: &Token) -> Option<&'a str> {
    (token.kind == Kind::String { plain: true }).then(|| &text[token.range.start + 1..token.range.end - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_with_their_arguments() {
        let text = "load('//x.star', y = \"y\")\n# bpf_program(name = \"no\")\nbpf_program(name = \"a\", srcs = [\"a.c\"] + X, n = r'\\'', # (\n)\n\
                    def f():\n    bpf_map(name = \"inner\")\n";
        let tokens = tokens(text).unwrap();
        let calls = calls(text, &tokens);
        assert_eq!(calls.iter().map(|call| call.function).collect::<Vec<_>>(), ["load", "bpf_program"]);
        let call = &calls[1];
        assert_eq!(call.args.iter().map(|arg| arg.name).collect::<Vec<_>>(), ["name", "srcs", "n"]);
        assert_eq!(call.string(text, "name"), Some("a"));
        assert_eq!(call.string(text, "srcs"), None);
        assert_eq!(&text[call.close..=call.close], ")");
    }

    #[test]
    fn what_is_never_closed_is_refused() {
        for text in ["f(", "f(]", ")", "x = \"a", "x = 'a\n'", "\"\"\"a\"\"", "x = \"a\\"] {
            assert_eq!(tokens(text), None, "{text}");
        }
        for text in ["", "# (", "x = \"\"\"a\n(\"\"\"", "x = \"\\\"(\"", "ä = 'ö'"] {
            assert!(tokens(text).is_some(), "{text}");
        }
    }
}
