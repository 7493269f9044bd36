//! The words of C texts: every identifier that stands in the code itself, not in comments and strings.
//!
//! A plain tokenizer; it expands no macro and follows no `#include`. Of macros that paste, it keeps the pieces.

use std::collections::{BTreeSet, HashSet};

use crate::tokens::{Token, Tokens};

/// More pieces than any program pastes; each is tried with every word.
const MOST_PIECES: usize = 24;

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
        let (mut last, mut is_pasted) = (None, false);
        for token in Tokens::of(text) {
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
                Token::Mark(_) | Token::Directive(_) => (last, is_pasted) = (None, false),
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
        assert_eq!(words("#define A(x) b##x\n # include <c/d.h>\n#if E\n"), ["A", "E", "b", "x"]);
        assert_eq!(words("#define LONG a \\\n  b\n"), ["LONG", "a", "b"]);
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
