//! The command line: what can be said to ouro. Doc comments here are the help. What stands on what commands take are plain comments:
//! clap would show them as what the command does.
//!
//! Knows nothing of what commands do.

mod ask;
mod build;
mod deploy;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub use ask::{Affected, AffectedOutput, Aquery, AqueryOutput, Explain, Graph, GraphFormat, Query, QueryOutput};
pub use build::{
    Add, Build, BuildFlags, BuildMode, Cache, CacheCommand, CacheGc, CachePlace, ConfigFlags, Doctor, Generate, Init, Run,
    SandboxKind, Test, TestOutput,
};
pub use deploy::{
    Attach, Bundle, Deploy, Detach, Direction, Hooks, Key, KeyCommand, Manner, Mode, Named, Place, Plan, Status, Systemd, Trust,
    Undeploy, Verify, What,
};

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

/// In the words of the README.
const EXIT_CODES: &str = "Exit codes: 0 done; 1 it failed: BUILD files or sources have errors, an action or a deploy failed, `status` \
    found drift; 2 the command makes no sense here, or names what is not there; 3 not allowed or not supported here, or a tool is \
    missing; 4 tests did not pass; 5 there was no test to run; 10 `plan --exit-code` found something to do; 130 interrupted. \
    `ouro run` of a program ends as that program does.";

const CONFIGURATION: &str = "Configuration";

/// Stands for the `-` of an exclusion while clap looks at the arguments.
const EXCLUDE: &str = "\u{1}";

/// The command line with exclusions such as `-//fw:parse` disguised, which clap would take for flags. No flag begins like them, and
/// behind `--` there are none.
fn arguments() -> impl Iterator<Item = OsString> {
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

/// What the command line says. Ends the process where that is nothing, or the wish for help.
pub fn parse() -> Cli {
    let arguments: Vec<OsString> = arguments().collect();
    let all = || Cli::try_parse_from(&arguments).unwrap_or_else(|error| with_tip(error).exit());
    asked_alone(&arguments).unwrap_or_else(all)
}

/// The same where the first word is a command and all is right, without a word of the other commands: each would be told what applies to
/// every command, which takes as long as the kernel to verify ten programs.
fn asked_alone(arguments: &[OsString]) -> Option<Cli> {
    let asked = Cli::command().find_subcommand(arguments.get(1)?)?.clone();
    let alone = Global::augment_args(clap::Command::new("ouro")).subcommand(asked);
    let matches = alone.try_get_matches_from(arguments).ok()?;
    Cli::from_arg_matches(&matches).ok()
}

/// What others call commands.
const ELSEWHERE: &[(&str, &str)] = &[
    ("version", "`ouro --version` says it"),
    ("targets", "`ouro query //...` lists them"),
    ("list", "`ouro query //...` lists targets, `ouro status` what is deployed"),
];

/// The error, with what was probably meant where clap cannot know.
fn with_tip(mut error: clap::Error) -> clap::Error {
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => word.clone(),
        _ => String::new(),
    };
    let (command, argument) = (word(ContextKind::InvalidSubcommand), word(ContextKind::InvalidArg));
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    let tip = match ELSEWHERE.iter().find(|(word, _)| *word == command) {
        Some((_, tip)) => (*tip).to_owned(),
        None if usage.contains("--interface <DEVICE>") && !argument.is_empty() && !argument.starts_with('-') => {
            format!("name the device with `--interface {argument}`")
        }
        None => return error,
    };
    error.remove(ContextKind::SuggestedSubcommand);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
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

/// The commands, in the order of use. Only of the one that is asked for what it takes is looked up: all of them are 500 flags.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
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
    /// Ask for the actions of targets: command lines, inputs, outputs, keys.
    Aquery(Aquery),
    /// List the targets that changes since a git revision touch.
    Affected(Affected),
    /// Say what was found on this machine, what is missing, and how to get it.
    Doctor(Doctor),
    /// Write compile_commands.json and .clangd for editors.
    Generate(Generate),
    /// Remove what was built; the cache stays.
    Clean,
    /// Look at the action cache, which all workspaces share, or make it smaller.
    Cache(Cache),
    /// Build a chain and write its bundle; sign bundles, and verify them.
    Bundle(Bundle),
    /// Make keys that sign bundles.
    Key(Key),
    /// Have the kernel's verifier judge programs; nothing is attached or stays.
    Verify(Verify),
    /// Say what a deploy would change.
    Plan(Plan),
    /// Load a chain into the kernel and attach it, replacing the one that runs.
    Deploy(Deploy),
    /// Say that what `deploy --confirm` made live is to stay.
    Confirm(Named),
    /// Make the generation live again that was live before; a second time leads forward again.
    Rollback(Named),
    /// Write a unit of systemd's that deploys a chain at every boot, and the bundle beside it.
    Systemd(Systemd),
    /// Show what is deployed.
    Status(Status),
    /// Say which attach constructors this kernel has.
    Hooks(Hooks),
    /// Detach a chain and remove what was pinned for it.
    Undeploy(Undeploy),
    /// Attach a live chain to one more device, until the next deploy.
    Attach(Attach),
    /// Detach a live chain from a device; it stays loaded.
    Detach(Detach),
    /// Build an executable (`sh_binary`, a test) and run it; of a chain: deploy, show the counts as they change, undeploy on Ctrl-C.
    Run(Run),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_as_among_all() {
        let lines = [
            "deploy //fw:chain",
            "deploy --bundle a.bundle --interface eth0 --bpffs /x -v --set a=1 --set b.c=2",
            "deploy -C folder --color never --plan //fw:chain --confirm 30",
            "deploy --dry-run --message-format json --quiet -- //fw:chain",
            "build //... --keep-going -v -j 3",
            "query -C folder deps(//...) --output json",
            "cache gc --color always",
            "status",
        ];
        for line in lines {
            let words: Vec<OsString> = format!("ouro {line}").split(' ').map(OsString::from).collect();
            let (alone, among) = (asked_alone(&words).expect(line), Cli::try_parse_from(&words).expect(line));
            assert_eq!(format!("{alone:?}"), format!("{among:?}"));
        }
    }

    /// All that is told of it then is told by the whole command line.
    #[test]
    fn what_is_wrong_or_asks_for_help_is_left_to_all_commands() {
        for line in
            ["deploy --help", "deploy --version", "deploy --dry-run --plan x", "deploy -q -v x", "-v deploy x", "help deploy", ""]
        {
            let words: Vec<OsString> = format!("ouro {line}").split_whitespace().map(OsString::from).collect();
            assert!(asked_alone(&words).is_none(), "{line}");
        }
    }

    /// `ouro help deploy` began with "`ouro deploy`", and `ouro help rollback` with the name of another command.
    #[test]
    fn help_begins_with_what_a_command_does() {
        let listed = Cli::command();
        let mut built = Cli::command();
        built.build();
        for (listed, built) in listed.get_subcommands().zip(built.get_subcommands()) {
            let about = |command: &clap::Command| command.get_about().map(ToString::to_string);
            assert!(about(listed).is_some(), "{}", listed.get_name());
            assert_eq!((about(listed), built.get_long_about().map(ToString::to_string)), (about(built), None));
        }
    }
}
