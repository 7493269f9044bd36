//! From what a constructor was given to an attach point: tracepoints, functions, counters, iterators and other programs.
//!
//! What the constructor does not name, the program's type does: `tracepoint/sched/sched_switch`, `uprobe//bin/sh:main+4`.

use super::points::{Given, group};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::manifest::{
    Attach, Iter, Kprobe, KprobeMulti, Ksyscall, PerfEvent, RawTracepoint, Sample, StructOps, Trace, Tracepoint, Uprobe,
    UprobeMulti, Usdt,
};
use crate::perf_event;

pub(super) fn attach(given: &Given<'_>, constructor: &str) -> Result<Attach, Diagnostic> {
    let returns = given.hook.prefix.starts_with("kret") || given.hook.prefix.starts_with("uret");
    let session = given.hook.is_session();
    match constructor {
        "tracepoint" => tracepoint(given).map(Attach::Tracepoint),
        "raw_tracepoint" => Ok(Attach::RawTracepoint(RawTracepoint { name: named(given, "name", "sched_switch")? })),
        "kprobe" | "kretprobe" => kprobe(given, returns).map(Attach::Kprobe),
        "kprobe_multi" => Ok(Attach::KprobeMulti(KprobeMulti { pattern: named(given, "pattern", "vfs_*")?, returns, session })),
        "ksyscall" => Ok(Attach::Ksyscall(Ksyscall { name: named(given, "name", "openat")?, returns })),
        "uprobe" | "uretprobe" => uprobe(given, returns).map(Attach::Uprobe),
        "uprobe_multi" => uprobe_multi(given, returns, session).map(Attach::UprobeMulti),
        "usdt" => usdt(given).map(Attach::Usdt),
        "perf_event" => perf_event(given).map(Attach::PerfEvent),
        "iter" => iter(given).map(Attach::Iter),
        "struct_ops" => Ok(Attach::StructOps(StructOps { table: given.text("table").to_owned(), ty: String::new() })),
        kind => Ok(Attach::Trace(Trace {
            kind: kind.to_owned(),
            target: given.type_name().to_owned(),
            sleepable: given.hook.sleepable,
        })),
    }
}

/// An argument, or what the program's type says in its place.
fn named(given: &Given<'_>, argument: &str, example: &str) -> Result<String, Diagnostic> {
    let name = if given.text(argument).is_empty() { given.type_name() } else { given.text(argument) };
    if name.is_empty() || name.contains(char::is_control) {
        return Err(unnamed(
            given,
            argument,
            &format!("{argument} = \"{example}\""),
            &format!("{}/{example}", given.hook.prefix),
        ));
    }
    Ok(name.to_owned())
}

fn unnamed(given: &Given<'_>, argument: &str, written: &str, ty: &str) -> Diagnostic {
    let message = format!("neither this nor the type `{}` says what it is attached to", given.ty);
    given.error(argument, message).help(format!("write `{written}`, or give the program a type such as `{ty}`"))
}

fn tracepoint(given: &Given<'_>) -> Result<Tracepoint, Diagnostic> {
    let text = named(given, "name", "sched/sched_switch")?;
    let is_name = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    match text.split_once('/').filter(|(category, name)| is_name(category) && is_name(name)) {
        Some((category, name)) => Ok(Tracepoint { category: category.to_owned(), name: name.to_owned() }),
        None => Err(given
            .error("name", format!("`{text}` names no tracepoint"))
            .help("write category and name, as in `sched/sched_switch`; `perf list tracepoint` lists them")),
    }
}

/// `function+offset`, the offset in decimal or, behind `0x`, in hexadecimal.
fn split_offset(text: &str) -> Option<(&str, u64)> {
    let Some((function, offset)) = text.split_once('+') else { return Some((text, 0)) };
    let number = offset.strip_prefix("0x").map_or_else(|| offset.parse().ok(), |digits| u64::from_str_radix(digits, 16).ok());
    Some((function, number?))
}

fn bad_offset(given: &Given<'_>, text: &str) -> Diagnostic {
    given.error("offset", format!("`{text}` is no function with an offset")).help("write `<function>+<bytes>`, as in `main+0x10`")
}

fn offset(given: &Given<'_>, of_type: u64) -> Result<u64, Diagnostic> {
    match given.number("offset", 0..=i64::MAX)? {
        0 => Ok(of_type),
        offset => Ok(offset),
    }
}

fn kprobe(given: &Given<'_>, returns: bool) -> Result<Kprobe, Diagnostic> {
    let text = named(given, "function", "vfs_read")?;
    let (function, of_type) = split_offset(&text).ok_or_else(|| bad_offset(given, &text))?;
    let offset = offset(given, of_type)?;
    if returns && offset != 0 {
        return Err(bad_offset(given, &text).note("a function returns as a whole"));
    }
    Ok(Kprobe { function: function.to_owned(), offset, returns })
}

/// The binary and what follows it in the program's type: `/bin/sh` and `main` of `uprobe//bin/sh:main`. The path of a library
/// may hold a `:`, but no function's name does.
fn binary(given: &Given<'_>, example: &str) -> Result<(String, String), Diagnostic> {
    let (of_type, rest) = given.type_name().rsplit_once(':').unwrap_or((given.type_name(), ""));
    let binary = if given.text("binary").is_empty() { of_type } else { given.text("binary") };
    if !binary.starts_with('/') {
        let ty = format!("{}//usr/bin/app:{example}", given.hook.prefix);
        return Err(match binary {
            "" => unnamed(given, "binary", "binary = \"/usr/bin/app\"", &ty),
            _ => given.error("binary", format!("`{binary}` is no absolute path")).help("name the program or library by its path"),
        });
    }
    Ok((binary.to_owned(), rest.to_owned()))
}

fn uprobe(given: &Given<'_>, returns: bool) -> Result<Uprobe, Diagnostic> {
    let (binary, of_type) = binary(given, "main")?;
    let text = if given.text("function").is_empty() { &of_type } else { given.text("function") };
    let (function, of_type) = split_offset(text).ok_or_else(|| bad_offset(given, text))?;
    let offset = offset(given, of_type)?;
    if function.is_empty() && offset == 0 {
        let finding = given.error("function", format!("neither a function of `{binary}` nor an offset is named"));
        return Err(finding.help("write `function = \"main\"`, or `offset` with the bytes behind the file's begin"));
    }
    let function = Some(function.to_owned()).filter(|function| !function.is_empty());
    let pid = given.only_process()?;
    Ok(Uprobe { binary, function, offset, pid, returns, sleepable: given.hook.sleepable })
}

fn uprobe_multi(given: &Given<'_>, returns: bool, session: bool) -> Result<UprobeMulti, Diagnostic> {
    let (binary, of_type) = binary(given, "on_*")?;
    let pattern = if given.text("pattern").is_empty() { of_type } else { given.text("pattern").to_owned() };
    if pattern.is_empty() {
        return Err(unnamed(given, "pattern", "pattern = \"on_*\"", &format!("{}/{binary}:on_*", given.hook.prefix)));
    }
    let pid = given.only_process()?;
    Ok(UprobeMulti { binary, pattern, pid, returns, session, sleepable: given.hook.sleepable })
}

fn usdt(given: &Given<'_>) -> Result<Usdt, Diagnostic> {
    let (path, name) = given.type_name().rsplit_once(':').unwrap_or((given.type_name(), ""));
    let (path, of_type) = path.rsplit_once(':').unwrap_or((path, ""));
    let pick = |argument: &str, other: &str| match given.text(argument) {
        "" => other.to_owned(),
        text => text.to_owned(),
    };
    let (binary, provider, probe) = (pick("binary", path), pick("provider", of_type), pick("probe", name));
    if binary.is_empty() || provider.is_empty() || probe.is_empty() {
        let written = "binary = \"/lib/libc.so.6\", provider = \"libc\", probe = \"setjmp\"";
        return Err(unnamed(given, "binary", written, "usdt//lib/libc.so.6:libc:setjmp"));
    }
    if !binary.starts_with('/') {
        let finding = given.error("binary", format!("`{binary}` is no absolute path"));
        return Err(finding.help("name the program or library by its path"));
    }
    Ok(Usdt { binary, provider, probe, pid: given.only_process()?, arguments: None })
}

fn perf_event(given: &Given<'_>) -> Result<PerfEvent, Diagnostic> {
    let event = given.required("event")?;
    if perf_event::find(&event).is_none() {
        let help = did_you_mean(&event, perf_event::EVENTS.iter().map(|event| event.name));
        let finding = given.error("event", format!("there is no counter `{event}`"));
        let all = perf_event::EVENTS.iter().map(|event| format!("`{}`", event.name)).collect::<Vec<_>>().join(", ");
        return Err(finding.help(help.unwrap_or_else(|| format!("there are {all}"))));
    }
    let sample = match (given.int("period"), given.int("frequency")) {
        (Some(_), None) => Sample::Period(given.number("period", 1..=i64::MAX)?),
        (None, Some(_)) => Sample::Frequency(given.number("frequency", 1..=i64::MAX)?),
        (one, _) => {
            let what =
                if one.is_some() { "both `period` and `frequency` are given" } else { "how often the program runs is not said" };
            let finding = given.error("frequency", what);
            return Err(finding.help("write `frequency = 99` for 99 times a second, or a `period` of what is counted"));
        }
    };
    let cpu = given.int("cpu").map(|_| given.number("cpu", 0..=0xffff)).transpose()?;
    Ok(PerfEvent { event, sample, cpu, pid: given.only_process()? })
}

fn iter(given: &Given<'_>) -> Result<Iter, Diagnostic> {
    let target = given.type_name().to_owned();
    let text = |name: &str| Some(given.text(name).to_owned()).filter(|text| !text.is_empty());
    let (map, pid) = (text("map"), given.only_process()?);
    let needs_map = matches!(&*target, "bpf_map_elem" | "bpf_sk_storage_map" | "sockmap");
    if needs_map != map.is_some() {
        let (what, help) = match needs_map {
            true => (format!("`{target}` goes through the elements of one map"), "write `map = \"<name>\"`"),
            false => (format!("`{target}` goes through no map"), "leave `map` out"),
        };
        return Err(given.error("map", what).help(help));
    }
    let cgroup = text("cgroup").map(|_| group(given, "cgroup")).transpose()?;
    if (target == "cgroup") != cgroup.is_some() {
        let help = if cgroup.is_some() { "leave `cgroup` out" } else { "write `cgroup = \"/\"` for all of them" };
        return Err(given.error("cgroup", format!("`{target}` and `cgroup` do not fit together")).help(help));
    }
    if pid.is_some() && !target.starts_with("task") {
        return Err(given.error("pid", format!("`{target}` goes through no processes")).help("leave `pid` out"));
    }
    Ok(Iter { target, map, cgroup, pid, sleepable: given.hook.sleepable })
}
