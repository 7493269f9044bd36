//! `ouro deploy`

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ouro_deploy::{Change, ErrorKind, Hook, Options, Plan, Rejection, Step};
use ouro_rules::Diagnostic;
use ouro_rules::bundle::Bundle;
use ouro_rules::diagnostic::did_you_mean;
use ouro_rules::manifest::{Attach, Manifest};
use ouro_rules::object::{globals, unknown_global};

use crate::cli::{Deploy, Manner, Place, What};
use crate::commands::bundle::{self, built};
use crate::commands::{confirm, plan};
use crate::error::{CliError, Kind, named};
use crate::netns;
use crate::session::{self, Session};
use crate::trust::Trust;

/// Makes a chain live, or shows how it would.
pub fn run(session: &Session, args: &Deploy) -> Result<(), CliError> {
    if args.plan {
        return plan::show(session, &args.what, &args.how, &args.place).map(drop);
    }
    let options = options(session, &args.what, &args.how)?;
    let bundle = bundle(session, &args.what)?;
    let bpffs = bpffs(session, &args.place)?;
    netns::enter(args.place.netns.as_deref())?;
    ouro_deploy::limit_to_deploy(&bpffs, &bundle, &options, args.dry_run).map_err(failure)?;
    let done = if args.dry_run {
        dry_run(session, &bpffs, &bundle, &options, args)
    } else {
        make_live(session, &bpffs, &bundle, &options, args)
    };
    ouro_deploy::drop_capabilities().map_err(failure)?;
    done
}

fn make_live(session: &Session, bpffs: &Path, bundle: &Bundle, options: &Options, args: &Deploy) -> Result<(), CliError> {
    match options.confirm {
        Some(_) => {
            session::catch_interrupts();
            session::outlive_terminal();
        }
        // The build is over. A deploy may be stopped anywhere: what was live stays, and the next command removes the rest.
        None => session::leave_interrupts(),
    }
    let plan = deploy(session, bpffs, bundle, options, args.how.verifier_log)?;
    if options.confirm.is_none() {
        // What follows is talk, and whom one talks to may take their time.
        ouro_deploy::drop_capabilities().map_err(failure)?;
    }
    tell(session, bundle, args.place.netns.as_deref(), &plan);
    if args.how.explain {
        session.output.status(&plan::explained(&plan.choices));
    }
    let told = if args.place.json { session.fact(&plan::facts(bundle, &plan)) } else { Ok(()) };
    // Whether anybody listens or not.
    match plan.steps.iter().find_map(trial) {
        Some((generation, seconds)) => {
            confirm::wait(session, (bpffs, &args.place), &bundle.manifest.name, generation, seconds).and(told)
        }
        None => told,
    }
}

/// The generation that is on trial, and for how many seconds.
fn trial(step: &Step) -> Option<(u32, u64)> {
    match step {
        Step::AskConfirmation { generation, seconds, .. } => Some((*generation, *seconds)),
        _ => None,
    }
}

/// What the flags ask for.
pub fn options(session: &Session, what: &What, how: &Manner) -> Result<Options, CliError> {
    let Manner { force, force_links, no_tests, confirm, btf, take_over, .. } = how.clone();
    require_types(btf.as_deref())?;
    let (origin, placed) = (origin(session, what)?, !what.interface.is_empty());
    Ok(Options { force, btf, force_links, no_tests, confirm, take_over, origin, placed })
}

/// Fails if the file with a kernel's types that the command line names is not there.
pub fn require_types(btf: Option<&Path>) -> Result<(), CliError> {
    let look = |file: &Path| fs::metadata(file).map_err(named(format!("cannot read the types in `{}`", file.display())));
    btf.map_or(Ok(()), |file| look(file).map(drop))
}

/// Where the sources of a workspace are that has no name to be told by. A bundle does not tell where it was built.
fn origin(session: &Session, what: &What) -> Result<Option<String>, CliError> {
    let workspace = if what.bundle.is_none() { session.workspace_if_any()? } else { None };
    let nameless = workspace.filter(|workspace| workspace.settings.workspace.name.is_none());
    Ok(nameless.map(|workspace| {
        let root = workspace.root.canonicalize().unwrap_or(workspace.root);
        root.display().to_string()
    }))
}

/// Makes a bundle live; shows the log of a program that the verifier rejects, if it is wanted.
pub fn deploy(session: &Session, bpffs: &Path, bundle: &Bundle, options: &Options, log: bool) -> Result<Plan, CliError> {
    let progress = &mut |step: &Step| session.detail(&step.to_string());
    ouro_deploy::deploy(bpffs, bundle, options, progress).map_err(|error| with_log(session, error, log))
}

/// Says what was done.
pub fn tell(session: &Session, bundle: &Bundle, netns: Option<&str>, plan: &Plan) {
    let (name, chain) = (&bundle.manifest.name, &bundle.manifest.chain);
    match plan.is_empty() {
        true => session.output.status(&format!("`{chain}` is live already as `{name}`; nothing to do\n")),
        false => {
            let live = live(&bundle.manifest, netns, plan);
            session.output.status(&format!("deployed `{chain}` as `{name}`: {live}{}\n", plan::summary(plan)));
        }
    }
    let is_told = |change: &&Change| change.falls_short() || matches!(change, Change::Chosen { .. } | Change::LeftOut { .. });
    for change in plan.changes.iter().filter(is_told) {
        session.output.status(&format!("note: {change}\n"));
    }
    tell_detached(session, &plan.steps);
}

/// What is live now, and where.
fn live(manifest: &Manifest, netns: Option<&str>, plan: &Plan) -> String {
    let number = |step: &Step| match step {
        Step::MarkLive { generation, .. } | Step::AskConfirmation { generation, .. } => Some(*generation),
        _ => None,
    };
    let words = |point: &Attach| {
        let (place, how) = point.words();
        format!("{place} ({how})")
    };
    let at: Vec<String> = manifest.attach.iter().map(words).collect();
    let at = if at.is_empty() { "attached nowhere".to_owned() } else { format!("live at {}", at.join(", ")) };
    let netns = netns.map(|name| format!(" in network namespace `{name}`")).unwrap_or_default();
    let generation = plan.steps.iter().find_map(number);
    generation.map(|generation| format!("generation {generation} is {at}{netns}; ")).unwrap_or_default()
}

/// Loads and verifies a bundle, tries it, and says so; then all of it is gone again.
fn dry_run(session: &Session, bpffs: &Path, bundle: &Bundle, options: &Options, args: &Deploy) -> Result<(), CliError> {
    let progress = &mut |step: &Step| session.detail(&step.to_string());
    let plan = ouro_deploy::rehearse(bpffs, bundle, options, progress)
        .map_err(|error| with_log(session, error, args.how.verifier_log))?;
    if args.place.json {
        return session.fact(&plan::facts(bundle, &plan));
    }
    if args.how.explain {
        session.output.status(&plan::explained(&plan.choices));
    }
    let left_out = plan.choices.iter().filter(|choice| choice.taken.is_none()).count();
    let (programs, tests) = (bundle.manifest.programs.len() - left_out, bundle.manifest.tests.len());
    let tried = if tests == 0 { String::new() } else { format!(", and its tests ({tests}) pass") };
    let text = format!("the kernel takes `{}`, programs: {programs}{tried}; nothing was changed\n", bundle.manifest.chain);
    session.output.status(&text);
    Ok(())
}

fn with_log(session: &Session, error: ouro_deploy::Error, log: bool) -> CliError {
    if let Some(rejection) = rejection(&error) {
        let text = format!("the verifier's log of `{}`:\n{}", rejection.program, rejection.log);
        if log { session.output.status(&text) } else { session.detail(&text) }
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
    let (bytes, name) = bytes(session, what)?;
    bundle_of(what, &trusted(session, what, bytes, &name)?, &name)
}

/// The bytes of that bundle, and where they came from.
pub fn bytes(session: &Session, what: &What) -> Result<(Vec<u8>, String), CliError> {
    match (&what.bundle, &what.chain) {
        (Some(file), _) => Ok((bundle::from_file(file)?, file.display().to_string())),
        (None, Some(chain)) => {
            require_label(chain)?;
            Ok((built(session, chain, &what.how)?, chain.clone()))
        }
        (None, None) => Err(CliError::new(Kind::Usage, "name a chain, or a bundle with `--bundle`")),
    }
}

/// An error for a bundle's file in place of a label: whoever has one needs a flag.
pub fn require_label(chain: &str) -> Result<(), CliError> {
    let path = Path::new(chain);
    if chain.starts_with("//") || chain.contains(':') || path.extension().is_none_or(|ending| ending != "bundle") {
        return Ok(());
    }
    let error = CliError::new(Kind::Usage, format!("`{chain}` is a bundle's file, and no label of a chain"));
    Err(match path.is_file() {
        true => error.help(format!("give the file with `--bundle {chain}`")),
        false => error.help("there is no such file; give one with `--bundle FILE`, or the label of a chain: `//package:name`"),
    })
}

/// These bytes, signed now if the command line says so, when somebody who is trusted has signed them. Whether signatures nobody asks for
/// are right is seen when the bundle is read.
pub fn trusted(session: &Session, what: &What, bytes: Vec<u8>, name: &str) -> Result<Vec<u8>, CliError> {
    let bytes = bundle::signed(bytes, name, &what.sign)?;
    let trust = Trust::configured(session, &what.trust, what.bundle.is_none())?;
    if trust.asks() {
        trust.require(&bundle::signers(&bytes, name)?, name)?;
    }
    Ok(bytes)
}

/// The bundle in these bytes, which came from `name` and are trusted; attached where the command line says.
pub fn bundle_of(what: &What, bytes: &[u8], name: &str) -> Result<Bundle, CliError> {
    let mut bundle = bundle::read(bytes, name)?;
    if !what.interface.is_empty() {
        attach_to(&mut bundle.manifest, &what.interface)?;
    }
    // What is said of one program counts, whichever was said first.
    let names_program = |text: &&String| text.split('=').next().is_some_and(|place| place.contains('.'));
    let (of_one, of_all): (Vec<&String>, Vec<&String>) = what.set.iter().partition(names_program);
    let findings: Vec<Diagnostic> = of_all.into_iter().chain(of_one).filter_map(|text| set(&mut bundle, text).err()).collect();
    let findings: Vec<Diagnostic> = findings.into_iter().chain(set_twice(&what.set)).collect();
    if findings.is_empty() { Ok(bundle) } else { Err(CliError { kind: Kind::Usage, findings }) }
}

/// Gives a global variable a value: of one program, or of every program that has it.
fn set(bundle: &mut Bundle, text: &str) -> Result<(), Diagnostic> {
    let form = || {
        Diagnostic::bare(format!("`--set {text}` sets nothing")).help("write `--set name=value` or `--set program.name=value`")
    };
    let (place, value) = text.split_once('=').filter(|(place, _)| !place.is_empty()).ok_or_else(form)?;
    let (program, name) = place.split_once('.').map_or((None, place), |(program, name)| (Some(program), name));
    let programs = &mut bundle.manifest.programs;
    if let Some(program) = program.filter(|wanted| programs.iter().all(|program| program.name != *wanted)) {
        let near = did_you_mean(program, programs.iter().map(|program| program.name.as_str()));
        return Err(Diagnostic::bare(format!("the chain has no program `{program}`")).maybe_help(near));
    }
    let (mut all, mut is_set) = (Vec::new(), false);
    for one in programs.iter_mut().filter(|one| program.is_none_or(|program| one.name == program)) {
        let own = [(&one.object, &mut one.globals)].into_iter();
        for (object, values) in own.chain(one.candidates.iter_mut().map(|one| (&one.object, &mut one.globals))) {
            let globals = globals(bundle.objects.get(object).map_or(&[][..], Vec::as_slice))?;
            if let Some(global) = globals.iter().find(|global| global.name == name) {
                values.insert(name.to_owned(), global.parse(value).map_err(Diagnostic::bare)?);
                is_set = true;
            }
            all.extend(globals);
        }
    }
    if is_set { Ok(()) } else { Err(unknown_global(program.unwrap_or(&bundle.manifest.chain), name, &all)) }
}

/// One of the values would be lost.
fn set_twice(all: &[String]) -> Vec<Diagnostic> {
    let mut seen = BTreeSet::new();
    let place = |text: &String| text.split_once('=').map(|(place, _)| place.to_owned());
    let twice = all.iter().filter_map(place).filter(|place| !seen.insert(place.clone()));
    twice.map(|place| Diagnostic::bare(format!("`--set {place}` is given twice")).help("leave one of them out")).collect()
}

/// Replaces the device of a chain's only attach point, and has it recorded unless it is the very same.
fn attach_to(manifest: &mut Manifest, devices: &[String]) -> Result<(), CliError> {
    let count = manifest.attach.len();
    let [point] = &manifest.attach[..] else {
        let message = format!("`--interface` replaces the device of one attach point, and the chain has {count}");
        return Err(CliError::new(Kind::Usage, message).help("name the devices in the BUILD file's `attach`"));
    };
    if point.interface().is_none() {
        let (place, how) = point.words();
        let message = format!("`--interface` replaces a network device, and the chain is attached to {place} ({how})");
        return Err(CliError::new(Kind::Usage, message).help("leave `--interface` out"));
    }
    let attach: Vec<Attach> = devices.iter().map(|device| point.on(device)).collect();
    if attach != manifest.attach {
        (manifest.attach, manifest.devices) = (attach, devices.to_vec());
    }
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
    let error = match netns::left() {
        Some(home) => error.seen_from(home),
        None => error,
    };
    let kind = match error.kind() {
        ErrorKind::Failed => Kind::Failed,
        ErrorKind::NotPermitted => Kind::Refused,
    };
    let finding = Diagnostic::bare(error.to_string()).maybe_help(error.help());
    let finding =
        if rejection(&error).is_some() { finding.note("`--verifier-log` shows the verifier's whole log") } else { finding };
    CliError { kind, findings: vec![finding] }
}
