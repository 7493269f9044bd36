//! What runs a script: the programs its first line names.
//!
//! Reads that line and no more.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use ouro_cache::{Digest, Hasher};

/// As much of a first line as Linux looks at.
const LONGEST: u64 = 256;

/// What tells one interpreter of a script from another: the bytes of all programs that start it. One that is missing shows when the
/// script is started; `bytes` gives those of a file.
pub(super) fn identity(program: &Path, search: &str, bytes: impl Fn(&Arc<str>) -> Option<Digest>) -> io::Result<Option<Digest>> {
    let mut hasher = Hasher::new("ouro interpreter v1");
    let programs = of(program, search)?;
    let count = programs.iter().filter_map(bytes).map(|digest| hasher.field(digest.as_bytes())).count();
    Ok((count > 0).then(|| hasher.finish()))
}

/// The programs that the file's `#!` names, in the order they are started; none when it has no such line. What `env` is to find is
/// looked for in the folders of `search`.
pub(super) fn of(program: &Path, search: &str) -> io::Result<Vec<Arc<str>>> {
    let mut line = Vec::new();
    File::open(program)?.take(LONGEST).read_to_end(&mut line)?;
    let text = String::from_utf8_lossy(&line);
    let Some(line) = text.lines().next().and_then(|line| line.strip_prefix("#!")) else { return Ok(Vec::new()) };
    let mut words = line.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    let found = match first.rsplit('/').next() {
        Some("env") => words.find(|word| !word.starts_with('-') && !word.contains('=')).and_then(|name| find(name, search)),
        _ => None,
    };
    Ok([first.to_owned()].into_iter().chain(found).filter(|path| !path.is_empty()).map(Arc::from).collect())
}

fn find(name: &str, search: &str) -> Option<String> {
    let places = search.split(':').map(|folder| format!("{folder}/{name}"));
    places.into_iter().find(|place| Path::new(place).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreters(text: &str) -> Vec<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        of(file.path(), "/no/such:/bin").unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_first_line_names_what_runs_a_script() {
        assert_eq!(interpreters("#!/bin/sh\necho"), ["/bin/sh"]);
        assert_eq!(interpreters("#! /bin/sh -eu"), ["/bin/sh"]);
        assert_eq!(interpreters("#!/usr/bin/env sh\n"), ["/usr/bin/env", "/bin/sh"]);
        assert_eq!(interpreters("#!/usr/bin/env -S A=1 sh -e\n"), ["/usr/bin/env", "/bin/sh"]);
        assert_eq!(interpreters("#!/usr/bin/env no-such-program\n"), ["/usr/bin/env"]);
    }

    #[test]
    fn what_is_no_script_has_none() {
        for text in ["", "#!", "#!\n/bin/sh", "echo #!/bin/sh", "\x7fELF"] {
            assert!(interpreters(text).is_empty(), "{text}");
        }
    }
}
