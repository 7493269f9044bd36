//! `package_group`: packages under one name.

use crate::attr::{AttrSpec, AttrType, EdgeKind, Value};
use crate::diagnostic::Diagnostic;
use crate::rule::{Analysis, Context, Role, Rule};

pub(super) struct PackageGroupRule {
    attrs: Vec<AttrSpec>,
}

impl PackageGroupRule {
    pub(super) fn new() -> PackageGroupRule {
        let empty = || Value::List(Vec::new());
        let attrs = vec![
            AttrSpec::new(
                "packages",
                AttrType::String.list(),
                "`//fw`, `//net/...` with all below, and with `-` in front what is taken away again.",
            )
            .default(empty()),
            AttrSpec::new("includes", AttrType::Label.list(), "Groups whose packages belong to this one, too.")
                .default(empty())
                .edge(EdgeKind::Setting),
        ];
        PackageGroupRule { attrs }
    }
}

impl Rule for PackageGroupRule {
    fn name(&self) -> &str {
        "package_group"
    }

    fn doc(&self) -> &str {
        "Packages under one name, for visibility lists: `visibility = [\"//:friends\"]`."
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn role(&self) -> Role {
        Role::Packages
    }

    fn analyse(&self, _ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        Ok(Analysis::default())
    }
}
