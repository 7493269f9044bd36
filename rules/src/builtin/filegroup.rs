//! `filegroup`: files under one name.

use std::collections::BTreeSet;

use crate::action::Artifact;
use crate::attr::{AttrSpec, AttrType, EdgeKind, Value};
use crate::diagnostic::Diagnostic;
use crate::provider::Providers;
use crate::rule::{Analysis, Context, Rule};

pub(super) struct Filegroup {
    attrs: Vec<AttrSpec>,
}

impl Filegroup {
    pub(super) fn new() -> Filegroup {
        let srcs = AttrSpec::new("srcs", AttrType::Label.list(), "Files, and targets that make files.")
            .default(Value::List(Vec::new()))
            .edge(EdgeKind::Source);
        Filegroup { attrs: vec![srcs] }
    }
}

impl Rule for Filegroup {
    fn name(&self) -> &str {
        "filegroup"
    }

    fn doc(&self) -> &str {
        "Files under one name."
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        let listed = ctx.listed("srcs").into_iter().filter_map(|(_, _, providers)| providers);
        let runfiles: BTreeSet<Artifact> = listed.flat_map(|providers| providers.runfiles.iter().cloned()).collect();
        let runfiles = runfiles.into_iter().collect();
        Ok(Analysis {
            providers: Providers { files: ctx.files("srcs"), runfiles, ..Providers::default() },
            ..Analysis::default()
        })
    }
}
