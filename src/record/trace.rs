//! A build as a Chrome trace: phases in one lane, and every action in the lane of the thread that did it.
//!
//! The format is that of chrome://tracing, which Perfetto (ui.perfetto.dev) loads too: complete events (`ph: "X"`) with times in
//! microseconds, and names of the lanes (`ph: "M"`).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use ouro_engine::event::{Event, How};
use serde_json::{Value, json};

/// The lane of the phases.
const PHASES: usize = 0;

/// A build being recorded.
pub struct Trace {
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    spans: Vec<Value>,
    /// Workers, from 1, in the order in which they first did something.
    lanes: HashMap<ThreadId, usize>,
    /// When phases, and actions by place, began.
    phases: HashMap<&'static str, Duration>,
    actions: HashMap<usize, Duration>,
}

impl Trace {
    /// Times count from `began`.
    pub fn new(began: Instant) -> Trace {
        Trace { began, state: Mutex::default() }
    }

    /// Records one event, which happened on this thread.
    pub fn event(&self, event: &Event) {
        let now = self.began.elapsed();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Began(phase) => drop(state.phases.insert(phase.name(), now)),
            Event::Ended(phase) => {
                let start = state.phases.remove(phase.name()).unwrap_or(now);
                state.span(PHASES, "phase", phase.name().to_owned(), start..now, json!({}));
            }
            Event::Started { action, .. } => drop(state.actions.insert(*action, now)),
            Event::Finished { action, mnemonic, owner, how, took, .. } => {
                state.actions.remove(action);
                let how = match how {
                    How::Ran => "ran",
                    How::Cached => "cached",
                    How::UpToDate => "up to date",
                };
                state.action(mnemonic, &owner.to_string(), now.saturating_sub(*took)..now, how);
            }
            Event::Failed { action, mnemonic, owner, .. } => {
                let start = state.actions.remove(action).unwrap_or(now);
                state.action(mnemonic, &owner.to_string(), start..now, "failed");
            }
            Event::Stopped { action, mnemonic, owner } => {
                let start = state.actions.remove(action).unwrap_or(now);
                state.action(mnemonic, &owner.to_string(), start..now, "stopped");
            }
            Event::Waiting { .. }
            | Event::WaitingForCache
            | Event::Configured { .. }
            | Event::Planned { .. }
            | Event::Restored { .. }
            | Event::Troubled(_) => {}
        }
    }

    /// The trace as JSON. A phase that ended badly ends here.
    pub fn finish(self) -> String {
        let now = self.began.elapsed();
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut open: Vec<_> = state.phases.drain().collect();
        open.sort();
        for (name, start) in open {
            state.span(PHASES, "phase", name.to_owned(), start..now, json!({ "how": "failed" }));
        }
        let names = (0..=state.lanes.len()).map(|lane| {
            let name = if lane == PHASES { "phases".to_owned() } else { format!("worker {lane}") };
            json!({ "ph": "M", "name": "thread_name", "pid": 1, "tid": lane, "args": { "name": name } })
        });
        let events: Vec<Value> = names.chain(state.spans).collect();
        format!("{}\n", json!({ "displayTimeUnit": "ms", "traceEvents": events }))
    }
}

impl State {
    fn action(&mut self, mnemonic: &str, target: &str, time: std::ops::Range<Duration>, how: &str) {
        let next = self.lanes.len() + 1;
        let lane = *self.lanes.entry(thread::current().id()).or_insert(next);
        let args = json!({ "label": target, "mnemonic": mnemonic, "how": how });
        self.span(lane, how, format!("{mnemonic} {target}"), time, args);
    }

    fn span(&mut self, lane: usize, category: &str, name: String, time: std::ops::Range<Duration>, args: Value) {
        let (start, took) = (time.start.as_micros() as u64, time.end.saturating_sub(time.start).as_micros() as u64);
        self.spans.push(
            json!({ "ph": "X", "name": name, "cat": category, "ts": start, "dur": took, "pid": 1, "tid": lane, "args": args }),
        );
    }
}
