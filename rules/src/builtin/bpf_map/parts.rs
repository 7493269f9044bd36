//! What a `bpf_map` says besides its type, its key and its value: sizes, contents, and the maps it holds.
//!
//! Knows BUILD files and the table of map types, not how contents become bytes.

use std::sync::Arc;

use crate::attr::{Spanned, Value};
use crate::contents::{self, Given};
use crate::diagnostic::Diagnostic;
use crate::label::Label;
use crate::manifest::{MapSpec, OnChange};
use crate::map_type::{Fill, MapType, Size};
use crate::provider::MapInfo;
use crate::rule::Context;

/// Most hash functions of a bloom filter.
const HASHES: i64 = 15;
/// The smallest page of any machine.
const PAGE: i64 = 4096;
/// `BPF_F_RDONLY`: nobody but programs can write.
const RDONLY: u32 = 1 << 3;
/// The flag that lets arrays of several sizes be held by one map.
const INNER_MAP: u32 = 1 << 12;

/// What a map holds at first, and the maps among it.
pub(super) type Contents = (Option<Given>, Vec<Arc<MapInfo>>);

pub(super) fn max_entries(ctx: &Context<'_>, ty: &MapType) -> Result<u32, Diagnostic> {
    let attr = ctx.target.get("max_entries");
    let span = ctx.target.span_of("max_entries");
    let given = match (attr.as_int(), ty.size) {
        (None, Size::Owners | Size::Cpus) => return Ok(0),
        (None, _) => {
            return Err(Diagnostic::error(&ctx.target.span, format!("a `{}` map needs `max_entries`", ty.name))
                .help(format!("add `max_entries = {}`", if ty.size == Size::Bytes { PAGE } else { 1 })));
        }
        (Some(_), Size::Owners) => {
            return Err(Diagnostic::error(span, format!("a `{}` map has no `max_entries`", ty.name))
                .help("remove it; there is an element for each thing it belongs to"));
        }
        (Some(given), _) => given,
    };
    let entries = u32::try_from(given)
        .ok()
        .filter(|entries| *entries > 0)
        .ok_or_else(|| Diagnostic::error(span, format!("`max_entries` is {given}")).help("a map has 1 to 4294967295 entries"))?;
    // The kernel demands whole pages and a power of two (ringbuf_map_alloc).
    if ty.size == Size::Bytes && (!entries.is_power_of_two() || i64::from(entries) < PAGE) {
        return Err(Diagnostic::error(span, format!("a ring buffer cannot have {entries} bytes"))
            .help(format!("use a power of two of at least 4096, such as {}", entries.max(4096).next_power_of_two())));
    }
    Ok(entries)
}

pub(super) fn map_extra(ctx: &Context<'_>, ty: &MapType) -> Result<u64, Diagnostic> {
    let (given, span) = (ctx.target.get("map_extra").as_int(), ctx.target.span_of("map_extra"));
    let (message, help) = match (ty.name, given) {
        ("bloom_filter", Some(1..=HASHES)) => return Ok(given.map_or(0, i64::unsigned_abs)),
        ("arena", Some(address)) if address > 0 && address % PAGE == 0 => return Ok(address.unsigned_abs()),
        ("bloom_filter", Some(given)) => {
            (format!("a bloom filter cannot have {given} hash functions"), format!("use 1 to {HASHES}"))
        }
        ("arena", Some(given)) => (format!("`{given}` is no address of a page"), "use a multiple of 4096".to_owned()),
        ("arena", None) => {
            let finding = Diagnostic::error(&ctx.target.span, "an `arena` map needs `map_extra`: its address in processes");
            return Err(finding.help("add `map_extra = 1 << 44`, or another address that nothing else uses"));
        }
        (_, None) => return Ok(0),
        (name, Some(_)) => (format!("a `{name}` map has no `map_extra`"), "remove it".to_owned()),
    };
    Err(Diagnostic::error(span, message).help(help))
}

pub(super) fn numa_node(ctx: &Context<'_>, ty: &MapType) -> Result<Option<u32>, Diagnostic> {
    let Some(given) = ctx.target.get("numa_node").as_int() else { return Ok(None) };
    let span = ctx.target.span_of("numa_node");
    if !ty.takes_numa_node() {
        return Err(Diagnostic::error(span, format!("the memory of a `{}` map is on no node of its own", ty.name))
            .help("remove `numa_node`"));
    }
    let node = u32::try_from(given).ok().filter(|node| *node < 1 << 10);
    node.map(Some).ok_or_else(|| Diagnostic::error(span, format!("`{given}` is no NUMA node")).help("nodes count from 0"))
}

pub(super) fn frozen(ctx: &Context<'_>, ty: &MapType) -> Result<bool, Diagnostic> {
    let (is_frozen, span) = (ctx.target.get("frozen").as_bool() == Some(true), ctx.target.span_of("frozen"));
    let has_contents = *ctx.target.get("contents") != Value::None;
    match () {
        () if !is_frozen => Ok(false),
        () if ty.fill == Fill::Nothing => {
            Err(Diagnostic::error(span, format!("a `{}` map cannot be frozen", ty.name)).help("remove `frozen`"))
        }
        () if !has_contents => Err(Diagnostic::error(span, "a frozen map without `contents` stays empty")
            .help("add `contents = {...}`, or remove `frozen`")),
        () => Ok(true),
    }
}

pub(super) fn on_change(ctx: &Context<'_>, ty: &MapType) -> Result<OnChange, Diagnostic> {
    let given = ctx.target.get("on_change").as_str().unwrap_or_default();
    let policy = OnChange::ALL.iter().find(|(name, _)| *name == given).map_or(OnChange::Keep, |(_, policy)| *policy);
    if matches!(policy, OnChange::Copy | OnChange::Convert) && !ty.can_be_copied() {
        let message = format!("what a `{}` map holds cannot be moved to another", ty.name);
        return Err(Diagnostic::error(ctx.target.span_of("on_change"), message).help("use `keep` or `reset`"));
    }
    Ok(policy)
}

/// What the maps of a map of maps are like; `None` for other maps.
pub(super) fn inner<'a>(ctx: &Context<'a>, ty: Option<&MapType>) -> Result<Option<Arc<MapInfo>>, Diagnostic> {
    let (Some(ty), span) = (ty, ctx.target.span_of("inner")) else { return Ok(None) };
    let Some(label) = ctx.target.get("inner").as_label() else {
        let needed = || {
            Diagnostic::error(&ctx.target.span, format!("a `{}` map needs `inner`: what the maps it holds are like", ty.name))
                .help("add `inner = \":map\"` with the label of a `bpf_map`")
        };
        return if ty.holds_maps() { Err(needed()) } else { Ok(None) };
    };
    if !ty.holds_maps() {
        return Err(Diagnostic::error(span, format!("a `{}` map holds no maps", ty.name))
            .help("remove `inner`, or use `array_of_maps` or `hash_of_maps`"));
    }
    let map = map_of(ctx, label).ok_or_else(|| no_map(label, span))?;
    match crate::map_type::find(&map.spec.ty) {
        Some(inner) if inner.fits_inside() => Ok(Some(map.clone())),
        _ => Err(Diagnostic::error(span, format!("a map of maps cannot hold a `{}` map", map.spec.ty))
            .related(&map.span, "declared here")
            .help("the kernel takes one level of maps in maps, and no storage of cgroups")),
    }
}

fn map_of<'a>(ctx: &Context<'a>, label: &Label) -> Option<&'a Arc<MapInfo>> {
    (ctx.deps)(label).and_then(|providers| providers.map.as_ref())
}

fn no_map(label: &Label, span: &crate::Span) -> Diagnostic {
    Diagnostic::error(span, format!("`{label}` is no map")).help("name a `bpf_map`")
}

/// What the map holds at first, and the maps among it. Of a map that is wrong in itself only the labels are looked at.
pub(super) fn contents(
    ctx: &Context<'_>,
    map: Option<&(&'static MapType, MapSpec)>,
    inner: Option<&Arc<MapInfo>>,
) -> Result<Contents, Vec<Diagnostic>> {
    let Some(attr) = ctx.target.attrs.get("contents").filter(|attr| attr.value != Value::None) else {
        return Ok((None, Vec::new()));
    };
    let (mut findings, mut holds) = (Vec::new(), Vec::<Arc<MapInfo>>::new());
    attr.value.each_label(&attr.span, &mut |label, span| match map_of(ctx, label) {
        None => findings.push(no_map(label, span)),
        Some(held) => {
            findings.extend(inner.and_then(|inner| unlike(inner, held, span)));
            holds.extend((!holds.contains(held)).then(|| held.clone()));
        }
    });
    let has_keys = map.is_some_and(|(ty, _)| ty.fill == Fill::Keys);
    let given = given(ctx, attr).map(|given| if has_keys { given.paired() } else { given });
    if let (Some((ty, spec)), Some(given)) = (map, &given) {
        findings.extend(contents::check(ty, spec.max_entries, given));
    }
    if map.is_some_and(|(_, spec)| spec.flags & RDONLY != 0) {
        let finding = Diagnostic::error(&attr.span, "a map with the flag `rdonly` cannot be filled");
        findings.push(finding.help("remove the flag; with `frozen = True` nothing can write the map once it is filled"));
    }
    if findings.is_empty() { Ok((given, holds)) } else { Err(findings) }
}

fn given(ctx: &Context<'_>, attr: &Spanned) -> Option<Given> {
    Given::of(attr, &|label| map_of(ctx, label))
}

/// Why a map cannot be held where maps like `inner` are (`bpf_map_meta_equal`, `array_map_meta_equal`).
fn unlike(inner: &MapInfo, held: &MapInfo, span: &crate::Span) -> Option<Diagnostic> {
    let (like, is) = (&inner.spec, &held.spec);
    let same_size = like.max_entries == is.max_entries || like.ty != "array" || like.flags & INNER_MAP != 0;
    let what = match () {
        () if like.ty != is.ty => "type",
        () if like.key != is.key => "key",
        () if like.value != is.value => "value",
        () if like.flags != is.flags => "flags",
        () if !same_size => "max_entries",
        () => return None,
    };
    let finding = Diagnostic::error(span, format!("`{}` is not like `{}`: its `{what}` differs", held.label, inner.label));
    let finding = finding.related(&held.span, "declared here").related(&inner.span, "the maps are to be like this one");
    Some(finding.help(match what {
        "max_entries" => "make them equal, or give both the flag `inner_map`",
        _ => "make them equal",
    }))
}
