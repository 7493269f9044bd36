//! `config_setting`, `string_flag` and `bool_flag`: what `select()` decides by.

use crate::attr::{AttrSpec, AttrType, EdgeKind, Value};
use crate::condition::{Flag, Requirements, flag_entries};
use crate::configuration::Mode;
use crate::diagnostic::Diagnostic;
use crate::rule::{Analysis, Context, Role, Rule};

pub(super) struct ConfigSetting {
    attrs: Vec<AttrSpec>,
}

impl ConfigSetting {
    pub(super) fn new() -> ConfigSetting {
        let modes: Vec<&str> = Mode::ALL.iter().map(|(name, _)| *name).collect();
        let attrs = vec![
            AttrSpec::new("arch", AttrType::String, "The platform: `x86_64`, `arm64`, `s390x`, as `--platform` takes it."),
            AttrSpec::new("min_kernel", AttrType::String, "The configuration's `min_kernel` is this one or newer: `5.15`."),
            AttrSpec::new("mode", AttrType::String, "What `--mode` says.").allowed(&modes),
            AttrSpec::new("flags", AttrType::Dict, "What flags are: `{\"//fw:trace\": \"on\"}`.")
                .default(Value::Dict(Vec::new()))
                .edge(EdgeKind::Setting),
        ];
        ConfigSetting { attrs }
    }
}

impl Rule for ConfigSetting {
    fn name(&self) -> &str {
        "config_setting"
    }

    fn doc(&self) -> &str {
        "A condition for `select()`. Everything given must hold."
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn role(&self) -> Role {
        Role::Condition
    }

    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        let target = ctx.target;
        Requirements::of(target, &|_| None)?;
        let says_nothing = ["arch", "min_kernel", "mode"].iter().all(|name| *target.get(name) == Value::None);
        if says_nothing && flag_entries(target).next().is_none() {
            let finding = Diagnostic::error(&target.span, format!("`{}` asks for nothing", target.label));
            return Err(vec![finding.help("give one of `arch`, `min_kernel`, `mode` and `flags`")]);
        }
        Ok(Analysis::default())
    }
}

/// Both kinds of flags.
pub(super) struct FlagRule {
    name: &'static str,
    doc: &'static str,
    attrs: Vec<AttrSpec>,
}

impl FlagRule {
    pub(super) fn string() -> FlagRule {
        let attrs = vec![
            AttrSpec::new("default", AttrType::String, "What it is when nobody sets it.").required(),
            AttrSpec::new("values", AttrType::String.list(), "What it can be; anything when empty.")
                .default(Value::List(Vec::new())),
        ];
        let doc = "A flag of your own: `--flag //fw:trace=on`, or `flags` of a configuration in `ouro.toml`.";
        FlagRule { name: "string_flag", doc, attrs }
    }

    pub(super) fn bool() -> FlagRule {
        let default = AttrSpec::new("default", AttrType::Bool, "What it is when nobody sets it.").required();
        let doc = "A flag that is `true` or `false`; `--flag //fw:trace` alone sets it to `true`.";
        FlagRule { name: "bool_flag", doc, attrs: vec![default] }
    }
}

impl Rule for FlagRule {
    fn name(&self) -> &str {
        self.name
    }

    fn doc(&self) -> &str {
        self.doc
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn role(&self) -> Role {
        Role::Flag
    }

    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        Flag::of(ctx.target).map(|_| Analysis::default())
    }
}
