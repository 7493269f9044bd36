//! The command line: what can be said to ouro. Doc comments here are the help.
//!
//! Knows nothing of what commands do.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ouro_cache::{Age, Size};
use ouro_rules::configuration::KernelVersion;

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
    3 not allowed or not supported here; 4 tests did not pass; 5 there was no test to run; 130 interrupted. `ouro run` of a program \
    ends as that program does.";

const CONFIGURATION: &str = "Configuration";

/// Stands for the `-` of an exclusion while clap looks at the arguments.
const EXCLUDE: &str = "\u{1}";

/// The command line with exclusions such as `-//fw:parse` disguised, which clap would take for flags. No flag begins like them, and
/// behind `--` there are none.
pub fn arguments() -> impl Iterator<Item = OsString> {
    let mut flags_over = false;
    std::env::args_os().map(move |argument| match argument.to_str().and_then(|text| text.strip_prefix('-')) {
        _ if flags_over => argument,
        Some("-") => {
            flags_over = true;
            argument
        }
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
    /// Build tests and run them.
    Test(Test),
    /// Say why a target's actions ran the last time, and why they would run now.
    Explain(Explain),
    /// Draw a chain: programs, slots, jumps, maps.
    Graph(Graph),
    /// Ask which targets and files depend on each other, and how.
    Query(Query),
    /// Say what was found on this machine, what is missing, and how to get it.
    Doctor(Doctor),
    /// Ask for the actions of targets: command lines, inputs, outputs, keys.
    Aquery(Aquery),
    /// List the targets that changes since a git revision touch.
    Affected(Affected),
    /// Write compile_commands.json and .clangd for editors.
    Generate(Generate),
    /// Remove what was built; the cache stays.
    Clean,
    /// Look at the action cache, which all workspaces share, or make it smaller.
    Cache(Cache),
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
    /// Build a program and run it; of a chain: deploy, show the counts as they change, undeploy on Ctrl-C.
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
    /// Also say which headers are declared and never read, and which of `deps` are there for nothing.
    #[arg(long, conflicts_with = "nobuild")]
    pub unused_headers: bool,
    /// Load, analyse and plan, say what is wrong, and run nothing.
    #[arg(long, conflicts_with_all = ["profile", "events"])]
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
    /// Start every compiler anew, instead of copying one that is linked and initialised already.
    #[arg(long)]
    pub no_warm: bool,
    /// How actions and tests are kept from what they do not declare: by Landlock where the kernel has it, unless this, or `[sandbox]
    /// mode` in ouro.toml, says otherwise.
    #[arg(long, value_enum, value_name = "HOW")]
    pub sandbox: Option<SandboxKind>,
    /// The folder of the action cache; else `$OURO_CACHE`, `[cache] dir` in ouro.toml, or `~/.cache/ouro/v1`.
    #[arg(long = "cache-dir", alias = "cache", value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Write a trace for Perfetto or chrome://tracing, and name the critical path.
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Write what happens as JSON, one object a line, while it happens.
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// What it is for.
    #[command(flatten)]
    pub config: ConfigFlags,
}

/// How actions are kept from what they do not declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SandboxKind {
    /// Files they do not declare cannot be opened.
    Landlock,
    /// They are not there, and neither is a network.
    Namespace,
    /// What compilers say they read is looked at, and that is all.
    Off,
}

/// What is built for. `--platform`, `--config` and `--toolchain` may be given several times: each named configuration is then built
/// for each platform and by each toolchain, side by side.
#[derive(Debug, Clone, Args)]
pub struct ConfigFlags {
    /// The machine that will run it: `x86_64`, `aarch64`, `s390x`; this one by default. Again for one more.
    #[arg(help_heading = CONFIGURATION, long = "platform", value_name = "PLATFORM")]
    pub platforms: Vec<String>,
    /// A configuration of ouro.toml, `[config.NAME]`. Again for one more.
    #[arg(help_heading = CONFIGURATION, long = "config", value_name = "NAME")]
    pub configs: Vec<String>,
    /// The `bpf_toolchain` that compiles; the machine's own clang by default. Again for one more.
    #[arg(help_heading = CONFIGURATION, long = "toolchain", value_name = "LABEL")]
    pub toolchains: Vec<String>,
    /// What compilers are asked for.
    #[arg(help_heading = CONFIGURATION, long, value_enum, value_name = "MODE")]
    pub mode: Option<BuildMode>,
    /// The oldest kernel that must run it: `5.15`.
    #[arg(help_heading = CONFIGURATION, long, value_name = "VERSION", value_parser = str::parse::<KernelVersion>)]
    pub min_kernel: Option<KernelVersion>,
    /// Set a `string_flag` or `bool_flag`: `//fw:trace=on`; the label alone for `true`.
    #[arg(help_heading = CONFIGURATION, long = "flag", value_name = "LABEL=VALUE")]
    pub flags: Vec<String>,
}

/// What compilers are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BuildMode {
    /// With `DEBUG` and `OURO_DEBUG=1` defined.
    Dbg,
    /// As it will run.
    Opt,
}

/// `ouro explain`
#[derive(Debug, Args)]
pub struct Explain {
    /// A target's label, or the path of a file that was built.
    #[arg(value_parser = pattern, value_name = "LABEL|FILE")]
    pub what: String,
    /// All facts as JSON, digests whole.
    #[arg(long)]
    pub json: bool,
    /// What it is for.
    #[command(flatten)]
    pub config: ConfigFlags,
    /// The folder of the action cache, as for `ouro build`.
    #[arg(long = "cache-dir", alias = "cache", value_name = "DIR")]
    pub cache: Option<PathBuf>,
}

/// `ouro test`
#[derive(Debug, Args)]
pub struct Test {
    /// Target patterns; suites stand for their tests. All tests from this folder down when none is given.
    #[arg(default_value = "...", value_name = "PATTERN", value_parser = pattern)]
    pub patterns: Vec<String>,
    /// Only tests whose label matches: `parse`, `^//fw:`.
    #[arg(long, value_name = "REGEX")]
    pub filter: Option<String>,
    /// Which cases inside of the tests to run, for those that look at `$TESTBRIDGE_TEST_ONLY`.
    #[arg(long, value_name = "CASES")]
    pub test_filter: Option<String>,
    /// Run each test so often, one run after the other, and take no pass of an earlier run for one.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Run all tests, also those that passed before and of which nothing changed.
    #[arg(long)]
    pub no_cached: bool,
    /// A variable for all tests: with its value, or as it is here. May be given more than once.
    #[arg(long = "test-env", value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// What to show of what tests print.
    #[arg(long, value_enum, default_value_t = TestOutput::Errors, value_name = "WHAT")]
    pub test_output: TestOutput,
    /// How long each test may take, whatever it says itself.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub timeout: Option<u32>,
    /// Write what became of the tests to this file, as JUnit XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Facts as JSON: a line for each test, and one for all.
    #[arg(long)]
    pub json: bool,
    /// How to build them; `-j` is also how many run at once. All tests are run in any case; with `-k` also when the build of others
    /// failed.
    #[command(flatten)]
    pub how: BuildFlags,
}

/// What is shown of what tests print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TestOutput {
    /// That of tests that did not pass.
    Errors,
    /// That of all tests.
    All,
    /// Everything, while it is printed; tests run one after the other.
    Streamed,
    /// Nothing; it is in the logs.
    Summary,
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
    /// What it is for.
    #[command(flatten)]
    pub config: ConfigFlags,
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

/// `ouro query`
#[derive(Debug, Args)]
pub struct Query {
    /// What is asked, in Bazel's query language: `deps(//fw:parse)`, `rdeps(//..., fw/packet.h)`, `kind("bpf_map rule", //...)`.
    #[arg(value_name = "EXPR", value_parser = pattern)]
    pub expression: String,
    /// Ask the jump graph: programs, and the jumps they declare.
    #[arg(long)]
    pub jumps: bool,
    /// How the answer is written.
    #[arg(long, short, value_enum, default_value_t = QueryOutput::Label, value_name = "FORMAT")]
    pub output: QueryOutput,
    /// What it is for.
    #[command(flatten)]
    pub config: ConfigFlags,
}

/// How targets are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QueryOutput {
    /// One label a line.
    Label,
    /// The kind, then the label.
    #[value(name = "label_kind")]
    LabelKind,
    /// The packages, each once.
    Package,
    /// File, line and column, then kind and label.
    Location,
    /// For programs.
    Json,
    /// Graphviz: the targets, and the edges between them.
    #[value(alias = "graph")]
    Dot,
    /// The same in Mermaid, for Markdown.
    Mermaid,
}

/// `ouro aquery`
#[derive(Debug, Args)]
pub struct Aquery {
    /// Whose actions: an expression as for `ouro query`, or conditions around one: `mnemonic("compile", deps(//fw:fw))`,
    /// `inputs("\\.h$", //fw:all)`, `outputs(...)`.
    #[arg(value_name = "EXPR", value_parser = pattern)]
    pub expression: String,
    /// How the answer is written.
    #[arg(long, short, value_enum, default_value_t = AqueryOutput::Text, value_name = "FORMAT")]
    pub output: AqueryOutput,
    /// What it is for.
    #[command(flatten)]
    pub config: ConfigFlags,
}

/// How actions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AqueryOutput {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// Graphviz: the actions, and which needs which.
    #[value(alias = "graph")]
    Dot,
    /// The same in Mermaid, for Markdown.
    Mermaid,
}

/// `ouro affected`
#[derive(Debug, Args)]
pub struct Affected {
    /// The git revision to compare the files of the workspace with, changes that are not committed included.
    #[arg(long, value_name = "REV")]
    pub since: String,
    /// Among which targets: patterns as for `ouro build`.
    #[arg(default_value = "//...", value_name = "PATTERN", value_parser = pattern)]
    pub patterns: Vec<String>,
    /// Tests alone.
    #[arg(long)]
    pub tests: bool,
    /// How the answer is written.
    #[arg(long, short, value_enum, default_value_t = AffectedOutput::Label, value_name = "FORMAT")]
    pub output: AffectedOutput,
    /// What it is for.
    #[command(flatten)]
    pub config: ConfigFlags,
}

/// How affected targets are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AffectedOutput {
    /// One label a line.
    Label,
    /// For programs, with what changed.
    Json,
}

/// `ouro doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// Facts as JSON.
    #[arg(long)]
    pub json: bool,
    /// What would be built for, and by which toolchain.
    #[command(flatten)]
    pub config: ConfigFlags,
}

/// `ouro cache`
#[derive(Debug, Args)]
pub struct Cache {
    /// What to do.
    #[command(subcommand)]
    pub what: CacheCommand,
}

/// What can be done with the cache.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Say how much is in it.
    Stat(CachePlace),
    /// Remove what was of no use for longest, until it keeps to its limits. Waits for builds that use it. Builds do this themselves
    /// when the cache has outgrown its limits.
    Gc(CacheGc),
    /// Read everything in it, and remove what is damaged.
    Verify(CachePlace),
}

/// Which cache, and how facts are shown.
#[derive(Debug, Args)]
pub struct CachePlace {
    /// The folder of the action cache, as for `ouro build`.
    #[arg(long = "cache-dir", alias = "cache", value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Facts as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `ouro cache gc`
#[derive(Debug, Args)]
pub struct CacheGc {
    /// How large it may be: `10GB`, `512MiB`; else `[cache] max_size` in ouro.toml, or 10GB.
    #[arg(long, value_name = "SIZE")]
    pub max_size: Option<Size>,
    /// How long something may be of no use: `30d`, `12h`; else `[cache] max_age` in ouro.toml, or for ever.
    #[arg(long, value_name = "AGE")]
    pub max_age: Option<Age>,
    /// Which.
    #[command(flatten)]
    pub place: CachePlace,
}

/// `ouro generate`
#[derive(Debug, Args)]
pub struct Generate {
    /// Target patterns.
    #[arg(default_value = "//...", value_name = "PATTERN", value_parser = pattern)]
    pub patterns: Vec<String>,
    /// What it is for.
    #[command(flatten)]
    pub config: ConfigFlags,
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
    /// What is run, or deployed.
    #[command(flatten)]
    pub what: What,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// Arguments for the program, after its own.
    #[arg(last = true, value_name = "ARGS", conflicts_with = "bundle")]
    pub args: Vec<OsString>,
}
