//! `ouro status`

use std::path::Path;

use ouro_deploy::{DeploymentStatus, EdgeStatus, HookStatus, MapStatus, ProgramStatus};
use ouro_rules::manifest::{OnChange, Scalar};

use crate::cli::{Place, Status};
use crate::commands::deploy::{bpffs, failure};
use crate::commands::undeploy::{name, require};
use crate::error::{CliError, Kind};
use crate::netns;
use crate::render::output::{Ink, paint};
use crate::session::Session;

/// Shows what is deployed.
pub fn run(session: &Session, args: &Status) -> Result<(), CliError> {
    let bpffs = bpffs(session, &args.place)?;
    netns::enter(args.place.netns.as_deref())?;
    let found = match &args.name {
        None => ouro_deploy::status(&bpffs).map_err(failure)?,
        Some(text) => {
            let name = name(session, text)?;
            require(&bpffs, &name)?;
            ouro_deploy::status_of(&bpffs, &name).map_err(failure)?.into_iter().collect()
        }
    };
    show(session, &bpffs, &found, &args.place)?;
    // Shown already; the exit code is for those who watch.
    let drifted = found.iter().any(|deployment| !deployment.problems.is_empty());
    if drifted { Err(CliError { kind: Kind::Failed, findings: Vec::new() }) } else { Ok(()) }
}

fn show(session: &Session, bpffs: &Path, found: &[DeploymentStatus], place: &Place) -> Result<(), CliError> {
    if place.json {
        let text = serde_json::to_string_pretty(found).map_err(|error| CliError::new(Kind::Failed, error.to_string()))?;
        return session.fact(&format!("{text}\n"));
    }
    if found.is_empty() {
        return session.fact(&format!("nothing is deployed under `{}`\n", bpffs.display()));
    }
    let color = session.output.settings().out.color;
    session.fact(&found.iter().map(|deployment| draw(deployment, place, color)).collect::<Vec<_>>().join("\n"))
}

/// A deployment as text for people, found in this place.
pub fn draw(deployment: &DeploymentStatus, place: &Place, color: bool) -> String {
    let generation = deployment.generation.map_or("not live".to_owned(), |number| format!("generation {number}"));
    let short = deployment.digest.get(..12).unwrap_or(&deployment.digest);
    let name = paint(color, Ink::Bold, &deployment.name);
    let mut text = match deployment.chain.as_str() {
        "" => format!("{name}  {generation}\n"),
        chain => format!("{name}  {chain}  {generation}  bundle {short}\n"),
    };
    if let Some(previous) = &deployment.previous {
        let short = previous.digest.get(..12).unwrap_or(&previous.digest);
        text += &format!("  previous: generation {}  bundle {short}\n", previous.generation);
    }
    if let Some(trial) = &deployment.trial {
        let left = trial.seconds_left;
        let line = match left {
            0 => format!("generation {}: its time is over", trial.generation),
            _ => format!(
                "generation {}: `ouro confirm {}{}` within {left} s, or it is taken back",
                trial.generation,
                deployment.name,
                flags(place, deployment.hooks.iter().find(|hook| hook.elsewhere))
            ),
        };
        text += &format!("  {} {line}\n", paint(color, Ink::Yellow, "on trial:"));
    }
    for problem in &deployment.problems {
        text += &format!("  {} {problem}\n", paint(color, Ink::Red, "drift:"));
    }
    if deployment.generation.is_some() && deployment.hooks.is_empty() {
        text += &format!("  {}  attached nowhere\n", paint(color, Ink::Dim, "hook   "));
    }
    text += &section(color, "hook", &deployment.hooks.iter().map(|status| hook(status, place)).collect::<Vec<_>>());
    let programs = deployment.programs.iter().map(|program| {
        let slot = match (&program.replaces, program.slot) {
            (Some(of), _) => format!("replaces {} of {}", of.function, of.program),
            (None, Some(slot)) => format!("slot {slot}"),
            (None, None) => "entry".to_owned(),
        };
        let id = program.id.map_or("gone".to_owned(), |id| format!("id {id}"));
        let what = match &program.candidate {
            _ if program.left_out => "left out: the kernel does not take it".to_owned(),
            Some(candidate) => format!("{id}  candidate `{candidate}`"),
            None => id,
        };
        [program.name.clone(), slot, what]
    });
    text += &section(color, "program", &programs.collect::<Vec<_>>());
    text += &section(color, "global", &deployment.programs.iter().flat_map(globals).collect::<Vec<_>>());
    text += &section(color, "jump", &deployment.edges.iter().map(edge).collect::<Vec<_>>());
    text + &section(color, "map", &deployment.maps.iter().map(map).collect::<Vec<_>>())
}

fn hook(status: &HookStatus, place: &Place) -> [String; 3] {
    let (at, how) = status.hook.words();
    let order = if status.sharing.is_empty() { String::new() } else { format!("  order: {}", status.sharing.join(", ")) };
    let state = match (status.alive, status.program) {
        // The kernel does not tell which program a socket has.
        (true, Some(program)) if !status.hook.tells_program() => {
            format!("runs program {program}, unless somebody put another in its place")
        }
        (true, Some(program)) => format!("runs program {program}{order}"),
        (true, None) if status.foreign => "has a filter that is not ours".to_owned(),
        (true, None) => "runs nothing".to_owned(),
        _ if status.unseen.is_some() => format!("not seen from here: {}", status.unseen.as_deref().unwrap_or_default()),
        _ if status.elsewhere && !status.hook.is_link() => {
            format!("not seen from here: `ouro status{}`", flags(place, Some(status)))
        }
        _ => "not attached".to_owned(),
    };
    [at, format!("{how}{}", elsewhere(status)), state]
}

/// What other commands must be told to find what was found in this place; a hook of another network namespace says which.
fn flags(place: &Place, elsewhere: Option<&HookStatus>) -> String {
    let netns = elsewhere.map(|hook| hook.netns.clone().unwrap_or_else(|| "NAME".to_owned()));
    Place { netns: netns.or_else(|| place.netns.clone()), ..place.clone() }.words()
}

/// Devices of several namespaces may have one name.
fn elsewhere(status: &HookStatus) -> String {
    let inode = status.namespace.filter(|_| status.elsewhere).map(|inode| inode.to_string());
    status.netns.clone().or(inode).map_or_else(String::new, |name| format!(" in namespace {name}"))
}

/// As a command line sets them: `parse.limit`.
fn globals(program: &ProgramStatus) -> Vec<[String; 3]> {
    let row = |(name, value): (&String, &Scalar)| [format!("{}.{name}", program.name), value.to_string(), String::new()];
    program.globals.iter().map(row).collect()
}

fn edge(edge: &EdgeStatus) -> [String; 3] {
    let counts = edge.counts.as_ref().map_or(["not counted".to_owned(), String::new()], |counts| {
        let missed = if counts.missed == 0 { String::new() } else { format!("{} MISSED", counts.missed) };
        [format!("{} taken", counts.taken), missed]
    });
    let [taken, missed] = counts;
    [format!("{} -> {}", edge.from, edge.to), taken, missed]
}

fn map(status: &MapStatus) -> [String; 3] {
    let used = status.entries.map_or_else(String::new, |entries| format!(", {entries} used"));
    let pin = status.path.file_name().unwrap_or_default().to_string_lossy();
    let frozen = if status.frozen { "  frozen" } else { "" };
    let policy = status.on_change.filter(|policy| *policy != OnChange::Keep).map_or("", OnChange::name);
    let policy = if policy.is_empty() { String::new() } else { format!("  on change: {policy}") };
    let of = if status.live { "" } else { "  of the generation before" };
    let what = format!("{} of {}{used}", status.ty, status.max_entries);
    [status.name.clone(), what, format!("id {}  {pin}{frozen}{policy}{of}", status.id)]
}

/// Lines of three columns, each led by what they are.
fn section(color: bool, title: &str, rows: &[[String; 3]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    let line = |row: &[String; 3]| {
        let cells = format!("{:first$}  {:second$}  {}", row[0], row[1], row[2]);
        format!("  {}  {}\n", paint(color, Ink::Dim, &format!("{title:7}")), cells.trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use ouro_deploy::Hook;
    use ouro_rules::manifest::Direction;

    use super::*;

    #[test]
    fn columns_line_up_and_nothing_trails() {
        let rows = [["a", "bb", "c"], ["aaa", "b", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(section(false, "jump", &rows), "  jump     a    bb  c\n  jump     aaa  b\n");
    }

    /// Whoever looks in another bpffs, or from another namespace, was told a command that finds nothing.
    #[test]
    fn printed_commands_find_what_was_found() {
        let place = |netns: Option<&str>| Place { bpffs: Some("/b".into()), netns: netns.map(str::to_owned), json: false };
        let at = |netns: Option<&str>| hook_elsewhere(netns.map(str::to_owned));
        assert_eq!(flags(&place(Some("wan")), None), " --netns wan --bpffs /b");
        assert_eq!(flags(&place(Some("wan")), Some(&at(Some("lan")))), " --netns lan --bpffs /b", "and not both");
        assert_eq!(flags(&place(None), Some(&at(None))), " --netns NAME --bpffs /b");
        assert_eq!(hook(&at(None), &place(None))[2], "not seen from here: `ouro status --netns NAME --bpffs /b`");
    }

    /// "runs program 0" stood there of a filter that its process put in the place of ours.
    #[test]
    fn filters_that_are_no_programs_and_sockets_that_are_not_seen_are_told() {
        let place = Place { bpffs: None, netns: None, json: false };
        let here = || HookStatus { elsewhere: false, ..hook_elsewhere(None) };
        let filtered = HookStatus { alive: true, foreign: true, ..here() };
        assert_eq!(hook(&filtered, &place)[2], "has a filter that is not ours");
        let unseen = HookStatus { unseen: Some("why".to_owned()), ..here() };
        assert_eq!(hook(&unseen, &place)[2], "not seen from here: why");
    }

    fn hook_elsewhere(netns: Option<String>) -> HookStatus {
        let (interface, direction) = ("eth0".to_owned(), Direction::Ingress);
        let hook = Hook::Clsact { interface, direction, priority: 1, handle: 1 };
        HookStatus {
            name: hook.name(),
            hook,
            ifindex: None,
            target: None,
            link: None,
            program: None,
            foreign: false,
            alive: false,
            unseen: None,
            namespace: Some(7),
            elsewhere: true,
            netns,
            path: None,
            sharing: Vec::new(),
        }
    }
}
