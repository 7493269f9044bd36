//! What can be said of bundles and deployments.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{BuildFlags, pattern};

// `ouro bundle`
#[derive(Debug, Args)]
pub struct Bundle {
    /// The chain's label; built first.
    #[arg(required_unless_present_any = ["bundle", "verify"], value_parser = pattern)]
    pub chain: Option<String>,
    /// Sign this bundle instead, in its place unless `--output` names another; needs no workspace.
    #[arg(long, value_name = "FILE", conflicts_with = "chain", requires = "sign")]
    pub bundle: Option<PathBuf>,
    /// Say whether this bundle is whole and signed by a trusted key; needs no workspace, and writes nothing.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["chain", "bundle", "sign", "output"])]
    pub verify: Option<PathBuf>,
    /// Sign it with this private key (`ouro key new`), besides those that signed it already; may be repeated.
    #[arg(long, value_name = "KEY")]
    pub sign: Vec<PathBuf>,
    /// Where to write it; `<name>.bundle` by default.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Trust this key, too, as `ouro deploy` does.
    #[arg(long, value_name = "KEY", requires = "verify")]
    pub trusted_key: Vec<String>,
    /// How to build it.
    #[command(flatten)]
    pub how: BuildFlags,
}

// Whose bundles are deployed.
#[derive(Debug, Clone, Args)]
pub struct Trust {
    /// Trust this key, too: its line `ssh-ed25519 AAAA...`, or a file of such lines; may be repeated. Others are in
    /// /etc/ouro/trusted_keys and, for what is built here, in `[deploy] trusted_keys` of ouro.toml. When there is any key, bundles need a signature by one.
    #[arg(long, value_name = "KEY")]
    pub trusted_key: Vec<String>,
    /// Take bundles that no trusted key has signed.
    #[arg(long)]
    pub allow_unsigned: bool,
}

// `ouro key`
#[derive(Debug, Args)]
pub struct Key {
    /// What to do.
    #[command(subcommand)]
    pub command: KeyCommand,
}

// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key to sign bundles with (Ed25519, in PEM), and its public half in FILE.pub, as ssh writes them.
    New {
        /// Where to write the private key.
        file: PathBuf,
    },
    /// Show the public half of a private key.
    Public {
        /// The private key.
        file: PathBuf,
    },
}

// `ouro verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// Target patterns; everything from this folder down when none is given. Built first.
    #[arg(default_value = "...", value_name = "PATTERN", value_parser = pattern)]
    pub patterns: Vec<String>,
    /// Judge these object files instead, whoever compiled them; needs no workspace.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "patterns")]
    pub object: Vec<PathBuf>,
    /// The types of the kernel that CO-RE relocations are made for, instead of the running kernel's.
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,
    /// Show the verifier's whole log of every program.
    #[arg(long)]
    pub verifier_log: bool,
    /// Say of candidates and optional programs, too, why the kernel does not take them.
    #[arg(long)]
    pub explain: bool,
    /// Facts as JSON.
    #[arg(long)]
    pub json: bool,
    /// How to build it.
    #[command(flatten)]
    pub how: BuildFlags,
}

// Where deployments live.
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

impl Place {
    /// What another command must be told to find the same deployments.
    pub fn words(&self) -> String {
        let bpffs = self.bpffs.as_ref().map(|path| format!(" --bpffs {}", path.display()));
        let netns = self.netns.as_ref().map(|name| format!(" --netns {name}"));
        [netns, bpffs].into_iter().flatten().collect()
    }
}

// What is deployed.
#[derive(Debug, Clone, Args)]
pub struct What {
    /// The chain's label; built first.
    #[arg(required_unless_present = "bundle", value_parser = pattern)]
    pub chain: Option<String>,
    /// Deploy this bundle instead; needs no workspace.
    #[arg(long, value_name = "FILE", conflicts_with = "chain")]
    pub bundle: Option<PathBuf>,
    /// Attach to this device instead of the one in the BUILD file; may be repeated. The next deploy without it is refused if it would
    /// leave the device.
    #[arg(long, value_name = "DEVICE")]
    pub interface: Vec<String>,
    /// Sign what was built with this private key, where bundles must be signed; may be repeated.
    #[arg(long, value_name = "KEY", conflicts_with = "bundle")]
    pub sign: Vec<PathBuf>,
    /// Who may have signed it.
    #[command(flatten)]
    pub trust: Trust,
    /// Give a global variable another value: `limit=100`, or of one program alone: `parse.limit=100`.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// How to build it.
    #[command(flatten)]
    pub how: BuildFlags,
}

// How it is deployed.
#[derive(Debug, Clone, Args)]
pub struct Manner {
    /// Make a new generation even when the same bundle is live.
    #[arg(long)]
    pub force: bool,
    /// Take hooks back that somebody made run other programs.
    #[arg(long)]
    pub force_links: bool,
    /// Take a deployment over from another chain or workspace, with what its maps hold.
    #[arg(long)]
    pub take_over: bool,
    /// Do not try the chain with its test packets first.
    #[arg(long)]
    pub no_tests: bool,
    /// Go back to what was live before unless `ouro confirm` comes within this time: `60s`, `5m`.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub confirm: Option<u64>,
    /// The types of the kernel that CO-RE relocations are made for, instead of the running kernel's.
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,
    /// When the verifier rejects a program, show its whole log.
    #[arg(long)]
    pub verifier_log: bool,
    /// Say of programs with candidates which one the kernel takes, and why none of those before.
    #[arg(long)]
    pub explain: bool,
}

/// Seconds, from `90`, `90s`, `5m` or `1h`.
fn seconds(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let each = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("write a number of seconds, or one with `s`, `m` or `h`".to_owned()),
    };
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(each));
    seconds.filter(|seconds| (1..=WEEK).contains(seconds)).ok_or_else(|| "write a time from `1s` to `168h`".to_owned())
}

/// The longest trial, in seconds.
const WEEK: u64 = 7 * 24 * 3600;

// `ouro deploy`
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

// `ouro plan`
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

// `ouro rollback` and `ouro confirm`
#[derive(Debug, Args)]
pub struct Named {
    /// The deployment's name, or its chain's label.
    pub name: String,
    /// Where.
    #[command(flatten)]
    pub place: Place,
}

// `ouro systemd`
#[derive(Debug, Args)]
pub struct Systemd {
    /// What is deployed.
    #[command(flatten)]
    pub what: What,
    /// Where to write the unit and the bundle; the unit names the bundle there.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
    /// Undeploy when the unit is stopped; else the chain stays live.
    #[arg(long)]
    pub undeploy_on_stop: bool,
    /// The bpffs of the machine that runs the unit.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf")]
    pub bpffs: PathBuf,
    /// The network namespace there: a name that `ip netns` knows, or a path.
    #[arg(long, value_name = "NAME")]
    pub netns: Option<String>,
}

// `ouro status`
#[derive(Debug, Args)]
pub struct Status {
    /// One deployment's name, or its chain's label; all by default.
    pub name: Option<String>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
}

// `ouro hooks`
#[derive(Debug, Args)]
pub struct Hooks {
    /// Facts as JSON.
    #[arg(long)]
    pub json: bool,
}

// `ouro undeploy`
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

// `ouro attach`
#[derive(Debug, Args)]
pub struct Attach {
    /// The deployment's name, or its chain's label.
    pub name: String,
    /// The device.
    #[arg(long, value_name = "DEVICE")]
    pub interface: String,
    /// For XDP: where in the receive path; by default where the chain is attached already, else in the driver.
    #[arg(long, short, value_enum)]
    pub mode: Option<Mode>,
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

// `ouro detach`
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
