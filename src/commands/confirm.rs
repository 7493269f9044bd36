//! `ouro confirm`, and the wait for it.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::cli::Named;
use crate::commands::deploy::failure;
use crate::commands::rollback::{done, place, tell};
use crate::error::{CliError, Kind};
use crate::session::{self, Session};

/// How often the end of a trial is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Makes what is on trial live for good.
pub fn run(session: &Session, args: &Named) -> Result<(), CliError> {
    let (name, bpffs) = place(session, args)?;
    let plan = ouro_deploy::confirm(&bpffs, &name, &mut |step| session.detail(&step.to_string())).map_err(failure)?;
    tell(session, args, &name, &plan, &format!("confirmed `{name}`"))
}

/// Waits until somebody confirms the generation that has just gone live; rolls back when the time is over, or when interrupted.
pub fn wait(session: &Session, bpffs: &Path, name: &str) -> Result<(), CliError> {
    let Some(begun) = ouro_deploy::trial(bpffs, name).map_err(failure)? else { return Ok(()) };
    let (generation, left) = (begun.generation, begun.left.as_secs_f64().ceil());
    session.output.status(&format!("`ouro confirm {name}` keeps it; without it what was live before comes back in {left} s\n"));
    loop {
        let trial = ouro_deploy::trial(bpffs, name).map_err(failure)?.filter(|trial| trial.generation == generation);
        let interrupted = session::interrupted().load(Ordering::SeqCst);
        match trial {
            None => return ended(session, bpffs, name, generation),
            Some(trial) if interrupted || trial.left.is_zero() => {
                if withdraw(session, bpffs, name, generation)? {
                    return withdrawn(bpffs, name, interrupted);
                }
            }
            Some(_) => {}
        }
        std::thread::sleep(LOOK);
    }
}

/// Goes back; false if somebody else is at it just now.
fn withdraw(session: &Session, bpffs: &Path, name: &str, generation: u32) -> Result<bool, CliError> {
    match ouro_deploy::withdraw(bpffs, name, generation, &mut |step| session.detail(&step.to_string())) {
        Ok(plan) => Ok(!plan.is_empty()),
        Err(ouro_deploy::Error::Busy(_)) => Ok(false),
        Err(error) => Err(failure(error)),
    }
}

fn withdrawn(bpffs: &Path, name: &str, interrupted: bool) -> Result<(), CliError> {
    let kind = if interrupted { Kind::Interrupted } else { Kind::Failed };
    let why = if interrupted { "interrupted" } else { "nobody confirmed it in time" };
    Err(CliError::new(kind, format!("{why}; {}", done(bpffs, name)?)))
}

/// Somebody ended the trial: by confirming, or by making something else live.
fn ended(session: &Session, bpffs: &Path, name: &str, generation: u32) -> Result<(), CliError> {
    let found = ouro_deploy::status(bpffs).map_err(failure)?.into_iter().find(|deployment| deployment.name == name);
    if found.and_then(|deployment| deployment.generation) == Some(generation) {
        session.output.status(&format!("`{name}` was confirmed\n"));
        return Ok(());
    }
    Err(CliError::new(Kind::Failed, format!("generation {generation} of `{name}` was replaced or rolled back by somebody else")))
}
