//! `ouro clean`

use ouro_engine::state::{self, Lock};

use crate::error::{CliError, Kind};
use crate::render::progress::Progress;
use crate::session::{self, Session};

/// Removes what was built; the cache stays.
pub fn run(session: &Session) -> Result<(), CliError> {
    let workspace = session.workspace()?;
    session::catch_interrupts();
    let failed = |error: state::StateError| CliError::new(Kind::Failed, error.to_string());
    let progress = Progress::new(&session.output, session.sources());
    let lock = Lock::acquire(&workspace.root, session::interrupted(), &|event| progress.event(&event)).map_err(failed)?;
    state::clean(lock).map_err(failed)
}
