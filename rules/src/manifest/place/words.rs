//! Places in words, for people: where a program is attached, and how. Knows nothing of attaching.

use std::fmt;

use super::{
    Cgroup, Family, Iter, Kprobe, KprobeMulti, Ksyscall, Netfilter, NetfilterHook, Netns, PerfEvent, RawTracepoint, Sample,
    Socket, Sockmap, StructOps, Trace, Tracepoint, Uprobe, UprobeMulti, Usdt,
};

impl Cgroup {
    /// Where, and how.
    pub fn words(&self) -> (String, String) {
        (format!("cgroup /{}", self.path), self.what())
    }

    /// What is attached to, in few words: `inet_ingress`, `lsm socket_bind`.
    pub fn what(&self) -> String {
        match &self.function {
            Some(function) => format!("lsm {function}"),
            None => self.attach_type.trim_start_matches("CGROUP_").to_lowercase(),
        }
    }
}

impl Netfilter {
    /// Where, and how.
    pub fn words(&self) -> (String, String) {
        (format!("{} {}", self.family, self.at), format!("netfilter priority {}", self.priority))
    }
}

impl Netns {
    /// Where, and how.
    pub fn words(&self) -> (String, String) {
        let path = self.path.clone().unwrap_or_else(|| "this network namespace".to_owned());
        (path, self.attach_type.to_lowercase())
    }
}

impl Sockmap {
    /// Where, and how.
    pub fn words(&self) -> (String, String) {
        (format!("map {}", self.map), self.attach_type.to_lowercase())
    }
}

impl Socket {
    /// Where, and how.
    pub fn words(&self) -> (String, String) {
        let how = if self.shared_port { "shared port" } else { "socket filter" };
        (format!("descriptor {} of process {}", self.fd, self.pid), how.to_owned())
    }
}

impl Tracepoint {
    /// Where, and how.
    pub fn words(&self) -> (String, String) {
        (format!("{}/{}", self.category, self.name), "tracepoint".to_owned())
    }
}

impl RawTracepoint {
    /// Where, and how.
    pub fn words(&self) -> (String, String) {
        (self.name.clone(), "raw tracepoint".to_owned())
    }
}

impl Trace {
    /// Where, and how.
    pub fn words(&self) -> (String, String) {
        (self.target.clone(), self.kind.clone())
    }
}

impl Kprobe {
    /// Where, and how.
    pub fn words(&self) -> (String, String) {
        let place = if self.offset == 0 { self.function.clone() } else { format!("{}+{}", self.function, self.offset) };
        (place, returning("kprobe", self.returns))
    }
}

impl Ksyscall {
    /// Where, and how.
    pub fn words(&self) -> (String, String) {
        (self.name.clone(), returning("system call", self.returns))
    }
}

impl KprobeMulti {
    /// Where, and how.
    pub fn words(&self) -> (String, String) {
        (self.pattern.clone(), many("kprobe_multi", self.returns, self.session))
    }
}

impl Uprobe {
    /// Where, and how.
    pub fn words(&self) -> (String, String) {
        let place = match (&self.function, self.offset) {
            (Some(function), 0) => function.clone(),
            (Some(function), offset) => format!("{function}+{offset}"),
            (None, offset) => format!("{offset:#x}"),
        };
        (format!("{place} of {}", self.binary), format!("{}{}", returning("uprobe", self.returns), process(self.pid)))
    }
}

impl UprobeMulti {
    /// Where, and how.
    pub fn words(&self) -> (String, String) {
        let how = format!("{}{}", many("uprobe_multi", self.returns, self.session), process(self.pid));
        (format!("{} of {}", self.pattern, self.binary), how)
    }
}

impl Usdt {
    /// Where, and how.
    pub fn words(&self) -> (String, String) {
        (format!("{}:{} of {}", self.provider, self.probe, self.binary), format!("usdt{}", process(self.pid)))
    }
}

impl PerfEvent {
    /// Where, and how.
    pub fn words(&self) -> (String, String) {
        let often = match self.sample {
            Sample::Period(period) => format!("every {period}"),
            Sample::Frequency(frequency) => format!("{frequency} a second"),
        };
        let cpu = self.cpu.map_or_else(String::new, |cpu| format!(", CPU {cpu}"));
        (self.event.clone(), format!("perf event {often}{cpu}{}", process(self.pid)))
    }
}

impl Iter {
    /// Where, and how.
    pub fn words(&self) -> (String, String) {
        let of = self.map.as_ref().or(self.cgroup.as_ref()).map_or_else(String::new, |of| format!(" of {of}"));
        (format!("{}{of}", self.target), format!("iterator{}", process(self.pid)))
    }
}

impl StructOps {
    /// Where, and how.
    pub fn words(&self) -> (String, String) {
        (self.table.clone(), "struct_ops".to_owned())
    }
}

fn returning(what: &str, returns: bool) -> String {
    if returns { format!("{what} return") } else { what.to_owned() }
}

fn many(what: &str, returns: bool, session: bool) -> String {
    if session { format!("{what} session") } else { returning(what, returns) }
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(", process {pid}"))
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        })
    }
}

impl fmt::Display for NetfilterHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NetfilterHook::Prerouting => "prerouting",
            NetfilterHook::Input => "input",
            NetfilterHook::Forward => "forward",
            NetfilterHook::Output => "output",
            NetfilterHook::Postrouting => "postrouting",
        })
    }
}
