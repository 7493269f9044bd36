//! What commands build for: flags and `ouro.toml` to configurations.
//!
//! Knows nothing of what is built.

use ouro_engine::toolchain;
use ouro_engine::workspace::{ConfigurationRequest, Workspace, configurations};
use ouro_rules::configuration::{Configuration, Mode};

use crate::cli::{BuildMode, ConfigFlags};
use crate::error::{CliError, Kind};

/// Every configuration the flags ask for.
pub fn all(workspace: &Workspace, flags: &ConfigFlags) -> Result<Vec<Configuration>, CliError> {
    let request = ConfigurationRequest {
        platforms: flags.platforms.clone(),
        configs: flags.configs.clone(),
        toolchains: flags.toolchains.clone(),
        mode: flags.mode.map(mode),
        min_kernel: flags.min_kernel,
        flags: flags.flags.clone(),
    };
    configurations(workspace, &request, toolchain::host()).map_err(|findings| CliError { kind: Kind::Usage, findings })
}

/// The only one, for what makes no sense for several: `what` is told so.
pub fn one(workspace: &Workspace, flags: &ConfigFlags, what: &str) -> Result<Configuration, CliError> {
    let mut all = all(workspace, flags)?;
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(only),
        (last, _) => {
            let names: Vec<String> = all.iter().chain(&last).map(|one| format!("`{}`", one.folder)).collect();
            let message = format!("{what} takes one configuration, and these are {}: {}", names.len(), names.join(", "));
            Err(CliError::new(Kind::Usage, message).help("give `--platform`, `--config` and `--toolchain` once at most"))
        }
    }
}

fn mode(mode: BuildMode) -> Mode {
    match mode {
        BuildMode::Dbg => Mode::Dbg,
        BuildMode::Opt => Mode::Opt,
    }
}
