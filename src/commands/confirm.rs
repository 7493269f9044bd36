//! `ouro confirm`, and the wait for it.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ouro_deploy::{Problem, Trial};

use crate::cli::{Named, Place};
use crate::commands::deploy::failure;
use crate::commands::rollback::{done, place, shortfalls, tell};
use crate::error::{CliError, Kind};
use crate::session::{self, Session};

/// How often the end of a trial is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// How long whoever began a trial may take to go back.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes what is on trial live for good.
pub fn run(session: &Session, args: &Named) -> Result<(), CliError> {
    let (name, bpffs) = place(session, args)?;
    let plan = ouro_deploy::confirm(&bpffs, &name, &mut |step| session.detail(&step.to_string())).map_err(failure)?;
    tell(session, args, &name, &plan, &format!("confirmed `{name}`"))
}

/// Waits until somebody confirms this generation, which has just gone live for so many seconds; rolls back when they are over, or
/// when interrupted.
pub fn wait(
    session: &Session,
    (bpffs, place): (&Path, &Place),
    name: &str,
    generation: u32,
    seconds: u64,
) -> Result<(), CliError> {
    let command = format!("ouro confirm {name}{}", place.words());
    session.output.status(&format!("`{command}` keeps it; without it what was live before comes back in {seconds} s\n"));
    let mut wait = Wait { session, bpffs, name, generation, overdue: None, told: Vec::new() };
    loop {
        match wait.look() {
            Ok(Some(end)) => return end,
            Ok(None) => {}
            Err(error) if session::interrupted().load(Ordering::SeqCst) => return Err(failure(error)),
            Err(error) => wait.tell(&error.to_string()),
        }
        std::thread::sleep(LOOK);
    }
}

/// The wait for the end of a trial. Whatever goes wrong is tried again: nobody else brings back what was live before.
struct Wait<'a> {
    session: &'a Session,
    bpffs: &'a Path,
    name: &'a str,
    generation: u32,
    /// Since when a trial is over that another deploy began in place of this one.
    overdue: Option<Instant>,
    /// What was said already.
    told: Vec<String>,
}

impl Wait<'_> {
    /// Looks at the trial once; gives how it ended.
    fn look(&mut self) -> Result<Option<Result<(), CliError>>, ouro_deploy::Error> {
        let Some(trial) = ouro_deploy::trial(self.bpffs, self.name)? else { return self.ended().map(Some) };
        let interrupted = session::interrupted().load(Ordering::SeqCst);
        if trial.generation == self.generation {
            let is_over = interrupted || trial.left.is_zero();
            return Ok(if is_over && self.withdraw(trial)? { Some(self.withdrawn(interrupted)) } else { None });
        }
        if interrupted {
            return Ok(Some(Err(self.replaced(Some(trial.generation)))));
        }
        self.tell(&format!("generation {} is on trial now", trial.generation));
        // Who began that one sees to it, unless it was killed.
        if !trial.left.is_zero() {
            self.overdue = None;
        } else if self.overdue.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            self.withdraw(trial)?;
        }
        Ok(None)
    }

    /// Goes back; false if somebody else is at it just now.
    fn withdraw(&mut self, trial: Trial) -> Result<bool, ouro_deploy::Error> {
        let session = self.session;
        match ouro_deploy::withdraw(self.bpffs, self.name, trial.generation, &mut |step| session.detail(&step.to_string())) {
            Ok(plan) => {
                shortfalls(&plan).for_each(|change| self.tell(&change));
                Ok(!plan.is_empty())
            }
            Err(ouro_deploy::Error::Busy(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn withdrawn(&self, interrupted: bool) -> Result<(), CliError> {
        let kind = if interrupted { Kind::Interrupted } else { Kind::Failed };
        let why = if interrupted { "interrupted" } else { "nobody confirmed it in time" };
        Err(CliError::new(kind, format!("{why}; {}", done(self.bpffs, self.name)?)))
    }

    /// Somebody ended the trial: by confirming, which marks the generation as live for good, or by making something else live.
    fn ended(&self) -> Result<Result<(), CliError>, ouro_deploy::Error> {
        let generation = self.generation;
        let found = ouro_deploy::status_of(self.bpffs, self.name)?;
        let live = found.as_ref().and_then(|found| found.generation);
        let Some(found) = found.filter(|_| live == Some(generation)) else { return Ok(Err(self.replaced(live))) };
        if found.problems.contains(&Problem::Unfinished { generation }) {
            let message =
                format!("nobody confirmed generation {generation} of `{}`, and the record of its trial is gone", self.name);
            let help = format!("`ouro rollback {}` brings back what was live before", self.name);
            return Ok(Err(CliError::new(Kind::Failed, message).help(help)));
        }
        self.session.output.status(&format!("`{}` was confirmed\n", self.name));
        Ok(Ok(()))
    }

    /// Another command made something else live, which is what counts. A newer generation is another deploy's.
    fn replaced(&self, live: Option<u32>) -> CliError {
        let (generation, name) = (self.generation, self.name);
        let what = match live {
            Some(live) if live > generation => format!("was replaced by another deploy: generation {live} is live"),
            Some(live) => format!("was rolled back by another command: generation {live} is live"),
            None => "was removed by another command: nothing is live".to_owned(),
        };
        CliError::new(Kind::Failed, format!("generation {generation} of `{name}` {what}"))
            .help(format!("nobody confirmed it; `ouro status {name}` shows what there is"))
    }

    /// Says something once.
    fn tell(&mut self, text: &str) {
        if !self.told.iter().any(|told| told == text) {
            self.session.output.status(&format!("{text}\n"));
            self.told.push(text.to_owned());
        }
    }
}
