//! The words of C texts: every identifier that stands in the code itself, not in comments and strings.
//!
//! A plain tokenizer; it expands no macro and follows no `#include`. Of macros that paste, it keeps the pieces.

use std::collections::{BTreeSet, HashSet};

/// More pieces than any program pastes; each is tried with every word.
const MOST_PIECES: usize = 64;

/// The identifiers of some texts.
#[derive(Debug, Clone, Default)]
pub struct Words {
    words: HashSet<Box<str>>,
    /// What stands beside `##`.
    pieces: BTreeSet<Box<str>>,
}

impl Words {
    /// Adds those of a text.
    pub fn add(&mut self, text: &str) {
        let mut tokens = Tokens { text, at: 0, starts_line: true };
        let (mut last, mut is_pasted) = (None, false);
        while let Some(token) = tokens.next() {
            match token {
                Token::Word(word) => {
                    if !self.words.contains(word) {
                        self.words.insert(word.into());
                    }
                    if is_pasted {
                        self.add_piece(word);
                    }
                    (last, is_pasted) = (Some(word), false);
                }
                Token::Paste => {
                    last.take().into_iter().for_each(|word| self.add_piece(word));
                    is_pasted = true;
                }
                Token::Other => (last, is_pasted) = (None, false),
            }
        }
    }

    /// Adds words by themselves.
    pub fn extend<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        self.words.extend(words.into_iter().map(Box::from));
    }

    /// Adds a beginning or an end that words may be given.
    pub fn add_piece(&mut self, piece: &str) {
        if (piece.starts_with('_') || piece.ends_with('_')) && self.pieces.len() < MOST_PIECES {
            self.pieces.insert(piece.into());
        }
    }

    /// Whether a word occurs.
    pub fn has(&self, word: &str) -> bool {
        self.words.contains(word)
    }

    /// Every word, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|word| &**word)
    }

    /// Every word with every piece pasted to it, in no order: `foo` and `bpf_iter_` give `bpf_iter_foo`.
    pub(crate) fn pasted(&self) -> impl Iterator<Item = String> {
        let join = |piece: &str, word: &str| match piece.ends_with('_') {
            true => [piece, word].concat(),
            false => [word, piece].concat(),
        };
        self.pieces.iter().flat_map(move |piece| self.words.iter().map(move |word| join(piece, word)))
    }
}

enum Token<'a> {
    Word(&'a str),
    /// `##`
    Paste,
    Other,
}

struct Tokens<'a> {
    text: &'a str,
    at: usize,
    /// Whether nothing but white space stands before, on the line.
    starts_line: bool,
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let first = *rest.first()?;
            let starts_line = std::mem::replace(&mut self.starts_line, first == b'\n');
            match rest {
                [b'\n' | b' ' | b'\t' | b'\r', ..] => {
                    self.starts_line |= starts_line;
                    self.at += 1;
                }
                [b'\\', b'\n', ..] => self.at += 2,
                [b'/', b'/', ..] => self.at += line_end(rest),
                [b'/', b'*', ..] => {
                    self.starts_line = starts_line;
                    self.at += find(&rest[2..], b"*/").map_or(rest.len(), |end| end + 4);
                }
                [quote @ (b'"' | b'\''), ..] => {
                    self.at += quoted(rest, *quote);
                    return Some(Token::Other);
                }
                [b'#', b'#', ..] => {
                    self.at += 2;
                    return Some(Token::Paste);
                }
                [b'#', ..] if starts_line && is_include(rest) => self.at += line_end(rest),
                [b'a'..=b'z' | b'A'..=b'Z' | b'_', ..] => return Some(Token::Word(self.take(word_len(rest)))),
                [b'0'..=b'9', ..] => {
                    self.at += word_len(rest);
                    return Some(Token::Other);
                }
                _ => {
                    self.at += 1;
                    return Some(Token::Other);
                }
            }
        }
    }

    fn take(&mut self, len: usize) -> &'a str {
        let word = &self.text[self.at..self.at + len];
        self.at += len;
        word
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

fn is_include(rest: &[u8]) -> bool {
    let after = rest[1..].trim_ascii_start();
    after.starts_with(b"include")
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = Words::default();
        words.add(text);
        let mut found: Vec<String> = words.iter().map(str::to_owned).collect();
        found.sort();
        found
    }

    #[test]
    fn code_has_words_and_comments_and_strings_have_none() {
        assert_eq!(words("struct a *b; // c d\n/* e\n f */ g->h /**/ /*/ i */ + 0x1f;"), ["a", "b", "g", "h", "struct"]);
        assert_eq!(words("x = \"y \\\" z\" 'q' '\\'' w;"), ["w", "x"]);
        assert_eq!(words("// hidden \\\n still hidden\nseen"), ["seen"]);
        assert_eq!(words("\"open\nseen 'open\nseen_too"), ["seen", "seen_too"]);
        assert_eq!(words("0ULL 12abc a1"), ["a1"]);
    }

    #[test]
    fn macros_are_code_and_includes_are_not() {
        assert_eq!(words("#define A(x) b##x\n # include <c/d.h>\n#if E\n"), ["A", "E", "b", "define", "if", "x"]);
        assert_eq!(words("#define LONG a \\\n  b\n"), ["LONG", "a", "b", "define"]);
    }

    #[test]
    fn what_is_pasted_is_tried() {
        let mut words = Words::default();
        words.add("#define IT(x) struct bpf_iter_##x\n#define OLD(x) x ## ___old\nIT(task); a##b");
        let pasted: Vec<String> = words.pasted().collect();
        assert!(pasted.iter().any(|word| word == "bpf_iter_task") && pasted.iter().any(|word| word == "task___old"));
        assert!(!pasted.iter().any(|word| word == "ba"), "pieces without `_` are most often parameters");
    }

    #[test]
    fn texts_that_end_anywhere_are_read() {
        let text = "#include <a>\n/* b */ \"c\\\"\" 'd' e##f // g\\\n h\n#\\\n";
        for end in 0..=text.len() {
            words(&text[..end]);
        }
        assert_eq!(words("größe"), ["e", "gr"]);
    }
}
