//! Many short texts, each once and all in one piece, so that reading them back makes no object of each.
//!
//! Knows nothing of what they say.

use serde::{Deserialize, Serialize};

use crate::fast::FastMap;

/// The number of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TextId(u32);

/// Texts by number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Texts {
    all: String,
    /// Where each ends.
    ends: Vec<u32>,
}

impl Texts {
    /// The text of a number.
    pub(super) fn get(&self, TextId(number): TextId) -> &str {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.all[start as usize..self.ends[number] as usize]
    }
}

/// Texts that are being collected.
#[derive(Default)]
pub(super) struct Collector<'a> {
    pub(super) texts: Texts,
    numbers: FastMap<&'a str, TextId>,
}

impl<'a> Collector<'a> {
    /// The number of a text, which is added if it is new.
    pub(super) fn number(&mut self, text: &'a str) -> TextId {
        *self.numbers.entry(text).or_insert_with(|| {
            let place = |length| u32::try_from(length).expect("BUG: names are shorter than four billion bytes");
            self.texts.all.push_str(text);
            self.texts.ends.push(place(self.texts.all.len()));
            TextId(place(self.texts.ends.len() - 1))
        })
    }
}
