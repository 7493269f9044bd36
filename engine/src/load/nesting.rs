//! How deep expressions nest, found without the parser.
//!
//! The parser and the interpreter recurse over the syntax tree, so a hostile or generated file could exhaust their stack,
//! which ends the process. This scan recurses nowhere. It knows tokens only roughly and never counts too little.

/// The deepest tree that is parsed. Stacks of 16 MiB hold several times as much in a development build.
const MAX_DEPTH: u32 = 1_000;

/// The first place, line and column from 1, where the tree may get deeper than [`MAX_DEPTH`].
pub(super) fn too_deep(text: &str) -> Option<(u32, u32)> {
    // Each token adds at most one level to the tree until its list item or statement ends.
    if text.len() < MAX_DEPTH as usize {
        return None;
    }
    let mut scan = Scan::new(text);
    while scan.token() {
        if scan.depth + scan.branches > MAX_DEPTH {
            return Some(position(text, scan.at.min(text.len())));
        }
    }
    None
}

/// Where the last bracket stands that is open at the end of the text.
pub(super) fn unclosed(text: &str) -> Option<usize> {
    let mut scan = Scan::new(text);
    while scan.token() {}
    scan.levels.last().filter(|_| scan.levels.len() > 1).map(|level| level.opened)
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    /// The statement itself, and every open bracket.
    levels: Vec<Level>,
    /// The tokens of all levels.
    depth: u32,
    /// `elif`s of the current function: each stands inside the `else` of the one before.
    branches: u32,
}

struct Level {
    /// Where the bracket stands.
    opened: usize,
    /// Tokens since the last comma.
    tokens: u32,
}

impl Scan<'_> {
    fn new(text: &str) -> Scan<'_> {
        Scan { text: text.as_bytes(), at: 0, levels: vec![Level { opened: 0, tokens: 0 }], depth: 0, branches: 0 }
    }

    /// Goes over one token; whether there was one.
    fn token(&mut self) -> bool {
        let Some(byte) = self.text.get(self.at).copied() else { return false };
        self.at += 1;
        match byte {
            b'#' => self.skip_until(|b| b == b'\n'),
            b'\n' if self.levels.len() == 1 => self.statement(),
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b',' | b';' => self.item(0),
            b'(' | b'[' | b'{' => {
                self.count();
                self.levels.push(Level { opened: self.at - 1, tokens: 0 });
            }
            b')' | b']' | b'}' => self.close(),
            b'"' | b'\'' => self.string(byte),
            _ if is_word(byte) => self.word(),
            _ => self.count(),
        }
        true
    }

    fn level(&mut self) -> &mut Level {
        self.levels.last_mut().expect("BUG: the statement's own level is never closed")
    }

    fn count(&mut self) {
        self.depth += 1;
        self.level().tokens += 1;
    }

    /// Begins a new list item or statement of the innermost level, `start` deep already.
    fn item(&mut self, start: u32) {
        let before = std::mem::replace(&mut self.level().tokens, start);
        self.depth = self.depth - before + start;
    }

    fn statement(&mut self) {
        let start = self.at;
        self.skip_until(|b| b != b' ' && b != b'\t');
        self.item(u32::try_from(self.at - start).unwrap_or(u32::MAX / 2));
    }

    fn close(&mut self) {
        self.item(0);
        if self.levels.len() > 1 {
            self.levels.pop();
        }
    }

    fn word(&mut self) {
        let start = self.at - 1;
        self.skip_until(|b| !is_word(b));
        match &self.text[start..self.at] {
            b"elif" => self.branches += 1,
            b"def" => self.branches = 0,
            _ => {}
        }
        self.count();
    }

    fn string(&mut self, quote: u8) {
        self.count();
        let triple = self.text[self.at..].starts_with(&[quote, quote]);
        self.at += if triple { 2 } else { 0 };
        while self.at < self.text.len() {
            let byte = self.text[self.at];
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                b'\n' if !triple => return,
                _ if byte == quote && !triple => return,
                _ if byte == quote && self.text[self.at..].starts_with(&[quote, quote]) => {
                    self.at += 2;
                    return;
                }
                _ => {}
            }
        }
    }

    fn skip_until(&mut self, end: impl Fn(u8) -> bool) {
        while self.at < self.text.len() && !end(self.text[self.at]) {
            self.at += 1;
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn position(text: &str, at: usize) -> (u32, u32) {
    let before = &text.as_bytes()[..at];
    let line = before.iter().filter(|b| **b == b'\n').count() as u32 + 1;
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
    (line, String::from_utf8_lossy(&before[start..]).chars().count().max(1) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_and_brackets_are_deep_and_lists_are_not() {
        let deep = |text: String| too_deep(&text).is_some();
        assert!(deep("(".repeat(1_100)));
        assert!(deep(format!("x = {}1", "not ".repeat(1_100))));
        assert!(deep(format!("x = {}1", "1 + ".repeat(1_100))));
        assert!(deep(format!("x = {}[1]", "[1, [".repeat(1_100))));
        assert!(deep(format!("def f(x):\n  if x: pass\n{}", "  elif x: pass\n".repeat(1_100))));
        assert!(deep((0..1_100).map(|n| format!("{}if x:\n", " ".repeat(n))).collect()));
        assert!(!deep(format!("x = [{}]", "\"a\", ".repeat(100_000))));
        assert!(!deep("rule(name = \"x\", srcs = [\"x.c\"])\n".repeat(10_000)));
        assert!(!deep(format!("x = \"{}\"", "(".repeat(10_000))));
        assert!(!deep(format!("x = \"\"\"{}\"\"\" # {}", "(\n'".repeat(10_000), "(".repeat(10_000))));
    }

    #[test]
    fn the_innermost_open_bracket_is_found() {
        assert_eq!(unclosed("f(\n  x = [1,\n  \"]\", # ]\n"), Some(9));
        assert_eq!(unclosed("f([1])\n"), None);
    }

    #[test]
    fn the_place_is_where_it_gets_too_deep() {
        assert_eq!(too_deep(&format!("x = 1\ny = {}", "(".repeat(2_000))), Some((2, 1_003)));
    }
}
