//! `ouro cache`, and what a build does for the cache at its end.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ouro_cache::collect::{self, Collected, Stat, Verified};
use ouro_cache::{CacheError, Limits, Size};
use ouro_engine::workspace::Workspace;
use ouro_rules::Diagnostic;
use serde_json::{Value, json};

use crate::cli::{Cache, CacheCommand, CacheGc, CachePlace};
use crate::error::{CliError, Kind};
use crate::session::{self, Session};

/// How often a collection that waits looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Does what is asked.
pub fn run(session: &Session, args: &Cache) -> Result<(), CliError> {
    let workspace = session.workspace_if_any()?;
    let (CacheCommand::Stat(place) | CacheCommand::Verify(place) | CacheCommand::Gc(CacheGc { place, .. })) = &args.what;
    let folder = session::cache_folder_of(workspace.as_ref(), place.cache.as_ref())?;
    match &args.what {
        CacheCommand::Stat(_) => stat(session, place, &folder, &limits(workspace.as_ref())),
        CacheCommand::Gc(gc) => collect(session, gc, &folder, &limits(workspace.as_ref())),
        CacheCommand::Verify(_) => verify(session, place, &folder),
    }
}

/// Collects a cache that has outgrown its limits, unless others use it now: then the last of them does. What goes wrong here is no
/// failure of the build.
pub fn tidy(session: &Session, workspace: &Workspace, folder: &Path) {
    let limits = limits(Some(workspace));
    if collect::is_due(folder, &limits)
        && let Ok(Some(collected)) = collect::collect(folder, &limits)
    {
        session.detail(&told(&collected));
    }
}

/// What the settings say, or else the usual.
fn limits(workspace: Option<&Workspace>) -> Limits {
    let set = workspace.map(|workspace| &workspace.settings.cache);
    let usual = Limits::default();
    Limits {
        size: set.and_then(|set| set.max_size).map_or(usual.size, |Size(size)| size),
        age: set.and_then(|set| set.max_age).map(|age| age.0).or(usual.age),
    }
}

fn stat(session: &Session, place: &CachePlace, folder: &Path, limits: &Limits) -> Result<(), CliError> {
    let stat = collect::stat(folder).map_err(failure)?;
    if place.json {
        let mut facts = facts(&stat);
        facts["folder"] = json!(folder.display().to_string());
        facts["max_size"] = json!(limits.size);
        facts["max_age_seconds"] = json!(limits.age.map(|age| age.as_secs()));
        return session.fact(&format!("{facts:#}\n"));
    }
    let unused = stat.oldest.map_or(String::new(), |oldest| format!("of no use for longest: {}\n", ago(oldest)));
    let age = limits.age.map_or(String::new(), |age| format!(", {} days of no use", age.as_secs() / 86_400));
    let (bytes, of_results) = (Size(stat.bytes), Size(stat.result_bytes));
    session.fact(&format!(
        "{}\n{} files, {bytes}\n{} results, {of_results}\n{unused}at most {}{age}\n",
        folder.display(),
        stat.blobs,
        stat.results,
        Size(limits.size),
    ))
}

fn collect(session: &Session, gc: &CacheGc, folder: &Path, limits: &Limits) -> Result<(), CliError> {
    let size = gc.max_size.map_or(limits.size, |Size(size)| size);
    let limits = Limits { size, age: gc.max_age.map(|age| age.0).or(limits.age) };
    session::catch_interrupts();
    let mut told_waiting = false;
    let collected = loop {
        match if folder.exists() { collect::collect(folder, &limits) } else { Ok(Some(Collected::default())) } {
            Ok(Some(collected)) => break collected,
            Err(error) => return Err(failure(error)),
            Ok(None) if session::interrupted().load(Ordering::Relaxed) => {
                return Err(CliError { kind: Kind::Interrupted, findings: Vec::new() });
            }
            Ok(None) => {
                if !std::mem::replace(&mut told_waiting, true) {
                    session.output.status("waiting for builds that use the cache\n");
                }
                std::thread::sleep(LOOK_AGAIN);
            }
        }
    };
    if gc.place.json {
        let facts = json!({
            "removed": collected.removed,
            "freed": collected.freed,
            "freed_results": collected.freed_results,
            "left": facts(&collected.left),
        });
        return session.fact(&format!("{facts:#}\n"));
    }
    session.fact(&format!("{}\n", told(&collected)))
}

fn verify(session: &Session, place: &CachePlace, folder: &Path) -> Result<(), CliError> {
    let Verified { blobs, bytes, damaged, strange } = collect::verify(folder).map_err(failure)?;
    let warn = |text: String| Diagnostic::bare(text).warning();
    let bad =
        damaged.iter().map(|digest| warn(format!("`{digest}` had other bytes; it was removed, and is made again when needed")));
    let odd = strange.iter().map(|path| warn(format!("`{}` is no file of the cache; it was removed", path.display())));
    session.findings(&bad.chain(odd).collect::<Vec<_>>())?;
    if place.json {
        let damaged: Vec<String> = damaged.iter().map(ToString::to_string).collect();
        let facts = json!({ "files": blobs, "bytes": bytes, "damaged": damaged, "strange": strange });
        return session.fact(&format!("{facts:#}\n"));
    }
    session.fact(&format!("{blobs} files, {} read: {} damaged\n", Size(bytes), damaged.len()))
}

fn facts(stat: &Stat) -> Value {
    let Stat { blobs, bytes, results, result_bytes, oldest } = stat;
    json!({ "files": blobs, "bytes": bytes, "results": results, "result_bytes": result_bytes, "oldest_use": oldest })
}

fn told(collected: &Collected) -> String {
    let Collected { removed, freed, freed_results, left } = collected;
    let results = if *freed_results > 0 { format!(", and {} of records", Size(*freed_results)) } else { String::new() };
    format!("cache: {removed} files removed, {}{results}; {} left, {}", Size(*freed), left.blobs, Size(left.bytes))
}

fn ago(seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match now.saturating_sub(seconds) {
        ago if ago < 2 * 3600 => format!("{} minutes", ago / 60),
        ago if ago < 2 * 86_400 => format!("{} hours", ago / 3600),
        ago => format!("{} days", ago / 86_400),
    }
}

fn failure(error: CacheError) -> CliError {
    CliError::new(Kind::Failed, error.to_string())
}
