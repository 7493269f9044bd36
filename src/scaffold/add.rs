//! `ouro add`: a program in a package, and the jump to it.
//!
//! Decides what to write; knows the text of files only through its siblings.

use std::fs;
use std::path::{Path, PathBuf};

use ouro_rules::Diagnostic;
use ouro_rules::diagnostic::did_you_mean;
use ouro_rules::hook::{self, HOOKS, Hook};
use ouro_rules::label::{Label, join};

use super::build_file::{self, BuildFile, Program};
use super::change::{self, Change};
use super::source;

/// The kernel keeps 15 characters of a program's name.
const KERNEL_NAME: usize = 15;

/// What is added.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The workspace's root.
    pub root: &'a Path,
    /// The new program.
    pub label: &'a Label,
    /// Its type, a libbpf section prefix.
    pub ty: &'a str,
    /// The program that jumps to it.
    pub after: Option<&'a Label>,
}

/// What was done, and what is left to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Added {
    /// New and changed files.
    pub written: Vec<PathBuf>,
    /// What could not be changed without guessing.
    pub todo: Vec<Todo>,
}

/// A change for a person to make.
#[derive(Debug, PartialEq, Eq)]
pub struct Todo {
    /// Where.
    pub file: PathBuf,
    /// What, as a sentence without its end: ``add to `parse` ``.
    pub what: String,
    /// The text to paste.
    pub text: String,
}

/// Adds a program to its package: a source, a target, and with `after` the jump in the BUILD file and in the C source of that
/// program. Writes all it can or nothing at all; keeps every comment and blank of files it changes.
pub fn add(request: &Request<'_>) -> Result<Added, Vec<Diagnostic>> {
    let hook = check_names(request)?;
    let package = Package::find(request).map_err(|finding| vec![finding])?;
    let after = request.after.map(|label| package.caller(request, label, hook)).transpose().map_err(|finding| vec![finding])?;
    let (changes, todo) = changes(request, &package, hook, after.as_ref());
    change::apply(&changes).map_err(|finding| vec![finding])?;
    Ok(Added { written: changes.into_iter().map(|change| change.path).collect(), todo })
}

/// Everything that can be wrong with the request itself.
fn check_names(request: &Request<'_>) -> Result<&'static Hook, Vec<Diagnostic>> {
    let name = &*request.label.name;
    let mut findings = Vec::new();
    if !request.label.repo.is_empty() {
        findings
            .push(Diagnostic::bare(format!("`{}` is not in this workspace", request.label)).help("name a package of your own"));
    }
    let identifier =
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
    if !identifier {
        findings.push(
            Diagnostic::bare(format!("`{name}` cannot name a C function")).help("use letters, digits and `_`, no digit first"),
        );
    }
    if name.len() > KERNEL_NAME {
        let message = format!("`{name}` has {} characters; the kernel keeps {KERNEL_NAME} of a program's name", name.len());
        findings.push(Diagnostic::bare(message).help("choose a shorter name"));
    }
    match check_type(request.ty) {
        Ok(hook) if findings.is_empty() => Ok(hook),
        result => Err(findings.into_iter().chain(result.err()).collect()),
    }
}

fn check_type(ty: &str) -> Result<&'static Hook, Diagnostic> {
    let Some(hook) = hook::find(ty) else {
        let near = did_you_mean(ty, HOOKS.iter().map(|hook| hook.prefix));
        let help =
            near.unwrap_or_else(|| "types are libbpf's section prefixes, such as `xdp`, `tc`, `cgroup_skb/egress`".to_owned());
        return Err(Diagnostic::bare(format!("unknown program type `{ty}`")).help(help));
    };
    if hook.takes_name && ty == hook.prefix {
        let finding = Diagnostic::bare(format!("type `{ty}` does not say what it attaches to"));
        return Err(finding.help(format!("write `{ty}/` and the name, as in `tracepoint/sched/sched_switch`")));
    }
    Ok(hook)
}

/// The package a program is added to.
struct Package {
    /// The folder.
    folder: PathBuf,
    /// The BUILD file, from the workspace root, for messages.
    shown: String,
    /// The BUILD file and what it holds; none if it is to be made.
    build: PathBuf,
    text: Option<String>,
}

impl Package {
    fn find(request: &Request<'_>) -> Result<Package, Diagnostic> {
        let Label { package, name, .. } = request.label;
        let folder = request.root.join(&**package);
        let file = ["BUILD.ouro", "BUILD"].into_iter().find(|file| folder.join(file).is_file()).unwrap_or("BUILD.ouro");
        let (build, shown) = (folder.join(file), join(package, file));
        let text = build.exists().then(|| read(&build, &shown)).transpose()?;
        let declared = text.as_deref().and_then(BuildFile::read).is_some_and(|file| file.names().contains(&&**name));
        if declared {
            return Err(Diagnostic::bare(format!("`{shown}` declares `{name}` already")).help("choose another name"));
        }
        Ok(Package { folder, shown, build, text })
    }

    /// The program that shall jump to the new one.
    fn caller(&self, request: &Request<'_>, label: &Label, hook: &Hook) -> Result<Caller, Diagnostic> {
        if label.package != request.label.package || label.repo != request.label.repo {
            let finding = Diagnostic::bare(format!("`{label}` is in another package than `{}`", request.label));
            return Err(finding.help("leave out `--after`, then add the new program to its `jumps` and make it visible there"));
        }
        let text = self.text.as_deref().unwrap_or_default();
        let Some(file) = BuildFile::read(text) else {
            return Err(Diagnostic::bare(format!("`{}` has a bracket or string that is never closed", self.shown))
                .help("repair it first"));
        };
        let Some(program) = file.program(&label.name) else { return Err(self.no_program(&file, label)) };
        if let Some(ty) = program.ty {
            same_table(label, ty, request.ty, hook)?;
        }
        Ok(Caller {
            name: label.name.to_string(),
            source: self.source_of(&program),
            function: program.function.map(str::to_owned),
        })
    }

    fn no_program(&self, file: &BuildFile<'_>, label: &Label) -> Diagnostic {
        let help = did_you_mean(&label.name, file.names());
        let help =
            help.unwrap_or_else(|| "leave out `--after` and add the jump by hand if a macro declares the program".to_owned());
        Diagnostic::bare(format!("`{}` declares no program `{}` at its top level", self.shown, label.name)).help(help)
    }

    /// The only source of a program, if it can be read.
    fn source_of(&self, program: &Program<'_>) -> Option<(PathBuf, String)> {
        let path = self.folder.join(program.source?.trim_start_matches(':'));
        let text = fs::read_to_string(&path).ok()?;
        Some((path, text))
    }
}

/// The program that shall jump.
struct Caller {
    name: String,
    source: Option<(PathBuf, String)>,
    function: Option<String>,
}

fn read(path: &Path, shown: &str) -> Result<String, Diagnostic> {
    fs::read_to_string(path).map_err(|error| Diagnostic::bare(format!("cannot read `{shown}`: {error}")))
}

/// Programs that jump to one another share a table, and a table takes one kind of program.
fn same_table(label: &Label, theirs: &str, ours: &str, hook: &Hook) -> Result<(), Diagnostic> {
    let other = hook::find(theirs).map(|hook| hook.table_class(theirs));
    if other.is_none_or(|other| other == hook.table_class(ours)) {
        return Ok(());
    }
    let message = format!("`{label}` is of type `{theirs}` and cannot jump to one of type `{ours}`");
    Err(Diagnostic::bare(message).help(format!("add `--type {theirs}`")))
}

/// What to write, and what is left to people.
fn changes(request: &Request<'_>, package: &Package, hook: &Hook, after: Option<&Caller>) -> (Vec<Change>, Vec<Todo>) {
    let name = &*request.label.name;
    let mut changes = vec![Change::create(package.folder.join(format!("{name}.c")), source::text(name, request.ty, hook))];
    let mut todo = Vec::new();
    let before = package.text.clone();
    let mut text = before.clone().unwrap_or_default();
    if let Some(caller) = after {
        match BuildFile::read(&text).and_then(|file| file.with_jump(&caller.name, name, source::pass(hook))) {
            Some(edited) => text = edited,
            None => todo.push(Todo {
                file: package.build.clone(),
                what: format!("add to the `jumps` of `{}`", caller.name),
                text: format!("\":{name}\""),
            }),
        }
        match jump_in_source(request, package, caller) {
            Ok(change) => changes.push(change),
            Err(left) => todo.push(left),
        }
    }
    let text = build_file::with_program(&text, name, request.ty);
    changes.push(Change { path: package.build.clone(), text, before });
    (changes, todo)
}

/// The caller's C source with the jump.
fn jump_in_source(request: &Request<'_>, package: &Package, caller: &Caller) -> Result<Change, Todo> {
    let name = &*request.label.name;
    let edited = caller.source.as_ref().and_then(|(path, text)| {
        let edited = source::with_jump(text, request.ty, caller.function.as_deref(), name)?;
        Some(Change { path: path.clone(), text: edited, before: Some(text.clone()) })
    });
    edited.ok_or_else(|| Todo {
        file: caller.source.as_ref().map_or_else(|| package.folder.clone(), |(path, _)| path.clone()),
        what: format!("jump from `{}` where `{name}` should go on", caller.name),
        text: format!("OURO_JUMP(ctx, {name});"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(root: &Path, label: &str, ty: &str, after: Option<&str>) -> Result<Added, Vec<Diagnostic>> {
        let label = Label::parse(label, "", "fw").unwrap();
        let after = after.map(|after| Label::parse(after, "", "fw").unwrap());
        add(&Request { root, label: &label, ty, after: after.as_ref() })
    }

    fn workspace() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        super::super::init::init(folder.path()).unwrap();
        folder
    }

    fn text(root: &Path, file: &str) -> String {
        fs::read_to_string(root.join(file)).unwrap()
    }

    fn message(result: Result<Added, Vec<Diagnostic>>) -> String {
        result
            .unwrap_err()
            .iter()
            .map(|finding| format!("{} ({})\n", finding.message, finding.help.as_deref().unwrap()))
            .collect()
    }

    #[test]
    fn a_program_is_wired_into_the_chain() {
        let folder = workspace();
        let root = folder.path();
        let added = run(root, "limit", "xdp", Some("count")).unwrap();
        assert_eq!(added.written, ["fw/limit.c", "fw/count.c", "fw/BUILD.ouro"].map(|file| root.join(file)));
        assert_eq!(added.todo, []);
        assert!(text(root, "fw/count.c").contains("    OURO_JUMP(ctx, limit);\n    return XDP_PASS;\n"));
        let build = text(root, "fw/BUILD.ouro");
        assert!(build.contains("    maps = [\":packets\"],\n    jumps = [\":limit\"],\n    on_miss = \"pass\",\n)\n"), "{build}");
        assert!(
            build.contains("# How many packets came in.\n")
                && build.ends_with("    name = \"limit\",\n    srcs = [\"limit.c\"],\n    type = \"xdp\",\n)\n")
        );
    }

    #[test]
    fn what_cannot_be_done_safely_is_left_to_people() {
        let folder = workspace();
        let root = folder.path();
        run(root, "limit", "xdp", Some("count")).unwrap();
        let added = run(root, ":block", "xdp", Some("//fw:count")).unwrap();
        assert_eq!(added.written, ["fw/block.c", "fw/BUILD.ouro"].map(|file| root.join(file)));
        assert_eq!(added.todo.len(), 1);
        assert_eq!((&added.todo[0].file, added.todo[0].text.as_str()), (&root.join("fw/count.c"), "OURO_JUMP(ctx, block);"));
        assert!(text(root, "fw/BUILD.ouro").contains("jumps = [\":limit\", \":block\"],"));
    }

    #[test]
    fn a_new_package_is_made() {
        let folder = workspace();
        run(folder.path(), "//net/edge:drop", "tc", None).unwrap();
        assert!(text(folder.path(), "net/edge/BUILD.ouro").starts_with("bpf_program(\n    name = \"drop\",\n"));
        assert!(text(folder.path(), "net/edge/drop.c").contains("int drop(struct __sk_buff *ctx)\n{\n    return TC_ACT_OK;"));
    }

    #[test]
    fn refusals_say_the_remedy_and_change_nothing() {
        let folder = workspace();
        let root = folder.path();
        let before = text(root, "fw/BUILD.ouro");
        assert!(message(run(root, "count", "xdp", None)).contains("declares `count` already (choose another name)"));
        let bad = message(run(root, "a-very-long-name-indeed", "xpd", None));
        assert!(
            bad.contains("cannot name a C function") && bad.contains("keeps 15") && bad.contains("did you mean `xdp`?"),
            "{bad}"
        );
        assert!(message(run(root, "x", "tracepoint", None)).contains("does not say what it attaches to"));
        assert!(message(run(root, "x", "tc", Some("count"))).contains("cannot jump to one of type `tc` (add `--type xdp`)"));
        assert!(message(run(root, "x", "xdp", Some("cuont"))).contains("did you mean `count`?"));
        assert!(message(run(root, "x", "xdp", Some("//net:y"))).contains("in another package"));
        assert!(message(run(root, "x", "xdp", Some("packets"))).contains("declares no program `packets`"));
        fs::write(root.join("fw/taken.c"), "mine").unwrap();
        assert!(message(run(root, "taken", "xdp", Some("count"))).contains("is there already"));
        assert_eq!((text(root, "fw/taken.c").as_str(), text(root, "fw/BUILD.ouro")), ("mine", before));
        assert!(!text(root, "fw/count.c").contains("OURO_JUMP"));
    }
}
