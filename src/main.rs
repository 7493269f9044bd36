//! The `ouro` command.
//!
//! Parses the command line, runs one command, shows what went wrong, and sets the exit code.

mod cli;
mod configurations;
mod error;
mod files;
mod git;
mod memory;
mod netns;
mod overflow;
mod session;
mod trust;

mod commands;
mod doctor;
mod record;
mod render;
mod scaffold;
mod view;

use crate::cli::Cli;
use crate::error::{CliError, Kind};
use crate::session::Session;

#[global_allocator]
static ALLOCATOR: memory::Bounded = memory::Bounded;

fn main() {
    overflow::name_the_file();
    memory::give_back_early();
    let cli = cli::parse();
    let session = Session::new(&cli.global);
    let result = enter(&cli).and_then(|()| commands::run(cli.command, &session));
    let code = match result {
        Ok(()) => 0,
        Err(error) => {
            // When not even standard output can be written to, the exit code is all that is left to say.
            let _ = session.output.findings(&error.findings, session.sources());
            error.kind.code()
        }
    };
    memory::leave(code)
}

fn enter(cli: &Cli) -> Result<(), CliError> {
    match &cli.global.directory {
        Some(folder) => std::env::set_current_dir(folder)
            .map_err(|error| CliError::new(Kind::Usage, format!("cannot enter `{}`: {error}", folder.display()))),
        None => Ok(()),
    }
}
