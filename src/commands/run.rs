//! `ouro run`

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ouro_deploy::{DeploymentStatus, Options, RemoveOptions};

use crate::cli::{Place, Run};
use crate::commands::deploy::{bpffs, bundle, bundle_of, deploy, failure, require_label, tell, trusted};
use crate::commands::program::{self, Built};
use crate::commands::status::draw;
use crate::commands::undeploy::undeploy;
use crate::error::{CliError, Kind};
use crate::netns;
use crate::session::{self, Session};

/// How often counts are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How soon Ctrl-C is seen.
const WAKE: Duration = Duration::from_millis(50);

/// Runs a program in place of this one; or deploys a chain, follows the counts, and undeploys when interrupted.
pub fn run(session: &Session, args: &Run) -> Result<(), CliError> {
    let bundle = match &args.what.chain {
        Some(label) => match require_label(label).and_then(|()| program::built(session, args, label))? {
            Built::Program(program) => return Err(program.become_it()),
            Built::Chain(bytes) => bundle_of(&args.what, &trusted(session, &args.what, bytes, label)?, label)?,
        },
        None => bundle(session, &args.what)?,
    };
    let bpffs = bpffs(session, &args.place)?;
    netns::enter(args.place.netns.as_deref())?;
    let name = &bundle.manifest.name;
    if ouro_deploy::status_of(&bpffs, name).map_err(failure)?.is_some() {
        let message = format!("`{name}` is deployed already, and `ouro run` would take it away when it ends");
        return Err(
            CliError::new(Kind::Failed, message).help(format!("`ouro deploy` replaces it; `ouro undeploy {name}` makes room"))
        );
    }
    session::catch_interrupts();
    // Undeploying takes them, too.
    ouro_deploy::limit_to_deploy(&bpffs, &bundle, &Options::default(), false).map_err(failure)?;
    let plan = deploy(session, &bpffs, &bundle, &Options::default(), false)?;
    tell(session, &bundle, args.place.netns.as_deref(), &plan);
    session.output.status("press Ctrl-C to undeploy\n");
    let followed = follow(session, &bpffs, name, &args.place);
    // Whatever ended the following, nothing is left behind.
    let undeployed = undeploy(session, &bpffs, name, &RemoveOptions::default());
    followed.and(undeployed.map(drop))
}

fn follow(session: &Session, bpffs: &Path, name: &str, place: &Place) -> Result<(), CliError> {
    let mut shown: Option<DeploymentStatus> = None;
    while !session::interrupted().load(Ordering::SeqCst) {
        let Some(now) = ouro_deploy::status_of(bpffs, name).map_err(failure)? else {
            session.output.status(&format!("`{name}` was undeployed by somebody else\n"));
            return Ok(());
        };
        if shown.as_ref() != Some(&now) {
            show(session, &now, shown.as_ref(), place)?;
            shown = Some(now);
        }
        wait();
    }
    Ok(())
}

/// The whole status first, then a line for each jump whose counts changed.
fn show(session: &Session, now: &DeploymentStatus, before: Option<&DeploymentStatus>, place: &Place) -> Result<(), CliError> {
    if place.json {
        let text = serde_json::to_string(now).map_err(|error| CliError::new(Kind::Failed, error.to_string()))?;
        return session.fact(&format!("{text}\n"));
    }
    let Some(before) = before else { return session.fact(&draw(now, place, session.output.settings().out.color)) };
    let mut text = String::new();
    for (edge, old) in now.edges.iter().zip(&before.edges).filter(|(edge, old)| edge != old) {
        let (Some(counts), Some(old)) = (&edge.counts, &old.counts) else { continue };
        let more = counts.taken.saturating_sub(old.taken);
        let missed = if counts.missed > 0 { format!(", {} missed", counts.missed) } else { String::new() };
        text += &format!("  {} -> {}  {} taken (+{more}){missed}\n", edge.from, edge.to, counts.taken);
    }
    text += &now
        .problems
        .iter()
        .filter(|problem| !before.problems.contains(problem))
        .map(|problem| format!("  drift: {problem}\n"))
        .collect::<String>();
    session.fact(&text)
}

fn wait() {
    let mut waited = Duration::ZERO;
    while waited < LOOK && !session::interrupted().load(Ordering::SeqCst) {
        std::thread::sleep(WAKE);
        waited += WAKE;
    }
}
