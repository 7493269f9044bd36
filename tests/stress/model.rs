//! A workspace that changes at random: packages of programs that share a header, a macro, generated headers, globs and chains, and
//! that use maps and jump to programs of each other.
//!
//! Knows what every source file should hold; what builds make of them is not its business.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::Workspace;
use crate::support::random::Random;
use crate::{disk, disturbed};

/// How many kinds of edits there are, by the first word of their description.
pub const KINDS: usize = 26;

#[derive(Clone)]
struct Program {
    name: String,
    constant: usize,
    /// A comment at the end changes no byte of the object.
    comment: usize,
    /// Whether its source is C.
    broken: bool,
    warns: bool,
}

#[derive(Clone, Default)]
struct Package {
    programs: Vec<Program>,
    texts: BTreeMap<String, usize>,
    copt: usize,
    /// A dependency on a target that is not there.
    dangling: bool,
    chain: bool,
    /// The name of its map, and how large it is.
    map: String,
    entries: usize,
    /// Whether others may not see the map.
    hidden: bool,
    /// The package whose map its first program uses.
    uses: Option<String>,
    /// The package whose first program its last one jumps to.
    onward: Option<String>,
    /// Lines of comment in front of everything.
    lines: usize,
}

/// The workspace as it should be.
#[derive(Clone)]
pub struct Model {
    packages: BTreeMap<String, Package>,
    header: usize,
    unused_header: usize,
    module: usize,
    jobs: usize,
    setting: usize,
    next: usize,
    /// What it was some steps ago.
    earlier: Option<Box<Model>>,
}

impl Model {
    pub fn new(random: &mut Random) -> Model {
        let (packages, earlier) = (BTreeMap::new(), None);
        let mut model = Model { packages, header: 0, unused_header: 0, module: 0, jobs: 2, setting: 0, next: 0, earlier };
        (0..4).for_each(|_| drop(model.add_package(random)));
        model
    }

    /// The arguments of a build of everything.
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec!["build", "//...", "-k", "-j"];
        flags.push(["1", "2", "3", "8"][self.jobs % 4]);
        flags
    }

    /// Writes everything to an empty folder.
    pub fn write(&self, root: &Path) {
        disk::sync(root, &BTreeMap::new(), &self.files());
    }

    /// One edit, told in a few words.
    pub fn step(&mut self, workspace: &Workspace, random: &mut Random) -> String {
        let before = self.clone();
        self.mend(random);
        let told = match random.below(40) {
            0..4 => self.edit_source(random),
            4 => self.comment(random),
            5 => self.add_program(random),
            6 => self.remove_program(random),
            7 => self.rename_program(random),
            8 => self.add_package(random),
            9 => self.remove_package(random),
            10 => self.rename_package(random),
            11 => self.edit_text(random),
            12 => self.count("header", |model| &mut model.header),
            13 => self.count("unused-header", |model| &mut model.unused_header),
            14 => self.count("module", |model| &mut model.module),
            15 => self.count("setting", |model| &mut model.setting),
            16 => self.count("jobs", |model| &mut model.jobs),
            17 => self.copt(random),
            18 => self.break_source(random),
            19 => self.warn(random),
            20 => self.dangle(random),
            21 => self.chain(random),
            22 | 23 => self.revert(),
            24 | 25 => self.use_map(random),
            26 | 27 => self.map(random),
            28 => self.hide(random),
            29 | 30 => self.onward(random),
            31 => self.lines(random),
            _ => return self.and_on_disk(&before, workspace, random),
        };
        if random.below(40) == 0 {
            self.earlier = Some(Box::new(Model { earlier: None, ..before.clone() }));
        }
        self.apply(&before, workspace, random);
        told
    }

    /// Brings the files on disk to the model: plainly, or while a build runs, or with times that lie.
    fn apply(&self, before: &Model, workspace: &Workspace, random: &mut Random) {
        let (old, new) = (before.files(), self.files());
        let after = Duration::from_millis(random.below(90) as u64);
        match random.below(6) {
            0 => disturbed(workspace, &self.flags(), after, |_| disk::sync(&workspace.root(), &old, &new)),
            1 => {
                let changed: Vec<&String> =
                    new.keys().filter(|path| old.get(*path).is_some_and(|text| *text != new[*path])).collect();
                let times: Vec<_> = changed.iter().map(|path| disk::time(&workspace.path(path))).collect();
                disk::sync(&workspace.root(), &old, &new);
                changed.iter().zip(times).for_each(|(path, time)| disk::set_time(&workspace.path(path), time));
            }
            _ => disk::sync(&workspace.root(), &old, &new),
        }
    }

    fn and_on_disk(&self, before: &Model, workspace: &Workspace, random: &mut Random) -> String {
        disk::sync(&workspace.root(), &before.files(), &self.files());
        self.on_disk(workspace, random)
    }

    /// Something happens to files while the model stays.
    fn on_disk(&self, workspace: &Workspace, random: &mut Random) -> String {
        let files: Vec<String> = self.files().into_keys().collect();
        let source = random.pick::<String>(&files);
        let source = workspace.path(source);
        let outputs = disk::output_paths(&workspace.root());
        let after = Duration::from_millis(random.below(150) as u64);
        match random.below(8) {
            0 => disk::touch(&source),
            1 => disk::replace(&source),
            2 => disk::change_mode(&source),
            3 => disk::set_time(&source, disk::wrong_time(false)),
            4 => disk::set_time(&source, disk::wrong_time(true)),
            5 => disturbed(workspace, &self.flags(), after, |child| child.kill().expect("a kill")),
            6 if !outputs.is_empty() => disk::spoil(random.pick::<PathBuf>(&outputs)),
            _ if !outputs.is_empty() => std::fs::remove_file(random.pick::<PathBuf>(&outputs)).expect("an output"),
            _ => {}
        }
        "disk".to_owned()
    }

    /// Most of what is wrong does not stay wrong for long: a build that fails compares little.
    fn mend(&mut self, random: &mut Random) {
        let names: Vec<String> = self.packages.keys().cloned().collect();
        for package in self.packages.values_mut() {
            let mut gone = |name: &String| !names.contains(name) && random.below(3) != 0;
            package.uses.take_if(|name| gone(name));
            package.onward.take_if(|name| gone(name));
            package.hidden &= random.below(3) == 0;
            package.dangling &= random.below(3) == 0;
            package.programs.iter_mut().for_each(|program| program.broken &= random.below(3) == 0);
        }
    }

    fn count(&mut self, what: &str, number: impl Fn(&mut Model) -> &mut usize) -> String {
        *number(self) += 1;
        what.to_owned()
    }

    fn fresh(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}{}", self.next)
    }

    fn package(&mut self, random: &mut Random) -> (String, &mut Package) {
        let names: Vec<String> = self.packages.keys().cloned().collect();
        let name = random.pick(&names).clone();
        let package = self.packages.get_mut(&name).expect("a package of that name");
        (name, package)
    }

    fn program(&mut self, random: &mut Random) -> (String, &mut Program) {
        let (package, content) = self.package(random);
        let place = random.below(content.programs.len());
        let program = &mut content.programs[place];
        (format!("//{package}:{}", program.name), program)
    }

    fn edit_source(&mut self, random: &mut Random) -> String {
        let (name, program) = self.program(random);
        program.constant += 1;
        format!("edit {name}")
    }

    fn comment(&mut self, random: &mut Random) -> String {
        let (name, program) = self.program(random);
        program.comment += 1;
        format!("comment {name}")
    }

    fn break_source(&mut self, random: &mut Random) -> String {
        let (name, program) = self.program(random);
        program.broken = !program.broken && random.below(2) == 0;
        format!("break {name}")
    }

    fn warn(&mut self, random: &mut Random) -> String {
        let (name, program) = self.program(random);
        program.warns = !program.warns;
        format!("warn {name}")
    }

    fn add_program(&mut self, random: &mut Random) -> String {
        let name = self.fresh("p");
        let (package, content) = self.package(random);
        content.programs.push(Program { name: name.clone(), constant: 0, comment: 0, broken: false, warns: false });
        format!("add-program //{package}:{name}")
    }

    fn remove_program(&mut self, random: &mut Random) -> String {
        let (package, content) = self.package(random);
        if content.programs.len() > 1 {
            let place = random.below(content.programs.len());
            content.programs.remove(place);
        }
        format!("remove-program of //{package}")
    }

    fn rename_program(&mut self, random: &mut Random) -> String {
        let to = self.fresh("p");
        let (name, program) = self.program(random);
        program.name = to;
        format!("rename-program {name}")
    }

    fn add_package(&mut self, random: &mut Random) -> String {
        let name = self.fresh("k");
        let programs = (0..1 + random.below(3)).map(|_| self.fresh("p"));
        let program = |name| Program { name, constant: 0, comment: 0, broken: false, warns: false };
        let programs = programs.collect::<Vec<_>>().into_iter().map(program).collect();
        let nested = if random.below(3) == 0 { format!("deep/{name}") } else { name };
        let package = Package { programs, chain: true, map: self.fresh("m"), entries: 1, ..Package::default() };
        self.packages.insert(nested.clone(), package);
        format!("add-package {nested}")
    }

    fn remove_package(&mut self, random: &mut Random) -> String {
        if self.packages.len() > 4 {
            let (name, _) = self.package(random);
            self.packages.remove(&name);
        }
        "remove-package".to_owned()
    }

    fn rename_package(&mut self, random: &mut Random) -> String {
        let to = self.fresh("k");
        let (name, _) = self.package(random);
        let package = self.packages.remove(&name).expect("it is there");
        self.packages.insert(to, package);
        format!("rename-package {name}")
    }

    fn edit_text(&mut self, random: &mut Random) -> String {
        let name = format!("t{}.txt", random.below(3));
        let remove = random.below(4) == 0;
        let (package, content) = self.package(random);
        if remove {
            content.texts.remove(&name);
        } else {
            *content.texts.entry(name).or_default() += 1;
        }
        format!("text of //{package}")
    }

    fn copt(&mut self, random: &mut Random) -> String {
        let (name, package) = self.package(random);
        package.copt += 1;
        format!("copt of //{name}")
    }

    fn dangle(&mut self, random: &mut Random) -> String {
        let (name, package) = self.package(random);
        package.dangling = true;
        format!("dangle //{name}")
    }

    fn chain(&mut self, random: &mut Random) -> String {
        let (name, package) = self.package(random);
        package.chain = !package.chain;
        format!("chain of //{name}")
    }

    fn use_map(&mut self, random: &mut Random) -> String {
        let other = self.package(random).0;
        let (name, package) = self.package(random);
        package.uses = if package.uses.is_some() || other == name { None } else { Some(other) };
        format!("use of //{name}")
    }

    fn map(&mut self, random: &mut Random) -> String {
        let (name, package) = self.package(random);
        package.entries = package.entries % 4 + 1;
        format!("map of //{name}")
    }

    fn hide(&mut self, random: &mut Random) -> String {
        let (name, package) = self.package(random);
        package.hidden = !package.hidden;
        format!("hide //{name}")
    }

    /// Only to packages further on, so that jumps go in no circle.
    fn onward(&mut self, random: &mut Random) -> String {
        let other = self.package(random).0;
        let (name, package) = self.package(random);
        package.onward = Some(other).filter(|other| *other > name && package.onward.is_none());
        format!("onward of //{name}")
    }

    fn lines(&mut self, random: &mut Random) -> String {
        let (name, package) = self.package(random);
        package.lines = (package.lines + 1) % 3;
        format!("lines of //{name}")
    }

    /// As `git checkout` does: many files at once are what they were.
    fn revert(&mut self) -> String {
        match self.earlier.take() {
            Some(earlier) => *self = Model { next: self.next, ..*earlier },
            None => self.earlier = Some(Box::new(self.clone())),
        }
        "revert".to_owned()
    }

    /// Every source file.
    fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::from([
            ("ouro.toml".to_owned(), format!("# {}\n", self.setting)),
            ("defs.star".to_owned(), module(self.module)),
            ("lib/common.h".to_owned(), format!("#define COMMON {}\n", self.header)),
            ("lib/unused.h".to_owned(), format!("#define UNUSED {}\n", self.unused_header)),
            ("lib/BUILD.ouro".to_owned(), LIBRARY.to_owned()),
        ]);
        for (name, package) in &self.packages {
            files.insert(format!("{name}/BUILD.ouro"), self.build_file(package));
            for (place, program) in package.programs.iter().enumerate() {
                let jumps = self.next_of(package, place).map(|(_, next)| next);
                let map = if place == 0 { self.used(package).map(|(_, map)| map) } else { None };
                files.insert(format!("{name}/{}.c", program.name), program.source(jumps.as_deref(), map.as_deref()));
            }
            for (text, number) in &package.texts {
                files.insert(format!("{name}/{text}"), format!("#define TEXT_{} {number}\n", text.replace('.', "_")));
            }
        }
        files
    }
}

const LIBRARY: &str =
    "bpf_library(name = \"lib\", hdrs = [\"common.h\", \"unused.h\"], visibility = [\"//visibility:public\"])\n";

fn module(version: usize) -> String {
    format!(
        "VERSION = {version}\n\
         def program(name, jumps = [], copts = [], deps = [], maps = []):\n    \
             bpf_program(name = name, srcs = [name + \".c\"], type = \"xdp\", deps = [\"//lib\", \":texts_lib\"] + deps, jumps = jumps, maps = maps,\n        \
             visibility = [\"//visibility:public\"], on_miss = \"pass\", copts = copts + [\"-DVERSION={}\"])\n",
        version / 2
    )
}

impl Model {
    /// The program that the one at `place` jumps to, by its label and its name.
    fn next_of(&self, package: &Package, place: usize) -> Option<(String, String)> {
        if let Some(next) = package.programs.get(place + 1) {
            return package.chain.then(|| (format!(":{}", next.name), next.name.clone()));
        }
        let other = package.onward.as_ref()?;
        let name = self.packages.get(other).map_or("gone", |package| package.programs[0].name.as_str());
        Some((format!("//{other}:{name}"), name.to_owned()))
    }

    /// The map that a package uses, by its label and its name.
    fn used(&self, package: &Package) -> Option<(String, String)> {
        let other = package.uses.as_ref()?;
        let name = self.packages.get(other).map_or("gone", |package| package.map.as_str());
        Some((format!("//{other}:{name}"), name.to_owned()))
    }

    fn build_file(&self, package: &Package) -> String {
        let quoted = |label: Option<(String, String)>| label.map(|(label, _)| format!("\"{label}\"")).unwrap_or_default();
        let mut text = "# why\n".repeat(package.lines)
            + "load(\"//:defs.star\", \"program\")\n\
             genrule(name = \"texts\", srcs = glob([\"*.txt\"], allow_empty = True), outs = [\"texts.h\"], cmd = \"cat $(SRCS) /dev/null > $@\")\n\
             bpf_library(name = \"texts_lib\", hdrs = [\":texts\"])\n";
        let Package { map, entries, copt, .. } = package;
        let visibility = if package.hidden { "private" } else { "public" };
        text += &format!(
            "bpf_map(name = \"{map}\", type = \"array\", value = \"__u64\", max_entries = {entries}, visibility = [\"//visibility:{visibility}\"])\n"
        );
        for (place, program) in package.programs.iter().enumerate() {
            let jumps = quoted(self.next_of(package, place));
            let maps = if place == 0 { quoted(self.used(package)) } else { String::new() };
            let deps = if package.dangling && place == 0 { "\"//lib:gone\"" } else { "" };
            let (name, copt) = (&program.name, copt % 3);
            text += &format!(
                "program(name = \"{name}\", jumps = [{jumps}], copts = [\"-DCOPT={copt}\"], deps = [{deps}], maps = [{maps}])\n"
            );
        }
        if package.chain {
            text += &format!("bpf_chain(name = \"chain\", entry = \":{}\")\n", package.programs[0].name);
        }
        text
    }
}

impl Program {
    fn source(&self, next: Option<&str>, map: Option<&str>) -> String {
        let look = |map| format!("    __u64 *count = bpf_map_lookup_elem(&{map}, &(__u32){{0}});\n    if (count) ++*count;\n");
        let look = map.map(look).unwrap_or_default();
        let jump = next.map(|next| format!("    if (ctx->rx_queue_index == 7) OURO_JUMP(ctx, {next});\n")).unwrap_or_default();
        let Program { name, constant, comment, .. } = self;
        let broken = if self.broken { "this is no C\n" } else { "" };
        let warns = if self.warns { "    int unused;\n" } else { "" };
        format!(
            "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n#include <ouro/program.h>\n#include \"lib/common.h\"\n#include \"texts.h\"\n{broken}\
             SEC(\"xdp\") int {name}(struct xdp_md *ctx) {{\n{warns}{look}    \
             if (ctx->ingress_ifindex == COMMON + COPT + VERSION) return XDP_DROP;\n{jump}    return ctx->rx_queue_index == {constant} ? XDP_DROP : XDP_PASS;\n}}\n\
             char _license[] SEC(\"license\") = \"GPL\";\n// {comment}\n"
        )
    }
}
