//! `ouro rollback`

use std::path::Path;

use ouro_deploy::Plan;
use serde_json::json;

use crate::cli::Named;
use crate::commands::deploy::{bpffs, failure};
use crate::commands::undeploy::{name, require};
use crate::error::CliError;
use crate::netns;
use crate::session::{self, Session};

/// Makes the generation live again that was live before.
pub fn run(session: &Session, args: &Named) -> Result<(), CliError> {
    let (name, bpffs) = place(session, args)?;
    let plan = ouro_deploy::rollback(&bpffs, &name, &mut |step| session.detail(&step.to_string())).map_err(failure)?;
    tell(session, args, &name, &plan, &done(&bpffs, &name)?)
}

/// The deployment that is meant, in the namespace it is in.
pub fn place(session: &Session, args: &Named) -> Result<(String, std::path::PathBuf), CliError> {
    let name = name(session, &args.name)?;
    let bpffs = bpffs(session, &args.place)?;
    netns::enter(args.place.netns.as_deref())?;
    ouro_deploy::limit_to_change(&bpffs, &name).map_err(failure)?;
    require(&bpffs, &name)?;
    session::leave_interrupts();
    Ok((name, bpffs))
}

/// What is live after a rollback.
pub fn done(bpffs: &Path, name: &str) -> Result<String, CliError> {
    let live = ouro_deploy::status_of(bpffs, name).map_err(failure)?;
    Ok(match live.and_then(|deployment| deployment.generation) {
        Some(generation) => format!("rolled back `{name}`: generation {generation} is live"),
        None => format!("rolled back `{name}`: nothing was live before"),
    })
}

/// Says what was done.
pub fn tell(session: &Session, args: &Named, name: &str, plan: &Plan, done: &str) -> Result<(), CliError> {
    if args.place.json {
        return session.fact(&format!("{:#}\n", json!({ "name": name, "changes": plan.changes, "steps": plan.steps })));
    }
    session.output.status(&format!("{done}\n"));
    shortfalls(plan).for_each(|change| session.output.status(&format!("{change}\n")));
    Ok(())
}

/// What could not be done.
pub fn shortfalls(plan: &Plan) -> impl Iterator<Item = String> {
    plan.changes.iter().filter(|change| change.falls_short()).map(|change| format!("note: {change}"))
}
