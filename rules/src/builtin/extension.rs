//! The `extensions` of a chain: which programs replace functions of others.
//!
//! Whether they can is checked by [`crate::chain`].

use crate::attr::Spanned;
use crate::chain::Extension;
use crate::diagnostic::Diagnostic;
use crate::label::Label;
use crate::rule::Context;

/// The declared extensions that are programs.
pub(super) fn extensions<'a>(ctx: &Context<'a>, findings: &mut Vec<Diagnostic>) -> Vec<Extension<'a>> {
    let mut found = Vec::new();
    for item in ctx.target.get("extensions").items() {
        match extension(ctx, item) {
            Ok(extension) => found.push(extension),
            Err(finding) => findings.push(finding),
        }
    }
    found
}

fn extension<'a>(ctx: &Context<'a>, item: &'a Spanned) -> Result<Extension<'a>, Diagnostic> {
    let record = item.value.as_record();
    let label = record.and_then(|record| record.get("extension").as_label());
    let label = label.ok_or_else(|| Diagnostic::error(&item.span, "expected `freplace(...)`"))?;
    let program = (ctx.deps)(label).and_then(|providers| providers.program.clone());
    let not_one = || {
        let span = record.and_then(|record| record.field("extension")).map_or(&item.span, |field| &field.span);
        Diagnostic::error(span, format!("`{label}` is no program")).help("name a `bpf_program` of the type `freplace/<function>`")
    };
    let function = record.and_then(|record| record.get("function").as_str()).filter(|name| !name.is_empty());
    Ok(Extension {
        program: program.ok_or_else(not_one)?,
        target: record.and_then(|record| record.get("program").as_label()).map(|label| behind(ctx, label)),
        function: function.map(str::to_owned),
        item,
    })
}

/// The program's own label, whatever name is used for it.
fn behind(ctx: &Context<'_>, label: &Label) -> Label {
    let program = (ctx.deps)(label).and_then(|providers| providers.program.as_ref());
    program.map_or_else(|| label.clone(), |program| program.label.clone())
}
