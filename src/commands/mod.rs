//! The commands, one file each.

mod add;
mod affected;
mod analysed;
mod aquery;
mod attach;
mod build;
mod bundle;
mod cache;
mod clean;
mod confirm;
mod deploy;
mod doctor;
mod explain;
mod generate;
mod graph;
mod hooks;
mod init;
mod key;
mod output;
mod plan;
mod program;
mod query;
mod rollback;
mod run;
mod status;
mod systemd;
mod test;
mod undeploy;
mod universe;
mod verify;

use crate::cli::Command;
use crate::error::CliError;
use crate::session::Session;

/// Runs one command.
pub fn run(command: Command, session: &Session) -> Result<(), CliError> {
    match command {
        Command::Init(args) => init::run(session, &args),
        Command::Add(args) => add::run(session, &args),
        Command::Build(args) => build::run(session, &args),
        Command::Test(args) => test::run(session, &args),
        Command::Explain(args) => explain::run(session, &args),
        Command::Graph(args) => graph::run(session, &args),
        Command::Query(args) => query::run(session, &args),
        Command::Aquery(args) => aquery::run(session, &args),
        Command::Affected(args) => affected::run(session, &args),
        Command::Doctor(args) => doctor::run(session, &args),
        Command::Generate(args) => generate::run(session, &args),
        Command::Clean => clean::run(session),
        Command::Cache(args) => cache::run(session, &args),
        Command::Bundle(args) => bundle::run(session, &args),
        Command::Key(args) => key::run(session, &args),
        Command::Verify(args) => verify::run(session, &args),
        Command::Plan(args) => plan::run(session, &args),
        Command::Deploy(args) => deploy::run(session, &args),
        Command::Confirm(args) => confirm::run(session, &args),
        Command::Rollback(args) => rollback::run(session, &args),
        Command::Systemd(args) => systemd::run(session, &args),
        Command::Hooks(args) => hooks::run(session, &args),
        Command::Status(args) => status::run(session, &args),
        Command::Undeploy(args) => undeploy::run(session, &args),
        Command::Attach(args) => attach::attach(session, &args),
        Command::Detach(args) => attach::detach(session, &args),
        Command::Run(args) => run::run(session, &args),
    }
}
