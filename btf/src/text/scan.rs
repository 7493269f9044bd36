//! Text to declarations: what each defines, and what it mentions.
//!
//! Reads as much of C as headers of types are made of. Never fails: what it does not understand is a declaration that is always kept.

use crate::tokens::{Token, Tokens};

/// A declaration, or a line for the preprocessor.
#[derive(Debug)]
pub(super) struct Item {
    /// Where its text begins.
    pub start: usize,
    /// And ends.
    pub end: usize,
    pub kind: Kind,
    pub defines: Vec<Named>,
    pub mentions: Vec<Mention>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A line for the preprocessor.
    Directive,
    /// A struct, union, enum or typedef.
    Type,
    /// A function that is declared.
    Function,
    /// Anything else, such as a function with its body.
    Code,
}

/// A name, and whether it is one behind `struct`, `union` or `enum`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Named {
    pub text: Box<str>,
    pub is_tag: bool,
}

/// A type that something is declared with.
#[derive(Debug)]
pub(super) struct Mention {
    pub name: Named,
    /// As it is written: `struct name`.
    pub tag: String,
    /// Whether it is a struct or union, by `struct` or `union`.
    pub is_record: bool,
    pub by_value: bool,
    /// Whether it stands between braces.
    pub is_inside: bool,
    /// What is declared; empty where that has no name.
    pub member: Box<str>,
}

/// The declarations of a text.
pub(super) fn items(text: &str) -> Vec<Item> {
    let mut scanner = Scanner { tokens: Tokens::of(text), items: Vec::new(), item: None, state: State::default() };
    let mut before = 0;
    while let Some(token) = scanner.tokens.next() {
        scanner.take(token, before);
        before = scanner.tokens.place();
    }
    scanner.end(Kind::Code);
    scanner.items
}

struct Scanner<'a> {
    tokens: Tokens<'a>,
    items: Vec<Item>,
    /// The one that has begun.
    item: Option<Item>,
    state: State<'a>,
}

/// Where in a declaration the scanner is.
#[derive(Default)]
struct State<'a> {
    first: &'a str,
    /// Whether each open brace is of an enum.
    braces: Vec<bool>,
    parens: usize,
    /// `struct`, `union` or `enum`, when it was the last word.
    keyword: &'a str,
    /// The type of what is being declared: its keyword and name.
    base: Option<(&'a str, &'a str)>,
    member: &'a str,
    is_pointer: bool,
    /// Whether something between parentheses was seen where no attribute is: parameters.
    is_function: bool,
    has_body: bool,
    last: Option<Token<'a>>,
}

impl<'a> Scanner<'a> {
    fn take(&mut self, token: Token<'a>, before: usize) {
        if let Token::Directive(_) = token {
            return self.directive(before);
        }
        if self.item.is_none() {
            let first = if let Token::Word(word) = token { word } else { "" };
            self.state = State { first, ..State::default() };
            self.item = Some(item(before, Kind::Code));
        }
        match token {
            Token::Word(word) => self.word(word),
            Token::Mark(b'{') => self.open(),
            Token::Mark(b'}') => self.close(),
            Token::Mark(b'(') => self.paren(),
            Token::Mark(b')') => {
                self.mention();
                self.state.parens = self.state.parens.saturating_sub(1);
            }
            Token::Mark(b'*') => self.state.is_pointer = true,
            Token::Mark(b',') if self.state.parens > 0 => self.mention(),
            Token::Mark(b';') => self.semicolon(),
            _ => {}
        }
        self.state.last = Some(token);
    }

    /// Inside of a declaration it is part of that.
    fn directive(&mut self, before: usize) {
        self.tokens.end_line();
        if self.item.is_none() {
            self.items.push(Item { end: self.tokens.place(), ..item(before, Kind::Directive) });
        }
    }

    fn word(&mut self, word: &'a str) {
        let state = &mut self.state;
        match word {
            "struct" | "union" | "enum" => state.keyword = word,
            "const" | "volatile" | "restrict" | "typedef" | "extern" | "static" | "inline" | "__attribute__" | "unsigned"
            | "signed" | "int" | "long" | "short" | "char" | "void" | "__weak" | "__ksym" => {}
            _ if !state.keyword.is_empty() => {
                state.base = Some((state.keyword, word));
                state.keyword = "";
            }
            // In an enum, and behind a type, names are defined.
            _ if state.braces.last() == Some(&true) => self.enumerator(word),
            _ if state.base.is_none() && self.begins_parameter() => self.state.base = Some(("", word)),
            _ if self.state.base.is_none() && self.state.member.is_empty() && !self.follows_base() => {
                self.state.base = Some(("", word))
            }
            _ if self.state.parens == 0 || self.state.member.is_empty() => self.state.member = word,
            _ => {}
        }
    }

    fn begins_parameter(&self) -> bool {
        let is_first = |token| matches!(token, Token::Mark(b'(' | b',') | Token::Word("const" | "volatile"));
        self.state.parens > 0 && self.state.last.is_some_and(is_first)
    }

    /// Whether the type was one of C's own, or a struct without a name, so that the word is what is declared.
    fn follows_base(&self) -> bool {
        match self.state.last {
            Some(Token::Word(word)) => matches!(word, "unsigned" | "signed" | "int" | "long" | "short" | "char" | "void"),
            Some(Token::Mark(mark)) => matches!(mark, b'*' | b'}' | b')'),
            _ => false,
        }
    }

    fn enumerator(&mut self, word: &str) {
        if matches!(self.state.last, Some(Token::Mark(b'{' | b','))) {
            self.define(word, false);
        }
    }

    fn define(&mut self, text: &str, is_tag: bool) {
        if let Some(item) = self.item.as_mut().filter(|_| !text.is_empty()) {
            item.defines.push(Named { text: text.into(), is_tag });
        }
    }

    fn open(&mut self) {
        let state = &mut self.state;
        let keyword = state.base.map_or(state.keyword, |(keyword, _)| keyword);
        state.has_body |= state.braces.is_empty() && state.is_function && state.first != "typedef";
        state.braces.push(keyword == "enum");
        if let Some((_, name)) = state.base.take().filter(|(keyword, _)| !keyword.is_empty()) {
            self.define(name, true);
        }
        (self.state.keyword, self.state.member) = ("", "");
    }

    fn close(&mut self) {
        self.mention();
        self.state.braces.pop();
        if self.state.braces.is_empty() && self.state.has_body {
            self.end(Kind::Code);
        }
    }

    fn paren(&mut self) {
        if self.state.last != Some(Token::Word("__attribute__")) && self.state.parens == 0 {
            // The type before it is what a function returns, and so is not held.
            self.state.is_function |= self.state.braces.is_empty();
            self.state.is_pointer = true;
            self.keep_mention();
        }
        self.state.parens += 1;
    }

    fn semicolon(&mut self) {
        let name = self.state.member;
        self.mention();
        if !self.state.braces.is_empty() || self.state.parens > 0 {
            return;
        }
        let kind = match self.state.first {
            "typedef" => Kind::Type,
            "struct" | "union" | "enum" if !self.state.is_function => Kind::Type,
            _ if self.state.is_function => Kind::Function,
            _ => Kind::Code,
        };
        if kind == Kind::Function || self.state.first == "typedef" {
            self.define(name, false);
        }
        self.end(kind);
    }

    /// What was declared is done with.
    fn mention(&mut self) {
        self.keep_mention();
        let state = &mut self.state;
        (state.keyword, state.is_pointer) = ("", state.parens > 1);
        if state.parens <= 1 && state.braces.is_empty() {
            return;
        }
        state.member = "";
    }

    fn keep_mention(&mut self) {
        let state = &mut self.state;
        let (Some((keyword, name)), Some(item)) = (state.base.take(), self.item.as_mut()) else { return };
        item.mentions.push(Mention {
            name: Named { text: name.into(), is_tag: !keyword.is_empty() },
            tag: format!("{keyword} {name}"),
            is_record: matches!(keyword, "struct" | "union"),
            by_value: !state.is_pointer && state.parens == 0,
            is_inside: !state.braces.is_empty(),
            member: state.member.into(),
        });
    }

    /// A struct that is only declared is declared again where it is needed.
    fn end(&mut self, kind: Kind) {
        let Some(mut item) = self.item.take() else { return };
        item.end = self.tokens.place();
        item.kind = kind;
        let is_forward = kind == Kind::Type && item.defines.is_empty();
        if !is_forward {
            self.items.push(item);
        }
    }
}

fn item(start: usize, kind: Kind) -> Item {
    Item { start, end: start, kind, defines: Vec::new(), mentions: Vec::new() }
}
