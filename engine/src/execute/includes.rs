//! What a C file asks to be included, and where a compiler looks for it, read from text.
//!
//! Where arguments name folders in a way that is not understood, that is told, too.
//!
//! Touches no file, and is no preprocessor: of names behind conditions it tells, too. Whoever asks knows which were really read.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use ouro_rules::Tool;

/// How a name is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum How {
    /// The first one found is read: `#include`, `#embed`.
    First,
    /// The one after where this file was found: `#include_next`.
    Next,
    /// Whether there is one: `__has_include`.
    Whether,
}

/// A name that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Include {
    pub(super) name: String,
    /// Whether it is looked for beside the file first.
    pub(super) quoted: bool,
    pub(super) how: How,
}

/// What a file asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Sorted, each once.
    pub(super) includes: Vec<Include>,
    /// The macros that names come out of, sorted, each once.
    pub(super) macros: Vec<Macro>,
    /// What macros stand for.
    pub(super) definitions: Definitions,
    /// Whether it may have the assembler read files.
    pub(super) assembles: bool,
    /// Names of such files, as far as they are written out.
    pub(super) assembled: Vec<String>,
}

/// A macro, by a hash of its name: there are many, and another one with the same hash only means that more is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Macro(u64);

impl Macro {
    /// What is asked for by more than one plain word: no macro that anybody defines.
    const EXPRESSION: Macro = Macro(0);

    /// What compilers define as texts.
    const OF_COMPILER: [&str; 7] =
        ["__FILE__", "__BASE_FILE__", "__FILE_NAME__", "__VERSION__", "__DATE__", "__TIME__", "__TIMESTAMP__"];

    fn named(name: &str) -> Macro {
        Macro(foldhash::fast::FixedState::default().hash_one(name))
    }

    /// Whether it may stand for a name though nobody defines it.
    fn is_of_compiler(self) -> bool {
        self == Macro::EXPRESSION || Macro::OF_COMPILER.iter().any(|name| Macro::named(name) == self)
    }
}

/// Definitions of macros.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Definitions {
    /// Each with the name that it is, in quotes or angle brackets; none when it is anything else.
    all: Vec<(Macro, Option<String>)>,
    /// Whatever is in quotes or angle brackets.
    texts: Vec<String>,
}

impl Definitions {
    /// Takes what follows `#define` or `-D`, the latter with a space for its `=`.
    fn take(&mut self, rest: &str) {
        let line = line(rest);
        let (word, body) = word(skip(line));
        let body = body.trim();
        let is = name(body).filter(|(name, _)| name.len() + 2 == body.len()).map(|(name, _)| name.to_owned());
        self.all.push((Macro::named(word), is));
        self.texts.extend(texts(line));
    }

    /// The names that a macro is defined as: of one that nobody defines there are none. Nothing when it is anything else somewhere.
    pub(super) fn names<'a>(all: &[&'a Definitions], wanted: Macro) -> Option<Vec<&'a str>> {
        let own = all.iter().flat_map(|some| &some.all).filter(|(name, _)| *name == wanted);
        own.map(|(_, is)| is.as_deref()).collect::<Option<_>>().filter(|_| !wanted.is_of_compiler())
    }

    /// Whatever is in quotes or angle brackets.
    pub(super) fn texts(&self) -> &[String] {
        &self.texts
    }
}

/// The words that ask, behind `#`.
const DIRECTIVES: [(&str, How); 4] =
    [("include", How::First), ("include_next", How::Next), ("import", How::First), ("embed", How::First)];

/// The words that ask anywhere.
const QUESTIONS: [&str; 3] = ["__has_include", "__has_include_next", "__has_embed"];

/// The words that have the assembler read a file, in texts of `asm`.
const ASSEMBLY: [&str; 2] = [".incbin", ".include"];

/// Reads a file's text.
pub(super) fn asked(text: &[u8]) -> Asked {
    let text = String::from_utf8_lossy(text);
    let mut asked = Asked::default();
    // One character is looked for many times faster than one of two.
    for (at, mark) in text.match_indices('#').chain(text.match_indices("%:")) {
        let (word, rest) = word(skip(&text[at + mark.len()..]));
        if let Some((_, how)) = DIRECTIVES.iter().find(|(directive, _)| *directive == word) {
            asked.take(skip(rest), *how);
        } else if word == "define" {
            asked.definitions.take(rest);
        }
    }
    for (at, _) in text.match_indices("__has_") {
        let (word, rest) = word(&text[at..]);
        if QUESTIONS.contains(&word)
            && let Some(rest) = skip(rest).strip_prefix('(')
        {
            asked.take(skip(rest), How::Whether);
        }
    }
    for (at, word) in ASSEMBLY.iter().flat_map(|word| text.match_indices(word)) {
        asked.assembles = true;
        asked.assembled.extend(assembled(&text[at + word.len()..]));
    }
    asked.includes.sort_unstable();
    asked.includes.dedup();
    asked.macros.sort_unstable();
    asked.macros.dedup();
    asked
}

impl Asked {
    fn take(&mut self, rest: &str, how: How) {
        match name(rest) {
            Some((name, quoted)) => self.includes.push(Include { name: name.to_owned(), quoted, how }),
            None => self.macros.push(alone(line(rest)).map_or(Macro::EXPRESSION, Macro::named)),
        }
    }
}

/// A name in quotes or angle brackets.
fn name(text: &str) -> Option<(&str, bool)> {
    let (rest, end) = match text.as_bytes().first()? {
        b'"' => (&text[1..], '"'),
        b'<' => (&text[1..], '>'),
        _ => return None,
    };
    let (name, _) = rest.split_once(end)?;
    (!name.is_empty() && !name.contains('\n')).then_some((name, end == '"'))
}

/// The only word of a line, but for the bracket that ends a question.
fn alone(line: &str) -> Option<&str> {
    let (word, rest) = word(line);
    (!word.is_empty() && rest.trim_start().strip_prefix(')').map_or(rest.trim().is_empty(), |_| true)).then_some(word)
}

/// The same in a text, where quotes are written with a backslash.
fn assembled(rest: &str) -> Option<String> {
    let rest = rest.trim_start_matches([' ', '\t', '\\']).strip_prefix('"')?;
    let (name, _) = rest.split_once(['"', '\\'])?;
    (!name.is_empty() && !name.contains('\n')).then(|| name.to_owned())
}

/// The rest of the line; a backslash hides a line's end.
fn line(rest: &str) -> &str {
    let ends = rest.match_indices('\n').find(|(end, _)| !rest[..*end].trim_end_matches('\r').ends_with('\\'));
    ends.map_or(rest, |(end, _)| &rest[..end])
}

/// Every such name in a line.
fn texts(line: &str) -> Vec<String> {
    line.match_indices(['"', '<']).filter_map(|(at, _)| name(&line[at..])).map(|(name, _)| name.to_owned()).collect()
}

/// The identifier at the beginning, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}

/// What follows white space, comments and hidden line ends.
fn skip(mut text: &str) -> &str {
    loop {
        let rest = text.trim_start_matches([' ', '\t', '\u{b}', '\u{c}']);
        let rest = rest.strip_prefix("\\\n").or_else(|| rest.strip_prefix("\\\r\n")).unwrap_or(rest);
        let rest = match rest.strip_prefix("/*") {
            Some(comment) => comment.split_once("*/").map_or("", |(_, after)| after),
            None => rest,
        };
        if rest.len() == text.len() {
            return rest;
        }
        text = rest;
    }
}

/// Where a compiler looks, by its arguments: folders as they are given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SearchPath {
    /// For names in quotes only, after the folder of the file that asks.
    pub(super) quoted: Vec<String>,
    /// For all names, after those.
    pub(super) all: Vec<String>,
    /// What is included before the source is read.
    pub(super) first: Vec<String>,
    /// Macros that are given as arguments.
    pub(super) definitions: Definitions,
}

/// Where compilers for this system look by themselves. What lies in the compiler's own folder is a part of the compiler.
const STANDARD: [&str; 2] = ["/usr/local/include", "/usr/include"];

/// How arguments begin that may change where is looked, or what for.
const SUSPECT: [&str; 19] = [
    "-i",
    "--",
    "-X",
    "-Wp,",
    "-Wa,",
    "-F",
    "-B",
    "-cxx",
    "-embed",
    "-working",
    "-fmodule",
    "-fimplicit-module",
    "-fprebuilt",
    "-resource",
    "-remap",
    "-stdlib",
    "-gcc",
    "-x",
    "@",
];

/// Those among them that are understood, or change nothing of that.
const UNDERSTOOD: [&str; 9] = [
    "-iquote",
    "-isystem",
    "-idirafter",
    "-include",
    "-imacros",
    "--include-directory=",
    "--no-default-config",
    "--target=",
    "-xc",
];

/// And those among these that are not.
const STRANGE: [&str; 3] = ["-isystem-after", "-include-pch", "-xc+"];

/// Whether a tool's arguments say all of where it looks: it is a compiler, is told nothing else by variables, and there is no argument
/// that [`search_path`] does not understand.
pub(super) fn is_understood<'a>(tool: &Tool, mut args: impl Iterator<Item = &'a str>, env: &BTreeMap<String, String>) -> bool {
    let is_compiler = match tool {
        Tool::Clang => true,
        Tool::Program(name) => name.contains("clang") || name.contains("gcc"),
        Tool::LlvmLink | Tool::Shell | Tool::File(_) => false,
    };
    is_compiler && env.is_empty() && args.all(is_plain)
}

fn is_plain(arg: &str) -> bool {
    let begins = |list: &[&str]| list.iter().any(|prefix| arg.starts_with(prefix));
    !begins(&SUSPECT) || arg == "--include-directory" || (begins(&UNDERSTOOD) && !begins(&STRANGE))
}

/// Reads a compiler's arguments.
pub(super) fn search_path<'a>(mut args: impl Iterator<Item = &'a str>) -> SearchPath {
    let mut path = SearchPath::default();
    let (mut system, mut after, mut standard) = (Vec::new(), Vec::new(), true);
    while let Some(arg) = args.next() {
        let mut value = |flags: &[&str]| {
            let rest = flags.iter().find_map(|flag| arg.strip_prefix(flag))?;
            Some(if rest.is_empty() { args.next()? } else { rest }.to_owned())
        };
        if let Some(folder) = value(&["-iquote"]) {
            path.quoted.push(folder);
        } else if let Some(folder) = value(&["-isystem"]) {
            system.push(folder);
        } else if let Some(folder) = value(&["-idirafter"]) {
            after.push(folder);
        } else if let Some(file) = value(&["-include", "-imacros"]) {
            path.first.push(file);
        } else if let Some(folder) = value(&["-I", "--include-directory=", "--include-directory"]) {
            path.all.push(folder);
        } else if let Some(definition) = value(&["-D"]) {
            path.definitions.take(&definition.replacen('=', " ", 1));
        }
        standard &= !matches!(arg, "-nostdinc" | "-nostdlibinc");
    }
    path.all.extend(system);
    path.all.extend(STANDARD.iter().filter(|_| standard).map(|folder| (*folder).to_owned()));
    path.all.extend(after);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let show = |include: &Include| {
            let Include { name, quoted, how } = include;
            let name = if *quoted { format!("\"{name}\"") } else { format!("<{name}>") };
            match how {
                How::First => name,
                How::Next => format!("next {name}"),
                How::Whether => format!("{name}?"),
            }
        };
        let mut names: Vec<String> = asked(text.as_bytes()).includes.iter().map(show).collect();
        names.sort();
        names
    }

    #[test]
    fn every_way_to_ask_is_read() {
        let text = "#include \"a.h\"\n  #  include <b/c.h>\n#include/* why */\"d.h\" // e\n#include \\\n\"f.h\"\n#include_next <g.h>\n\
            #if defined(__has_include) && __has_include(\"h.h\")\n#elif __has_include ( <i.h> )\n#endif\n%:include <j.h>\n#embed \"k.bin\"\n";
        assert_eq!(
            names(text),
            ["\"a.h\"", "\"d.h\"", "\"f.h\"", "\"h.h\"?", "\"k.bin\"", "<b/c.h>", "<i.h>?", "<j.h>", "next <g.h>"]
        );
        assert!(asked(text.as_bytes()).macros.is_empty());
        assert_eq!(names("#include \"unended\n#includes \"a.h\"\nint include;\n#include"), [""; 0]);
    }

    /// What the first name of the first text that comes out of a macro may be.
    fn out_of_macros(texts: &[&str]) -> Vec<String> {
        let all: Vec<Asked> = texts.iter().map(|text| asked(text.as_bytes())).collect();
        let definitions: Vec<&Definitions> = all.iter().map(|asked| &asked.definitions).collect();
        let texts = || definitions.iter().flat_map(|some| some.texts()).map(String::as_str).collect();
        Definitions::names(&definitions, all[0].macros[0]).unwrap_or_else(texts).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn names_out_of_macros_are_told() {
        let other = "#define OTHER \\\n  <b.h>\n#define NOT 1 < 2\n# define  TEXT x \"c.h\"\n";
        assert_eq!(out_of_macros(&["#include HEADER\n#define HEADER \"a.h\"\n", other]), ["a.h"]);
        assert_eq!(out_of_macros(&["#if __has_include(HEADER) || 1\n", "#define HEADER  <a.h> \r\n", other]), ["a.h"]);
        let both = "#ifdef A\n#define HEADER \"a.h\"\n#else\n#define HEADER \"d.h\"\n#endif\n";
        assert_eq!(out_of_macros(&["#include HEADER\n", both, other]), ["a.h", "d.h"]);
        assert_eq!(out_of_macros(&["#ifdef HEADER\n#include HEADER\n#endif\n", other]), [""; 0], "nobody defines it");
        assert!(out_of_macros(&["#include __FILE__\n", other]).contains(&"b.h".to_owned()), "the compiler does");
        for unclear in ["#define HEADER(x) \"a.h\"\n", "#define HEADER TEXT\n", "#define HEADER \"a.h\" TEXT\n"] {
            let names = out_of_macros(&["#include HEADER\n", unclear, other]);
            assert!(names.contains(&"b.h".to_owned()) && names.contains(&"c.h".to_owned()), "{unclear}: {names:?}");
        }
        assert_eq!(out_of_macros(&["#include HEADER(x)\n", both, other]), ["a.h", "d.h", "b.h", "c.h"]);
        assert_eq!(search_path(["-DH=\"x.h\""].into_iter()).definitions.all, [(Macro::named("H"), Some("x.h".to_owned()))]);
    }

    #[test]
    fn what_the_assembler_reads_is_told() {
        let text = "asm(\".incbin \\\"fw/a.bin\\\"\");\nasm(R\"(.include \"b.inc\")\");\n#define BIN(x) \".incbin \" #x\n";
        let asked = asked(text.as_bytes());
        assert!(asked.assembles);
        assert_eq!(asked.assembled, ["fw/a.bin", "b.inc"]);
        assert!(!super::asked(b"#include <a.h>\nint incbin;\n").assembles);
    }

    #[test]
    fn what_is_not_understood_is_told() {
        let understood = |tool: &Tool, arg: &str, variable: &str| {
            let env = variable.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
            is_understood(tool, ["-O2", arg, "a.c"].into_iter(), &env.into_iter().collect())
        };
        for arg in
            ["-Ia", "-I", "-isystem", "-iquotea", "--include-directory", "--include-directory=a", "--no-default-config", "-xc"]
        {
            assert!(understood(&Tool::Clang, arg, ""), "{arg}");
        }
        for arg in ["-isystem-after", "-iwithprefixbefore", "--sysroot=a", "-isysroot", "-Xclang", "-Wp,-Ia", "@args", "-xc++"] {
            assert!(!understood(&Tool::Clang, arg, ""), "{arg}");
        }
        assert!(!understood(&Tool::Clang, "-Ia", "CPATH=a") && !understood(&Tool::Shell, "-Ia", ""));
        assert!(
            understood(&Tool::Program("clang-19".into()), "-Ia", "") && !understood(&Tool::Program("cc.sh".into()), "-Ia", "")
        );
    }

    #[test]
    fn arguments_give_the_order_of_folders() {
        let args = "-c -iquote . --include-directory out -I lib -idirafter/usr/include/arch -isystem sys -include pre.h -DH=\"x.h\" -iquotequote a.c";
        let path = search_path(args.split(' '));
        assert_eq!(path.quoted, [".", "quote"]);
        assert_eq!(path.all, ["out", "lib", "sys", "/usr/local/include", "/usr/include", "/usr/include/arch"]);
        assert_eq!((path.first, path.definitions.texts), (vec!["pre.h".to_owned()], vec!["x.h".to_owned()]));
        assert!(search_path(["-nostdinc"].into_iter()).all.is_empty());
    }
}
