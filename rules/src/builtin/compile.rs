//! The actions of a program: its headers, its compiles, the inspection of its object.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bpf_library::repository_roots;
use super::vmlinux_header::kernel_of;
use crate::action::{Action, ActionKind, Artifact, Fallback, Tool, Words};
use crate::diagnostic::{Diagnostic, Span};
use crate::header::{self, HeaderSpec};
use crate::label::{Label, join};
use crate::native::{Check, Native};
use crate::object::Expected;
use crate::provider::{Headers, Jump, MapInfo, ProgramInfo, Vmlinux};
use crate::rule::{Config, Context};
use crate::vmlinux::HEADER;

/// Writes what all programs share: `<ouro/program.h>`.
pub(super) fn shared_header(config: &Config) -> Action {
    Action {
        mnemonic: "header".into(),
        owner: Label { repo: "ouro".into(), package: "".into(), name: "program.h".into() },
        kind: ActionKind::Write { content: header::SHARED.as_bytes().into(), executable: false },
        inputs: Vec::new(),
        outputs: vec![Artifact::Output(format!("{}/ouro/program.h", shared_folder(config)).into())],
    }
}

/// The folder that makes it `<ouro/program.h>`: no package has such a name.
fn shared_folder(config: &Config) -> String {
    join(&config.out_dir, ".include")
}

/// Writes a program's own part of the header, if there is anything in it; `name` is the program's.
fn header_action(ctx: &Context<'_>, name: &str, maps: &[Arc<MapInfo>], jumps: &[Jump]) -> Option<Action> {
    let spec = HeaderSpec {
        label: ctx.target.label.to_string(),
        jumps: jumps.iter().map(|jump| (jump.name.clone(), jump.on_miss)).collect(),
        maps: maps.iter().map(|map| map.spec.clone()).collect(),
        includes: map_includes(maps),
    };
    let content = header::own(&spec)?.into_bytes().into();
    Some(Action {
        mnemonic: "header".into(),
        owner: ctx.target.label.clone(),
        kind: ActionKind::Write { content, executable: false },
        inputs: Vec::new(),
        outputs: vec![Artifact::Output(ctx.output(&format!("{name}.program.h")).into())],
    })
}

/// The headers the maps' types come from, each once, in the order of the maps.
fn map_includes(maps: &[Arc<MapInfo>]) -> Vec<String> {
    let mut includes: Vec<String> = Vec::new();
    for path in maps.iter().flat_map(|map| &map.includes).map(|file| file.path().to_string()) {
        if !includes.contains(&path) {
            includes.push(path);
        }
    }
    includes
}

/// What the target's object must be.
pub(super) fn expected(ctx: &Context<'_>, ty: &str, function: Option<&str>, jumps: &[Jump], maps: &[Arc<MapInfo>]) -> Expected {
    Expected {
        label: ctx.target.label.to_string(),
        ty: ty.to_owned(),
        function: function.map(str::to_owned),
        jumps: jumps.iter().map(|jump| jump.name.clone()).collect(),
        maps: maps.iter().map(|map| map.spec.in_objects()).collect(),
    }
}

/// Writes down what is in the object. It is made for those who ask.
pub(super) fn inspect_action(program: &ProgramInfo) -> Action {
    Action {
        mnemonic: "inspect".into(),
        owner: program.label.clone(),
        kind: ActionKind::Native(Native::Inspect(program.expected.clone())),
        inputs: vec![program.object.clone()],
        outputs: vec![program.facts.clone()],
    }
}

/// What one object is compiled from.
pub(super) struct Parts<'a> {
    /// What its files are named after.
    pub(super) name: &'a str,
    pub(super) sources: &'a [Artifact],
    pub(super) headers: Headers,
    pub(super) maps: &'a [Arc<MapInfo>],
    pub(super) jumps: &'a [Jump],
    pub(super) defines: Vec<String>,
    pub(super) copts: Vec<String>,
    /// Whether it may have a `vmlinux.h` of its own.
    pub(super) slim: bool,
    /// What the object must be, if that is known already.
    pub(super) expected: Option<&'a Expected>,
}

/// The actions from sources to one object, its headers among them, and the object.
pub(super) fn compile(ctx: &Context<'_>, mut parts: Parts<'_>) -> Result<(Vec<Action>, Artifact), Vec<Diagnostic>> {
    parts.maps.iter().for_each(|map| parts.headers.merge(&map.headers));
    let header = header_action(ctx, parts.name, parts.maps, parts.jumps);
    let kernel = kernel_of(ctx, &parts.headers).map_err(|finding| vec![finding])?;
    let object = Artifact::Output(ctx.output(&format!("{}.o", parts.name)).into());
    let shared = shared_header(ctx.config).outputs.remove(0);
    let own = header.as_ref().map(|header| &header.outputs[0]);
    let slim = kernel.filter(|kernel| kernel.slim && parts.slim);
    let slim = slim.map(|kernel| slim_action(ctx, &parts, kernel, &shared, own));
    let slim_h = slim.as_ref().map(|action| &action.outputs[0]);
    let compiler = Compiler { ctx, parts: &parts, shared, own, kernel: kernel.map(|kernel| &**kernel), slim_h };
    let mut actions = compiler.compile(parts.sources, &object);
    actions.extend(header);
    actions.extend(slim);
    Ok((actions, object))
}

/// Makes the program's own `vmlinux.h`: the types that its sources and all headers it may read can reach.
fn slim_action(ctx: &Context<'_>, parts: &Parts<'_>, kernel: &Vmlinux, shared: &Artifact, own: Option<&Artifact>) -> Action {
    let texts = parts.sources.iter().chain([shared]).chain(own).chain(&parts.headers.files);
    let path = ctx.output(&format!("{}.include/{HEADER}", parts.name));
    let options = ctx.config.compile_args.iter().chain(&parts.copts).filter(|option| option.starts_with("-D"));
    let defines = parts.headers.defines.iter().chain(&parts.defines).chain(options).cloned().collect();
    Action {
        mnemonic: "slim".into(),
        owner: ctx.target.label.clone(),
        kind: ActionKind::Native(Native::SlimVmlinux { types: kernel.types.path().clone(), defines }),
        inputs: [&kernel.types].into_iter().chain(texts).cloned().collect(),
        outputs: vec![Artifact::Output(path.into())],
    }
}

/// Makes the compile actions of one object.
struct Compiler<'a, 'c> {
    ctx: &'a Context<'c>,
    parts: &'a Parts<'a>,
    /// `<ouro/program.h>`, and the program's own part of it.
    shared: Artifact,
    own: Option<&'a Artifact>,
    /// Whose types it sees.
    kernel: Option<&'a Vmlinux>,
    /// Those the program can reach.
    slim_h: Option<&'a Artifact>,
}

impl Compiler<'_, '_> {
    fn compile(&self, sources: &[Artifact], object: &Artifact) -> Vec<Action> {
        match sources {
            [source] => vec![self.checked(self.compile_one(source, object, &[]))],
            _ => self.compile_many(sources, object),
        }
    }

    /// Several sources become bitcode, are linked as bitcode, and only then become BPF: LLVM sees the whole program.
    fn compile_many(&self, sources: &[Artifact], object: &Artifact) -> Vec<Action> {
        let name = self.parts.name;
        let part = |index: usize| Artifact::Output(self.ctx.output(&format!("{name}.{index}.bc")).into());
        let parts: Vec<Artifact> = (0..sources.len()).map(part).collect();
        let linked = Artifact::Output(self.ctx.output(&format!("{name}.bc")).into());
        let compiles = sources.iter().zip(&parts).map(|(source, part)| self.compile_one(source, part, &["-emit-llvm"]));
        let link_args = parts.iter().map(|part| part.path().to_string()).chain(["-o".to_owned(), linked.path().to_string()]);
        let link = self.run("link", Tool::LlvmLink, link_args.collect::<Vec<_>>().into(), parts.clone(), &linked, None);
        let mut args = target_flags(self.ctx.config);
        args.extend(["-c".to_owned(), linked.path().to_string(), "-o".to_owned(), object.path().to_string()]);
        let generate = self.checked(self.run("compile", Tool::Clang, args.into(), vec![linked], object, None));
        compiles.chain([link, generate]).collect()
    }

    fn compile_one(&self, source: &Artifact, output: &Artifact, extra: &[&str]) -> Action {
        let depfile: Arc<str> = format!("{}.d", output.path()).into();
        let config = self.ctx.config;
        let defines = self.parts.headers.defines.iter().chain(&self.parts.defines).map(|define| format!("-D{define}"));
        let files = ["-MF", &depfile, "-c", source.path(), "-o", output.path()];
        // In one go, for a workspace has thousands of these lists and pushing would leave room in each.
        let own = self.search_path().chain(config.compile_args.iter().cloned()).chain(defines);
        let own = own.chain(self.parts.copts.iter().cloned()).chain(words(extra)).chain(words(&files)).collect();
        let args = Words::new(config.first_words.get_or_make(|| first_words(config)), own);
        // The first of these may lie beside the sources.
        let kernel = self.kernel.into_iter().filter(|kernel| kernel.types.path().ends_with(".h"));
        let kernel = kernel.map(|kernel| &kernel.types).chain(self.kernel_h()).chain(self.slim_h);
        let headers = self.parts.headers.files.iter().chain(kernel);
        let inputs = [source, &self.shared].into_iter().chain(self.own).chain(headers).cloned().collect();
        let mut action = self.run("compile", Tool::Clang, args, inputs, output, Some(depfile));
        if let ActionKind::Run { fallback, .. } = &mut action.kind {
            *fallback = self.fallback();
        }
        action
    }

    /// The header with all types of the kernel.
    fn kernel_h(&self) -> Option<&Artifact> {
        self.kernel.map(|kernel| &kernel.header)
    }

    /// With all types of the kernel, for sources that reach some in a way their words do not tell.
    fn fallback(&self) -> Option<Box<Fallback>> {
        let (whole, slim) = (self.kernel_h()?, self.slim_h?);
        Some(Box::new(Fallback { args: vec![search(whole)], instead_of: slim.clone(), note: NEEDS_ALL.into() }))
    }

    /// An object that is not what it must be is never there.
    fn checked(&self, mut action: Action) -> Action {
        if let ActionKind::Run { check, .. } = &mut action.kind {
            *check = self.parts.expected.map(|expected| Box::new(Check::Object(expected.clone())));
        }
        action
    }

    fn search_path(&self) -> impl Iterator<Item = String> {
        let config = self.ctx.config;
        // For a file of a repository, the repository is the root.
        let roots = repository_roots(self.ctx).into_iter().chain([".", &*config.out_dir].map(str::to_owned));
        let package = join(&config.out_dir, &self.ctx.target.label.package);
        let quoted = roots.chain([package]).map(|folder| format!("-iquote{folder}"));
        let own = self.own.map(|file| format!("-D{}=\"{}\"", header::OWN, file.path()));
        let kernel = self.slim_h.or(self.kernel_h()).map(search);
        let libraries = self.parts.headers.includes.iter().map(|folder| format!("-I{folder}"));
        quoted.chain(own).chain(kernel).chain(libraries)
    }

    fn run(
        &self,
        mnemonic: &str,
        tool: Tool,
        args: Words,
        inputs: Vec<Artifact>,
        output: &Artifact,
        depfile: Option<Arc<str>>,
    ) -> Action {
        let owner: Label = self.ctx.target.label.clone();
        let kind = ActionKind::Run { tool, args, env: BTreeMap::new(), depfile, fallback: None, check: None };
        Action { mnemonic: mnemonic.into(), owner, kind, inputs, outputs: vec![output.clone()] }
    }
}

/// Told of programs that reach types in a way their words do not tell.
const NEEDS_ALL: &str = "note: compiled against all types of the kernel, for it fails against those that its sources and headers \
                         name (`slim = False` spares the attempt)";

/// Has a header found by its name alone.
fn search(header: &Artifact) -> String {
    let folder = header.path().rsplit_once('/').map_or(".", |(folder, _)| folder);
    format!("-I{folder}")
}

/// What every clang run that reads C is told first.
fn first_words(config: &Config) -> Arc<[String]> {
    let shared = [format!("-I{}", shared_folder(config)), "-MD".to_owned()];
    target_flags(config).into_iter().chain(source_flags(config)).chain(shared).collect()
}

fn words(list: &[&str]) -> impl Iterator<Item = String> {
    list.iter().map(|word| (*word).to_owned())
}

/// The arguments of every clang run that makes BPF code.
pub(super) fn target_flags(config: &Config) -> Vec<String> {
    let target = ["-target".to_owned(), config.target.clone()];
    config.clang_flags.iter().cloned().chain(target).chain(TARGET.iter().map(|flag| (*flag).to_owned())).collect()
}

/// For every clang run that makes BPF code. `-mcpu=v3` (kernel 5.1) has 32-bit jumps and arithmetic; DWARF 4, unlike 5, holds
/// no checksum of the source, so a comment at the end of a file changes no byte of the object; some distributions' compilers add
/// stack protectors that BPF cannot have.
const TARGET: &[&str] = &["-mcpu=v3", "-O2", "-g", "-gdwarf-4", "-fno-stack-protector"];

/// For clang runs that read C. Compilation paths are relative and dates are refused, so two checkouts give the same bytes. A
/// program that returns nothing would only be refused by the verifier, at deploy.
const SOURCE: &[&str] = &["-ffile-compilation-dir=.", "-Wall", "-Werror=return-type", "-Wdate-time", "-Werror=date-time"];

/// The arguments of clang runs that read C outside of any program: what finds the system's headers, and the CPU.
pub(super) fn source_flags(config: &Config) -> Vec<String> {
    let own = SOURCE.iter().map(|flag| (*flag).to_owned()).chain([format!("-D__TARGET_ARCH_{}", config.arch)]);
    own.chain(config.system_includes.iter().map(|folder| format!("-idirafter{folder}"))).collect()
}

/// Arguments that would make clang read or write behind ouro's back: not in the key, not in the depfile, not in the outputs.
pub(super) fn refused_copt(arg: &str, span: &Span) -> Option<Diagnostic> {
    copt_finding(arg).map(|finding| Diagnostic { span: Some(span.clone()), ..finding })
}

/// What is wrong with an argument, without its place.
pub fn copt_finding(arg: &str) -> Option<Diagnostic> {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| arg.starts_with(prefix));
    let remedy = match arg {
        _ if begins(&["@", "--config"]) => "write the arguments themselves; ouro would not notice a change of the file",
        "-c" | "-S" | "-E" => "remove it; a `bpf_program` is compiled to an object",
        _ if begins(&["-o", "--output", "-M", "-save-temps", "--save-temps"]) => "remove it; ouro names the files clang writes",
        _ => return None,
    };
    Some(Diagnostic::bare(format!("`{arg}` cannot be one of `copts`")).help(remedy))
}
