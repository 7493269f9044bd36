//! What implementations find in `ctx.bpf`: what the built-in rules do, for rules of users.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fields::Fields;
use super::program::{edges, kernels, maps};
use super::returned::Edges;
use super::{FieldSpec, Takes, always, offered, sometimes};
use crate::action::{Action, Artifact};
use crate::builtin::bpf_program::program_type;
use crate::builtin::compile::{Parts, compile, refused_copt};
use crate::data::Data;
use crate::diagnostic::Diagnostic;
use crate::provider::{Headers, Jump, MapInfo};
use crate::rule::Context;

/// A function.
#[derive(Clone, Copy)]
pub struct FunctionSpec {
    /// Its name in `ctx.bpf`.
    pub name: &'static str,
    /// What it does, for the reference.
    pub doc: &'static str,
    /// Its parameters, by name.
    pub params: &'static [FieldSpec],
    /// Does it.
    pub call: Call,
}

/// A function's code. The arguments are of the types that its parameters name; the edges are of the rule that calls it.
pub type Call = fn(&Context<'_>, &Arguments, Edges<'_>) -> Result<Made, Vec<Diagnostic>>;

/// Arguments by the names of their parameters.
pub type Arguments = BTreeMap<Arc<str>, Data>;

/// What a function made.
pub struct Made {
    /// Actions of the target that called it.
    pub actions: Vec<Action>,
    /// What it returns.
    pub value: Data,
}

/// Every function.
pub const FUNCTIONS: &[FunctionSpec] = &[FunctionSpec {
    name: "compile",
    doc: "Compiles C sources to an object as `bpf_program` does, with a `<ouro/program.h>` of its own. Returns a struct: `object`, and \
          `providers`, to be returned by the rule.",
    params: &[
        always("srcs", Takes::Files, "C sources, and headers beside them."),
        always("type", Takes::Str, "The program's type: `xdp`."),
        sometimes("name", Takes::Str, "What its files are named after; the target's name by default."),
        sometimes("headers", Takes::Infos("BpfHeadersInfo"), "Libraries: `[dep[BpfHeadersInfo] for dep in ctx.attr.deps]`."),
        sometimes("maps", Takes::Infos("BpfMapInfo"), "The maps it uses."),
        sometimes("jumps", Takes::Jumps, "The jumps it makes."),
        sometimes("on_miss", Takes::Verdict, "The verdict of jumps that name none, when their slot is empty."),
        sometimes("function", Takes::Str, "The C function, when the sources hold several of the type."),
        sometimes("defines", Takes::Strs, "`NAME` or `NAME=value`."),
        sometimes("copts", Takes::Strs, "More arguments for clang."),
    ],
    call: compile_program,
}];

fn compile_program(ctx: &Context<'_>, args: &Arguments, attrs: Edges<'_>) -> Result<Made, Vec<Diagnostic>> {
    let span = &ctx.target.span;
    let args = Fields::new("ctx.bpf.compile", args);
    let hook =
        program_type(args.text("type").unwrap_or_default(), ctx.target.span_of("type")).map_err(|finding| vec![finding])?;
    let copts = args.texts("copts");
    let mut findings: Vec<Diagnostic> = copts.iter().filter_map(|copt| refused_copt(copt, span)).collect();
    let mut keep = |more: Vec<Diagnostic>| findings.extend(more);
    let maps = maps(ctx, args).map_err(&mut keep).unwrap_or_default();
    let jumps = edges(ctx, args, attrs, hook).map_err(&mut keep).unwrap_or_default();
    let headers = headers(ctx, args).map_err(|message| keep(vec![Diagnostic::error(span, message)])).unwrap_or_default();
    let (sources, own) = sources(ctx, args).map_err(&mut keep).unwrap_or_default();
    if !findings.is_empty() {
        return Err(findings);
    }
    let headers = with_own(headers, own);
    let name = args.text("name").unwrap_or(&ctx.target.label.name);
    let parts = Parts {
        name,
        sources: &sources,
        headers,
        maps: &maps,
        jumps: &jumps,
        defines: args.texts("defines"),
        copts,
        slim: true,
        expected: None,
    };
    let (actions, object) = compile(ctx, parts)?;
    Ok(Made { actions, value: value(args, &object, &maps, &jumps) })
}

/// C sources, and what lies beside them.
fn sources(ctx: &Context<'_>, args: Fields<'_>) -> Result<(Vec<Artifact>, Vec<Artifact>), Vec<Diagnostic>> {
    let wrong = |message: String| vec![Diagnostic::error(&ctx.target.span, message)];
    let files = args.files("srcs").map_err(wrong)?.unwrap_or_default();
    let (sources, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.path().ends_with(".c"));
    match (sources.is_empty(), others.iter().find(|file| !file.path().ends_with(".h"))) {
        (_, Some(other)) => Err(wrong(format!("`{}` in `srcs` of `ctx.bpf.compile` ends neither in .c nor in .h", other.path()))),
        (true, None) => Err(wrong("`srcs` of `ctx.bpf.compile` names no C source".to_owned())),
        (false, None) => Ok((sources, others)),
    }
}

fn headers(ctx: &Context<'_>, args: Fields<'_>) -> Result<Headers, String> {
    let mut all = Headers::default();
    for fields in args.infos("headers").map(Fields::of) {
        let files = fields.files("files")?.unwrap_or_default();
        let kernels = kernels(ctx, fields);
        all.merge(&Headers { files, includes: fields.texts("includes"), defines: fields.texts("defines"), kernels });
    }
    Ok(all)
}

fn with_own(mut headers: Headers, files: Vec<Artifact>) -> Headers {
    headers.merge(&Headers { files, ..Headers::default() });
    headers
}

/// What the rule gets: the object, and the providers that make its target a program.
fn value(args: Fields<'_>, object: &Artifact, maps: &[Arc<MapInfo>], jumps: &[Jump]) -> Data {
    let info = offered::info(
        "BpfObjectInfo",
        [("object", Data::File(object.clone())), ("type", args.get("type").clone()), ("function", args.get("function").clone())],
    );
    let providers = [info, offered::maps(maps), offered::edges(jumps)].map(Data::Info);
    let fields = [("object", Data::File(object.clone())), ("providers", Data::List(providers.into()))];
    Data::Struct(Arc::new(fields.into_iter().map(|(name, value)| (name.into(), value)).collect()))
}
