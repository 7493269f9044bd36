//! From what is asked for and what `ouro.toml` says to configurations.
//!
//! Knows nothing of which flags there are.

use std::collections::BTreeMap;

use ouro_rules::configuration::{Configuration, Given, KernelVersion, Mode};
use ouro_rules::diagnostic::{Diagnostic, did_you_mean};
use ouro_rules::label::Label;
use ouro_rules::platform::{self, Platform};

use super::{ConfigSettings, Workspace};

/// What a command line says of configurations, word by word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigurationRequest {
    /// Platforms by any of their names.
    pub platforms: Vec<String>,
    /// Configurations of `ouro.toml`.
    pub configs: Vec<String>,
    /// Labels of toolchains.
    pub toolchains: Vec<String>,
    /// The mode, in all of them.
    pub mode: Option<Mode>,
    /// The oldest kernel, in all of them.
    pub min_kernel: Option<KernelVersion>,
    /// `//package:flag=value`, or the flag alone for `true`, in all of them.
    pub flags: Vec<String>,
}

/// Every configuration asked for, each once: each named one (the plain one when none is named) for each platform and toolchain (its
/// own, or `host` and its compiler, when none is given). What is said for all of them goes before what `ouro.toml` says.
pub fn configurations(
    workspace: &Workspace,
    request: &ConfigurationRequest,
    host: &'static Platform,
) -> Result<Vec<Configuration>, Vec<Diagnostic>> {
    let mut findings = Vec::new();
    let mut keep = |finding| findings.push(finding);
    let configs: Vec<_> = request.configs.iter().filter_map(|name| config(workspace, name).map_err(&mut keep).ok()).collect();
    let platforms: Vec<_> = request.platforms.iter().filter_map(|name| machine(name).map_err(&mut keep).ok()).collect();
    let toolchains: Vec<Label> =
        request.toolchains.iter().filter_map(|text| toolchain(workspace, text).map_err(&mut keep).ok()).collect();
    let flags: BTreeMap<Label, Given> =
        request.flags.iter().filter_map(|text| flag(workspace, text).map_err(&mut keep).ok()).collect();
    let configs = if configs.is_empty() { vec![None] } else { configs.into_iter().map(Some).collect() };
    let platforms = if platforms.is_empty() { vec![None] } else { platforms.into_iter().map(Some).collect() };
    let toolchains = if toolchains.is_empty() { vec![None] } else { toolchains.into_iter().map(Some).collect() };
    let mut all: Vec<Configuration> = Vec::new();
    for config in configs {
        let base = base(workspace, config, host).unwrap_or_else(|more| {
            findings.extend(more);
            Configuration::plain(host)
        });
        for (platform, toolchain) in platforms.iter().flat_map(|one| toolchains.iter().map(move |other| (*one, other))) {
            let machine = platform.unwrap_or(base.platform);
            let toolchain = toolchain.clone().or_else(|| base.toolchain.clone());
            let one = finished(&base, config.map(|(name, _)| name), (machine, toolchain), request, &flags);
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    if findings.is_empty() { Ok(all) } else { Err(findings) }
}

type Named<'w> = (&'w str, &'w ConfigSettings);

fn config<'w>(workspace: &'w Workspace, name: &str) -> Result<Named<'w>, Diagnostic> {
    let configs = &workspace.settings.config;
    configs.get_key_value(name).map(|(name, settings)| (name.as_str(), settings)).ok_or_else(|| {
        let near = did_you_mean(name, configs.keys().map(String::as_str));
        let declare = || format!("declare it in `ouro.toml`: `[config.{name}]`");
        Diagnostic::bare(format!("unknown configuration `{name}`")).help(near.unwrap_or_else(declare))
    })
}

fn machine(name: &str) -> Result<&'static Platform, Diagnostic> {
    platform::find(name).ok_or_else(|| Diagnostic::bare(format!("unknown platform `{name}`")).help(platform::remedy(name)))
}

fn toolchain(workspace: &Workspace, text: &str) -> Result<Label, Diagnostic> {
    let start = text.strip_prefix("//").map_or_else(|| text.to_owned(), |rest| format!("@//{rest}"));
    workspace.settings.repositories.label(&start, "", &workspace.cwd)
}

/// `//fw:trace=on`; a value may have a `=` of its own, a label has none before it.
fn flag(workspace: &Workspace, text: &str) -> Result<(Label, Given), Diagnostic> {
    let (label, value) = text.split_once('=').unwrap_or((text, "true"));
    let start = label.strip_prefix("//").map_or_else(|| label.to_owned(), |rest| format!("@//{rest}"));
    let label = workspace.settings.repositories.label(&start, "", &workspace.cwd)?;
    Ok((label, Given { value: value.into(), span: None }))
}

/// What `ouro.toml` says, of a name or of all builds.
fn base(workspace: &Workspace, config: Option<Named<'_>>, host: &'static Platform) -> Result<Configuration, Vec<Diagnostic>> {
    let (mut flags, mut findings) = (BTreeMap::new(), Vec::new());
    let named = config.and_then(|(_, settings)| settings.toolchain.as_ref()).or(workspace.settings.toolchain.label.as_ref());
    let toolchain = named.and_then(|text| toolchain(workspace, text).map_err(|finding| findings.push(finding)).ok());
    let min_kernel = workspace.settings.build.min_kernel;
    let plain = Configuration { min_kernel, toolchain, ..Configuration::plain(host) };
    let Some((_, settings)) = config else { return if findings.is_empty() { Ok(plain) } else { Err(findings) } };
    for (text, setting) in &settings.flags {
        match workspace.settings.repositories.label(text, "", "") {
            Ok(label) => drop(flags.insert(label, Given { value: setting.value.as_str().into(), span: setting.span.clone() })),
            Err(finding) => findings.push(Diagnostic { span: setting.span.clone(), ..finding }),
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    Ok(Configuration {
        platform: settings.platform.as_deref().and_then(platform::find).unwrap_or(host),
        mode: settings.mode.unwrap_or_default(),
        min_kernel: settings.min_kernel.or(plain.min_kernel),
        flags,
        copts: settings.copts.clone(),
        defines: settings.defines.clone(),
        ..plain
    })
}

fn finished(
    base: &Configuration,
    name: Option<&str>,
    (platform, toolchain): (&'static Platform, Option<Label>),
    request: &ConfigurationRequest,
    flags: &BTreeMap<Label, Given>,
) -> Configuration {
    let mut one = Configuration {
        platform,
        mode: request.mode.unwrap_or(base.mode),
        min_kernel: request.min_kernel.or(base.min_kernel),
        toolchain,
        ..base.clone()
    };
    one.flags.extend(flags.iter().map(|(label, given)| (label.clone(), given.clone())));
    let values =
        |of: &Configuration| of.flags.iter().map(|(label, given)| (label.clone(), given.value.clone())).collect::<Vec<_>>();
    let changed = one.min_kernel != base.min_kernel || values(&one) != values(base);
    one.name(name, changed, one.toolchain != base.toolchain);
    one
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::SETTINGS_FILE;

    const SETTINGS: &str = "[build]\nmin_kernel = '5.10'\n[config.small]\ndefines = ['SMALL']\nflags = { '//fw:trace' = 'off' }\n[config.arm]\nplatform = 'aarch64'\nmode = 'dbg'\n";

    fn made(request: ConfigurationRequest) -> Result<Vec<Configuration>, Vec<Diagnostic>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(SETTINGS_FILE), SETTINGS).unwrap();
        let workspace = Workspace::find(folder.path()).unwrap();
        configurations(&workspace, &request, platform::find("x86").unwrap())
    }

    fn folders(request: ConfigurationRequest) -> Vec<String> {
        made(request).unwrap().into_iter().map(|one| one.folder).collect()
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn each_name_is_combined_with_each_platform_once() {
        let request = ConfigurationRequest::default();
        assert_eq!(folders(request.clone()), ["x86"]);
        let platforms = words(&["x86_64", "aarch64", "amd64"]);
        assert_eq!(folders(ConfigurationRequest { platforms: platforms.clone(), ..request.clone() }), ["x86", "arm64"]);
        let configs = words(&["small", "arm"]);
        assert_eq!(folders(ConfigurationRequest { configs: configs.clone(), ..request.clone() }), ["x86-small", "arm64-dbg-arm"]);
        let both = ConfigurationRequest { platforms, configs, ..request };
        assert_eq!(folders(both), ["x86-small", "arm64-small", "x86-dbg-arm", "arm64-dbg-arm"]);
    }

    #[test]
    fn what_the_command_line_says_goes_first_and_is_part_of_the_name() {
        let plain = made(ConfigurationRequest::default()).unwrap().remove(0);
        assert_eq!((plain.min_kernel.unwrap().to_string(), plain.folder.as_str()), ("5.10".to_owned(), "x86"));
        let small = ConfigurationRequest { configs: words(&["small"]), ..ConfigurationRequest::default() };
        let same = ConfigurationRequest { flags: words(&["//fw:trace=off"]), ..small.clone() };
        assert_eq!(folders(same), ["x86-small"]);
        let other = made(ConfigurationRequest { flags: words(&["//fw:trace=on"]), ..small.clone() }).unwrap().remove(0);
        assert!(other.folder.starts_with("x86-small-0") && &*other.flags[&Label::new("fw", "trace")].value == "on", "{other:?}");
        let newer = ConfigurationRequest { min_kernel: "6.1".parse().ok(), mode: Some(Mode::Dbg), ..small };
        assert!(folders(newer)[0].starts_with("x86-dbg-small-0"));
    }

    #[test]
    fn unknown_names_are_all_told_with_near_ones() {
        let request = ConfigurationRequest {
            platforms: words(&["aarch46"]),
            configs: words(&["smal", "production"]),
            flags: words(&["@foo//x:y=1"]),
            ..ConfigurationRequest::default()
        };
        let found = made(request).unwrap_err();
        let found: Vec<String> = found.into_iter().map(|d| format!("{} ({})", d.message, d.help.unwrap_or_default())).collect();
        assert_eq!(
            found,
            [
                "unknown configuration `smal` (did you mean `small`?)",
                "unknown configuration `production` (declare it in `ouro.toml`: `[config.production]`)",
                "unknown platform `aarch46` (did you mean `aarch64`?)",
                "unknown repository `@foo` (declare it in `ouro.toml`: `[repositories] foo = \"third_party/foo\"`)",
            ]
        );
    }
}
