//! `alias`: another name for a target.
//!
//! The graph follows aliases, so rules meet what stands behind them and never the alias itself.

use crate::attr::{AttrSpec, AttrType, EdgeKind};
use crate::diagnostic::Diagnostic;
use crate::rule::{Analysis, Context, Rule};

pub(super) struct Alias {
    attrs: Vec<AttrSpec>,
}

impl Alias {
    pub(super) fn new() -> Alias {
        let actual = AttrSpec::new("actual", AttrType::Label, "The target it stands for.").required().edge(EdgeKind::Actual);
        Alias { attrs: vec![actual] }
    }
}

impl Rule for Alias {
    fn name(&self) -> &str {
        "alias"
    }

    fn doc(&self) -> &str {
        "Another name for a target. Depending on the alias is depending on the target; visibility is the alias' own."
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        let providers = ctx.target.get("actual").as_label().and_then(|label| (ctx.deps)(label)).cloned().unwrap_or_default();
        Ok(Analysis { providers, ..Analysis::default() })
    }
}
