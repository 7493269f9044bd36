//! `bpf_map`: a map that programs share and that survives redeploys.

mod parts;

use std::sync::Arc;

use super::bpf_library::{merge_deps, repository_roots};
use super::is_c_identifier;
use crate::attr::{AttrSpec, AttrType, EdgeKind, Spanned, Value};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::manifest::{KERNEL_NAME, MapSpec, OnChange};
use crate::map_type::{self, MAP_TYPES, MapType, Need};
use crate::provider::{Headers, MapInfo, Providers};
use crate::rule::{Analysis, Context, Rule};

/// `BPF_F_*` bits for map creation, from the kernel's uapi header.
const FLAGS: &[(&str, u32)] = &[
    ("no_prealloc", 1),
    ("no_common_lru", 1 << 1),
    ("rdonly", 1 << 3),
    ("wronly", 1 << 4),
    ("stack_build_id", 1 << 5),
    ("zero_seed", 1 << 6),
    (RDONLY_PROG, 1 << 7),
    ("wronly_prog", 1 << 8),
    ("clone", 1 << 9),
    ("mmapable", 1 << 10),
    ("preserve_elems", 1 << 11),
    ("inner_map", 1 << 12),
    ("segv_on_fault", 1 << 17),
    ("no_user_conv", 1 << 18),
];
/// `BPF_F_NUMA_NODE`: not of those that can be written, `numa_node` says it.
const NUMA_NODE: u32 = 1 << 2;
const RDONLY_PROG: &str = "rdonly_prog";
/// By what the kernel knows an element of cgroup storage.
const CGROUP_KEY: &str = "struct bpf_cgroup_storage_key";
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
            AttrSpec::new(
                "inner",
                AttrType::Label,
                "For `array_of_maps` and `hash_of_maps`: a `bpf_map` that says what the maps it holds are like.",
            )
            .edge(EdgeKind::Map),
            AttrSpec::new(
                "max_entries",
                AttrType::Int,
                "Entries; for a ring buffer its bytes, a power of two of whole pages; for an arena its pages. Storage has none, and a \
                 `perf_event_array` one for each CPU when it is not given.",
            ),
            AttrSpec::new("flags", AttrType::String.list(), &format!("Of {}.", names.join(", "))).default(empty()),
            AttrSpec::new(
                "map_extra",
                AttrType::Int,
                "For a `bloom_filter` how many hash functions it has, 5 by default; for an `arena` the address it has in processes.",
            ),
            AttrSpec::new("numa_node", AttrType::Int, "The NUMA node its memory is on; chosen by the kernel when not given."),
            AttrSpec::new(
                "contents",
                AttrType::Data,
                "What it holds when it is created: `{key: value}`, or `[(key, value), ...]` where keys are structs, or a list for types \
                 without keys and for places from 0 on. Numbers, strings for arrays of bytes, lists for arrays, `{\"member\": value}` for structs, `\":map\"` for a map. On every CPU \
                 the same.",
            )
            .edge(EdgeKind::Map),
            AttrSpec::new(
                "frozen",
                AttrType::Bool,
                "Whether nothing can write it once it holds its contents; a deploy with other contents makes a new one.",
            )
            .default(Value::Bool(false)),
            AttrSpec::new(
                "on_change",
                AttrType::String,
                "What happens to what it holds when a deploy finds it with another definition: `keep` refuses the deploy, `reset` begins \
                 with an empty map, `copy` copies all elements, `convert` carries over the members of equal name.",
            )
            .allowed(&OnChange::ALL.map(|(name, _)| name))
            .default(Value::Str(OnChange::Keep.name().into())),
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
        let mut includes = ctx.files("hdrs");
        let mut headers = Headers { files: includes.clone(), includes: repository_roots(ctx), ..Headers::default() };
        if let Err(more) = merge_deps(ctx, "deps", &mut headers) {
            findings.extend(more);
        }
        let spec = spec(ctx).map_err(|more| findings.extend(more)).ok();
        let inner = parts::inner(ctx, spec.as_ref().map(|(ty, _)| *ty)).map_err(|finding| findings.push(finding)).ok().flatten();
        let (contents, holds) = parts::contents(ctx, spec.as_ref(), inner.as_ref()).unwrap_or_else(|more| {
            findings.extend(more);
            (None, Vec::new())
        });
        let Some((_, spec)) = spec.filter(|_| findings.is_empty()) else { return Err(findings) };
        let spec = MapSpec { inner: inner.as_ref().map(|inner| Box::new(inner.spec.in_objects())), ..spec };
        if let Some(inner) = &inner {
            headers.merge(&inner.headers);
            includes.extend(inner.includes.iter().filter(|file| !includes.contains(file)).cloned().collect::<Vec<_>>());
        }
        let (label, span) = (ctx.target.label.clone(), ctx.target.span.clone());
        let map = Arc::new(MapInfo { label, spec, contents, holds, headers, includes, span });
        Ok(Analysis { providers: Providers { map: Some(map), ..Providers::default() }, ..Analysis::default() })
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

/// The map without the maps it holds, and its type.
fn spec(ctx: &Context<'_>) -> Result<(&'static MapType, MapSpec), Vec<Diagnostic>> {
    let given = ctx.target.get("type").as_str().unwrap_or_default();
    let Some(ty) = map_type::find(given) else {
        return Err(vec![unknown_type(ctx, given)]);
    };
    let mut findings = Vec::new();
    let key = c_type(ctx, ty, "key", ty.key, if ty.key == Need::Cgroup { CGROUP_KEY } else { "__u32" });
    let value = c_type(ctx, ty, "value", ty.value, if ty.value == Need::U32 { "__u32" } else { "__u64" });
    let spec = MapSpec {
        name: ctx.target.label.name.to_string(),
        ty: ty.name.to_owned(),
        key: noted(key, &mut findings),
        value: noted(value, &mut findings),
        max_entries: noted(parts::max_entries(ctx, ty), &mut findings),
        flags: noted(flags(ctx, ty), &mut findings),
        map_extra: noted(parts::map_extra(ctx, ty), &mut findings),
        numa_node: noted(parts::numa_node(ctx, ty), &mut findings).unwrap_or(0),
        frozen: noted(parts::frozen(ctx, ty), &mut findings),
        on_change: noted(parts::on_change(ctx, ty), &mut findings),
        ..MapSpec::default()
    };
    if findings.is_empty() { Ok((ty, spec)) } else { Err(findings) }
}

/// The value, or the finding among the others, so that all are told at once.
fn noted<T: Default>(result: Result<T, Diagnostic>, findings: &mut Vec<Diagnostic>) -> T {
    result.unwrap_or_else(|finding| {
        findings.push(finding);
        T::default()
    })
}

fn unknown_type(ctx: &Context<'_>, given: &str) -> Diagnostic {
    let finding = Diagnostic::error(ctx.target.span_of("type"), format!("unknown map type `{given}`"));
    if let Some(instead) = map_type::refusal(given) {
        return finding.help(instead);
    }
    let names = MAP_TYPES.iter().map(|ty| ty.name);
    let known = names.clone().collect::<Vec<_>>().join(", ");
    finding.help(did_you_mean(given, names).unwrap_or_else(|| format!("known types: {known}")))
}

fn c_type(ctx: &Context<'_>, ty: &MapType, attr: &str, need: Need, default: &str) -> Result<String, Diagnostic> {
    let given = ctx.target.get(attr).as_str();
    let span = ctx.target.span_of(attr);
    match (need, given) {
        (Need::Nothing | Need::Maps, None) => Ok(String::new()),
        (Need::Maps, Some(_)) => Err(Diagnostic::error(span, format!("the values of a `{}` map are maps", ty.name))
            .help(format!("remove `{attr}`; `inner` says what those maps are like"))),
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

fn flags(ctx: &Context<'_>, ty: &MapType) -> Result<u32, Diagnostic> {
    let items = ctx.target.get("flags").items();
    let is_frozen = ctx.target.get("frozen").as_bool() == Some(true) && ty.flags.contains(&RDONLY_PROG);
    let has_node = *ctx.target.get("numa_node") != Value::None;
    let mut bits = ty.implied_flags() | if has_node { NUMA_NODE } else { 0 };
    bits |= FLAGS.iter().filter(|(name, _)| is_frozen && *name == RDONLY_PROG).map(|(_, bit)| bit).sum::<u32>();
    for item in items {
        bits |= flag(ty, item)?;
    }
    let is_given =
        |name: &&str| (is_frozen && *name == RDONLY_PROG) || items.iter().any(|item| item.value.as_str() == Some(name));
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
