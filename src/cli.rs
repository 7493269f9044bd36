//! The command line: what can be said to ouro. Doc comments here are the help.
//!
//! Knows nothing of what commands do.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Build and deploy chained eBPF programs.
#[derive(Debug, Parser)]
#[command(name = "ouro", version, max_term_width = 110, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What applies to every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 ok; 1 the build or deploy failed, or status found drift; 2 the command makes no sense here; \
    3 not allowed or not supported here; 130 interrupted.";

/// Stands for the `-` of an exclusion while clap looks at the arguments.
const EXCLUDE: &str = "\u{1}";

/// The command line with exclusions such as `-//fw:parse` disguised, which clap would take for flags. No flag begins like them.
pub fn arguments() -> impl Iterator<Item = OsString> {
    std::env::args_os().map(|argument| match argument.to_str().and_then(|text| text.strip_prefix('-')) {
        Some(rest) if rest.starts_with(['/', ':', '@', '.']) => format!("{EXCLUDE}{rest}").into(),
        _ => argument,
    })
}

/// Takes the disguise off again.
fn pattern(text: &str) -> Result<String, std::convert::Infallible> {
    Ok(text.strip_prefix(EXCLUDE).map_or_else(|| text.to_owned(), |rest| format!("-{rest}")))
}

/// What applies to every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Run as if started in this folder.
    #[arg(short = 'C', long = "directory", global = true, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Say more.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Say only what went wrong.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// When to use colour.
    #[arg(long, global = true, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    pub color: When,
    /// Findings as text for people, or one JSON object a line.
    #[arg(long, global = true, value_enum, default_value_t = MessageFormat::Human, value_name = "FORMAT")]
    pub message_format: MessageFormat,
}

/// When to do something that only suits a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How findings are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MessageFormat {
    /// With source lines and carets.
    Human,
    /// One JSON object a line.
    Json,
}

/// The commands, in the order of use.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a workspace that builds and deploys at once.
    Init(Init),
    /// Add a program to a package.
    Add(Add),
    /// Build targets.
    Build(Build),
    /// Draw a chain: programs, slots, jumps, maps.
    Graph(Graph),
    /// Write compile_commands.json and .clangd for editors.
    Generate(Generate),
    /// Remove what was built; the cache stays.
    Clean,
    /// Build a chain and write its bundle.
    Bundle(Bundle),
    /// Load a chain into the kernel and attach it, replacing the one that runs.
    Deploy(Deploy),
    /// Show what is deployed.
    Status(Status),
    /// Detach a chain and remove what was pinned for it.
    Undeploy(Undeploy),
    /// Attach a live chain to one more device, until the next deploy.
    Attach(Attach),
    /// Detach a live chain from a device; it stays loaded.
    Detach(Detach),
    /// Deploy, show the counts as they change, undeploy on Ctrl-C.
    Run(Run),
}

/// `ouro init`
#[derive(Debug, Args)]
pub struct Init {
    /// The folder; made if missing.
    #[arg(default_value = ".")]
    pub folder: PathBuf,
}

/// `ouro add`
#[derive(Debug, Args)]
pub struct Add {
    /// The program's name, in the package of this folder or with its package: `limit`, `//fw:limit`.
    pub name: String,
    /// Its type, a libbpf section prefix.
    #[arg(long = "type", default_value = "xdp", value_name = "TYPE")]
    pub ty: String,
    /// The program that jumps to it.
    #[arg(long, value_name = "PROGRAM")]
    pub after: Option<String>,
}

/// `ouro build`
#[derive(Debug, Args)]
pub struct Build {
    /// Target patterns: `//fw:parse`, `//fw:all`, `//fw/...`, `//...`, `:parse`; one with `-` in front takes away.
    /// Everything from this folder down when none is given.
    #[arg(default_value = "...", value_name = "PATTERN", value_parser = pattern)]
    pub patterns: Vec<String>,
    /// Load, analyse and plan, say what is wrong, and run nothing.
    #[arg(long)]
    pub nobuild: bool,
    /// How to run it.
    #[command(flatten)]
    pub how: BuildFlags,
}

/// How a build runs.
#[derive(Debug, Clone, Args)]
pub struct BuildFlags {
    /// Actions run at once; the number of CPUs by default.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// After a failure, go on with what does not depend on it.
    #[arg(short, long)]
    pub keep_going: bool,
    /// The folder of the action cache; else `$OURO_CACHE`, `[cache] dir` in ouro.toml, or `~/.cache/ouro/v1`.
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
}

/// `ouro graph`
#[derive(Debug, Args)]
pub struct Graph {
    /// The chain's label.
    #[arg(value_parser = pattern)]
    pub chain: String,
    /// The drawing's format.
    #[arg(long, value_enum, default_value_t = GraphFormat::Text)]
    pub format: GraphFormat,
}

/// A drawing's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// A tree for the terminal.
    Text,
    /// Graphviz.
    Dot,
    /// Mermaid, for Markdown.
    Mermaid,
    /// For programs.
    Json,
    /// A picture.
    Svg,
}

/// `ouro generate`
#[derive(Debug, Args)]
pub struct Generate {
    /// Target patterns.
    #[arg(default_value = "//...", value_name = "PATTERN", value_parser = pattern)]
    pub patterns: Vec<String>,
}

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

/// `ouro deploy`
#[derive(Debug, Args)]
pub struct Deploy {
    /// What is deployed.
    #[command(flatten)]
    pub what: What,
    /// Show the steps and take none.
    #[arg(long)]
    pub plan: bool,
    /// Make a new generation even when the same bundle is live.
    #[arg(long)]
    pub force: bool,
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

/// `ouro run`
#[derive(Debug, Args)]
pub struct Run {
    /// What is deployed.
    #[command(flatten)]
    pub what: What,
    /// Where.
    #[command(flatten)]
    pub place: Place,
}
