//! Small edits of BUILD files that keep every comment and every blank of the rest.
//!
//! Edits only what it fully understands; knows nothing of files.

use super::scan::{self, Arg, Call, Kind, Token};

/// A BUILD file's text with what was understood of it.
pub(super) struct BuildFile<'a> {
    text: &'a str,
    tokens: Vec<Token>,
}

/// A program as a BUILD file declares it.
pub(super) struct Program<'a> {
    /// Its type, when it is a plain string.
    pub(super) ty: Option<&'a str>,
    /// Its only source, when it has one.
    pub(super) source: Option<&'a str>,
    /// Its C function, when named.
    pub(super) function: Option<&'a str>,
}

impl<'a> BuildFile<'a> {
    /// None when brackets or strings are not closed.
    pub(super) fn read(text: &'a str) -> Option<BuildFile<'a>> {
        Some(BuildFile { text, tokens: scan::tokens(text)? })
    }

    /// The names of the targets declared at the top level.
    pub(super) fn names(&self) -> Vec<&'a str> {
        let calls = scan::calls(self.text, &self.tokens);
        calls.iter().filter_map(|call| call.string(self.text, "name")).collect()
    }

    /// A program declared at the top level.
    pub(super) fn program(&self, name: &str) -> Option<Program<'a>> {
        let call = self.call(name)?;
        let sources = call.arg("srcs").map(|arg| self.strings(arg)).unwrap_or_default();
        Some(Program {
            ty: call.string(self.text, "type"),
            source: if let [source] = sources[..] { Some(source) } else { None },
            function: call.string(self.text, "function"),
        })
    }

    /// The text with one more jump of a program, and with `on_miss` when the program has none. None when it cannot be done
    /// without guessing.
    pub(super) fn with_jump(&self, program: &str, target: &str, on_miss: Option<&str>) -> Option<String> {
        let call = self.call(program)?;
        let item = format!("\":{target}\"");
        let mut edits = Vec::new();
        let mut args = Vec::new();
        match call.arg("jumps") {
            Some(arg) => edits.extend(self.list_edits(arg, &item)?),
            None => args.push(format!("jumps = [{item}]")),
        }
        if call.arg("on_miss").is_none() {
            args.extend(on_miss.map(|verdict| format!("on_miss = \"{verdict}\"")));
        }
        edits.extend(self.arg_edits(&call, &args));
        Some(self.edited(edits))
    }

    fn call(&self, name: &str) -> Option<Call<'a>> {
        let calls = scan::calls(self.text, &self.tokens);
        let mut named = calls.into_iter().filter(|call| call.string(self.text, "name") == Some(name));
        named.next().filter(|call| call.function == "bpf_program")
    }

    /// The strings of a plain list; empty for anything else.
    fn strings(&self, arg: &Arg<'a>) -> Vec<&'a str> {
        let inner = list(&arg.value).unwrap_or_default();
        let strings = inner.iter().filter_map(|token| scan::string_text(self.text, token));
        strings.collect()
    }

    /// Adds an item to a plain list.
    fn list_edits(&self, arg: &Arg<'a>, item: &str) -> Option<Vec<Edit>> {
        let inner = list(&arg.value).filter(|inner| self.is_plain(inner))?;
        let (open, close) = (arg.value.first()?.range.end, arg.value.last()?.range.start);
        Some(match (inner.first(), inner.last()) {
            (Some(first), Some(last)) => self.edits_after(last, close, first.range.start, &[item.to_owned()]),
            _ => vec![Edit { at: open, text: item.to_owned() }],
        })
    }

    /// Whether all items are strings or calls: no comprehension, no sum, nothing that another item would change.
    fn is_plain(&self, inner: &[Token]) -> bool {
        let mut at = 0;
        while at < inner.len() {
            let item = match inner[at].kind {
                Kind::String { .. } => at + 1,
                Kind::Word => match scan::close_of(inner, at + 1) {
                    Some(close) => close + 1,
                    None => return false,
                },
                _ => return false,
            };
            if inner.get(item).is_some_and(|token| self.piece(token) != ",") {
                return false;
            }
            at = item + 1;
        }
        true
    }

    /// Adds arguments to a call.
    fn arg_edits(&self, call: &Call<'a>, args: &[String]) -> Vec<Edit> {
        let start = call.args.last().map_or(call.last.range.start, |arg| arg.start);
        self.edits_after(&call.last, call.close, start, args)
    }

    /// Adds items after the piece `last`, before the bracket at `close`: each on a line of its own, indented as what begins at
    /// `model`, if the bracket stands on one.
    fn edits_after(&self, last: &Token, close: usize, model: usize, items: &[String]) -> Vec<Edit> {
        if items.is_empty() {
            return Vec::new();
        }
        let comma = self.piece(last) == ",";
        let end = last.range.end;
        if !self.text[end..close].contains('\n') {
            let items = items.join(", ");
            let text = if comma { format!(" {items},") } else { format!(", {items}") };
            return vec![Edit { at: end, text }];
        }
        let indent = self.indent(model);
        let lines = items.iter().map(|item| format!("\n{indent}{item},"));
        // A comment behind the last piece stays with it.
        let line_end = end + scan::line_rest(&self.text[end..]);
        let separator = if comma { "" } else { "," };
        vec![Edit { at: end, text: separator.to_owned() }, Edit { at: line_end, text: lines.collect() }]
    }

    fn piece(&self, token: &Token) -> &'a str {
        &self.text[token.range.clone()]
    }

    /// The blanks in front of the line something stands on.
    fn indent(&self, at: usize) -> &'a str {
        let line = self.text[..at].rfind('\n').map_or(0, |feed| feed + 1);
        let rest = &self.text[line..at];
        &rest[..rest.len() - rest.trim_start().len()]
    }

    /// The text with the insertions made.
    fn edited(&self, mut edits: Vec<Edit>) -> String {
        edits.sort_by_key(|edit| edit.at);
        let mut text = self.text.to_owned();
        // From the end, so that the places of the others stay true.
        edits.iter().rev().for_each(|edit| text.insert_str(edit.at, &edit.text));
        text
    }
}

/// An insertion: nothing a user wrote is ever taken away.
struct Edit {
    at: usize,
    text: String,
}

/// What stands between the brackets of a value that is one list and nothing else.
fn list(value: &[Token]) -> Option<&[Token]> {
    let whole = value.first()?.kind == Kind::Open && scan::close_of(value, 0) == Some(value.len() - 1);
    whole.then(|| &value[1..value.len() - 1])
}

/// The text with a new program at its end.
pub(super) fn with_program(text: &str, name: &str, ty: &str) -> String {
    let gap = match text {
        "" => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    format!("{text}{gap}bpf_program(\n    name = \"{name}\",\n    srcs = [\"{name}.c\"],\n    type = \"{ty}\",\n)\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jump(text: &str) -> Option<String> {
        BuildFile::read(text)?.with_jump("a", "new", Some("pass"))
    }

    #[test]
    fn comments_and_layout_are_kept() {
        let text = "# top\nbpf_program(\n    name = \"a\",  # the entry\n    jumps = [\n        \":x\"  # first\n    ],  # end\n    \
                    on_miss = \"drop\"\n)\n# bottom";
        let expected = "# top\nbpf_program(\n    name = \"a\",  # the entry\n    jumps = [\n        \":x\",  # first\n        \
                        \":new\",\n    ],  # end\n    on_miss = \"drop\"\n)\n# bottom";
        assert_eq!(jump(text).as_deref(), Some(expected));
    }

    #[test]
    fn missing_attributes_are_added_in_the_style_of_the_call() {
        let many = jump("bpf_program(\n\tname = \"a\",\n\tsrcs = [\"a.c\"] # c\n)\n").unwrap();
        assert_eq!(
            many,
            "bpf_program(\n\tname = \"a\",\n\tsrcs = [\"a.c\"], # c\n\tjumps = [\":new\"],\n\ton_miss = \"pass\",\n)\n"
        );
        let one = jump("bpf_program(name = \"a\", srcs = [\"a.c\"])").unwrap();
        assert_eq!(one, "bpf_program(name = \"a\", srcs = [\"a.c\"], jumps = [\":new\"], on_miss = \"pass\")");
    }

    #[test]
    fn lists_of_every_form_take_another_item() {
        let list = |list: &str| {
            let text = jump(&format!("bpf_program(name = \"a\", on_miss = 1, jumps = {list})")).unwrap();
            text.split_once("jumps = ").unwrap().1.trim_end_matches(')').to_owned()
        };
        assert_eq!(list("[]"), "[\":new\"]");
        assert_eq!(list("[\":x\"]"), "[\":x\", \":new\"]");
        assert_eq!(list("[\":x\",]"), "[\":x\", \":new\",]");
        assert_eq!(list("[jump(\":x\", loop = 4)]"), "[jump(\":x\", loop = 4), \":new\"]");
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        for value in
            ["JUMPS", "JUMPS + [\":x\"]", "[\":x\"] + JUMPS", "[x for x in y]", "[\":x\" if y else \":z\"]", "[X]", "f([\":x\"])"]
        {
            assert_eq!(jump(&format!("bpf_program(name = \"a\", jumps = {value})")), None, "{value}");
        }
        for text in [
            "",
            "other(name = \"a\")",
            "x = bpf_program(name = \"a\")",
            "if x:\n    bpf_program(name = \"a\")",
            "bpf_program(name = \"a\"",
        ] {
            assert_eq!(jump(text), None, "{text}");
        }
    }

    #[test]
    fn programs_are_read_and_added() {
        let text = with_program("# mine\n", "b", "tc");
        assert_eq!(text, "# mine\n\nbpf_program(\n    name = \"b\",\n    srcs = [\"b.c\"],\n    type = \"tc\",\n)\n");
        let file = BuildFile::read(&text).unwrap();
        let program = file.program("b").unwrap();
        assert_eq!((program.ty, program.source, file.names()), (Some("tc"), Some("b.c"), vec!["b"]));
    }
}
