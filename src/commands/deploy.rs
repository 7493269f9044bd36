//! `ouro deploy`

use std::fs;
use std::path::{Path, PathBuf};

use ouro_deploy::{ErrorKind, Hook, Options, Plan, Rejection, Step};
use ouro_rules::Diagnostic;
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::Attach;

use crate::cli::{Deploy, Manner, Place, What};
use crate::commands::bundle::{self, built};
use crate::commands::{confirm, plan};
use crate::error::{CliError, Kind, io};
use crate::netns;
use crate::session::{self, Session};

/// Makes a chain live, or shows how it would.
pub fn run(session: &Session, args: &Deploy) -> Result<(), CliError> {
    let options = options(&args.how);
    if args.plan {
        return plan::show(session, &args.what, &options, &args.place).map(drop);
    }
    let bundle = bundle(session, &args.what)?;
    let bpffs = bpffs(session, &args.place)?;
    netns::enter(args.place.netns.as_deref())?;
    if args.dry_run {
        return dry_run(session, &bpffs, &bundle, &options, args.place.json);
    }
    match options.confirm {
        Some(_) => {
            session::catch_interrupts();
            session::outlive_terminal();
        }
        // The build is over. A deploy may be stopped anywhere: what was live stays, and the next command removes the rest.
        None => session::leave_interrupts(),
    }
    let plan = deploy(session, &bpffs, &bundle, &options)?;
    if args.place.json {
        session.fact(&plan::facts(&bundle, &plan))?;
    }
    if options.confirm.is_some() { confirm::wait(session, &bpffs, &bundle.manifest.name) } else { Ok(()) }
}

/// What the flags ask for.
pub fn options(how: &Manner) -> Options {
    Options { force: how.force, force_links: how.force_links, no_tests: how.no_tests, confirm: how.confirm }
}

/// Makes a bundle live and says so.
pub fn deploy(session: &Session, bpffs: &Path, bundle: &Bundle, options: &Options) -> Result<Plan, CliError> {
    let progress = &mut |step: &Step| session.detail(&step.to_string());
    let plan = ouro_deploy::deploy(bpffs, bundle, options, progress).map_err(|error| with_log(session, error))?;
    let (name, chain) = (&bundle.manifest.name, &bundle.manifest.chain);
    match plan.is_empty() {
        true => session.output.status(&format!("`{chain}` is live already as `{name}`; nothing to do\n")),
        false => session.output.status(&format!("deployed `{chain}` as `{name}`: {}\n", plan::summary(&plan))),
    }
    tell_detached(session, &plan.steps);
    Ok(plan)
}

/// Loads and verifies a bundle, tries it, and says so; then all of it is gone again.
fn dry_run(session: &Session, bpffs: &Path, bundle: &Bundle, options: &Options, as_json: bool) -> Result<(), CliError> {
    let progress = &mut |step: &Step| session.detail(&step.to_string());
    let plan = ouro_deploy::rehearse(bpffs, bundle, options, progress).map_err(|error| with_log(session, error))?;
    if as_json {
        return session.fact(&plan::facts(bundle, &plan));
    }
    let (programs, tests) = (bundle.manifest.programs.len(), bundle.manifest.tests.len());
    let tried = if tests == 0 { String::new() } else { format!(", and its tests ({tests}) pass") };
    let text = format!("the kernel takes `{}`, programs: {programs}{tried}; nothing was changed\n", bundle.manifest.chain);
    session.output.status(&text);
    Ok(())
}

fn with_log(session: &Session, error: ouro_deploy::Error) -> CliError {
    if let Some(rejection) = rejection(&error) {
        session.detail(&format!("the verifier's log of `{}`:\n{}", rejection.program, rejection.log));
    }
    failure(error)
}

/// Nobody who runs a firewall wants to learn this from the traffic.
fn tell_detached(session: &Session, steps: &[Step]) {
    let attached: Vec<&Hook> = steps.iter().filter_map(attached).collect();
    let is_same_place = |one: &Hook, other: &Hook| match one.interface() {
        Some(interface) => other.interface() == Some(interface),
        None => one.name() == other.name(),
    };
    for step in steps {
        match step {
            Step::Detach { hook, .. } if !attached.iter().any(|other| is_same_place(hook, other)) => {
                session.output.status(&format!("detached from {hook}, which the chain does not name\n"));
            }
            _ => {}
        }
    }
}

/// The verifier's word, if that is what went wrong.
fn rejection(error: &ouro_deploy::Error) -> Option<&Rejection> {
    match error {
        ouro_deploy::Error::Rejected(rejection) => Some(rejection),
        ouro_deploy::Error::Failed { cause, .. } => rejection(cause),
        _ => None,
    }
}

fn attached(step: &Step) -> Option<&Hook> {
    match step {
        Step::Attach { hook, .. } => Some(hook),
        _ => None,
    }
}

/// The bundle to deploy: a file, or what the chain builds to; attached where the command line says.
pub fn bundle(session: &Session, what: &What) -> Result<Bundle, CliError> {
    let (bytes, name) = match (&what.bundle, &what.chain) {
        (Some(file), _) => (fs::read(file).map_err(io(format!("cannot read `{}`", file.display())))?, file.display().to_string()),
        (None, Some(chain)) => (built(session, chain, &what.how)?, chain.clone()),
        (None, None) => return Err(CliError::new(Kind::Usage, "name a chain, or a bundle with `--bundle`")),
    };
    bundle_of(what, &bytes, &name)
}

/// The bundle in these bytes, which came from `name`; attached where the command line says.
pub fn bundle_of(what: &What, bytes: &[u8], name: &str) -> Result<Bundle, CliError> {
    let mut bundle = bundle::read(bytes, name)?;
    if let Some(interface) = &what.interface {
        attach_to(&mut bundle.manifest.attach, interface)?;
    }
    Ok(bundle)
}

/// Replaces the device of a chain's only attach point.
fn attach_to(attach: &mut [Attach], device: &str) -> Result<(), CliError> {
    let count = attach.len();
    let [point] = attach else {
        let message = format!("`--interface` replaces the device of one attach point, and the chain has {count}");
        return Err(CliError::new(Kind::Usage, message).help("name the devices in the BUILD file's `attach`"));
    };
    if point.interface().is_none() {
        let (place, how) = point.words();
        let message = format!("`--interface` replaces a network device, and the chain is attached to {place} ({how})");
        return Err(CliError::new(Kind::Usage, message).help("leave `--interface` out"));
    }
    *point = point.on(device);
    Ok(())
}

/// The bpffs to use: the flag, `[deploy] bpffs` of the workspace if there is one, else the usual place.
pub fn bpffs(session: &Session, place: &Place) -> Result<PathBuf, CliError> {
    if let Some(folder) = &place.bpffs {
        return Ok(folder.clone());
    }
    let workspace = session.workspace_if_any()?;
    let set = workspace.and_then(|workspace| workspace.settings.deploy.bpffs.map(|folder| workspace.root.join(folder)));
    Ok(set.unwrap_or_else(|| PathBuf::from(ouro_deploy::BPFFS)))
}

/// A deployer's error as the command's failure.
pub fn failure(error: ouro_deploy::Error) -> CliError {
    let kind = match error.kind() {
        ErrorKind::Failed => Kind::Failed,
        ErrorKind::NotPermitted => Kind::Refused,
    };
    let finding = Diagnostic::bare(error.to_string()).maybe_help(error.help());
    let finding = if rejection(&error).is_some() { finding.note("`-v` shows the verifier's whole log") } else { finding };
    CliError { kind, findings: vec![finding] }
}
