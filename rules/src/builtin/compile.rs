//! The actions of a program: its header, its compiles, the inspection of its object.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bpf_library::strings;
use crate::action::{Action, ActionKind, Artifact, Tool};
use crate::attr::Spanned;
use crate::diagnostic::Diagnostic;
use crate::header::{self, HeaderSpec};
use crate::label::{Label, join};
use crate::native::Native;
use crate::object::Expected;
use crate::provider::{Headers, Jump, MapInfo};
use crate::rule::Context;

/// Writes `<ouro/program.h>`.
pub(super) fn header_action(ctx: &Context<'_>, maps: &[Arc<MapInfo>], jumps: &[Jump]) -> Action {
    let spec = HeaderSpec {
        label: ctx.target.label.to_string(),
        jumps: jumps.iter().map(|jump| (jump.name.clone(), jump.on_miss)).collect(),
        maps: maps.iter().map(|map| map.spec.clone()).collect(),
        includes: map_includes(maps),
    };
    let path = format!("{}/ouro/program.h", header_folder(ctx));
    Action {
        mnemonic: "header".into(),
        owner: ctx.target.label.clone(),
        kind: ActionKind::Write { content: header::text(&spec).into_bytes().into(), executable: false },
        inputs: Vec::new(),
        outputs: vec![Artifact::Output(path.into())],
    }
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

/// The folder that makes `<ouro/program.h>` this program's own.
fn header_folder(ctx: &Context<'_>) -> String {
    ctx.output(&format!("{}.include", ctx.target.label.name))
}

/// Compares the object with what is declared.
pub(super) fn inspect_action(
    ctx: &Context<'_>,
    object: &Artifact,
    facts: &Artifact,
    maps: &[Arc<MapInfo>],
    jumps: &[Jump],
) -> Action {
    let expected = Expected {
        label: ctx.target.label.to_string(),
        ty: ctx.target.get("type").as_str().unwrap_or_default().to_owned(),
        function: ctx.target.get("function").as_str().map(str::to_owned),
        jumps: jumps.iter().map(|jump| jump.name.clone()).collect(),
        maps: maps.iter().map(|map| map.spec.clone()).collect(),
    };
    Action {
        mnemonic: "inspect".into(),
        owner: ctx.target.label.clone(),
        kind: ActionKind::Native(Native::Inspect(expected)),
        inputs: vec![object.clone()],
        outputs: vec![facts.clone()],
    }
}

/// Makes the compile actions of one program.
pub(super) struct Compiler<'a, 'c> {
    pub(super) ctx: &'a Context<'c>,
    pub(super) headers: &'a Headers,
    pub(super) program_h: &'a Artifact,
}

impl Compiler<'_, '_> {
    /// From sources to one object.
    pub(super) fn compile(&self, sources: &[Artifact], object: &Artifact) -> Vec<Action> {
        match sources {
            [source] => vec![self.compile_one(source, object, &[])],
            _ => self.compile_many(sources, object),
        }
    }

    /// Several sources become bitcode, are linked as bitcode, and only then become BPF: LLVM sees the whole program.
    fn compile_many(&self, sources: &[Artifact], object: &Artifact) -> Vec<Action> {
        let name = &self.ctx.target.label.name;
        let part = |index: usize| Artifact::Output(self.ctx.output(&format!("{name}.{index}.bc")).into());
        let parts: Vec<Artifact> = (0..sources.len()).map(part).collect();
        let linked = Artifact::Output(self.ctx.output(&format!("{name}.bc")).into());
        let compiles = sources.iter().zip(&parts).map(|(source, part)| self.compile_one(source, part, &["-emit-llvm"]));
        let link_args = parts.iter().map(|part| part.path().to_string()).chain(["-o".to_owned(), linked.path().to_string()]);
        let link = self.run("link", Tool::LlvmLink, link_args.collect(), parts.clone(), &linked, None);
        let mut args = self.flags();
        args.extend(["-c".to_owned(), linked.path().to_string(), "-o".to_owned(), object.path().to_string()]);
        let generate = self.run("compile", Tool::Clang, args, vec![linked], object, None);
        compiles.chain([link, generate]).collect()
    }

    fn compile_one(&self, source: &Artifact, output: &Artifact, extra: &[&str]) -> Action {
        let depfile: Arc<str> = format!("{}.d", output.path()).into();
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let defines = self.headers.defines.iter().cloned().chain(strings(self.ctx, "defines"));
        let files = ["-MD", "-MF", &depfile, "-c", source.path(), "-o", output.path()];
        // In one go, for a workspace has thousands of these lists and pushing would leave room in each.
        let args = self.flags().into_iter().chain(words(SOURCE)).chain(words(extra)).chain(self.search_path());
        let args = args.chain(defines.map(|define| format!("-D{define}"))).chain(strings(self.ctx, "copts"));
        let args = args.chain(words(&files)).collect();
        let inputs = [source, self.program_h].into_iter().chain(&self.headers.files).cloned().collect();
        self.run("compile", Tool::Clang, args, inputs, output, Some(depfile))
    }

    fn flags(&self) -> Vec<String> {
        self.ctx.config.clang_flags.iter().cloned().chain(TARGET.iter().map(|flag| (*flag).to_owned())).collect()
    }

    fn search_path(&self) -> Vec<String> {
        let config = self.ctx.config;
        let own = [
            "-iquote".to_owned(),
            ".".to_owned(),
            "-iquote".to_owned(),
            config.out_dir.clone(),
            format!("-I{}", header_folder(self.ctx)),
        ];
        let package = format!("-iquote{}", join(&config.out_dir, &self.ctx.target.label.package));
        let libraries = self.headers.includes.iter().map(|folder| format!("-I{folder}"));
        let system = config.system_includes.iter().map(|folder| format!("-idirafter{folder}"));
        own.into_iter().chain([package, format!("-D__TARGET_ARCH_{}", config.arch)]).chain(libraries).chain(system).collect()
    }

    fn run(
        &self,
        mnemonic: &str,
        tool: Tool,
        args: Vec<String>,
        inputs: Vec<Artifact>,
        output: &Artifact,
        depfile: Option<Arc<str>>,
    ) -> Action {
        let owner: Label = self.ctx.target.label.clone();
        let kind = ActionKind::Run { tool, args, env: BTreeMap::new(), depfile };
        Action { mnemonic: mnemonic.into(), owner, kind, inputs, outputs: vec![output.clone()] }
    }
}

/// For every clang run that makes BPF code. `-mcpu=v3` (kernel 5.1) has 32-bit jumps and arithmetic; DWARF 4, unlike 5, holds
/// no checksum of the source, so a comment at the end of a file changes no byte of the object; some distributions' compilers add
/// stack protectors that BPF cannot have.
const TARGET: &[&str] = &["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-gdwarf-4", "-fno-stack-protector"];

/// For clang runs that read C. Compilation paths are relative and dates are refused, so two checkouts give the same bytes. A
/// program that returns nothing would only be refused by the verifier, at deploy.
const SOURCE: &[&str] = &["-ffile-compilation-dir=.", "-Wall", "-Werror=return-type", "-Wdate-time", "-Werror=date-time"];

/// Arguments that would make clang read or write behind ouro's back: not in the key, not in the depfile, not in the outputs.
pub(super) fn refused_copt(item: &Spanned) -> Option<Diagnostic> {
    let arg = item.value.as_str().unwrap_or_default();
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| arg.starts_with(prefix));
    let remedy = match arg {
        _ if begins(&["@", "--config"]) => "write the arguments themselves; ouro would not notice a change of the file",
        "-c" | "-S" | "-E" => "remove it; a `bpf_program` is compiled to an object",
        _ if begins(&["-o", "--output", "-M", "-save-temps", "--save-temps"]) => "remove it; ouro names the files clang writes",
        _ => return None,
    };
    Some(Diagnostic::error(&item.span, format!("`{arg}` cannot be one of `copts`")).help(remedy))
}
