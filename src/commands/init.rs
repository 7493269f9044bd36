//! `ouro init`

use crate::cli::Init;
use crate::error::{CliError, Kind};
use crate::scaffold;
use crate::session::Session;

/// Makes a workspace that builds and deploys at once.
pub fn run(session: &Session, args: &Init) -> Result<(), CliError> {
    let written = scaffold::init::init(&args.folder).map_err(|findings| CliError { kind: Kind::Failed, findings })?;
    written.iter().for_each(|path| session.output.status(&format!("wrote {}\n", path.display())));
    let enter = if args.folder.as_os_str() == "." { String::new() } else { format!("cd {} && ", args.folder.display()) };
    session.output.status(&format!("next: {enter}ouro build //...\n"));
    Ok(())
}
