//! Dependency files: what a compiler says it read, in the syntax of make.
//!
//! Knows nothing of which of these files were allowed.

use std::path::Path;

/// The prerequisites of the only rule in `text`, as written.
pub(super) fn parse(text: &str) -> Vec<String> {
    let mut words = words(text).into_iter();
    // The target is the output; its colon ends a word, which a colon inside a name does not.
    words.by_ref().find(|word| word.ends_with(':'));
    words.collect()
}

/// Splits at white space. A backslash hides a line's end, a space or a `#`; `$$` is a dollar sign; other backslashes are
/// part of names.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        let word = words.last_mut().expect("BUG: there is always a word");
        match (c, next) {
            ('\\', Some(' ' | '#')) | ('$', Some('$')) => word.extend(chars.next()),
            ('\\', Some('\n' | '\r')) | (' ' | '\t' | '\n' | '\r', _) => words.push(String::new()),
            _ => word.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A path as the rest of the engine writes it: from the root, without `.` and `..`, when it lies in the workspace, else
/// absolute. `root` must be canonical.
///
/// A `..` behind a link leads elsewhere than the text says, so such paths are looked up.
pub(super) fn normalise(root: &Path, path: &str) -> String {
    let absolute = if path.split('/').any(|part| part == "..") { resolve(root, path) } else { None };
    let path = absolute.as_deref().unwrap_or(path);
    let inside = Path::new(path).strip_prefix(root).unwrap_or(Path::new(path));
    let mut plain = if inside.is_absolute() { "/".to_owned() } else { String::new() };
    for part in inside.to_string_lossy().split('/').filter(|part| !matches!(*part, "" | ".")) {
        if !plain.is_empty() && !plain.ends_with('/') {
            plain.push('/');
        }
        plain.push_str(part);
    }
    plain
}

/// The folder part with all links followed; the last part as it is.
fn resolve(root: &Path, path: &str) -> Option<String> {
    let full = root.join(path);
    let folder = full.parent()?.canonicalize().ok()?;
    Some(folder.join(full.file_name()?).to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clang_writes_is_read() {
        let text = "ouro-out/a.o: fw/a.c ./fw/a.h \\\n  /usr/include/linux/bpf.h \\\n  fw/with\\ space.h fw/\\#1$$.h\n";
        let expected = ["fw/a.c", "./fw/a.h", "/usr/include/linux/bpf.h", "fw/with space.h", "fw/#1$.h"];
        assert_eq!(parse(text), expected);
        assert_eq!(parse("c:d.o: x:y.h"), ["x:y.h"]);
        assert!(parse("").is_empty() && parse("a.o:\n").is_empty());
    }

    #[test]
    fn one_file_has_one_name() {
        let dir = tempfile::TempDir::new().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("fw/deep")).unwrap();
        std::fs::create_dir_all(root.join("other")).unwrap();
        std::os::unix::fs::symlink("../other", root.join("fw/link")).unwrap();
        let normal = |path: &str| normalise(&root, path);
        for same in ["fw/x.h", "./fw/./x.h", "fw//x.h", "fw/../fw/x.h", "fw/deep/../x.h", &format!("{}/fw/x.h", root.display())] {
            assert_eq!(normal(same), "fw/x.h", "{same}");
        }
        assert_eq!(normal("fw/link/../x.h"), "x.h");
        assert_eq!(normal("/usr/include/./linux/bpf.h"), "/usr/include/linux/bpf.h");
        assert_eq!(normal("/usr/include/../include/stdio.h"), "/usr/include/stdio.h");
    }
}
