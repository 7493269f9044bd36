//! `ouro doctor`

use crate::cli::Doctor;
use crate::error::CliError;
use crate::session::Session;

/// Says.
pub fn run(_session: &Session, _args: &Doctor) -> Result<(), CliError> {
    Ok(())
}
