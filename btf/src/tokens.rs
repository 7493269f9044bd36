//! C text as tokens, without comments.
//!
//! Expands no macro and follows no `#include`. Whatever the text is, there are no more tokens than characters.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// An identifier or keyword.
    Word(&'a str),
    /// `##`
    Paste,
    /// The first word of a line for the preprocessor. What follows are tokens, but for the file of an `include`.
    Directive(&'a str),
    /// Anything else, by its first character: of a number `0`, of a string `"`.
    Mark(u8),
}

/// The tokens of a text.
pub(crate) struct Tokens<'a> {
    text: &'a str,
    at: usize,
    /// Whether nothing but white space stands before, on the line.
    starts_line: bool,
}

impl<'a> Tokens<'a> {
    pub fn of(text: &'a str) -> Tokens<'a> {
        Tokens { text, at: 0, starts_line: true }
    }

    /// The place behind the last token.
    pub fn place(&self) -> usize {
        self.at
    }

    /// Skips the rest of the line.
    pub fn end_line(&mut self) {
        self.at += line_end(&self.text.as_bytes()[self.at..]);
    }

    /// What stands before the next token; nothing at the end.
    fn skip(&mut self) -> Option<&'a [u8]> {
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            self.at += match rest {
                [] => return None,
                [b'\n', ..] => {
                    self.starts_line = true;
                    1
                }
                [b' ' | b'\t' | b'\r', ..] => 1,
                [b'\\', b'\n', ..] => 2,
                [b'/', b'/', ..] => line_end(rest),
                [b'/', b'*', ..] => find(&rest[2..], b"*/").map_or(rest.len(), |end| end + 4),
                rest => return Some(rest),
            };
        }
    }

    fn take(&mut self, len: usize) -> &'a str {
        let text = &self.text[self.at..self.at + len];
        self.at += len;
        text
    }

    fn directive(&mut self) -> Token<'a> {
        self.at += 1;
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let word = self.take(word_len(&self.text.as_bytes()[self.at..]));
        if word == "include" {
            self.end_line();
        }
        Token::Directive(word)
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let rest = self.skip()?;
        let starts_line = std::mem::take(&mut self.starts_line);
        let (len, token) = match rest {
            [b'a'..=b'z' | b'A'..=b'Z' | b'_', ..] => return Some(Token::Word(self.take(word_len(rest)))),
            [b'#', b'#', ..] => (2, Token::Paste),
            [b'#', ..] if starts_line => return Some(self.directive()),
            [quote @ (b'"' | b'\''), ..] => (quoted(rest, *quote), Token::Mark(b'"')),
            [b'0'..=b'9', ..] => (word_len(rest), Token::Mark(b'0')),
            rest => (1, Token::Mark(rest[0])),
        };
        self.at += len;
        Some(token)
    }
}

fn word_len(rest: &[u8]) -> usize {
    rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').unwrap_or(rest.len())
}

/// Up to the end of the line; a backslash before it hides it.
fn line_end(rest: &[u8]) -> usize {
    let hidden = |at: usize| at > 0 && rest[at - 1] == b'\\';
    (0..rest.len()).find(|at| rest[*at] == b'\n' && !hidden(*at)).unwrap_or(rest.len())
}

/// The length of a string or character; it ends with the line at the latest, for an apostrophe may be one.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'\\' => at += 1,
            b'\n' => return at,
            byte if *byte == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    rest.len()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
