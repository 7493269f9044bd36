//! `sh_test`: a script that passes by ending with 0.

use std::sync::Arc;
use std::time::Duration;

use super::sh_binary;
use crate::attr::{AttrSpec, AttrType};
use crate::diagnostic::Diagnostic;
use crate::provider::{Providers, TestInfo};
use crate::rule::{Analysis, Context, Rule};

/// Each timeout with the size of test it is meant for, and its seconds: Bazel's.
const TIMEOUTS: &[(&str, &str, u64)] =
    &[("short", "small", 60), ("moderate", "medium", 300), ("long", "large", 900), ("eternal", "enormous", 3600)];

pub(super) struct ShTest {
    attrs: Vec<AttrSpec>,
}

impl ShTest {
    pub(super) fn new() -> ShTest {
        let timeouts: Vec<&str> = TIMEOUTS.iter().map(|(timeout, ..)| *timeout).collect();
        let sizes: Vec<&str> = TIMEOUTS.iter().map(|(_, size, _)| *size).collect();
        let mut attrs = sh_binary::attrs();
        attrs.push(
            AttrSpec::new(
                "timeout",
                AttrType::String,
                "How long it may take: 1, 5, 15 or 60 minutes; by default as `size` says.",
            )
            .allowed(&timeouts),
        );
        attrs.push(
            AttrSpec::new(
                "size",
                AttrType::String,
                "How big it is: a `small` test has a short timeout, and so on; `medium` by default.",
            )
            .allowed(&sizes),
        );
        ShTest { attrs }
    }
}

impl Rule for ShTest {
    fn name(&self) -> &str {
        "sh_test"
    }

    fn doc(&self) -> &str {
        "A script, or any other program, that passes by ending with 0. `ouro test` runs it in a folder that holds its `data` and \
         nothing else. Of its `tags`, `exclusive` lets no other test run beside it, `external` and `no-cache` run it every time, and \
         `manual` keeps it out unless it is named."
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn is_test(&self) -> bool {
        true
    }

    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        let test = TestInfo::new(timeout(ctx), &ctx.target.tags);
        let providers = Providers { test: Some(Arc::new(test)), ..sh_binary::runnable(ctx)? };
        Ok(Analysis { providers, ..Analysis::default() })
    }
}

fn timeout(ctx: &Context<'_>) -> Option<Duration> {
    let (timeout, size) = (ctx.target.get("timeout").as_str(), ctx.target.get("size").as_str());
    let of_size = || TIMEOUTS.iter().find(|(_, name, _)| size == Some(*name));
    let found = TIMEOUTS.iter().find(|(name, ..)| timeout == Some(*name)).or_else(of_size);
    found.map(|(.., seconds)| Duration::from_secs(*seconds))
}
