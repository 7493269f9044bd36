//! The mistake of including a kernel's types and the system's headers that declare the same: told in one finding, where compilers
//! print a page.
//!
//! Knows how clang words it, and nothing else of compilers.

use super::HEADER;
use crate::diagnostic::{Diagnostic, Span};

/// The finding, if that is what a compiler of `user`'s sources complains of; `printed` has no colours.
pub fn clash(user: &str, printed: &str) -> Option<Diagnostic> {
    let (mut from, mut error): (Option<&str>, Option<(Option<&str>, &str)>) = (None, None);
    for line in printed.lines() {
        if let Some(place) = line.strip_prefix("In file included from ") {
            // The first of a row is the source.
            from = from.or(place.strip_suffix(':'));
        } else if let Some((place, said)) = line.split_once(": error: ") {
            error = Some((from.take(), file(place))).filter(|_| said.contains("redefinition"));
        } else if let Some((place, _)) = line.split_once(": note: previous definition is here")
            && let Some((from, first)) = error.take()
            && let Some(system) = beside(first, file(place))
        {
            return Some(finding(user, system, from.and_then(span)));
        } else if line.contains(": warning: ") || line.contains(": note: ") {
            from = None;
        }
    }
    None
}

/// The system's header, if the other one is the kernel's.
fn beside<'f>(one: &'f str, other: &'f str) -> Option<&'f str> {
    let is_kernels = |file: &str| file.rsplit('/').next() == Some(HEADER);
    let (system, kernels) = if is_kernels(one) { (other, one) } else { (one, other) };
    (is_kernels(kernels) && system.starts_with('/')).then_some(system)
}

fn finding(user: &str, system: &str, span: Option<Span>) -> Diagnostic {
    let message = format!("`{user}` includes types twice: `{HEADER}` and `{system}` declare the same");
    let finding = Diagnostic { span, ..Diagnostic::bare(message) };
    finding.help(format!(
        "include `{HEADER}` first, and none of the system's `<linux/...>` beside it: it has their types; of their macros \
         (`ETH_P_IP`) define those that are used"
    ))
}

/// `a.h` of `a.h:3:8`.
fn file(place: &str) -> &str {
    place.rsplitn(3, ':').last().unwrap_or(place)
}

/// `fw/p.c:3` as a place.
fn span(place: &str) -> Option<Span> {
    let (file, line) = place.rsplit_once(':')?;
    Some(Span::point(file.strip_prefix("./").unwrap_or(file), line.parse().ok()?, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM_LAST: &str = "In file included from fw/p.c:2:
/usr/include/bpf/a.h:1:2: error: unknown type name 'a'
In file included from fw/p.c:3:
In file included from /usr/include/linux/if_ether.h:25:
/usr/include/linux/posix_types.h:27:3: error: typedef redefinition with different types ('struct a' vs 'struct b')
   27 | } __kernel_fd_set;
ouro-out/x86/fw/p.include/vmlinux.h:3735:3: note: previous definition is here
";
    const SYSTEM_FIRST: &str = "fw/q.c:1:3: warning: something
In file included from fw/q.c:4:
ouro-out/x86/fw/q.include/vmlinux.h:3735:3: error: redefinition of 'ethhdr'
/usr/include/linux/if_ether.h:173:8: note: previous definition is here
";

    #[test]
    fn types_that_are_there_twice_are_told_once_whichever_comes_first() {
        let found = |printed| {
            let finding = clash("//fw:p", printed)?;
            Some((finding.message.split('`').nth(5)?.to_owned(), finding.span.map(|span| format!("{}:{}", span.file, span.line))))
        };
        let (types, ether) = ("/usr/include/linux/posix_types.h", "/usr/include/linux/if_ether.h");
        assert_eq!(found(SYSTEM_LAST), Some((types.to_owned(), Some("fw/p.c:3".to_owned()))));
        assert_eq!(found(SYSTEM_FIRST), Some((ether.to_owned(), Some("fw/q.c:4".to_owned()))));
        let own = SYSTEM_FIRST.replace("/usr/include/linux/", "fw/");
        for other in [own.as_str(), &SYSTEM_LAST.replace("vmlinux.h", "types.h"), &SYSTEM_LAST.replace("error", "warning"), ""] {
            assert_eq!(found(other), None, "{other}");
        }
    }
}
