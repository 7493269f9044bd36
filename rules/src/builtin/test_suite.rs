//! `test_suite`: tests under one name.
//!
//! What it stands for is decided where tests are selected, before anything is analysed; here only its labels are checked.

use crate::attr::{AttrSpec, AttrType, EdgeKind, Value};
use crate::diagnostic::Diagnostic;
use crate::provider::Providers;
use crate::rule::{Analysis, Context, Rule};

pub(super) struct TestSuite {
    attrs: Vec<AttrSpec>,
}

impl TestSuite {
    pub(super) fn new() -> TestSuite {
        let doc = "Tests and other suites; all tests of the package that are not `manual` when empty.";
        let tests = AttrSpec::new("tests", AttrType::Label.list(), doc).default(Value::List(Vec::new())).edge(EdgeKind::Test);
        TestSuite { attrs: vec![tests] }
    }
}

impl Rule for TestSuite {
    fn name(&self) -> &str {
        "test_suite"
    }

    fn doc(&self) -> &str {
        "Tests under one name, for `ouro test`. Its `tags` choose among them: a test must have every tag, and none of those with `-` in \
         front; a test's `size` counts as a tag. `manual` only keeps the suite itself out of `:all` and `...`."
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        let is_test = |providers: &Providers| providers.test.is_some() || providers.suite;
        let others = ctx.listed("tests").into_iter().filter(|(_, _, providers)| providers.is_some_and(|it| !is_test(it)));
        let findings: Vec<Diagnostic> = others
            .map(|(item, label, _)| {
                Diagnostic::error(&item.span, format!("`{label}` is no test")).help("list tests and test suites here")
            })
            .collect();
        match findings.is_empty() {
            true => Ok(Analysis { providers: Providers { suite: true, ..Providers::default() }, ..Analysis::default() }),
            false => Err(findings),
        }
    }
}
