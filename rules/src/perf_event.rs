//! The counters of the processor and the kernel that programs can be attached to, as `perf` names them.
//!
//! Numbers from include/uapi/linux/perf_event.h: `PERF_TYPE_*`, `PERF_COUNT_*`.

/// A counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Its name.
    pub name: &'static str,
    /// `PERF_TYPE_HARDWARE` (0) or `PERF_TYPE_SOFTWARE` (1).
    pub ty: u32,
    /// Its number among those of its type.
    pub config: u64,
}

const fn hardware(name: &'static str, config: u64) -> Event {
    Event { name, ty: 0, config }
}

const fn software(name: &'static str, config: u64) -> Event {
    Event { name, ty: 1, config }
}

/// All of them.
pub const EVENTS: &[Event] = &[
    software("cpu-clock", 0),
    software("task-clock", 1),
    software("page-faults", 2),
    software("context-switches", 3),
    software("cpu-migrations", 4),
    software("minor-faults", 5),
    software("major-faults", 6),
    software("alignment-faults", 7),
    software("emulation-faults", 8),
    software("cgroup-switches", 11),
    hardware("cycles", 0),
    hardware("instructions", 1),
    hardware("cache-references", 2),
    hardware("cache-misses", 3),
    hardware("branches", 4),
    hardware("branch-misses", 5),
    hardware("bus-cycles", 6),
    hardware("stalled-cycles-frontend", 7),
    hardware("stalled-cycles-backend", 8),
    hardware("ref-cycles", 9),
];

/// The counter of this name.
pub fn find(name: &str) -> Option<Event> {
    EVENTS.iter().find(|event| event.name == name).copied()
}
