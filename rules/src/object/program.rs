//! Which function of an object is the program, and whether the kernel and the BUILD file will have it.
//!
//! Knows sections and names, not what the code does.

use super::Expected;
use super::decoded::Decoded;
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::hook;
use crate::manifest::KERNEL_NAME;

/// Prefixes that mean the same to libbpf.
const ALIASES: &[(&str, &str)] = &[("classifier", "tc"), ("tp", "tracepoint"), ("raw_tp", "raw_tracepoint")];

/// The number of the function that is the program, or is meant to be: one of another type is a finding, and yet looked into.
pub(super) fn find(decoded: &Decoded<'_>, expected: &Expected, findings: &mut Vec<Diagnostic>) -> Option<usize> {
    let programs = decoded.programs();
    if is_of_table(&expected.ty) {
        return in_table(decoded, expected, &programs, findings);
    }
    let (right, wrong): (Vec<usize>, Vec<usize>) =
        programs.iter().partition(|function| is_of_type(decoded.section_of(**function), &expected.ty));
    let found = match (&expected.function, &right[..], &wrong[..]) {
        (Some(name), ..) => named(decoded, expected, name, &programs),
        (None, [program], _) | (None, [], [program]) => Ok(*program),
        (None, [], _) => Err(none(decoded, expected, &wrong)),
        (None, ..) => Err(several(decoded, expected, &right)),
    };
    let program = found.map_err(|finding| findings.push(finding)).ok()?;
    for other in wrong {
        findings.push(if other == program {
            of_wrong_type(decoded, expected, other)
        } else {
            of_another_type(decoded, expected, program, other)
        });
    }
    findings.extend(name_finding(decoded, program));
    Some(program)
}

/// Whether a section is for functions of tables for the kernel.
pub(super) fn is_of_table(section: &str) -> bool {
    hook::find(section).is_some_and(|hook| hook.prog_type == "struct_ops")
}

/// Functions of tables come together: the one named stands for all, by default the first.
fn in_table(decoded: &Decoded<'_>, expected: &Expected, programs: &[usize], findings: &mut Vec<Diagnostic>) -> Option<usize> {
    let (right, wrong): (Vec<usize>, Vec<usize>) =
        programs.iter().partition(|function| is_of_table(decoded.section_of(**function)));
    let named_by_type = || right.iter().find(|function| decoded.section_of(**function) == expected.ty).or(right.first());
    let found = match &expected.function {
        Some(name) => named(decoded, expected, name, &right),
        None => named_by_type().copied().ok_or_else(|| none(decoded, expected, &wrong)),
    };
    let program = found.map_err(|finding| findings.push(finding)).ok()?;
    findings.extend(wrong.into_iter().map(|other| of_another_type(decoded, expected, program, other)));
    findings.extend(right.into_iter().filter_map(|function| name_finding(decoded, function)));
    Some(program)
}

/// The license string.
pub(super) fn license(decoded: &Decoded<'_>, expected: &Expected) -> Result<String, Diagnostic> {
    let data = decoded.image.section("license").map(|section| section.data).unwrap_or_default();
    let text = data.split(|byte| *byte == 0).next().unwrap_or_default();
    match String::from_utf8_lossy(text) {
        text if text.is_empty() => Err(Diagnostic::bare(format!("`{}` has no license", expected.label))
            .note("the kernel lets only programs under a license compatible with the GPL call many of its helpers")
            .help("write `char _license[] SEC(\"license\") = \"GPL\";` into the source")),
        text => Ok(text.into_owned()),
    }
}

/// Whether `SEC(section)` makes a program of the declared type: libbpf lets a suffix follow types that attach to nothing by name.
fn is_of_type(section: &str, ty: &str) -> bool {
    let (section, ty) = (canonical(section), canonical(ty));
    if section == ty {
        return true;
    }
    let (Some(found), Some(declared)) = (hook::find(&section), hook::find(&ty)) else { return false };
    !declared.takes_name && found.prefix == declared.prefix && !section.starts_with('?')
}

fn canonical(section: &str) -> String {
    let (prefix, rest) = section.split_at(section.find('/').unwrap_or(section.len()));
    let known = ALIASES.iter().find(|(alias, _)| *alias == prefix);
    known.map_or_else(|| section.to_owned(), |(_, name)| format!("{name}{rest}"))
}

/// The function the BUILD file names.
fn named(decoded: &Decoded<'_>, expected: &Expected, name: &str, programs: &[usize]) -> Result<usize, Diagnostic> {
    let found = programs.iter().find(|function| decoded.function(**function).name == name);
    found.copied().ok_or_else(|| {
        let names = programs.iter().map(|function| decoded.function(*function).name);
        Diagnostic::bare(format!("the sources of `{}` hold no program `{name}`", expected.label))
            .help(sec(expected))
            .maybe_help(did_you_mean(name, names))
    })
}

fn none(decoded: &Decoded<'_>, expected: &Expected, others: &[usize]) -> Diagnostic {
    let finding =
        Diagnostic::bare(format!("the sources of `{}` hold no `{}` program", expected.label, expected.ty)).help(sec(expected));
    others.iter().fold(finding, |finding, other| {
        finding.note(format!("`{}` is in section `{}`", decoded.function(*other).name, decoded.section_of(*other)))
    })
}

fn sec(expected: &Expected) -> String {
    format!("write `SEC(\"{}\")` before the function, which must not be static", expected.ty)
}

fn several(decoded: &Decoded<'_>, expected: &Expected, right: &[usize]) -> Diagnostic {
    let names: Vec<&str> = right.iter().map(|function| decoded.function(*function).name).collect();
    let message =
        format!("the sources of `{}` hold several `{}` programs: `{}`", expected.label, expected.ty, names.join("`, `"));
    let mut finding = Diagnostic::bare(message).help(format!("name the one that is meant: `function = \"{}\"`", names[0]));
    for function in right {
        if let Some(span) = decoded.span(*function, decoded.function(*function).start) {
            finding = finding.related(&span, format!("`{}` is one", decoded.function(*function).name));
        }
    }
    finding
}

fn of_wrong_type(decoded: &Decoded<'_>, expected: &Expected, function: usize) -> Diagnostic {
    let (name, section) = (decoded.function(function).name, decoded.section_of(function));
    let message = format!("`{name}` is in section `{section}`, but `{}` is declared as `{}`", expected.label, expected.ty);
    decoded.function_finding(function, message).help(match hook::find(section) {
        Some(_) => format!("write `SEC(\"{}\")`, or `type = \"{section}\"` in the BUILD file", expected.ty),
        None => format!("write `SEC(\"{}\")`", expected.ty),
    })
}

fn of_another_type(decoded: &Decoded<'_>, expected: &Expected, program: usize, other: usize) -> Diagnostic {
    let (name, section) = (decoded.function(other).name, decoded.section_of(other));
    let program = decoded.function(program).name;
    decoded
        .function_finding(
            other,
            format!("`{name}` in section `{section}` is a second program beside `{program}`, of another type"),
        )
        .note(format!("`{}` is one program of type `{}`", expected.label, expected.ty))
        .help(format!("move `{name}` to a source and a `bpf_program` of its own"))
}

fn name_finding(decoded: &Decoded<'_>, program: usize) -> Option<Diagnostic> {
    let name = decoded.function(program).name;
    (name.len() > KERNEL_NAME).then(|| {
        decoded
            .function_finding(
                program,
                format!("function name `{name}` has {} characters; the kernel keeps {KERNEL_NAME}", name.len()),
            )
            .help("choose a shorter name, or the program cannot be told from others")
    })
}
