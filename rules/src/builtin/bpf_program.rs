//! `bpf_program`: one program, its maps and its jumps, compiled to one object.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attach::verdict;
use super::bpf_library::{merge_deps, strings, unknown_endings};
use super::compile::{Parts, compile, expected, inspect_action, refused_copt};
use super::is_c_identifier;
use super::jumps::jumps;
use super::vmlinux_header::shadowed;
use crate::action::Artifact;
use crate::attr::{AttrSpec, AttrType, EdgeKind, Spanned, Value};
use crate::chain::check_jump;
use crate::diagnostic::{Diagnostic, Span, did_you_mean, nearest};
use crate::hook::{self, HOOKS, Hook};
use crate::label::Label;
use crate::manifest::{KERNEL_NAME, Scalar};
use crate::provider::{Headers, Jump, MapInfo, ProgramInfo, Providers};
use crate::requirement::Requirement;
use crate::rule::{Analysis, Context, Rule};

pub(super) const OPTIONAL: &str = "Whether a chain is deployed without it where the kernel does not take it: jumps to it miss, and a function that it would replace \
     stays. No entry can be.";

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
            AttrSpec::new(
                "deps",
                AttrType::Label.list(),
                "Libraries whose headers the sources include, and the `vmlinux_header`.",
            )
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
            AttrSpec::new(
                "globals",
                AttrType::Scalars,
                "Values of global variables: `{\"limit\": 100, \"strict\": True}`. They are written when the program is loaded.",
            )
            .default(Value::Dict(Vec::new())),
            AttrSpec::new(
                "requires",
                AttrType::String.list(),
                "What a kernel must have to be asked to load it: `5.15`, `helper:NAME`, `map_type:NAME`, `program_type:NAME`, \
                 `kfunc:NAME`, `btf`.",
            )
            .default(empty()),
            AttrSpec::new("optional", AttrType::Bool, OPTIONAL).default(Value::Bool(false)),
            AttrSpec::new("hidden", AttrType::Bool, "Whether drawings of the chain leave it out.").default(Value::Bool(false)),
            AttrSpec::new("defines", AttrType::String.list(), "`NAME` or `NAME=value`.").default(empty()),
            AttrSpec::new("copts", AttrType::String.list(), "More arguments for clang.").default(empty()),
            AttrSpec::new("slim", AttrType::Bool, "Whether it is compiled against a `vmlinux.h` of the types it can reach.")
                .default(Value::Bool(true)),
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
        let copts = ctx.target.get("copts").items().iter();
        findings.extend(copts.filter_map(|item| refused_copt(item.value.as_str().unwrap_or_default(), &item.span)));
        findings.extend(unknown_endings(ctx, "srcs", &[".c", ".h"]));
        findings.extend(listed_twice(ctx));
        let given = ctx.target.get("type").as_str().unwrap_or_default();
        let ty = program_type(given, ctx.target.span_of("type")).map_err(|finding| findings.push(finding)).ok();
        let on_miss = ctx.target.attrs.get("on_miss").filter(|attr| attr.value != Value::None);
        let items = ctx.target.get("jumps").items();
        let jumps = collect(&mut findings, ty.map_or(Ok(Vec::new()), |ty| jumps(items, on_miss, ty)));
        let maps = collect(&mut findings, maps(ctx));
        let requires = collect(&mut findings, requires(ctx));
        let mut headers = Headers::default();
        collect(&mut findings, merge_deps(ctx, "deps", &mut headers));
        let sources = sources(ctx, &mut headers, &mut findings);
        if !findings.is_empty() {
            return Err(findings);
        }
        analysis(ctx, sources, headers, Declared { maps, jumps, requires })
    }

    fn check(&self, ctx: &Context<'_>) -> Vec<Diagnostic> {
        check_jumps(ctx)
    }
}

/// Jumps may go in circles, so what they lead to is known only after all programs are analysed.
pub(super) fn check_jumps(ctx: &Context<'_>) -> Vec<Diagnostic> {
    let program = |label: &Label| (ctx.deps)(label).and_then(|providers| providers.program.as_deref());
    let Some(own) = program(&ctx.target.label) else { return Vec::new() };
    own.jumps.iter().filter_map(|jump| check_jump(own, jump, program(&jump.target))).collect()
}

/// Takes the value, or keeps the findings and goes on with an empty one, so that all findings are reported at once.
fn collect<T: Default>(findings: &mut Vec<Diagnostic>, result: Result<T, Vec<Diagnostic>>) -> T {
    result.unwrap_or_else(|more| {
        findings.extend(more);
        T::default()
    })
}

pub(super) fn name_findings(ctx: &Context<'_>) -> Vec<Diagnostic> {
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

/// The program type that was written at `span`.
pub(super) fn program_type(given: &str, span: &Span) -> Result<&'static Hook, Diagnostic> {
    let Some(hook) = hook::find(given) else {
        let help = did_you_mean(given, HOOKS.iter().map(|hook| hook.prefix)).or_else(|| near_named(given));
        return Err(Diagnostic::error(span, format!("unknown program type `{given}`")).maybe_help(
            help.or_else(|| Some("the type is a libbpf section prefix, such as `xdp`, `tc` or `cgroup_skb/egress`".to_owned())),
        ));
    };
    let bare = given == hook.prefix;
    if hook.needs_name() && bare {
        return Err(Diagnostic::error(span, format!("program type `{given}` does not say what it attaches to"))
            .help(format!("write `{given}/<name>`, as in `SEC(\"{given}/<name>\")`")));
    }
    if !hook.takes_name && !bare {
        return Err(Diagnostic::error(span, format!("program type `{given}` has a name, and `{}` takes none", hook.prefix))
            .help(format!("write `{}`", hook.prefix)));
    }
    Ok(hook)
}

/// `tracepont/sched/sched_switch`: what a name follows is wrong.
fn near_named(given: &str) -> Option<String> {
    let (prefix, name) = given.split_once('/')?;
    let near = nearest(prefix, HOOKS.iter().filter(|hook| hook.takes_name).map(|hook| hook.prefix))?;
    Some(format!("did you mean `{near}/{name}`?"))
}

fn maps(ctx: &Context<'_>) -> Result<Vec<Arc<MapInfo>>, Vec<Diagnostic>> {
    let mut maps: Vec<Arc<MapInfo>> = Vec::new();
    let mut findings = Vec::new();
    for (item, label, providers) in ctx.listed("maps") {
        match providers.and_then(|providers| providers.map.as_ref()) {
            None => {
                findings.push(Diagnostic::error(&item.span, format!("`{label}` is no map")).help("list `bpf_map` targets here"))
            }
            Some(map) => findings.extend(add_map(&mut maps, map, &item.span)),
        }
    }
    if findings.is_empty() { Ok(maps) } else { Err(findings) }
}

/// Adds a map named at `span`, unless it is there already.
pub(super) fn add_map(maps: &mut Vec<Arc<MapInfo>>, map: &Arc<MapInfo>, span: &Span) -> Option<Diagnostic> {
    match maps.iter().find(|known| known.spec.name == map.spec.name) {
        Some(known) if known.label == map.label => {}
        Some(known) => {
            let message = format!("two maps are named `{}`: `{}` and `{}`", map.spec.name, known.label, map.label);
            return Some(Diagnostic::error(span, message).help("C sources use a map by its name; rename one"));
        }
        None => maps.push(map.clone()),
    }
    None
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

/// A source counts once, so whoever lists it twice means another.
fn listed_twice(ctx: &Context<'_>) -> Vec<Diagnostic> {
    let items = ctx.target.get("srcs").items();
    let first = |at: usize| items[..at].iter().find(|other| other.value == items[at].value);
    let twice = items.iter().enumerate().filter_map(|(at, item)| Some((item, item.value.as_label()?, first(at)?)));
    let finding = |(item, label, first): (&Spanned, &Label, &Spanned)| {
        let finding = Diagnostic::error(&item.span, format!("`{label}` is listed twice in `srcs`"));
        finding.related(&first.span, "first listed here").help("remove one")
    };
    twice.map(finding).collect()
}

/// What a program says of itself beside its sources.
struct Declared {
    maps: Vec<Arc<MapInfo>>,
    jumps: Vec<Jump>,
    requires: Vec<Requirement>,
}

fn analysis(
    ctx: &Context<'_>,
    sources: Vec<Artifact>,
    headers: Headers,
    Declared { maps, jumps, requires }: Declared,
) -> Result<Analysis, Vec<Diagnostic>> {
    let label = &ctx.target.label;
    let (defines, copts) = (strings(ctx, "defines"), strings(ctx, "copts"));
    let slim = ctx.target.get("slim").as_bool().unwrap_or(true);
    let shadowed = shadowed(ctx, &sources, &headers).filter(|_| slim);
    let text = |name: &str| ctx.target.get(name).as_str().unwrap_or_default().to_owned();
    let expected = expected(ctx, &text("type"), ctx.target.get("function").as_str(), &jumps, &maps);
    let checked = Some(&expected);
    let (name, sources) = (&*label.name, &*sources);
    let parts = Parts { name, sources, headers, maps: &maps, jumps: &jumps, defines, copts, slim, expected: checked };
    let (mut actions, object) = compile(ctx, parts)?;
    let program = ProgramInfo {
        label: label.clone(),
        ty: text("type"),
        ty_span: ctx.target.span_of("type").clone(),
        object,
        expected,
        facts: facts(ctx),
        jumps,
        maps,
        slot: ctx.target.get("slot").as_int().map(|slot| (slot, ctx.target.span_of("slot").clone())),
        hidden: ctx.target.get("hidden").as_bool().unwrap_or(false),
        globals: globals(ctx),
        requires,
        optional: optional(ctx),
        candidates: Vec::new(),
        span: ctx.target.span.clone(),
    };
    actions.push(inspect_action(&program));
    let files = vec![program.object.clone()];
    let providers = Providers { files, program: Some(Arc::new(program)), ..Providers::default() };
    // Not collected from `into_iter`: the list would keep the room of the actions themselves.
    let mut shared = Vec::with_capacity(actions.len());
    shared.extend(actions.into_iter().map(Arc::new));
    Ok(Analysis { actions: shared, providers, warnings: shadowed.into_iter().collect() })
}

/// What a kernel must have.
fn requires(ctx: &Context<'_>) -> Result<Vec<Requirement>, Vec<Diagnostic>> {
    let (mut requires, mut findings) = (Vec::new(), Vec::new());
    for item in ctx.target.get("requires").items() {
        match item.value.as_str().unwrap_or_default().parse::<Requirement>() {
            Ok(requirement) => requires.push(requirement),
            Err(bad) => findings.push(Diagnostic::error(&item.span, bad.message).help(bad.help)),
        }
    }
    if findings.is_empty() { Ok(requires) } else { Err(findings) }
}

/// Where the target says that it is optional.
pub(super) fn optional(ctx: &Context<'_>) -> Option<Span> {
    let is_optional = ctx.target.get("optional").as_bool().unwrap_or(false);
    is_optional.then(|| ctx.target.span_of("optional").clone())
}

/// The values of the global variables; whether the object has these is seen when it is there.
fn globals(ctx: &Context<'_>) -> BTreeMap<String, Scalar> {
    let Value::Dict(entries) = ctx.target.get("globals") else { return BTreeMap::new() };
    let scalar = |value: &Value| match value {
        Value::Bool(value) => Scalar::Bool(*value),
        Value::Int(value) => Scalar::Int(*value),
        other => Scalar::Text(other.as_str().unwrap_or_default().to_owned()),
    };
    entries.iter().map(|(name, value)| (name.value.as_str().unwrap_or_default().to_owned(), scalar(&value.value))).collect()
}

/// The file with what is found in the target's object.
pub(super) fn facts(ctx: &Context<'_>) -> Artifact {
    Artifact::Output(ctx.output(&format!("{}.facts.json", ctx.target.label.name)).into())
}
