//! What `config_setting`, `string_flag` and `bool_flag` targets say: conditions, and the flags they look at.
//!
//! Knows nothing of who asks; which of several conditions wins is decided elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::attr::{Spanned, Value};
use crate::configuration::{Configuration, KERNEL_FORM, KernelVersion, Mode};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::label::Label;
use crate::platform::{self, Platform};
use crate::target::Target;

/// What a condition asks for; all of it must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requirements {
    /// The machine.
    pub platform: Option<&'static Platform>,
    /// The configuration's oldest kernel is this one or newer.
    pub min_kernel: Option<KernelVersion>,
    /// The mode.
    pub mode: Option<Mode>,
    /// What flags must be.
    pub flags: BTreeMap<Label, Arc<str>>,
}

impl Requirements {
    /// What a `config_setting` asks for. `flag` tells of a flag; what it does not know is somebody else's finding.
    pub fn of(target: &Target, flag: &dyn Fn(&Label) -> Option<Flag>) -> Result<Requirements, Vec<Diagnostic>> {
        let mut findings = Vec::new();
        let platform = read(target, "arch", &mut findings, |text| platform::find(text).ok_or_else(|| platform::remedy(text)));
        let min_kernel = read(target, "min_kernel", &mut findings, |text| text.parse().map_err(|_| KERNEL_FORM.to_owned()));
        let mode = read(target, "mode", &mut findings, |text| Mode::find(text).ok_or_else(|| Mode::remedy(text)));
        let mut flags = BTreeMap::new();
        for (label, wanted) in flag_entries(target) {
            let text = wanted.value.as_str().unwrap_or_default();
            match flag(label).map_or(Ok(text.into()), |flag| flag.read(text)) {
                Ok(value) => drop(flags.insert(label.clone(), value)),
                Err(help) => {
                    findings.push(Diagnostic { span: Some(wanted.span.clone()), ..no_value(text, label).help(help) });
                }
            }
        }
        if findings.is_empty() { Ok(Requirements { platform, min_kernel, mode, flags }) } else { Err(findings) }
    }

    /// Whether all of it holds; `flag` tells what a flag is set to.
    pub fn hold(&self, configuration: &Configuration, flag: &dyn Fn(&Label) -> Option<Arc<str>>) -> bool {
        self.platform.is_none_or(|platform| platform == configuration.platform)
            && self.mode.is_none_or(|mode| mode == configuration.mode)
            && self.min_kernel.is_none_or(|oldest| configuration.min_kernel.is_some_and(|known| known >= oldest))
            && self.flags.iter().all(|(label, wanted)| flag(label).as_ref() == Some(wanted))
    }

    /// Whether these can only hold when `other` do, too: they are the more specific ones, or the same.
    pub fn include(&self, other: &Requirements) -> bool {
        (other.platform.is_none() || self.platform == other.platform)
            && (other.mode.is_none() || self.mode == other.mode)
            && self.min_kernel >= other.min_kernel
            && other.flags.iter().all(|(label, wanted)| self.flags.get(label) == Some(wanted))
    }
}

/// The flags a `config_setting` looks at, with what they must be.
pub fn flag_entries(target: &Target) -> impl Iterator<Item = (&Label, &Spanned)> {
    let entries = match target.get("flags") {
        Value::Dict(entries) => entries.as_slice(),
        _ => &[],
    };
    entries.iter().filter_map(|(key, value)| Some((key.value.as_label()?, value)))
}

/// Something a flag cannot be, without its place.
pub fn no_value(text: &str, flag: &Label) -> Diagnostic {
    Diagnostic::bare(format!("`{text}` is no value of `{flag}`"))
}

fn read<T>(target: &Target, name: &str, findings: &mut Vec<Diagnostic>, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
    let text = target.get(name).as_str()?;
    let bad = |help| Diagnostic::error(target.span_of(name), format!("`{text}` is no value of `{name}`")).help(help);
    parse(text).map_err(|help| findings.push(bad(help))).ok()
}

/// A flag of the users' own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// What it is when nobody sets it.
    pub default: Arc<str>,
    /// What it can be; anything when empty.
    pub values: Vec<Arc<str>>,
}

impl Flag {
    /// What a `string_flag` or `bool_flag` says.
    pub fn of(target: &Target) -> Result<Flag, Vec<Diagnostic>> {
        let values = match target.get("default") {
            Value::Bool(_) => vec!["false".into(), "true".into()],
            _ => target.get("values").items().iter().filter_map(|item| item.value.as_str().map(Arc::from)).collect(),
        };
        let default = match target.get("default") {
            Value::Bool(default) => default.to_string().into(),
            other => other.as_str().unwrap_or_default().into(),
        };
        let flag = Flag { default, values };
        match flag.read(&flag.default) {
            Ok(_) => Ok(flag),
            Err(help) => {
                let span = Some(target.span_of("default").clone());
                Err(vec![Diagnostic { span, ..no_value(&flag.default, &target.label).help(help) }])
            }
        }
    }

    /// Reads a value; the error is what to write instead.
    pub fn read(&self, text: &str) -> Result<Arc<str>, String> {
        // BUILD files write `True`, and `str(True)` is `"True"`.
        let is_bool = self.values.iter().map(|value| &**value).eq(["false", "true"]);
        let text = if is_bool { text.to_lowercase() } else { text.to_owned() };
        if self.values.is_empty() || self.values.iter().any(|value| **value == *text) {
            return Ok(text.into());
        }
        let list = || self.values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
        Err(did_you_mean(&text, self.values.iter().map(|value| &**value)).unwrap_or_else(|| format!("use one of {}", list())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirements(platform: Option<&str>, min_kernel: Option<&str>, flags: &[(&str, &str)]) -> Requirements {
        Requirements {
            platform: platform.and_then(platform::find),
            min_kernel: min_kernel.map(|text| text.parse().unwrap()),
            mode: None,
            flags: flags.iter().map(|(name, value)| (Label::new("fw", *name), Arc::from(*value))).collect(),
        }
    }

    #[test]
    fn the_more_specific_condition_includes_the_other() {
        let arm = requirements(Some("arm64"), None, &[]);
        let traced = requirements(Some("arm64"), None, &[("trace", "on")]);
        let untraced = requirements(Some("arm64"), None, &[("trace", "off")]);
        assert!(traced.include(&arm) && !arm.include(&traced) && !traced.include(&untraced));
        let (old, new) = (requirements(None, Some("5.9"), &[]), requirements(None, Some("5.15"), &[]));
        assert!(new.include(&old) && !old.include(&new) && !new.include(&arm));
        assert!(arm.include(&requirements(None, None, &[])));
    }

    #[test]
    fn all_of_a_condition_must_hold() {
        let flag = |_: &Label| Some(Arc::from("on"));
        let mut configuration = Configuration::plain(platform::find("x86_64").unwrap());
        let wanted = requirements(Some("amd64"), Some("5.15"), &[("trace", "on")]);
        assert!(!wanted.hold(&configuration, &flag), "no kernel is known");
        configuration.min_kernel = "6.1".parse().ok();
        assert!(wanted.hold(&configuration, &flag) && !wanted.hold(&configuration, &|_| None));
        assert!(!requirements(Some("arm"), None, &[]).hold(&configuration, &flag));
    }

    #[test]
    fn flags_take_their_values_alone() {
        let flag = |values: &[&str]| Flag { default: "".into(), values: values.iter().map(|value| Arc::from(*value)).collect() };
        assert_eq!(flag(&["on", "off"]).read("of").unwrap_err(), "did you mean `off`?");
        assert_eq!(flag(&["on", "off"]).read("maybe").unwrap_err(), "use one of `on`, `off`");
        assert_eq!(flag(&["false", "true"]).read("True").as_deref(), Ok("true"));
        assert_eq!(flag(&[]).read("Any").as_deref(), Ok("Any"));
    }
}
