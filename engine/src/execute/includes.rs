//! What a C file asks to be included, and where a compiler looks for it, read from text.
//!
//! Where arguments name folders in a way that is not understood, that is told, too.
//!
//! Touches no file, and is no preprocessor: of names behind conditions it tells, too. Whoever asks knows which were really read.

use std::collections::BTreeMap;

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
    /// Whether some name comes out of a macro.
    pub(super) computed: bool,
    /// Texts in quotes or angle brackets of macros: what such a name may be.
    pub(super) texts: Vec<String>,
    /// Whether it may have the assembler read files.
    pub(super) assembles: bool,
    /// Names of such files, as far as they are written out.
    pub(super) assembled: Vec<String>,
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
    for (at, _) in text.match_indices(['#', ':']).filter(|(at, mark)| *mark == "#" || text[..*at].ends_with('%')) {
        let (word, rest) = word(skip(&text[at + 1..]));
        if let Some((_, how)) = DIRECTIVES.iter().find(|(directive, _)| *directive == word) {
            asked.take(skip(rest), *how);
        } else if word == "define" {
            asked.texts.extend(texts(rest));
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
    asked
}

impl Asked {
    fn take(&mut self, rest: &str, how: How) {
        match name(rest) {
            Some((name, quoted)) => self.includes.push(Include { name: name.to_owned(), quoted, how }),
            None => self.computed = true,
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

/// The same in a text, where quotes are written with a backslash.
fn assembled(rest: &str) -> Option<String> {
    let rest = rest.trim_start_matches([' ', '\t', '\\']).strip_prefix('"')?;
    let (name, _) = rest.split_once(['"', '\\'])?;
    (!name.is_empty() && !name.contains('\n')).then(|| name.to_owned())
}

/// Every such name in the rest of the line.
fn texts(rest: &str) -> Vec<String> {
    // A backslash hides the line's end.
    let ends = rest.match_indices('\n').find(|(end, _)| !rest[..*end].trim_end_matches('\r').ends_with('\\'));
    let line = ends.map_or(rest, |(end, _)| &rest[..end]);
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
    /// Names that macros given as arguments may stand for.
    pub(super) texts: Vec<String>,
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
pub(super) fn is_understood(tool: &Tool, args: &[String], env: &BTreeMap<String, String>) -> bool {
    let is_compiler = match tool {
        Tool::Clang => true,
        Tool::Program(name) => name.contains("clang") || name.contains("gcc"),
        Tool::LlvmLink | Tool::Shell | Tool::File(_) => false,
    };
    is_compiler && env.is_empty() && args.iter().all(|arg| is_plain(arg))
}

fn is_plain(arg: &str) -> bool {
    let begins = |list: &[&str]| list.iter().any(|prefix| arg.starts_with(prefix));
    !begins(&SUSPECT) || arg == "--include-directory" || (begins(&UNDERSTOOD) && !begins(&STRANGE))
}

/// Reads a compiler's arguments.
pub(super) fn search_path(args: &[String]) -> SearchPath {
    let mut path = SearchPath::default();
    let (mut system, mut after, mut standard) = (Vec::new(), Vec::new(), true);
    let mut args = args.iter().map(String::as_str);
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
            path.texts.extend(texts(&definition));
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
        assert!(!asked(text.as_bytes()).computed);
        assert_eq!(names("#include \"unended\n#includes \"a.h\"\nint include;\n#include"), [""; 0]);
    }

    #[test]
    fn names_out_of_macros_are_told() {
        let text = "#define HEADER \"a.h\"\n#define OTHER \\\n  <b.h>\n#include HEADER\n#define NOT 1 < 2\n";
        let asked = asked(text.as_bytes());
        assert!(asked.computed && asked.includes.is_empty());
        assert_eq!(asked.texts, ["a.h", "b.h"]);
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
            is_understood(tool, &["-O2", arg, "a.c"].map(str::to_owned), &env.into_iter().collect())
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
        let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        let path = search_path(&args);
        assert_eq!(path.quoted, [".", "quote"]);
        assert_eq!(path.all, ["out", "lib", "sys", "/usr/local/include", "/usr/include", "/usr/include/arch"]);
        assert_eq!((path.first, path.texts), (vec!["pre.h".to_owned()], vec!["x.h".to_owned()]));
        assert!(search_path(&["-nostdinc".to_owned()]).all.is_empty());
    }
}
