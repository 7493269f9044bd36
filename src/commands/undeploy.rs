//! `ouro undeploy`

use std::path::Path;

use ouro_deploy::RemoveOptions;
use ouro_rules::chain::deployment_name;
use ouro_rules::diagnostic::nearest;
use ouro_rules::label::Label;
use serde_json::json;

use crate::cli::Undeploy;
use crate::commands::deploy::{bpffs, failure};
use crate::error::{CliError, Kind};
use crate::netns;
use crate::session::{self, Session};

/// Detaches a chain and removes what was pinned for it.
pub fn run(session: &Session, args: &Undeploy) -> Result<(), CliError> {
    let name = name(session, &args.name)?;
    let bpffs = bpffs(session, &args.place)?;
    netns::enter(args.place.netns.as_deref())?;
    ouro_deploy::limit_to_change(&bpffs, &name).map_err(failure)?;
    if !args.if_exists {
        require(&bpffs, &name)?;
    }
    let options = RemoveOptions { keep_maps: args.keep_maps, force: args.force };
    let undeployed = undeploy(session, &bpffs, &name, &options)?;
    let foreign: Vec<String> = undeployed.foreign.iter().map(|path| path.display().to_string()).collect();
    let left: Vec<String> = undeployed.left.iter().map(|(hook, _)| hook.name()).collect();
    if args.place.json {
        session.fact(&format!("{:#}\n", json!({ "name": name, "steps": undeployed.steps, "foreign": foreign, "left": left })))?;
    }
    if foreign.is_empty() {
        return Ok(());
    }
    let error = CliError::new(Kind::Failed, format!("something is left in the folder of `{name}`"));
    Err(error.help(format!("if nobody needs it: `rm -r {}`", foreign.join(" "))))
}

/// Removes a deployment and says so.
pub fn undeploy(
    session: &Session,
    bpffs: &Path,
    name: &str,
    options: &RemoveOptions,
) -> Result<ouro_deploy::Undeployed, CliError> {
    let undeployed =
        ouro_deploy::undeploy(bpffs, name, options, &mut |step| session.detail(&format!("{step}"))).map_err(failure)?;
    match undeployed.steps.as_slice() {
        [] => session.output.status(&format!("nothing was left of `{name}`\n")),
        _ => session.output.status(&format!("undeployed `{name}`\n")),
    }
    for (hook, why) in &undeployed.left {
        session.output.status(&format!("left the stub of the {hook}, which lets everything pass: {}\n", why.what));
    }
    for path in &undeployed.foreign {
        session.output.status(&format!("left `{}`, which ouro did not make\n", path.display()));
    }
    Ok(undeployed)
}

/// An error, with a near name, unless something is deployed under this one.
pub fn require(bpffs: &Path, name: &str) -> Result<(), CliError> {
    if ouro_deploy::status_of(bpffs, name).map_err(failure)?.is_some() {
        return Ok(());
    }
    let deployed = ouro_deploy::deployed(bpffs).map_err(failure)?;
    let error = CliError::new(Kind::Usage, format!("nothing is deployed as `{name}` under `{}`", bpffs.display()));
    // People know a chain by the last part of its label: `main` for the deployment `core-main` of `//core:main`.
    let same_end = deployed.iter().find(|(_, chain)| chain.ends_with(&format!(":{name}")));
    let near = same_end.map(|(name, _)| name.as_str());
    let near = near.or_else(|| nearest(name, deployed.keys().map(String::as_str)));
    Err(match near {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error.help("`ouro status` lists what is deployed"),
    })
}

/// A deployment's name, or that of a chain's deployment.
pub fn name(session: &Session, text: &str) -> Result<String, CliError> {
    if !text.contains(['/', ':']) {
        return Ok(text.to_owned());
    }
    let label = match session.workspace_if_any()? {
        Some(workspace) => session::label(&workspace, text)?,
        None => Label::parse(text, "", "").map_err(|error| CliError::new(Kind::Usage, error.to_string()))?,
    };
    Ok(deployment_name(&label))
}
