//! What can be said of bundles and deployments.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{BuildFlags, pattern};

/// `ouro bundle`
#[derive(Debug, Args)]
pub struct Bundle {
    /// The chain's label.
    #[arg(value_parser = pattern)]
    pub chain: String,
    /// Where to write it; `<name>.bundle` by default.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// How to build it.
    #[command(flatten)]
    pub how: BuildFlags,
}

/// Where deployments live.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// The mounted bpffs; `[deploy] bpffs` in ouro.toml, else /sys/fs/bpf.
    #[arg(long, value_name = "DIR")]
    pub bpffs: Option<PathBuf>,
    /// The network namespace: a name that `ip netns` knows, or a path.
    #[arg(long, value_name = "NAME")]
    pub netns: Option<String>,
    /// Facts as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What is deployed.
#[derive(Debug, Clone, Args)]
pub struct What {
    /// The chain's label; built first.
    #[arg(required_unless_present = "bundle", value_parser = pattern)]
    pub chain: Option<String>,
    /// Deploy this bundle instead; needs no workspace.
    #[arg(long, value_name = "FILE", conflicts_with = "chain")]
    pub bundle: Option<PathBuf>,
    /// Attach to this device instead of the one in the BUILD file.
    #[arg(long, value_name = "DEVICE")]
    pub interface: Option<String>,
    /// How to build it.
    #[command(flatten)]
    pub how: BuildFlags,
}

/// How it is deployed.
#[derive(Debug, Clone, Args)]
pub struct Manner {
    /// Make a new generation even when the same bundle is live.
    #[arg(long)]
    pub force: bool,
    /// Take hooks back that somebody made run other programs.
    #[arg(long)]
    pub force_links: bool,
    /// Do not try the chain with its test packets first.
    #[arg(long)]
    pub no_tests: bool,
    /// Go back to what was live before unless `ouro confirm` comes within this time: `60s`, `5m`.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub confirm: Option<u64>,
}

/// Seconds, from `90`, `90s`, `5m` or `1h`.
fn seconds(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let each = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("write a number with `s`, `m` or `h`".to_owned()),
    };
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(each));
    seconds.filter(|seconds| (1..=WEEK).contains(seconds)).ok_or_else(|| "write a time from `1s` to `168h`".to_owned())
}

/// The longest trial, in seconds.
const WEEK: u64 = 7 * 24 * 3600;

/// `ouro deploy`
#[derive(Debug, Args)]
pub struct Deploy {
    /// What is deployed.
    #[command(flatten)]
    pub what: What,
    /// The same as `ouro plan`.
    #[arg(long, conflicts_with = "dry_run")]
    pub plan: bool,
    /// Load and verify everything, and leave nothing behind.
    #[arg(long)]
    pub dry_run: bool,
    /// How.
    #[command(flatten)]
    pub how: Manner,
    /// Where.
    #[command(flatten)]
    pub place: Place,
}

/// `ouro plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// What would be deployed.
    #[command(flatten)]
    pub what: What,
    /// End with 10 when there is something to do.
    #[arg(long)]
    pub exit_code: bool,
    /// How.
    #[command(flatten)]
    pub how: Manner,
    /// Where.
    #[command(flatten)]
    pub place: Place,
}

/// `ouro rollback` and `ouro confirm`
#[derive(Debug, Args)]
pub struct Named {
    /// The deployment's name, or its chain's label.
    pub name: String,
    /// Where.
    #[command(flatten)]
    pub place: Place,
}

/// `ouro status`
#[derive(Debug, Args)]
pub struct Status {
    /// One deployment's name, or its chain's label; all by default.
    pub name: Option<String>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
}

/// `ouro hooks`
#[derive(Debug, Args)]
pub struct Hooks {
    /// Facts as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `ouro undeploy`
#[derive(Debug, Args)]
pub struct Undeploy {
    /// The deployment's name, or its chain's label.
    pub name: String,
    /// Leave the maps and what they hold for the next deploy.
    #[arg(long)]
    pub keep_maps: bool,
    /// No error when there is no such deployment.
    #[arg(long)]
    pub if_exists: bool,
    /// Remove our links even when they run programs of others.
    #[arg(long)]
    pub force: bool,
    /// Where.
    #[command(flatten)]
    pub place: Place,
}

/// `ouro attach`
#[derive(Debug, Args)]
pub struct Attach {
    /// The deployment's name, or its chain's label.
    pub name: String,
    /// The device.
    #[arg(long, value_name = "DEVICE")]
    pub interface: String,
    /// For XDP: where in the receive path.
    #[arg(long, short, value_enum, default_value_t = Mode::Native)]
    pub mode: Mode,
    /// For traffic control: which way packets go.
    #[arg(long, value_enum, default_value_t = Direction::Ingress)]
    pub direction: Direction,
    /// Where.
    #[command(flatten)]
    pub place: Place,
}

/// XDP's places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the network stack; every device has it.
    Generic,
    /// On the card.
    Offload,
}

/// Directions of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Direction {
    /// Received.
    Ingress,
    /// Sent.
    Egress,
}

/// `ouro detach`
#[derive(Debug, Args)]
pub struct Detach {
    /// The deployment's name, or its chain's label.
    pub name: String,
    /// The device.
    #[arg(long, value_name = "DEVICE")]
    pub interface: String,
    /// Where.
    #[command(flatten)]
    pub place: Place,
}
