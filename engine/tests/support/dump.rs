//! What a load makes, as text that can be compared.

use std::fmt::Write;

use ouro_engine::load::Loaded;
use ouro_rules::select::{Branch, Part};
use ouro_rules::target::Visibility;
use ouro_rules::{Span, Spanned, Target, Value};

use super::comments;

/// Everything a load makes. Places are shown where they differ from the call's.
pub fn loaded(loaded: &Loaded) -> String {
    let mut text = String::new();
    for target in loaded.packages.values().flat_map(|package| package.targets.values()) {
        text += &self::target(target);
    }
    let lines =
        |title: &str, lines: Vec<String>| lines.iter().fold(format!("{title}:\n"), |text, line| text + &format!("  {line}\n"));
    text += &lines("requested", loaded.requested.iter().map(ToString::to_string).collect());
    text += &lines("files", loaded.reads.files.iter().map(ToString::to_string).collect());
    text += &lines("folders", loaded.reads.folders.iter().map(|folder| format!("`{folder}`")).collect());
    text += &lines("absent", loaded.reads.absent.iter().map(ToString::to_string).collect());
    text += &lines("warnings", loaded.warnings.iter().map(|finding| comments::show(finding).trim_end().to_owned()).collect());
    text
}

/// One target.
pub fn target(target: &Target) -> String {
    let mut text = format!("{} = {} at {}:{}\n", target.label, target.rule, target.span.file, place(&target.span));
    for call in &target.macro_trace {
        let _ = writeln!(text, "  through {}:{}", call.file, place(call));
    }
    match &target.visibility {
        Visibility::Private => {}
        Visibility::Public => text += "  visible to all\n",
        Visibility::Packages(scopes) | Visibility::Groups(scopes, _) => {
            let groups = target.visibility.groups().iter().map(|(label, span)| format!(" {label}@{}", place(span)));
            let scopes = scopes.iter().map(|scope| format!(" //{}{}", scope.package, if scope.below { "/..." } else { "" }));
            let _ = writeln!(text, "  visible to{}", scopes.chain(groups).collect::<String>());
        }
    }
    for (name, attr) in &target.attrs {
        let _ = writeln!(text, "  {name} = {}", value(attr, &target.span));
    }
    text + "\n"
}

fn value(attr: &Spanned, call: &Span) -> String {
    let inner = |attr: &Spanned| value(attr, call);
    let text = match &attr.value {
        Value::None => "None".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Str(text) => format!("{text:?}"),
        Value::Label(label) => label.to_string(),
        Value::List(items) => format!("[{}]", items.iter().map(inner).collect::<Vec<_>>().join(", ")),
        Value::Dict(entries) => {
            format!(
                "{{{}}}",
                entries.iter().map(|(key, value)| format!("{}: {}", inner(key), inner(value))).collect::<Vec<_>>().join(", ")
            )
        }
        Value::Record(record) => {
            let fields = record.fields.iter().map(|(name, field)| format!("{name} = {}", inner(field)));
            format!("{}({})", record.kind, fields.collect::<Vec<_>>().join(", "))
        }
        Value::Select(select) => select.parts.iter().map(|part| self::part(part, call)).collect::<Vec<_>>().join(" + "),
    };
    if attr.span == *call { text } else { format!("{text}@{}", place(&attr.span)) }
}

fn part(part: &Part, call: &Span) -> String {
    let choice = match part {
        Part::Plain(plain) => return value(plain, call),
        Part::Choice(choice) => choice,
    };
    let branch = |branch: &Branch| format!("{}@{}: {}", branch.condition, place(&branch.span), value(&branch.value, call));
    let branches = choice.branches.iter().map(branch);
    let default = choice.default.iter().map(|default| format!("default: {}", value(default, call)));
    let error = if choice.no_match_error.is_empty() { String::new() } else { format!(", {:?}", choice.no_match_error) };
    let all: Vec<String> = branches.chain(default).collect();
    format!("select({{{}}}{error})@{}:{}", all.join(", "), choice.span.file, place(&choice.span))
}

fn place(span: &Span) -> String {
    match span.end_line == span.line {
        true => format!("{}:{}-{}", span.line, span.column, span.end_column),
        false => format!("{}:{}-{}:{}", span.line, span.column, span.end_line, span.end_column),
    }
}
