//! `bpf_map`: a map that programs share and that survives redeploys.

use std::sync::Arc;

use super::bpf_library::{merge_deps, repository_roots};
use super::is_c_identifier;
use crate::attr::{AttrSpec, AttrType, EdgeKind, Spanned, Value};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::manifest::{KERNEL_NAME, MapSpec};
use crate::map_type::{self, MAP_TYPES, MapType, Need};
use crate::provider::{Headers, MapInfo, Providers};
use crate::rule::{Analysis, Context, Rule};

/// `BPF_F_*` bits for map creation, from the kernel's uapi header.
const FLAGS: &[(&str, u32)] = &[
    ("no_prealloc", 1),
    ("no_common_lru", 1 << 1),
    ("rdonly", 1 << 3),
    ("wronly", 1 << 4),
    ("zero_seed", 1 << 6),
    ("rdonly_prog", 1 << 7),
    ("wronly_prog", 1 << 8),
    ("mmapable", 1 << 10),
];
const NO_PREALLOC: u32 = 1;
/// Pairs of which the kernel takes one at most.
const EXCLUSIVE: &[[&str; 2]] = &[["rdonly", "wronly"], ["rdonly_prog", "wronly_prog"]];

pub(super) struct BpfMap {
    attrs: Vec<AttrSpec>,
}

impl BpfMap {
    pub(super) fn new() -> BpfMap {
        let empty = || Value::List(Vec::new());
        let names: Vec<&str> = FLAGS.iter().map(|(name, _)| *name).collect();
        let attrs = vec![
            AttrSpec::new(
                "type",
                AttrType::String,
                "The kind of map: `hash`, `array`, `percpu_array`, `lru_hash`, `lpm_trie`, `ringbuf`, ...",
            )
            .required(),
            AttrSpec::new("key", AttrType::String, "The key's C type; `__u32` by default, none for `lpm_trie`."),
            AttrSpec::new("value", AttrType::String, "The value's C type; `__u64` by default."),
            AttrSpec::new("max_entries", AttrType::Int, "Entries; for a ring buffer its bytes, a power of two of whole pages.")
                .required(),
            AttrSpec::new("flags", AttrType::String.list(), &format!("Of {}.", names.join(", "))).default(empty()),
            AttrSpec::new("hdrs", AttrType::Label.list(), "Headers that declare the key's and value's types.")
                .default(empty())
                .edge(EdgeKind::Source),
            AttrSpec::new("deps", AttrType::Label.list(), "Libraries those headers include.")
                .default(empty())
                .edge(EdgeKind::Dep),
        ];
        BpfMap { attrs }
    }
}

impl Rule for BpfMap {
    fn name(&self) -> &str {
        "bpf_map"
    }

    fn doc(&self) -> &str {
        "A map. Programs that list it in `maps` find it in `<ouro/program.h>` under its name; all programs of a chain share it, and its \
         contents survive a redeploy."
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        let mut findings = name_findings(ctx);
        let includes = ctx.files("hdrs");
        let mut headers = Headers { files: includes.clone(), includes: repository_roots(ctx), ..Headers::default() };
        if let Err(more) = merge_deps(ctx, "deps", &mut headers) {
            findings.extend(more);
        }
        match spec(ctx) {
            Ok(spec) if findings.is_empty() => {
                let (label, span) = (ctx.target.label.clone(), ctx.target.span.clone());
                let map = Arc::new(MapInfo { label, spec, headers, includes, span });
                Ok(Analysis { providers: Providers { map: Some(map), ..Providers::default() }, ..Analysis::default() })
            }
            Ok(_) => Err(findings),
            Err(more) => Err(findings.into_iter().chain(more).collect()),
        }
    }
}

fn name_findings(ctx: &Context<'_>) -> Vec<Diagnostic> {
    let name = &*ctx.target.label.name;
    let span = ctx.target.span_of("name");
    let mut findings = Vec::new();
    if !is_c_identifier(name) {
        findings.push(
            Diagnostic::error(span, format!("map name `{name}` is no C identifier")).help("C sources use the map by this name"),
        );
    }
    if name.len() > KERNEL_NAME {
        findings.push(
            Diagnostic::error(span, format!("map name `{name}` has {} characters; the kernel keeps {KERNEL_NAME}", name.len()))
                .help("choose a shorter name"),
        );
    }
    if name.starts_with("ouro_") || name.starts_with("__ouro") {
        findings
            .push(Diagnostic::error(span, format!("map name `{name}` begins with `ouro_`, which is kept for ouro's own maps")));
    }
    findings
}

fn spec(ctx: &Context<'_>) -> Result<MapSpec, Vec<Diagnostic>> {
    let given = ctx.target.get("type").as_str().unwrap_or_default();
    let Some(ty) = map_type::find(given) else {
        return Err(vec![unknown_type(ctx, given)]);
    };
    let key = c_type(ctx, ty, "key", ty.key, "__u32");
    let value = c_type(ctx, ty, "value", ty.value, if ty.value == Need::U32 { "__u32" } else { "__u64" });
    let max_entries = max_entries(ctx, ty);
    let flags = flags(ctx, ty);
    match (key, value, max_entries, flags) {
        (Ok(key), Ok(value), Ok(max_entries), Ok(flags)) => Ok(MapSpec {
            name: ctx.target.label.name.to_string(),
            ty: ty.name.to_owned(),
            key,
            value,
            max_entries,
            flags,
            key_size: 0,
            value_size: 0,
        }),
        (key, value, max_entries, flags) => {
            Err([key.err(), value.err(), max_entries.err(), flags.err()].into_iter().flatten().collect())
        }
    }
}

fn unknown_type(ctx: &Context<'_>, given: &str) -> Diagnostic {
    let finding = Diagnostic::error(ctx.target.span_of("type"), format!("unknown map type `{given}`"));
    if given == "prog_array" {
        return finding.help("declare `jumps` on the program instead; ouro makes the jump table");
    }
    let names = MAP_TYPES.iter().map(|ty| ty.name);
    let known = names.clone().collect::<Vec<_>>().join(", ");
    finding.help(did_you_mean(given, names).unwrap_or_else(|| format!("known types: {known}")))
}

fn c_type(ctx: &Context<'_>, ty: &MapType, attr: &str, need: Need, default: &str) -> Result<String, Diagnostic> {
    let given = ctx.target.get(attr).as_str();
    let span = ctx.target.span_of(attr);
    match (need, given) {
        (Need::Nothing, None) => Ok(String::new()),
        (Need::Nothing, Some(_)) => {
            Err(Diagnostic::error(span, format!("a `{}` map has no {attr}", ty.name)).help(format!("remove `{attr}`")))
        }
        (Need::Given, None) => Err(Diagnostic::error(&ctx.target.span, format!("a `{}` map needs a `{attr}`", ty.name))
            .note("the kernel demands a struct that begins with `__u32 prefixlen`")
            .help(format!("add `{attr} = \"struct ...\"`, and the header that declares it to `hdrs`"))),
        (_, None) => Ok(default.to_owned()),
        (_, Some(text)) if text.trim().is_empty() || text.contains(['\n', ';', '{', '}', '"']) => {
            Err(Diagnostic::error(span, format!("`{text}` is no C type"))
                .help("write a type's name, such as `__u32` or `struct flow`"))
        }
        (_, Some(text)) => Ok(text.trim().to_owned()),
    }
}

fn max_entries(ctx: &Context<'_>, ty: &MapType) -> Result<u32, Diagnostic> {
    let given = ctx.target.get("max_entries").as_int().unwrap_or_default();
    let span = ctx.target.span_of("max_entries");
    let entries = u32::try_from(given)
        .ok()
        .filter(|entries| *entries > 0)
        .ok_or_else(|| Diagnostic::error(span, format!("`max_entries` is {given}")).help("a map has 1 to 4294967295 entries"))?;
    // The kernel demands whole pages and a power of two (ringbuf_map_alloc).
    if ty.name == "ringbuf" && (!entries.is_power_of_two() || entries < 4096) {
        return Err(Diagnostic::error(span, format!("a ring buffer cannot have {entries} bytes"))
            .help(format!("use a power of two of at least 4096, such as {}", entries.max(4096).next_power_of_two())));
    }
    Ok(entries)
}

fn flags(ctx: &Context<'_>, ty: &MapType) -> Result<u32, Diagnostic> {
    let items = ctx.target.get("flags").items();
    // The kernel refuses a trie that allocates in advance, so there is nothing to choose.
    let mut bits = if ty.name == "lpm_trie" { NO_PREALLOC } else { 0 };
    for item in items {
        bits |= flag(ty, item)?;
    }
    let is_given = |name: &&str| items.iter().any(|item| item.value.as_str() == Some(name));
    match EXCLUSIVE.iter().find(|pair| pair.iter().all(is_given)) {
        Some([one, other]) => {
            Err(Diagnostic::error(ctx.target.span_of("flags"), format!("`{one}` and `{other}` exclude each other"))
                .help("remove one"))
        }
        None => Ok(bits),
    }
}

fn flag(ty: &MapType, item: &Spanned) -> Result<u32, Diagnostic> {
    let name = item.value.as_str().unwrap_or_default();
    let Some((_, bit)) = FLAGS.iter().find(|(known, _)| *known == name) else {
        let names = FLAGS.iter().map(|(name, _)| *name);
        let known = names.clone().collect::<Vec<_>>().join(", ");
        let help = did_you_mean(name, names).unwrap_or_else(|| format!("known flags: {known}"));
        return Err(Diagnostic::error(&item.span, format!("unknown map flag `{name}`")).help(help));
    };
    if ty.flags.contains(&name) {
        return Ok(*bit);
    }
    let help = if ty.flags.is_empty() {
        "remove it; the type has no flags".to_owned()
    } else {
        format!("flags of the type: {}", ty.flags.join(", "))
    };
    Err(Diagnostic::error(&item.span, format!("a `{}` map cannot have the flag `{name}`", ty.name)).help(help))
}
