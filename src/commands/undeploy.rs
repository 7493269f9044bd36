//! `ouro undeploy`

use std::path::Path;

use ouro_deploy::RemoveOptions;
use ouro_rules::chain::deployment_name;
use ouro_rules::label::Label;
use serde_json::json;

use crate::cli::Undeploy;
use crate::commands::deploy::{bpffs, failure};
use crate::error::CliError;
use crate::netns;
use crate::session::{self, Session};

/// Detaches a chain and removes what was pinned for it.
pub fn run(session: &Session, args: &Undeploy) -> Result<(), CliError> {
    let name = name(session, &args.name)?;
    let bpffs = bpffs(session, &args.place)?;
    netns::enter(args.place.netns.as_deref())?;
    let options = RemoveOptions { keep_maps: args.keep_maps, force: args.force };
    let undeployed = undeploy(session, &bpffs, &name, &options)?;
    if args.place.json {
        let foreign: Vec<String> = undeployed.foreign.iter().map(|path| path.display().to_string()).collect();
        return session.fact(&format!("{:#}\n", json!({ "name": name, "steps": undeployed.steps, "foreign": foreign })));
    }
    Ok(())
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
        [] => session.output.status(&format!("nothing is deployed as `{name}` under `{}`\n", bpffs.display())),
        _ => session.output.status(&format!("undeployed `{name}`\n")),
    }
    for path in &undeployed.foreign {
        session.output.status(&format!("left `{}`, which ouro did not make\n", path.display()));
    }
    Ok(undeployed)
}

/// A deployment's name, or that of a chain's deployment.
pub fn name(session: &Session, text: &str) -> Result<String, CliError> {
    if !text.contains(['/', ':']) {
        return Ok(text.to_owned());
    }
    let label = match session.workspace_if_any()? {
        Some(workspace) => session::label(&workspace, text)?,
        None => Label::parse(text, "", "").map_err(|error| CliError::new(crate::error::Kind::Usage, error.to_string()))?,
    };
    Ok(deployment_name(&label))
}
