//! A program the verifier rejected: the line that says why, the source line it is about, and the whole log.
//!
//! Pure: reads the log's text.

use std::fmt;
use std::io;

use serde::Serialize;

/// A program the verifier rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// The program's name.
    pub program: String,
    /// Why, in the verifier's words; or in ours where it has none.
    pub reason: String,
    /// What to do, where we know.
    pub help: Option<String>,
    /// The source line the verifier stopped at.
    pub place: Option<Place>,
    /// The whole log.
    pub log: String,
}

/// A line of C.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its text.
    pub text: String,
    /// The file, where the kernel tells it (6.9).
    pub file: Option<String>,
    /// The line, with the file.
    pub line: Option<u32>,
}

/// The lines at a log's end that may say why, statistics and states among them.
const LAST_LINES: usize = 8;

impl Rejection {
    /// Reads a log.
    pub(crate) fn new(program: &str, error: &io::Error, log: String) -> Rejection {
        let place = log.lines().rev().find_map(source_line);
        let last = log.lines().rev().map(str::trim).find(|line| !line.is_empty() && !is_statistic(line));
        // The kernel refuses a table owned by programs of another kind after verifying all of the program, and prints nothing.
        let silent = last.is_none_or(is_trace) && error.raw_os_error() == Some(libc::EINVAL);
        let (reason, help) = if silent {
            let help =
                "all programs of a chain must have the same type: `xdp` and `xdp.frags` do not mix, nor `tc` and `tcx/ingress`";
            ("it cannot use the chain's jump table, which belongs to programs of another type".to_owned(), Some(help.to_owned()))
        } else {
            (last.map_or_else(|| error.to_string(), str::to_owned), log.lines().rev().take(LAST_LINES).find_map(help_for))
        };
        Rejection { program: program.to_owned(), reason, help, place: if silent { None } else { place }, log }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kernel's verifier rejected `{}`: {}", self.program, self.reason)?;
        match &self.place {
            Some(Place { text, file: Some(file), line: Some(line) }) => write!(f, "\n  {file}:{line}: {text}"),
            Some(Place { text, .. }) => write!(f, "\n  {text}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Rejection {}

/// `; int x = *p; @ parse.c:12`, or without the place before kernel 6.9.
fn source_line(line: &str) -> Option<Place> {
    let text = line.trim().strip_prefix("; ")?;
    let with_place = text.rsplit_once(" @ ").and_then(|(text, place)| {
        let (file, line) = place.rsplit_once(':')?;
        Some(Place { text: text.trim().to_owned(), file: Some(file.to_owned()), line: Some(line.trim().parse().ok()?) })
    });
    Some(with_place.unwrap_or_else(|| Place { text: text.trim().to_owned(), file: None, line: None }))
}

/// One of the lines at a log's end that say how much there was to do.
pub(crate) fn is_statistic(line: &str) -> bool {
    ["processed ", "verification time ", "stack depth ", "max_states_per_insn ", "cur state:", "old state:"]
        .iter()
        .any(|start| line.starts_with(start))
}

/// An instruction, a source line or a state: what the verifier prints as it goes.
fn is_trace(line: &str) -> bool {
    let number = line.bytes().take_while(u8::is_ascii_digit).count();
    (number > 0 && line[number..].starts_with(':'))
        || [";", "from ", "func#", "mark_precise", "arg#"].iter().any(|start| line.starts_with(start))
}

fn help_for(reason: &str) -> Option<String> {
    let help = [
        ("invalid access to packet", "compare the end of what you read with `ctx->data_end` before reading it"),
        ("R0 !read_ok", "every path of the program must return a verdict"),
        ("program is too large", "split the program: each program of a chain has a budget of its own"),
        (
            "cannot call GPL-restricted function",
            "the object's license must be compatible with the GPL: `char _license[] SEC(\"license\") = \"GPL\";`",
        ),
        ("infinite loop detected", "give the loop a constant bound"),
        // What stands where a relocation found nothing, as aya writes it, and where a weak function is missing, as we do.
        ("unknown#195896080", "the kernel has no such type or member: ask with `bpf_core_field_exists` or its like first"),
        ("unknown#2001", "the kernel has no such function: compare its address with NULL before calling it"),
        ("invalid mem access 'map_value_or_null'", "compare what the lookup returned with NULL before using it"),
    ];
    help.iter().find(|(text, _)| reason.contains(text)).map(|(_, help)| (*help).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(errno: i32, log: &str) -> Rejection {
        Rejection::new("parse", &io::Error::from_raw_os_error(errno), log.to_owned())
    }

    #[test]
    fn the_line_that_says_why_is_found() {
        let log = "0: R1=ctx() R10=fp0\n; return *(__u8 *)data; @ parse.c:12\n0: (61) r1 = *(u32 *)(r1 +0)\n1: (71) r0 = *(u8 *)(r1 +0)\n\
                   invalid access to packet, off=0 size=1, R1(id=0,off=0,r=0)\nR1 offset is outside of the packet\n\
                   verification time 60 usec\nstack depth 0\nprocessed 2 insns (limit 1000000) max_states_per_insn 0\n";
        let found = rejection(libc::EACCES, log);
        assert_eq!(found.reason, "R1 offset is outside of the packet");
        assert_eq!(
            found.place,
            Some(Place { text: "return *(__u8 *)data;".to_owned(), file: Some("parse.c".to_owned()), line: Some(12) })
        );
    }

    #[test]
    fn old_kernels_name_no_file() {
        let found = rejection(libc::EINVAL, "; return x;\n1: (95) exit\nR0 !read_ok\nprocessed 2 insns\n");
        assert_eq!(found.reason, "R0 !read_ok");
        assert!(found.help.is_some());
        assert_eq!(found.place, Some(Place { text: "return x;".to_owned(), file: None, line: None }));
    }

    #[test]
    fn an_endless_loop_is_called_so() {
        let log = "; while (1) @ parse.c:9\n2: (05) goto pc-1\ninfinite loop detected at insn 2\n\
                   cur state: R1=ctx() R10=fp0\nold state: R1=ctx() R10=fp0\nprocessed 4 insns (limit 1000000)\n";
        let found = rejection(libc::EINVAL, log);
        assert_eq!(found.reason, "infinite loop detected at insn 2");
        assert_eq!(found.help.as_deref(), Some("give the loop a constant bound"));
    }

    #[test]
    fn a_log_without_an_error_means_a_foreign_table() {
        let found = rejection(libc::EINVAL, "0: (b7) r0 = 2\n1: (95) exit\nprocessed 5 insns (limit 1000000)\n");
        assert!(found.reason.contains("another type"), "{found}");
        assert_eq!(found.place, None);
    }
}
