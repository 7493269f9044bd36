//! What can be asked of targets, actions and changes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{ConfigFlags, pattern};

// `ouro explain`
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

// `ouro graph`
#[derive(Debug, Args)]
pub struct Graph {
    /// The chain's label.
    #[arg(value_parser = pattern)]
    pub chain: String,
    /// The drawing's format.
    #[arg(long = "output", short = 'o', alias = "format", value_enum, default_value_t = GraphFormat::Text, value_name = "FORMAT")]
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

// `ouro query`
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

// `ouro aquery`
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

// `ouro affected`
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
