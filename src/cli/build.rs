//! What can be said of building, testing, running, and of what these keep.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use ouro_cache::{Age, Size};
use ouro_rules::configuration::KernelVersion;

use super::{CONFIGURATION, Place, What, pattern};

// `ouro init`
#[derive(Debug, Args)]
pub struct Init {
    /// The folder; made if missing.
    #[arg(default_value = ".")]
    pub folder: PathBuf,
}

// `ouro add`
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

// `ouro build`
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

// How a build runs.
#[derive(Debug, Clone, Args)]
pub struct BuildFlags {
    /// Actions run at once; the number of CPUs by default.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// After a failure, or when something is wrong with a target or a whole BUILD file, go on with what does not depend on it.
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
    /// Write a trace for Perfetto or chrome://tracing, and name the critical path. `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Write what happens as JSON, one object a line, while it happens. `-` is standard output.
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

// What is built for. `--platform`, `--config` and `--toolchain` may be given several times: each named configuration is then built
// for each platform and by each toolchain, side by side.
#[derive(Debug, Clone, Args)]
pub struct ConfigFlags {
    /// The machine that will run it: `x86_64`, `aarch64`, `s390x`; this one by default. `ouro build` takes several.
    #[arg(help_heading = CONFIGURATION, long = "platform", value_name = "PLATFORM")]
    pub platforms: Vec<String>,
    /// A configuration of ouro.toml, `[config.NAME]`. `ouro build` takes several.
    #[arg(help_heading = CONFIGURATION, long = "config", value_name = "NAME")]
    pub configs: Vec<String>,
    /// The `bpf_toolchain` that compiles; the machine's own clang by default. `ouro build` takes several.
    #[arg(help_heading = CONFIGURATION, long = "toolchain", value_name = "LABEL")]
    pub toolchains: Vec<String>,
    /// What compilers are asked for.
    #[arg(help_heading = CONFIGURATION, long, value_enum, value_name = "MODE")]
    pub mode: Option<BuildMode>,
    /// The oldest kernel that must run it: `5.15`. A chain that needs a newer one is an error.
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

// `ouro test`
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

// `ouro doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// Facts as JSON.
    #[arg(long)]
    pub json: bool,
    /// Only what concerns deploying: what this kernel, this user and the bpffs can do.
    #[arg(long)]
    pub kernel: bool,
    /// The bpffs to look at; `[deploy] bpffs` in ouro.toml, else /sys/fs/bpf.
    #[arg(long, value_name = "DIR")]
    pub bpffs: Option<PathBuf>,
    /// What would be built for, and by which toolchain.
    #[command(flatten)]
    pub config: ConfigFlags,
}

// `ouro cache`
#[derive(Debug, Args)]
pub struct Cache {
    /// What to do.
    #[command(subcommand)]
    pub what: CacheCommand,
}

// What can be done with the cache.
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

// Which cache, and how facts are shown.
#[derive(Debug, Args)]
pub struct CachePlace {
    /// The folder of the action cache, as for `ouro build`.
    #[arg(long = "cache-dir", alias = "cache", value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Facts as JSON.
    #[arg(long)]
    pub json: bool,
}

// `ouro cache gc`
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

// `ouro generate`
#[derive(Debug, Args)]
pub struct Generate {
    /// Target patterns.
    #[arg(default_value = "//...", value_name = "PATTERN", value_parser = pattern)]
    pub patterns: Vec<String>,
    /// What it is for.
    #[command(flatten)]
    pub config: ConfigFlags,
}

// `ouro run`
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
