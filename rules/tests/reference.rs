//! `docs/rules.md` is what the rule table says.

use std::path::Path;

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
