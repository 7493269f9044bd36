//! `ouro clean`

use ouro_cache::Size;
use ouro_engine::state::{self, Lock, STATE_FOLDER};
use ouro_engine::workspace::OUT_FOLDER;

use crate::error::{CliError, Kind};
use crate::render::progress::Progress;
use crate::session::{self, Session};

/// Removes what was built; the cache stays.
pub fn run(session: &Session) -> Result<(), CliError> {
    let workspace = session.workspace()?;
    let there = [OUT_FOLDER, STATE_FOLDER].into_iter().filter(|folder| workspace.root.join(folder).exists()).collect::<Vec<_>>();
    session::catch_interrupts();
    let failed = |error: state::StateError| CliError::new(Kind::Failed, error.to_string());
    let progress = Progress::new(&session.output, session.sources());
    let lock = Lock::acquire(&workspace.root, session::interrupted(), &|event| progress.event(&event)).map_err(failed)?;
    let bytes = state::clean(lock).map_err(failed)?;
    session.output.status(&match there.as_slice() {
        [] => "nothing was there to remove\n".to_owned(),
        _ => format!("removed {}, {}\n", there.join(" and "), Size(bytes)),
    });
    Ok(())
}
