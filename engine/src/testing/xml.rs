//! As much of XML as is needed to put documents of others into ours: whether they are well-formed, and text that is.
//!
//! Knows nothing of what the elements mean but the names of the outermost ones.

use std::collections::BTreeSet;
use std::ops::Range;

/// The `<testsuite>` elements of a JUnit document, as they stand. None when it is not well-formed, or is something else: put into
/// another document it would spoil that, too.
pub(super) fn suites(document: &str) -> Option<&str> {
    let text = document.strip_prefix('\u{feff}').unwrap_or(document);
    let mut scan = Scan { text, at: 0, open: Vec::new(), root: None };
    while let Some(length) = scan.rest().find('<') {
        scan.pass_text(length)?;
        scan.markup()?;
    }
    scan.pass_text(scan.rest().len())?;
    let root = scan.root.filter(|_| scan.open.is_empty())?;
    match root.name {
        "testsuites" => Some(&text[root.content]),
        "testsuite" => Some(&text[root.whole]),
        _ => None,
    }
}

/// The text as it may stand between tags and in attributes. What XML cannot hold at all is replaced.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#13;"),
            c if is_char(c) => escaped.push(c),
            _ => escaped.push('\u{fffd}'),
        }
    }
    escaped
}

/// The outermost element.
struct Root<'a> {
    name: &'a str,
    content: Range<usize>,
    whole: Range<usize>,
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// The elements around this place.
    open: Vec<&'a str>,
    root: Option<Root<'a>>,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Characters, which stand only inside of elements.
    fn pass_text(&mut self, length: usize) -> Option<()> {
        let text = &self.rest()[..length];
        let blank = text.trim_matches([' ', '\t', '\r', '\n']).is_empty();
        let fits = if self.open.is_empty() { blank } else { is_text(text) && !text.contains("]]>") };
        self.at += length;
        fits.then_some(())
    }

    fn markup(&mut self) -> Option<()> {
        let rest = self.rest();
        if rest.starts_with("<?") {
            return self.pass("<?", "?>");
        }
        if rest.starts_with("<!--") {
            return self.pass("<!--", "-->");
        }
        if rest.starts_with("<![CDATA[") {
            return self.pass("<![CDATA[", "]]>").filter(|()| !self.open.is_empty());
        }
        // With a document type a text may mean anything.
        if rest.starts_with("<!") {
            return None;
        }
        if rest.starts_with("</") { self.close() } else { self.open() }
    }

    fn pass(&mut self, begin: &str, end: &str) -> Option<()> {
        let inner = &self.rest()[begin.len()..];
        let length = inner.find(end)?;
        self.at += begin.len() + length + end.len();
        inner[..length].chars().all(is_char).then_some(())
    }

    fn open(&mut self) -> Option<()> {
        let start = self.at;
        self.at += 1;
        let name = self.name()?;
        let is_empty = self.attributes()?;
        if self.open.is_empty() {
            if self.root.is_some() {
                return None;
            }
            self.root = Some(Root { name, content: self.at..self.at, whole: start..self.at });
        }
        if !is_empty {
            self.open.push(name);
        }
        Some(())
    }

    fn close(&mut self) -> Option<()> {
        let start = self.at;
        self.at += 2;
        let name = self.name()?;
        self.pass_blanks();
        self.at += self.rest().starts_with('>').then_some(1)?;
        if self.open.pop()? != name {
            return None;
        }
        if let Some(root) = self.root.as_mut().filter(|_| self.open.is_empty()) {
            root.content.end = start;
            root.whole.end = self.at;
        }
        Some(())
    }

    /// Up to the end of a tag; whether it closes its element at once.
    fn attributes(&mut self) -> Option<bool> {
        let mut names = BTreeSet::new();
        loop {
            let blanks = self.pass_blanks();
            for (end, is_empty) in [(">", false), ("/>", true)] {
                if self.rest().starts_with(end) {
                    self.at += end.len();
                    return Some(is_empty);
                }
            }
            if blanks == 0 || !names.insert(self.name()?) {
                return None;
            }
            self.pass_blanks();
            self.at += self.rest().starts_with('=').then_some(1)?;
            self.pass_blanks();
            self.value()?;
        }
    }

    fn value(&mut self) -> Option<()> {
        let quote = self.rest().chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let inner = &self.rest()[1..];
        let length = inner.find(quote)?;
        self.at += length + 2;
        let value = &inner[..length];
        (!value.contains('<') && is_text(value)).then_some(())
    }

    fn name(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let is_name = |c: char| c.is_alphanumeric() || "_:-.".contains(c);
        let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        self.at += length;
        let begins = |c: char| c.is_alphabetic() || c == '_' || c == ':';
        Some(&rest[..length]).filter(|name| name.starts_with(begins))
    }

    fn pass_blanks(&mut self) -> usize {
        let rest = self.rest();
        let length = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        self.at += length;
        length
    }
}

/// Whether all characters are allowed, and each `&` begins a reference that needs no document type.
fn is_text(text: &str) -> bool {
    let is_reference = |rest: &str| match rest.split_once(';').map(|(name, _)| name) {
        Some("amp" | "lt" | "gt" | "quot" | "apos") => true,
        Some(name) => name.strip_prefix('#').and_then(number).and_then(char::from_u32).is_some_and(is_char),
        None => false,
    };
    text.chars().all(is_char) && text.split('&').skip(1).all(is_reference)
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// What XML 1.0 can hold.
fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r') || (c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_found_in_either_form_of_document() {
        let suite = "<testsuite name='a &amp; &#x41;'><testcase/><!-- > --><![CDATA[ <x> & ]]></testsuite >";
        let head = "\u{feff}<?xml version=\"1.0\"?>\n<!-- made by hand -->\n";
        assert_eq!(suites(&format!("{head}{suite}\n")), Some(suite));
        assert_eq!(suites(&format!("<testsuites a=\"1\" b='>'>{suite}{suite}</testsuites>")), Some(&*suite.repeat(2)));
        assert_eq!((suites("<testsuites/>"), suites("<testsuite />")), (Some(""), Some("<testsuite />")));
    }

    #[test]
    fn what_is_not_well_formed_is_nothing() {
        let bad = [
            "",
            "text",
            "<html/>",
            "<testsuite>",
            "</testsuite>",
            "<testsuite/><testsuite/>",
            "<testsuite></testsuites>",
            "<testsuite><a></b></testsuite>",
            "<testsuite a=1/>",
            "<testsuite a='1' a='2'/>",
            "<testsuite a='1'b='2'/>",
            "<testsuite a='<'/>",
            "<testsuite a='1/>",
            "<testsuite>&nbsp;</testsuite>",
            "<testsuite>&#0;</testsuite>",
            "<testsuite>a & b</testsuite>",
            "<testsuite>]]></testsuite>",
            "<testsuite>\u{7}</testsuite>",
            "<testsuite><![CDATA[</testsuite>",
            "<!DOCTYPE x><testsuite/>",
            "<testsuite/>more",
            "<testsuite><",
            "<testsuite",
        ];
        for text in bad {
            assert_eq!(suites(text), None, "{text}");
        }
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escaped("a<b>&\"c\"\u{1b}\n\r\u{0}é"), "a&lt;b&gt;&amp;&quot;c&quot;\u{fffd}\n&#13;\u{fffd}é");
        assert_eq!(suites(&format!("<testsuite>{}</testsuite>", escaped("\u{ffff}&<>]]>"))).map(|_| ()), Some(()));
    }
}
