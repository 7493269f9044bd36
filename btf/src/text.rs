//! A header of kernel types that is there as text: the part of it that a program can reach.
//!
//! Knows declarations as text and by what they mention. What it takes a declaration for may be wrong, as with macros that it does not
//! expand; then a program does not compile, and is compiled against the whole header instead.

mod scan;

use std::collections::{HashMap, HashSet};

use crate::words::Words;
use scan::{Item, Kind, Mention, Named};

/// The declarations of a header.
#[derive(Debug)]
pub struct HeaderText {
    text: String,
    items: Vec<Item>,
    /// Where the name of a struct, union or enum is defined, or of something else.
    defined: HashMap<Named, Vec<usize>>,
}

/// How much of a declaration is needed; nothing, its name, or all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    Nothing,
    Name,
    Whole,
}

impl HeaderText {
    /// Finds the declarations of a header.
    pub fn of(text: String) -> HeaderText {
        let items = scan::items(&text);
        let mut defined = HashMap::<Named, Vec<usize>>::new();
        for (place, item) in items.iter().enumerate() {
            item.defines.iter().for_each(|name| defined.entry(name.clone()).or_default().push(place));
        }
        HeaderText { text, items, defined }
    }

    /// All of it.
    pub fn whole(&self) -> &str {
        &self.text
    }

    /// The declarations that a program with these words can reach; of all others at most the name.
    pub fn slim(&self, words: &Words) -> String {
        let needs = vec![Need::Nothing; self.items.len()];
        let mut selection = Selection { header: self, words: self.with_own(words), needs, open: Vec::new() };
        selection.start();
        while let Some(place) = selection.open.pop() {
            selection.follow(place);
        }
        self.print(&selection.needs)
    }

    /// What stays in any case has words, too: macros and the bodies of functions.
    fn with_own(&self, words: &Words) -> Words {
        let mut words = words.clone();
        for item in &self.items {
            let text = &self.text[item.start..item.end];
            if item.kind == Kind::Code || (item.kind == Kind::Directive && text.contains("define")) {
                words.add(text);
            }
        }
        words
    }

    fn print(&self, needs: &[Need]) -> String {
        let mut declared = HashSet::<&str>::new();
        let mut text = String::new();
        for (item, need) in self.items.iter().zip(needs) {
            if *need == Need::Nothing {
                continue;
            }
            for mention in item.mentions.iter().filter(|mention| mention.is_record) {
                if declared.insert(&mention.name.text) {
                    text.push_str(&mention.tag);
                    text.push_str(";\n\n");
                }
            }
            declared.extend(item.defines.iter().filter(|name| name.is_tag).map(|name| &*name.text));
            text.push_str(self.text[item.start..item.end].trim());
            text.push_str(if item.kind == Kind::Directive { "\n" } else { "\n\n" });
        }
        text
    }
}

struct Selection<'a> {
    header: &'a HeaderText,
    words: Words,
    /// By place.
    needs: Vec<Need>,
    open: Vec<usize>,
}

impl Selection<'_> {
    fn start(&mut self) {
        let header = self.header;
        for (place, item) in header.items.iter().enumerate() {
            let is_named = || item.defines.iter().any(|name| self.words.has(&name.text));
            match item.kind {
                Kind::Directive => self.needs[place] = Need::Whole,
                Kind::Code => self.need(place, Need::Whole),
                Kind::Type if is_named() => self.need(place, Need::Whole),
                Kind::Function if is_named() => self.need(place, Need::Whole),
                Kind::Type | Kind::Function => {}
            }
        }
        let pasted: Vec<String> = self.words.pasted().collect();
        for word in pasted {
            self.name(&word, true, Need::Whole);
            self.name(&word, false, Need::Whole);
        }
    }

    fn need(&mut self, place: usize, need: Need) {
        if self.needs[place] < need {
            self.needs[place] = need;
            self.open.push(place);
        }
    }

    fn name(&mut self, text: &str, is_tag: bool, need: Need) {
        let header = self.header;
        let name = Named { text: text.into(), is_tag };
        header.defined.get(&name).into_iter().flatten().for_each(|place| self.need(*place, need));
    }

    fn follow(&mut self, place: usize) {
        let header = self.header;
        let item = &header.items[place];
        for mention in &item.mentions {
            let is_all = match item.kind {
                // Whoever calls a function, or has its body, uses what it mentions.
                Kind::Code | Kind::Function => true,
                _ => self.reaches(mention, self.needs[place]),
            };
            match (is_all, mention.is_record) {
                (true, _) => self.name(&mention.name.text, mention.name.is_tag, Need::Whole),
                (false, true) => {}
                // Typedefs and enums cannot be declared before they are defined.
                (false, false) => self.name(&mention.name.text, mention.name.is_tag, Need::Name),
            }
        }
    }

    /// Whether what is mentioned must be defined: it is held by value, or a pointer that the program names leads to it.
    fn reaches(&self, mention: &Mention, need: Need) -> bool {
        let by_value = mention.by_value && (need == Need::Whole || mention.is_inside);
        by_value || (need == Need::Whole && self.words.has(&mention.member))
    }
}
