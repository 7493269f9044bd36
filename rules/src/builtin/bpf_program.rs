//! `bpf_program`: one program, its maps and its jumps, compiled to one object.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attach::verdict;
use super::bpf_library::{merge_deps, strings, unknown_endings};
use super::is_c_identifier;
use crate::action::{Action, ActionKind, Artifact, Tool};
use crate::attr::{AttrSpec, AttrType, EdgeKind, Spanned, Value};
use crate::chain::check_jump;
use crate::diagnostic::{Diagnostic, Span, did_you_mean};
use crate::header::{self, HeaderSpec};
use crate::hook::{self, HOOKS, Hook, Verdicts};
use crate::label::{Label, join};
use crate::manifest::KERNEL_NAME;
use crate::native::Native;
use crate::object::Expected;
use crate::provider::{Headers, Jump, MapInfo, ProgramInfo, Providers};
use crate::rule::{Analysis, Context, Rule};

pub(super) struct BpfProgram {
    attrs: Vec<AttrSpec>,
}

impl BpfProgram {
    pub(super) fn new() -> BpfProgram {
        let empty = || Value::List(Vec::new());
        let jump = AttrType::OneOf(vec![AttrType::Label, AttrType::Record(vec!["jump".to_owned()])]);
        let attrs = vec![
            AttrSpec::new("srcs", AttrType::Label.list(), "C sources; several are linked into one object.")
                .required()
                .edge(EdgeKind::Source),
            AttrSpec::new(
                "type",
                AttrType::String,
                "The libbpf section prefix: `xdp`, `tc`, `cgroup_skb/egress`, `tracepoint/sched/sched_switch`.",
            )
            .required(),
            AttrSpec::new("deps", AttrType::Label.list(), "Libraries whose headers the sources include.")
                .default(empty())
                .edge(EdgeKind::Dep),
            AttrSpec::new("maps", AttrType::Label.list(), "The maps it uses.").default(empty()).edge(EdgeKind::Map),
            AttrSpec::new("jumps", jump.list(), "The programs it may jump to; the generated header offers these and no others.")
                .default(empty())
                .edge(EdgeKind::Jump),
            AttrSpec::new(
                "on_miss",
                verdict(),
                "What a jump returns when its slot is empty. Required when the program jumps and its type has verdicts.",
            ),
            AttrSpec::new("slot", AttrType::Int, "Its place in the jump table; chosen by ouro when not given."),
            AttrSpec::new("function", AttrType::String, "The C function, when the sources hold several of the type."),
            AttrSpec::new("hidden", AttrType::Bool, "Whether drawings of the chain leave it out.").default(Value::Bool(false)),
            AttrSpec::new("defines", AttrType::String.list(), "`NAME` or `NAME=value`.").default(empty()),
            AttrSpec::new("copts", AttrType::String.list(), "More arguments for clang.").default(empty()),
        ];
        BpfProgram { attrs }
    }
}

impl Rule for BpfProgram {
    fn name(&self) -> &str {
        "bpf_program"
    }

    fn doc(&self) -> &str {
        "A program compiled to one object. It is compiled once, whatever chains it stands in: slots are linked, not compiled."
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        let mut findings = name_findings(ctx);
        findings.extend(ctx.target.get("copts").items().iter().filter_map(refused_copt));
        findings.extend(unknown_endings(ctx, "srcs", &[".c", ".h"]));
        let ty = ty(ctx).map_err(|finding| findings.push(finding)).ok();
        let jumps = collect(&mut findings, ty.map(|ty| jumps(ctx, ty)).unwrap_or(Ok(Vec::new())));
        let maps = collect(&mut findings, maps(ctx));
        let mut headers = Headers::default();
        collect(&mut findings, merge_deps(ctx, "deps", &mut headers));
        let sources = sources(ctx, &mut headers, &mut findings);
        if !findings.is_empty() {
            return Err(findings);
        }
        maps.iter().for_each(|map| headers.merge(&map.headers));
        Ok(analysis(ctx, sources, headers, maps, jumps))
    }

    /// Jumps may go in circles, so what they lead to is known only after all programs are analysed.
    fn check(&self, ctx: &Context<'_>) -> Vec<Diagnostic> {
        let program = |label: &Label| (ctx.deps)(label).and_then(|providers| providers.program.as_deref());
        let Some(own) = program(&ctx.target.label) else { return Vec::new() };
        own.jumps.iter().filter_map(|jump| check_jump(own, jump, program(&jump.target))).collect()
    }
}

/// Takes the value, or keeps the findings and goes on with an empty one, so that all findings are reported at once.
fn collect<T: Default>(findings: &mut Vec<Diagnostic>, result: Result<T, Vec<Diagnostic>>) -> T {
    result.unwrap_or_else(|more| {
        findings.extend(more);
        T::default()
    })
}

fn name_findings(ctx: &Context<'_>) -> Vec<Diagnostic> {
    let name = &*ctx.target.label.name;
    let span = ctx.target.span_of("name");
    if !is_c_identifier(name) {
        return vec![
            Diagnostic::error(span, format!("program name `{name}` is no C identifier"))
                .help("C sources jump to the program by this name"),
        ];
    }
    if name.len() > KERNEL_NAME {
        let message = format!("program name `{name}` has {} characters; the kernel keeps {KERNEL_NAME}", name.len());
        return vec![Diagnostic::error(span, message).help("choose a shorter name")];
    }
    Vec::new()
}

/// Arguments that would make clang read or write behind ouro's back: not in the key, not in the depfile, not in the outputs.
fn refused_copt(item: &Spanned) -> Option<Diagnostic> {
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

fn ty(ctx: &Context<'_>) -> Result<&'static Hook, Diagnostic> {
    let given = ctx.target.get("type").as_str().unwrap_or_default();
    let span = ctx.target.span_of("type");
    let Some(hook) = hook::find(given) else {
        let help = did_you_mean(given, HOOKS.iter().map(|hook| hook.prefix));
        return Err(Diagnostic::error(span, format!("unknown program type `{given}`")).maybe_help(
            help.or_else(|| Some("the type is a libbpf section prefix, such as `xdp`, `tc` or `cgroup_skb/egress`".to_owned())),
        ));
    };
    let bare = given == hook.prefix;
    if hook.takes_name && bare {
        return Err(Diagnostic::error(span, format!("program type `{given}` does not say what it attaches to"))
            .help(format!("write `{given}/<name>`, as in `SEC(\"{given}/<name>\")`")));
    }
    if !hook.takes_name && !bare {
        return Err(Diagnostic::error(span, format!("program type `{given}` has a name, and `{}` takes none", hook.prefix))
            .help(format!("write `{}`", hook.prefix)));
    }
    Ok(hook)
}

fn jumps(ctx: &Context<'_>, hook: &'static Hook) -> Result<Vec<Jump>, Vec<Diagnostic>> {
    let mut jumps: Vec<Jump> = Vec::new();
    let mut findings = Vec::new();
    for item in ctx.target.get("jumps").items() {
        match jump(ctx, hook, item) {
            Ok(jump) => match jumps.iter().find(|known| known.name == jump.name) {
                Some(known) => findings.push(twice(&jump, known)),
                None => jumps.push(jump),
            },
            Err(finding) => findings.push(finding),
        }
    }
    if hook.sleepable
        && let Some(first) = jumps.first()
    {
        findings.push(
            Diagnostic::error(
                &first.span,
                format!("`{}` programs may sleep, and the kernel lets those make no tail calls", hook.prefix),
            )
            .help("remove `jumps`, or use the type without `.s`"),
        );
    }
    if findings.is_empty() { Ok(jumps) } else { Err(findings) }
}

fn twice(jump: &Jump, known: &Jump) -> Diagnostic {
    let finding =
        Diagnostic::error(&jump.span, format!("two jumps are named `{}`", jump.name)).related(&known.span, "first declared here");
    match jump.target == known.target {
        true => finding.help("remove one"),
        false => finding.help(format!("give one another name for the C source: `jump(\"{}\", name = \"...\")`", jump.target)),
    }
}

fn jump(ctx: &Context<'_>, hook: &'static Hook, item: &Spanned) -> Result<Jump, Diagnostic> {
    let record = item.value.as_record();
    let target = record.map_or(&item.value, |record| record.get("target")).as_label();
    let target = target.ok_or_else(|| Diagnostic::error(&item.span, "expected a label or `jump(...)`"))?.clone();
    let field = |name: &str| record.and_then(|record| record.field(name)).filter(|field| field.value != Value::None);
    let given_name = field("name");
    let name = given_name.and_then(|name| name.value.as_str()).unwrap_or(&target.name).to_owned();
    if !is_c_identifier(&name) {
        let span = given_name.map_or(&item.span, |name| &name.span);
        return Err(Diagnostic::error(span, format!("jump name `{name}` is no C identifier"))
            .help(format!("name it for the C source: `jump(\"{target}\", name = \"...\")`")));
    }
    let own = ctx.target.attrs.get("on_miss").filter(|attr| attr.value != Value::None);
    let on_miss = match field("on_miss").or(own) {
        Some(verdict) => verdict_number(hook, verdict)?,
        None => default_miss(hook, &item.span)?,
    };
    Ok(Jump { target, name, on_miss, bound: field("loop").map(bound).transpose()?, span: item.span.clone() })
}

fn bound(given: &Spanned) -> Result<u32, Diagnostic> {
    let times = given.value.as_int().unwrap_or_default();
    u32::try_from(times).ok().filter(|times| (1..=crate::chain::MAX_DEPTH).contains(times)).ok_or_else(|| {
        Diagnostic::error(&given.span, format!("a jump cannot be taken {times} times in one run"))
            .help(format!("the kernel allows 1 to {} tail calls in one run", crate::chain::MAX_DEPTH))
    })
}

fn verdict_number(hook: &Hook, given: &Spanned) -> Result<i32, Diagnostic> {
    let invalid = |shown: String| {
        let known = match hook.verdicts {
            Verdicts::Named(_) => format!("verdicts of `{}`: {}", hook.prefix, hook.verdict_names().join(", ")),
            Verdicts::Numbers(first, last) => format!("give a number from {first} to {last}"),
        };
        Diagnostic::error(&given.span, format!("{shown} is no verdict of `{}`", hook.prefix)).help(known)
    };
    match (&given.value, hook.verdicts) {
        (Value::Str(name), _) => hook.verdict(name).ok_or_else(|| {
            let finding = invalid(format!("`{name}`"));
            finding.maybe_help(did_you_mean(name, hook.verdict_names()))
        }),
        (Value::Int(number), Verdicts::Named(verdicts)) => {
            let known = verdicts.iter().find(|(_, known)| i64::from(*known) == *number);
            known.map(|(_, number)| *number).ok_or_else(|| invalid(format!("{number}")))
        }
        (Value::Int(number), Verdicts::Numbers(first, last)) => i32::try_from(*number)
            .ok()
            .filter(|number| (first..=last).contains(number))
            .ok_or_else(|| invalid(format!("{number}"))),
        _ => Err(invalid("this".to_owned())),
    }
}

fn default_miss(hook: &Hook, span: &Span) -> Result<i32, Diagnostic> {
    match hook.verdicts {
        Verdicts::Numbers(..) => Ok(0),
        Verdicts::Named(verdicts) => Err(Diagnostic::error(span, "no verdict is declared for the case that the jump misses")
            .note("when a slot is empty, the kernel goes on behind the jump instead of failing")
            .help(format!(
                "add `on_miss = \"{}\"` to the program (or another of its verdicts)",
                verdicts.get(1).map_or("0", |(name, _)| name)
            ))),
    }
}

fn maps(ctx: &Context<'_>) -> Result<Vec<Arc<MapInfo>>, Vec<Diagnostic>> {
    let mut maps: Vec<Arc<MapInfo>> = Vec::new();
    let mut findings = Vec::new();
    for (item, label, providers) in ctx.listed("maps") {
        match providers.and_then(|providers| providers.map.as_ref()) {
            None => {
                findings.push(Diagnostic::error(&item.span, format!("`{label}` is no map")).help("list `bpf_map` targets here"))
            }
            Some(map) => match maps.iter().find(|known| known.spec.name == map.spec.name) {
                Some(known) if known.label == map.label => {}
                Some(known) => findings.push(
                    Diagnostic::error(
                        &item.span,
                        format!("two maps are named `{}`: `{}` and `{}`", map.spec.name, known.label, map.label),
                    )
                    .help("C sources use a map by its name; rename one"),
                ),
                None => maps.push(map.clone()),
            },
        }
    }
    if findings.is_empty() { Ok(maps) } else { Err(findings) }
}

/// The C sources; headers in `srcs` join the other headers.
fn sources(ctx: &Context<'_>, headers: &mut Headers, findings: &mut Vec<Diagnostic>) -> Vec<Artifact> {
    let (sources, own): (Vec<_>, Vec<_>) = ctx.files("srcs").into_iter().partition(|file| file.path().ends_with(".c"));
    headers.merge(&Headers { files: own, ..Headers::default() });
    if sources.is_empty() && findings.is_empty() {
        findings
            .push(Diagnostic::error(ctx.target.span_of("srcs"), "`srcs` names no C source").help("name at least one `.c` file"));
    }
    sources
}

fn analysis(ctx: &Context<'_>, sources: Vec<Artifact>, headers: Headers, maps: Vec<Arc<MapInfo>>, jumps: Vec<Jump>) -> Analysis {
    let label = &ctx.target.label;
    let program_h = header_action(ctx, &maps, &jumps);
    let object = Artifact::Output(ctx.output(&format!("{}.o", label.name)).into());
    let facts = Artifact::Output(ctx.output(&format!("{}.facts.json", label.name)).into());
    let compiler = Compiler { ctx, headers: &headers, program_h: &program_h.outputs[0] };
    let mut actions = compiler.compile(&sources, &object);
    actions.push(inspect_action(ctx, &object, &facts, &maps, &jumps));
    actions.push(program_h);
    let text = |name: &str| ctx.target.get(name).as_str().unwrap_or_default().to_owned();
    let program = ProgramInfo {
        label: label.clone(),
        ty: text("type"),
        ty_span: ctx.target.span_of("type").clone(),
        object: object.clone(),
        facts: facts.clone(),
        jumps,
        maps,
        slot: ctx.target.get("slot").as_int().map(|slot| (slot, ctx.target.span_of("slot").clone())),
        hidden: ctx.target.get("hidden").as_bool().unwrap_or(false),
        span: ctx.target.span.clone(),
    };
    let providers = Providers { files: vec![object, facts], program: Some(Arc::new(program)), ..Providers::default() };
    Analysis { actions, providers }
}

fn header_action(ctx: &Context<'_>, maps: &[Arc<MapInfo>], jumps: &[Jump]) -> Action {
    let spec = HeaderSpec {
        label: ctx.target.label.to_string(),
        jumps: jumps.iter().map(|jump| (jump.name.clone(), jump.on_miss)).collect(),
        maps: maps.iter().map(|map| map.spec.clone()).collect(),
        includes: map_includes(maps),
    };
    let path = format!("{}/ouro/program.h", header_folder(ctx));
    Action {
        mnemonic: "header",
        owner: ctx.target.label.clone(),
        kind: ActionKind::Write(header::text(&spec).into_bytes().into()),
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

fn inspect_action(ctx: &Context<'_>, object: &Artifact, facts: &Artifact, maps: &[Arc<MapInfo>], jumps: &[Jump]) -> Action {
    let expected = Expected {
        label: ctx.target.label.to_string(),
        ty: ctx.target.get("type").as_str().unwrap_or_default().to_owned(),
        function: ctx.target.get("function").as_str().map(str::to_owned),
        jumps: jumps.iter().map(|jump| jump.name.clone()).collect(),
        maps: maps.iter().map(|map| map.spec.clone()).collect(),
    };
    Action {
        mnemonic: "inspect",
        owner: ctx.target.label.clone(),
        kind: ActionKind::Native(Native::Inspect(expected)),
        inputs: vec![object.clone()],
        outputs: vec![facts.clone()],
    }
}

/// Makes the compile actions of one program.
struct Compiler<'a, 'c> {
    ctx: &'a Context<'c>,
    headers: &'a Headers,
    program_h: &'a Artifact,
}

impl Compiler<'_, '_> {
    fn compile(&self, sources: &[Artifact], object: &Artifact) -> Vec<Action> {
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
        let mut args: Vec<String> = TARGET.iter().map(|arg| (*arg).to_owned()).collect();
        args.extend(["-c".to_owned(), linked.path().to_string(), "-o".to_owned(), object.path().to_string()]);
        let generate = self.run("compile", Tool::Clang, args, vec![linked], object, None);
        compiles.chain([link, generate]).collect()
    }

    fn compile_one(&self, source: &Artifact, output: &Artifact, extra: &[&str]) -> Action {
        let depfile: Arc<str> = format!("{}.d", output.path()).into();
        let mut args: Vec<String> = TARGET.iter().chain(SOURCE).chain(extra).map(|arg| (*arg).to_owned()).collect();
        args.extend(self.search_path());
        args.extend(self.headers.defines.iter().cloned().chain(strings(self.ctx, "defines")).map(|define| format!("-D{define}")));
        args.extend(strings(self.ctx, "copts"));
        args.extend(["-MD".to_owned(), "-MF".to_owned(), depfile.to_string()]);
        args.extend(["-c".to_owned(), source.path().to_string(), "-o".to_owned(), output.path().to_string()]);
        let inputs = [source, self.program_h].into_iter().chain(&self.headers.files).cloned().collect();
        self.run("compile", Tool::Clang, args, inputs, output, Some(depfile))
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
        mnemonic: &'static str,
        tool: Tool,
        args: Vec<String>,
        inputs: Vec<Artifact>,
        output: &Artifact,
        depfile: Option<Arc<str>>,
    ) -> Action {
        let owner: Label = self.ctx.target.label.clone();
        let kind = ActionKind::Run { tool, args, env: BTreeMap::new(), depfile };
        Action { mnemonic, owner, kind, inputs, outputs: vec![output.clone()] }
    }
}

/// For every clang run that makes BPF code. `-mcpu=v3` (kernel 5.1) has 32-bit jumps and arithmetic; DWARF 4, unlike 5, holds
/// no checksum of the source, so a comment at the end of a file changes no byte of the object; distributions' own
/// configuration files, which like to add stack protectors that BPF cannot have, are not read.
const TARGET: &[&str] = &["--no-default-config", "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-gdwarf-4", "-fno-stack-protector"];

/// For clang runs that read C. Compilation paths are relative and dates are refused, so two checkouts give the same bytes.
const SOURCE: &[&str] = &["-ffile-compilation-dir=.", "-Wall", "-Wdate-time", "-Werror=date-time"];
