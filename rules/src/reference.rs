//! The reference of the BUILD language, written from the rule table itself, so that it cannot be out of date.
//!
//! Knows Markdown, nothing of files.

use std::fmt::Write as _;

use crate::attr::{AttrSpec, AttrType, Value};
use crate::hook::{HOOKS, Verdicts};
use crate::map_type::{Fill, MAP_TYPES, Need};
use crate::rule::RuleTable;

const HEAD: &str = "# Rules\n\n\
    What a `BUILD.ouro` file can call. Written from the rule table; a test holds it to that.\n\n\
    Every rule has three more attributes: `name` (required), `visibility` (`[\"//visibility:public\"]`, `[\"//pkg:__pkg__\"]`,\n\
    `[\"//pkg:__subpackages__\"]` or a `package_group`; the package itself by default) and `tags` (`manual` keeps a target out of\n\
    `:all` and `...`).\n\
    Besides rules there are `load()`, `glob()`, `select()`, `package()`, `package_name()`, `exports_files()`, `print()` and\n\
    `fail()`. [configuration.md](configuration.md) tells of `select()`, flags, visibility and repositories.\n";

/// The whole reference, as Markdown.
pub fn markdown(table: &RuleTable) -> String {
    let mut text = HEAD.to_owned();
    for rule in table.rules() {
        section(&mut text, rule.name(), rule.doc(), rule.attrs());
    }
    text +=
        "\n# Constructors\n\nValues for attributes such as `attach` and `jumps`. The first argument may be given by position.\n";
    for record in table.records() {
        section(&mut text, &record.name, &record.doc, &record.attrs);
    }
    hooks(&mut text);
    map_types(&mut text);
    text
}

fn section(text: &mut String, name: &str, doc: &str, attrs: &[AttrSpec]) {
    let _ = write!(text, "\n## {name}\n\n{doc}\n");
    if !attrs.is_empty() {
        *text += "\n| attribute | takes | default | |\n|---|---|---|---|\n";
    }
    for attr in attrs {
        let takes = match attr.ty {
            _ if attr.allowed.is_empty() => attr.ty.describe(),
            AttrType::Label => format!("{} or {}", attr.ty.describe(), quoted(&attr.allowed)),
            _ => quoted(&attr.allowed),
        };
        let default = if attr.required { "required".to_owned() } else { shown(&attr.default) };
        let _ = writeln!(text, "| `{}` | {takes} | {default} | {} |", attr.name, attr.doc.replace('|', "\\|"));
    }
}

fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ")
}

fn shown(value: &Value) -> String {
    match value {
        Value::None => String::new(),
        Value::Bool(true) => "`True`".to_owned(),
        Value::Bool(false) => "`False`".to_owned(),
        Value::Int(number) => format!("`{number}`"),
        Value::Str(text) => format!("`\"{text}\"`"),
        Value::Label(label) => format!("`{label}`"),
        Value::List(_) => "`[]`".to_owned(),
        Value::Dict(_) => "`{}`".to_owned(),
        Value::Record(record) => format!("`{}()`", record.kind),
        Value::Select(_) => "`select()`".to_owned(),
    }
}

fn hooks(text: &mut String) {
    *text += "\n# Program types\n\nWhat `type` takes; those with `/...` need a name, those with `[/...]` when their constructor does not say it.\n\n\
        | type | verdicts | attached by |\n|---|---|---|\n";
    for hook in HOOKS {
        let suffix = match (hook.takes_name, hook.needs_name()) {
            (false, _) => "",
            (true, true) => "/...",
            (true, false) => "[/...]",
        };
        let verdicts = match hook.verdicts {
            Verdicts::Named(names) => {
                names.iter().map(|(name, number)| format!("{name} ({number})")).collect::<Vec<_>>().join(", ")
            }
            Verdicts::Numbers(i32::MIN, i32::MAX) => "any number; 0 on a miss".to_owned(),
            Verdicts::Numbers(first, last) if first == last => first.to_string(),
            Verdicts::Numbers(first, last) => format!("{first} to {last}; 0 on a miss"),
        };
        let constructors = if hook.prog_type == "ext" { &["freplace"] } else { hook.attach() };
        let attach = constructors.iter().map(|name| format!("`{name}()`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "| `{}{suffix}` | {verdicts} | {attach} |", hook.prefix);
    }
}

fn map_types(text: &mut String) {
    *text += "\n# Map types\n\n| type | key | value | contents | flags |\n|---|---|---|---|---|\n";
    let need = |need: Need| match need {
        Need::Nothing => "none",
        Need::Any => "any C type",
        Need::Given => "any C type, to be given",
        Need::U32 => "`__u32`",
        Need::Cgroup => "`struct bpf_cgroup_storage_key`",
        Need::Maps => "maps",
    };
    let fill = |fill: Fill| match fill {
        Fill::Nothing => "none",
        Fill::Places => "list, or values by place",
        Fill::Keys => "values by key",
        Fill::Values => "list",
    };
    for ty in MAP_TYPES {
        let flags = ty.flags.iter().map(|flag| format!("`{flag}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "| `{}` | {} | {} | {} | {flags} |", ty.name, need(ty.key), need(ty.value), fill(ty.fill));
    }
}
