//! Reasons in words: why actions ran, and why they would run.
//!
//! Knows nothing of how reasons are found, nor where the text goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use ouro_cache::Digest;
use ouro_engine::explain::{self, Difference, Explained, Kind, Now, Reason, Value};
use ouro_engine::plan::Plan;
use ouro_engine::state::journal::Ended;
use ouro_rules::ActionKind;
use serde_json::json;

use super::output::{Ink, paint};
use super::progress::duration;

/// A plan with what can be said of its actions.
pub struct Reasons<'a> {
    plan: &'a Plan,
    explained: Vec<Explained>,
    makers: BTreeMap<&'a str, usize>,
}

/// Which of the two questions is answered.
#[derive(Debug, Clone, Copy)]
enum Time {
    Last,
    Now,
}

impl<'a> Reasons<'a> {
    /// `explained` has one for each action of `plan`.
    pub fn new(plan: &'a Plan, explained: Vec<Explained>) -> Reasons<'a> {
        Reasons { plan, explained, makers: explain::makers(plan) }
    }

    /// For people.
    pub fn text(&self, places: &[usize], color: bool) -> String {
        let mut text = String::new();
        let mut owner = None;
        for place in places {
            let action = &self.plan.actions[*place];
            if owner.replace(&action.owner) != Some(&action.owner) {
                text += &format!("{}\n", paint(color, Ink::Bold, &action.owner.to_string()));
            }
            let output = paint(color, Ink::Cyan, action.outputs[0].path());
            text += &format!("  {} {output}\n", action.mnemonic);
            text += &self.now(*place, places);
            text += &self.last(*place, places);
        }
        text
    }

    fn now(&self, place: usize, told: &[usize]) -> String {
        let explained = &self.explained[place];
        let says = match explained.now {
            Now::UpToDate => return "    up to date\n".to_owned(),
            Now::Cached => "would be taken from the cache",
            Now::Runs => "would run",
            Now::Depends => "may run",
            Now::Fails => "would fail",
        };
        format!("    {says}:\n{}", self.lines(place, Time::Now, told))
    }

    fn last(&self, place: usize, told: &[usize]) -> String {
        let explained = &self.explained[place];
        let Some(deed) = &explained.last else {
            let is_known = explained.now == Now::UpToDate;
            return if is_known { "    when it ran is not recorded\n".to_owned() } else { String::new() };
        };
        let ended = match deed.ended {
            Ended::Ran => "ran",
            Ended::Cached => "was taken from the cache",
            Ended::Failed => "failed",
        };
        format!("    {ended} {} ({}):\n{}", ago(deed.began), duration(deed.took), self.lines(place, Time::Last, told))
    }

    fn lines(&self, place: usize, time: Time, told: &[usize]) -> String {
        let mut seen: BTreeSet<usize> = told.iter().copied().collect();
        self.chain(place, time, 3, &mut seen)
    }

    /// The reasons of an action; below one that is a file of another action, which is not told of elsewhere, that action's.
    fn chain(&self, place: usize, time: Time, depth: usize, seen: &mut BTreeSet<usize>) -> String {
        let mut text = String::new();
        for reason in self.reasons(place, time) {
            let indent = "  ".repeat(depth);
            text += &format!("{indent}{}", self.sentence(place, reason, time));
            let maker = self.maker(reason);
            if let Some(maker) = maker {
                let action = &self.plan.actions[maker];
                text += &format!(" ({} of {})", action.mnemonic, action.owner);
            }
            text.push('\n');
            if let Some(maker) = maker.filter(|maker| seen.insert(*maker)) {
                text += &self.chain(maker, time, depth + 1, seen);
            }
        }
        text
    }

    fn reasons(&self, place: usize, time: Time) -> &[Reason] {
        match time {
            Time::Last => &self.explained[place].why_last,
            Time::Now => &self.explained[place].why_now,
        }
    }

    fn sentence(&self, place: usize, reason: &Reason, time: Time) -> String {
        match (reason, time) {
            (Reason::First, Time::Now) => "it was never done here".to_owned(),
            (Reason::First, Time::Last) => self.first_time(place).to_owned(),
            (Reason::Failed, _) => "nothing it depends on changed, and the time before it failed".to_owned(),
            (Reason::Lost, _) => "nothing it depends on changed, and no result of it is kept".to_owned(),
            (Reason::Always, _) => "nothing it depends on changed; it is a test that runs each time".to_owned(),
            (Reason::Waits(path), _) => format!("`{path}` is made anew first, and may change"),
            (Reason::Missing(path), _) => format!("`{path}` does not exist"),
            (Reason::Displaced { path, found: None, .. }, _) => format!("its output `{path}` was deleted"),
            (Reason::Displaced { path, left: Some(left), found: Some(found) }, _) => {
                format!("its output `{path}` was edited {} -> {}", short(left), short(found))
            }
            (Reason::Displaced { path, left: None, found: Some(found) }, _) => {
                format!("its output `{path}` was edited to {}", short(found))
            }
            (Reason::Differs(difference), _) => differs(difference),
        }
    }

    fn first_time(&self, place: usize) -> &'static str {
        let ended = self.explained[place].last.as_ref().map(|deed| deed.ended);
        match (ended, &self.plan.actions[place].kind) {
            (Some(Ended::Cached), _) => "the first time here; another build had left its result in the cache",
            (_, ActionKind::Run { .. }) => "the first time here; its result was in no cache",
            (_, ActionKind::Native(_) | ActionKind::Write { .. }) => "the first time here",
        }
    }

    /// The action that makes the file which is to blame.
    fn maker(&self, reason: &Reason) -> Option<usize> {
        let path = match reason {
            Reason::Differs(Difference { kind: Kind::Input | Kind::Read, name, .. }) => name,
            Reason::Waits(path) => &**path,
            _ => return None,
        };
        self.makers.get(path).copied()
    }

    /// For programs: every fact, digests whole.
    pub fn json(&self, places: &[usize]) -> String {
        let actions: Vec<serde_json::Value> = places.iter().map(|place| self.action_json(*place)).collect();
        format!("{:#}\n", json!({ "actions": actions }))
    }

    fn action_json(&self, place: usize) -> serde_json::Value {
        let (action, explained) = (&self.plan.actions[place], &self.explained[place]);
        let outputs: Vec<&str> = action.outputs.iter().map(|output| &**output.path()).collect();
        let reasons = |reasons: &[Reason]| reasons.iter().map(|reason| self.reason_json(reason)).collect::<Vec<_>>();
        let now = match explained.now {
            Now::UpToDate => "up_to_date",
            Now::Cached => "cached",
            Now::Runs => "runs",
            Now::Depends => "depends",
            Now::Fails => "fails",
        };
        let last = explained.last.as_ref().map(|deed| {
            let ended = match deed.ended {
                Ended::Ran => "ran",
                Ended::Cached => "cached",
                Ended::Failed => "failed",
            };
            let at = deed.began.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
            json!({ "how": ended, "began_us": at, "took_us": deed.took.as_micros() as u64, "why": reasons(&explained.why_last) })
        });
        json!({
            "label": action.owner.to_string(),
            "mnemonic": action.mnemonic,
            "outputs": outputs,
            "now": { "state": now, "why": reasons(&explained.why_now) },
            "last": last,
        })
    }

    fn reason_json(&self, reason: &Reason) -> serde_json::Value {
        let digest = |digest: &Option<Digest>| digest.map(|digest| digest.to_string());
        let value = |value: &Option<Value>| match value {
            Some(Value::Digest(digest)) => json!(digest.to_string()),
            Some(Value::Text(text)) => json!(text),
            Some(Value::There) => json!(true),
            None => json!(null),
        };
        let (why, name, old, new) = match reason {
            Reason::First => ("first", "", json!(null), json!(null)),
            Reason::Failed => ("failed", "", json!(null), json!(null)),
            Reason::Lost => ("lost", "", json!(null), json!(null)),
            Reason::Always => ("always", "", json!(null), json!(null)),
            Reason::Waits(path) => ("waits", &**path, json!(null), json!(null)),
            Reason::Missing(path) => ("missing", &**path, json!(null), json!(null)),
            Reason::Displaced { path, left, found } => ("displaced", &**path, json!(digest(left)), json!(digest(found))),
            Reason::Differs(one) => (one.kind.word(), one.name.as_str(), value(&one.old), value(&one.new)),
        };
        let maker = self.maker(reason).map(|place| self.plan.actions[place].owner.to_string());
        json!({ "reason": why, "name": name, "old": old, "new": new, "made_by": maker })
    }
}

fn differs(Difference { kind, name, old, new }: &Difference) -> String {
    let what = match kind {
        Kind::Version => "the way ouro runs actions".to_owned(),
        Kind::Mnemonic => "its kind of work".to_owned(),
        Kind::Tool => "its tool".to_owned(),
        Kind::Argument => format!("argument `{name}`"),
        Kind::Environment => format!("variable `{name}`"),
        Kind::Depfile => "its dependency file".to_owned(),
        Kind::Fallback => format!("argument `{name}` of its second attempt"),
        Kind::Work => "the work itself".to_owned(),
        Kind::Check => "what its outputs must be".to_owned(),
        Kind::Content => format!("its text{}", if name.is_empty() { "" } else { " (executable)" }),
        Kind::Input => format!("input `{name}`"),
        Kind::Executable => format!("the right to run `{name}`"),
        Kind::Output => format!("output `{name}`"),
        Kind::Read => format!("`{name}`, which it read,"),
        Kind::Other(word) => format!("{word} `{name}`"),
        Kind::Order => return format!("the same as before, but each {name} in another place"),
    };
    match (old, new) {
        // The work as JSON is a page long; `--json` has it.
        (Some(Value::Text(_)), Some(Value::Text(_))) if matches!(kind, Kind::Work | Kind::Check) => format!("{what} changed"),
        (Some(old), Some(new)) => format!("{what} changed {} -> {}", show(old), show(new)),
        (None, Some(_)) => format!("{what} added"),
        (Some(_), None) if *kind == Kind::Read => format!("{what} is gone"),
        (Some(_), None) => format!("{what} removed"),
        (None, None) => what,
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Digest(digest) => short(digest),
        Value::Text(text) => format!("`{text}`"),
        Value::There => "there".to_owned(),
    }
}

/// Enough to see that two are not the same.
fn short(digest: &Digest) -> String {
    let mut text = digest.to_string();
    text.truncate(6);
    text + ".."
}

fn ago(moment: SystemTime) -> String {
    let seconds = SystemTime::now().duration_since(moment).unwrap_or_default().as_secs();
    match seconds {
        0..2 => "just now".to_owned(),
        2..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}
