//! What names mean on this machine: control groups, namespaces, tracepoints, functions, other programs.
//!
//! Each either opens what is named or says in one sentence why there is none.

use std::ffi::CString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use ouro_rules::manifest::{Arguments, Order, Usdt, matches};

use super::binary::{Binary, Function, Probe};
use super::pins::{self, Kind};
use super::sys::Relative;
use crate::hook::Hook;
use crate::usdt::{self, Machine, Spec};

/// Where the kernel's tracing files are; the second before kernel 4.1, and where nobody mounted the first.
const TRACING: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// Functions that a link of many probes may have at most (`MAX_KPROBE_MULTI_CNT`, `MAX_UPROBE_MULTI_CNT`).
const MOST: usize = 1 << 20;

pub(super) type Found<T> = Result<T, Missing>;

/// What is not there, with what may be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// One sentence.
    pub what: String,
    /// What may be meant, or what makes it be there.
    pub help: Option<String>,
}

impl Missing {
    pub(crate) fn new(what: impl Into<String>) -> Missing {
        Missing { what: what.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Missing {
        self.help = Some(help.into());
        self
    }

    /// With the nearest of the names there are.
    fn near<'a>(self, name: &str, names: impl IntoIterator<Item = &'a str>) -> Missing {
        let near = ouro_rules::diagnostic::did_you_mean(name, names);
        Missing { help: near.or(self.help), ..self }
    }
}

/// Where cgroup2 is mounted.
fn cgroup_root() -> Found<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // The fields behind ` - ` begin with the file system's type; the fifth one is where it is.
    let mount = mounts.lines().find(|line| line.split(" - ").nth(1).is_some_and(|rest| rest.starts_with("cgroup2 ")));
    let path = mount.and_then(|line| line.split(' ').nth(4)).map(|path| PathBuf::from(path.replace("\\040", " ")));
    path.ok_or_else(|| {
        Missing::new("no cgroup2 file system is mounted").help("mount one: `mount -t cgroup2 cgroup2 /sys/fs/cgroup`")
    })
}

/// Opens a control group by its path from the mount.
pub(super) fn cgroup(path: &str) -> Found<File> {
    let root = cgroup_root()?;
    let folder = root.join(path);
    File::open(&folder).map_err(|_| {
        let parent = folder.parent().unwrap_or(&root);
        let names: Vec<String> = fs::read_dir(parent)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Missing::new(format!("there is no control group `{path}` in `{}`", root.display()))
            .help("`mkdir` makes one, and `/proc/<pid>/cgroup` tells a process's own")
            .near(&name, names.iter().map(String::as_str))
    })
}

/// Opens a network namespace.
pub(super) fn namespace(path: Option<&str>) -> Found<File> {
    let path = path.unwrap_or("/proc/thread-self/ns/net");
    File::open(path).map_err(|error| {
        Missing::new(format!("there is no network namespace `{path}`: {error}")).help("`ip netns list` lists those with names")
    })
}

/// A file of the kernel's tracing.
fn tracing(path: &str) -> Option<PathBuf> {
    TRACING.iter().map(|root| Path::new(root).join(path)).find(|path| path.exists())
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The number of a tracepoint.
pub(super) fn tracepoint(category: &str, name: &str) -> Found<u64> {
    let Some(events) = tracing("events") else {
        return Err(Missing::new("no tracefs is mounted").help("mount one: `mount -t tracefs tracefs /sys/kernel/tracing`"));
    };
    let id = fs::read_to_string(events.join(category).join(name).join("id")).ok().and_then(|id| id.trim().parse().ok());
    id.ok_or_else(|| {
        let known = names_in(&events.join(category));
        let missing = Missing::new(format!("the kernel has no tracepoint `{category}/{name}`"))
            .help(format!("`ls {}` lists them", events.display()));
        match known.is_empty() {
            true => missing.near(category, names_in(&events).iter().map(String::as_str)),
            false => missing.near(name, known.iter().map(String::as_str)),
        }
    })
}

/// Whether the kernel has a raw tracepoint; those of system calls have no files of that name.
pub(super) fn raw_tracepoint(name: &str) -> Found<()> {
    let Some(events) = tracing("events") else { return Ok(()) };
    let mut names: Vec<String> = names_in(&events).iter().flat_map(|category| names_in(&events.join(category))).collect();
    names.extend(["sys_enter".to_owned(), "sys_exit".to_owned()]);
    // Not every raw tracepoint has an event, so only a name that is nearly another one's is taken for a mistake.
    let near = ouro_rules::diagnostic::nearest(name, names.iter().map(String::as_str));
    match near {
        Some(near) if near != name && !names.iter().any(|known| known == name) => {
            Err(Missing::new(format!("the kernel has no tracepoint `{name}`")).help(format!("did you mean `{near}`?")))
        }
        _ => Ok(()),
    }
}

/// The type of a kind of event, as the kernel numbers them when it starts.
pub(super) fn event_type(kind: &str) -> Found<u32> {
    let text = fs::read_to_string(format!("/sys/bus/event_source/devices/{kind}/type")).unwrap_or_default();
    let config = if kind == "kprobe" { "CONFIG_KPROBES" } else { "CONFIG_UPROBES" };
    text.trim()
        .parse()
        .map_err(|_| Missing::new(format!("the kernel has no {kind}s")).help(format!("it needs {config} and CONFIG_PERF_EVENTS")))
}

/// The functions of the kernel that a pattern stands for.
pub(super) fn functions(pattern: &str) -> Found<Vec<CString>> {
    let list = tracing("available_filter_functions").and_then(|path| fs::read_to_string(path).ok());
    let Some(list) = list else {
        return Err(
            Missing::new("the kernel does not tell which functions can be probed").help("it needs CONFIG_FPROBE and a tracefs")
        );
    };
    let names = listed(&list);
    let mut found: Vec<&str> = names.iter().copied().filter(|name| matches(pattern, name)).collect();
    // A name that several functions have is listed as often, and the kernel wants each once.
    found.sort_unstable();
    found.dedup();
    match found.len() {
        0 => Err(Missing::new(format!("the kernel has no function `{pattern}` that can be probed")).near(pattern, names)),
        1..=MOST => Ok(found.into_iter().filter_map(|name| CString::new(name).ok()).collect()),
        many => Err(Missing::new(format!("`{pattern}` stands for {many} functions; at most {MOST} can be probed at once"))),
    }
}

/// The names of a list of functions, but for those that stand for places whose function is gone.
fn listed(list: &str) -> Vec<&str> {
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| !name.starts_with("__ftrace_invalid_address__")).collect()
}

/// What the machine calls the function of a system call.
pub(super) fn syscall(name: &str) -> String {
    let prefix = match () {
        () if cfg!(target_arch = "x86_64") => "__x64_sys_",
        () if cfg!(target_arch = "aarch64") => "__arm64_sys_",
        () if cfg!(target_arch = "riscv64") => "__riscv_sys_",
        () if cfg!(target_arch = "s390x") => "__s390x_sys_",
        () => "sys_",
    };
    format!("{prefix}{name}")
}

fn binary(path: &str) -> Found<Binary> {
    Binary::read(Path::new(path)).map_err(|error| Missing::new(format!("cannot read `{path}`: {error}")))
}

/// The offset of a function in a file, or the offset itself.
pub(super) fn user_function(path: &str, function: Option<&str>, offset: u64) -> Found<u64> {
    let binary = binary(path)?;
    let begin = function.map_or(Ok(0), |function| begin(path, &binary, function))?;
    begin.checked_add(offset).filter(|at| *at < binary.size()).ok_or_else(|| {
        Missing::new(format!("`{path}` has {} bytes, and none at this offset", binary.size()))
            .help("an offset counts bytes of the file, from its begin or from that of `function`")
    })
}

/// Where in a file a function begins.
fn begin(path: &str, binary: &Binary, function: &str) -> Found<u64> {
    let functions = binary.functions();
    only(path, function, &functions)?.and_then(|address| binary.offset(address)).ok_or_else(|| {
        Missing::new(format!("`{path}` has no function `{function}`"))
            .help("a file without symbols tells only what it exports; name an offset instead")
            .near(function, functions.into_iter().map(|function| function.name))
    })
}

/// The address of the function of this name: of the one that others can see, else of the only one.
fn only(path: &str, name: &str, functions: &[Function<'_>]) -> Found<Option<u64>> {
    let of_name = |is_local| {
        let mut found: Vec<u64> = functions
            .iter()
            .filter(|known| known.name == name && known.is_local == is_local)
            .map(|known| known.address)
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    };
    let (visible, local) = (of_name(false), of_name(true));
    match if visible.is_empty() { local.as_slice() } else { visible.as_slice() } {
        [] => Ok(None),
        [only] => Ok(Some(*only)),
        many => Err(Missing::new(format!("`{name}` of `{path}` stands for {} functions", many.len()))
            .help("name the offset of one of them instead: `nm` lists them")),
    }
}

/// The offsets of all functions of a file that a pattern stands for.
pub(super) fn user_functions(path: &str, pattern: &str) -> Found<Vec<u64>> {
    let binary = binary(path)?;
    let functions = binary.functions();
    let fitting = functions.iter().filter(|function| matches(pattern, function.name));
    let mut found: Vec<u64> = fitting.filter_map(|function| binary.offset(function.address)).collect();
    // One function may have several names.
    found.sort_unstable();
    found.dedup();
    match found.len() {
        0 => Err(Missing::new(format!("`{path}` has no function `{pattern}`"))
            .near(pattern, functions.into_iter().map(|function| function.name))),
        1..=MOST => Ok(found),
        many => Err(Missing::new(format!("`{pattern}` stands for {many} functions; at most {MOST} can be probed at once"))),
    }
}

/// The places of a declared probe.
pub(super) fn usdt(place: &Usdt) -> Found<Vec<Probe>> {
    let Usdt { binary: path, provider, probe, .. } = place;
    let found = binary(path)?.probes(provider, probe);
    if found.is_empty() {
        return Err(Missing::new(format!("`{path}` declares no probe `{provider}:{probe}`"))
            .help(format!("`readelf -n {path}` lists them")));
    }
    Ok(found)
}

/// What programs are told of the arguments at these places.
pub(super) fn specs(place: &Usdt, probes: &[Probe], table: &Arguments) -> Found<Vec<Spec>> {
    let unread = |why: String| {
        Missing::new(format!("programs cannot read its arguments: {why}"))
            .help(format!("`readelf -n {}` shows where the compiler left them", place.binary))
    };
    let machine = Machine::this().ok_or_else(|| unread("ouro does not know where this machine has them".to_owned()))?;
    let spec = |known: &Probe| usdt::spec(&usdt::parse(&known.arguments, machine)?, table);
    probes.iter().map(spec).collect::<Result<_, _>>().map_err(unread)
}

/// The place among others that an order means. `link` is the pin of the hook's own link.
pub(super) fn order(hook: &Hook, order: &Order, link: &Path) -> Found<Option<(bool, Relative)>> {
    Ok(match order {
        Order::Last => None,
        Order::First => Some((true, Relative::None)),
        Order::Before(other) => Some((true, relative(hook, other, link)?)),
        Order::After(other) => Some((false, relative(hook, other, link)?)),
    })
}

fn relative(hook: &Hook, other: &str, link: &Path) -> Found<Relative> {
    if let Some(id) = other.strip_prefix("id:").and_then(|id| id.parse().ok()) {
        return Ok(Relative::Id(id));
    }
    if other.starts_with('/') {
        return opened(Path::new(other)).ok_or_else(|| Missing::new(format!("no program and no link is pinned at `{other}`")));
    }
    // `<bpffs>/ouro/<deployment>/links/<hook>`
    let all = link.ancestors().nth(3).unwrap_or(link);
    let names = names_in(all);
    opened(&all.join(other).join("links").join(hook.name())).ok_or_else(|| {
        Missing::new(format!("nothing is deployed as `{other}` that is attached there"))
            .help("name a deployment, the path of a pin, or `id:<number>` of a program")
            .near(other, names.iter().map(String::as_str).filter(|name| *name != other))
    })
}

fn opened(path: &Path) -> Option<Relative> {
    let open = |kind| pins::open(path, kind).ok().flatten();
    open(Kind::Link).map(Relative::Link).or_else(|| open(Kind::Program).map(Relative::Program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_without_a_function_are_no_names() {
        assert_eq!(listed("vfs_read\n__ftrace_invalid_address___120\nnf_hook [nf_tables]\n\n"), ["vfs_read", "nf_hook"]);
    }

    /// Static functions of two files: the first was probed, whichever was meant.
    #[test]
    fn a_name_of_several_functions_is_refused() {
        let function = |name, address, is_local| Function { name, address, is_local };
        let functions = [
            function("same", 16, true),
            function("same", 32, true),
            function("twice", 48, false),
            function("twice", 48, false),
            function("seen", 64, true),
            function("seen", 80, false),
        ];
        let asked = |name: &str| only("/bin/app", name, &functions).map_err(|missing| missing.what);
        assert_eq!(asked("same"), Err("`same` of `/bin/app` stands for 2 functions".to_owned()));
        assert_eq!((asked("twice"), asked("seen"), asked("none")), (Ok(Some(48)), Ok(Some(80)), Ok(None)));
    }
}
