//! `docs/rules.md` is what the rule table says.

use std::path::Path;

use ouro_rules::platform::PLATFORMS;

#[test]
fn the_written_reference_is_the_rule_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules.md");
    let text = ouro_rules::reference::markdown(&ouro_rules::builtin::table());
    if std::env::var_os("OURO_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/rules.md is out of date; to write it anew: OURO_BLESS=1 cargo test -p ouro-rules --test reference"
    );
}

#[test]
fn the_written_platforms_are_all_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let row = |platform: &ouro_rules::platform::Platform| {
        let aliases = platform.aliases.iter().map(|alias| format!("`{alias}`")).collect::<Vec<_>>().join(", ");
        let order = if platform.big_endian { "big" } else { "little" };
        format!("| `{}` | {aliases} | `{}` | {order} |", platform.name, platform.arch).replace("|  |", "| |")
    };
    let rows: Vec<String> = PLATFORMS.iter().map(row).collect();
    let lines: Vec<&str> = written.lines().filter(|line| line.ends_with("| little |") || line.ends_with("| big |")).collect();
    assert_eq!(lines, rows);
}

/// What rules of users can read and return, and what `ctx.bpf` has, is all in the page about them.
#[test]
fn the_page_about_own_rules_names_every_provider_and_field() {
    use ouro_rules::builtin::info::{FUNCTIONS, INFOS};
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/extending.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    for spec in INFOS {
        let line = page.lines().find(|line| line.starts_with(&format!("| `{}` |", spec.name)));
        let line = line.unwrap_or_else(|| panic!("no line for `{}`", spec.name));
        for field in spec.fields {
            assert!(line.contains(&format!("`{}`", field.name)), "`{}` of `{}` is missing", field.name, spec.name);
        }
    }
    for function in FUNCTIONS {
        let names: Vec<&str> = function.params.iter().map(|param| param.name).collect();
        let call = format!("ctx.bpf.{}({})", function.name, names.join(", "));
        assert!(page.contains(&call), "`{call}` is missing");
    }
}
