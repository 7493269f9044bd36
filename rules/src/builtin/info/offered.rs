//! What a target offers, as plain values for rules of users.

use std::sync::Arc;

use super::{JUMP, id};
use crate::action::Artifact;
use crate::data::{Data, Depset, Info, Order, ProviderId};
use crate::provider::{ChainInfo, Headers, Jump, MapInfo, ProgramInfo, Providers, RunInfo, TestInfo};

/// Whether a target offers this provider.
pub fn has(providers: &Providers, wanted: &ProviderId) -> bool {
    if !wanted.file.is_empty() {
        return providers.infos.contains_key(wanted);
    }
    match &*wanted.name {
        "DefaultInfo" => true,
        "RunInfo" => providers.run.is_some(),
        "TestInfo" => providers.test.is_some(),
        "BpfHeadersInfo" => providers.headers.is_some(),
        "BpfMapInfo" => providers.map.is_some(),
        "BpfObjectInfo" | "BpfMapsInfo" | "BpfEdgesInfo" => providers.program.is_some(),
        "BpfChainInfo" => providers.chain.is_some(),
        _ => false,
    }
}

/// What a target offers of this provider.
pub fn offered(providers: &Providers, wanted: &ProviderId) -> Option<Arc<Info>> {
    if !wanted.file.is_empty() {
        return providers.infos.get(wanted).cloned();
    }
    match &*wanted.name {
        "DefaultInfo" => Some(default(providers)),
        "RunInfo" => providers.run.as_deref().map(run),
        "TestInfo" => providers.test.as_deref().map(test),
        "BpfHeadersInfo" => providers.headers.as_deref().map(headers),
        "BpfMapInfo" => providers.map.as_deref().map(map),
        "BpfObjectInfo" => providers.program.as_deref().map(object),
        "BpfMapsInfo" => providers.program.as_deref().map(|program| maps(&program.maps)),
        "BpfEdgesInfo" => providers.program.as_deref().map(|program| edges(&program.jumps)),
        "BpfChainInfo" => providers.chain.as_deref().map(chain),
        _ => None,
    }
}

fn default(providers: &Providers) -> Arc<Info> {
    let executable = providers.run.as_ref().map_or(Data::None, |run| Data::File(run.executable.clone()));
    let fields = [("files", files(&providers.files)), ("runfiles", files(&providers.runfiles)), ("executable", executable)];
    info("DefaultInfo", fields)
}

fn run(run: &RunInfo) -> Arc<Info> {
    let env = run.env.iter().map(|(name, value)| (text(name), text(value)));
    let fields =
        [("executable", Data::File(run.executable.clone())), ("args", texts(&run.args)), ("env", Data::Dict(env.collect()))];
    info("RunInfo", fields)
}

fn test(test: &TestInfo) -> Arc<Info> {
    let timeout = test.timeout.and_then(|timeout| i64::try_from(timeout.as_secs()).ok()).map_or(Data::None, Data::Int);
    let fields =
        [("timeout_seconds", timeout), ("uncached", Data::Bool(test.uncached)), ("exclusive", Data::Bool(test.exclusive))];
    info("TestInfo", fields)
}

fn headers(headers: &Headers) -> Arc<Info> {
    let kernels = Data::List(headers.kernels.iter().map(|kernel| Data::Label(kernel.label.clone())).collect());
    let fields = [
        ("files", files(&headers.files)),
        ("includes", texts(&headers.includes)),
        ("defines", texts(&headers.defines)),
        ("kernels", kernels),
    ];
    info("BpfHeadersInfo", fields)
}

fn map(map: &MapInfo) -> Arc<Info> {
    let spec = &map.spec;
    let fields = [
        ("label", Data::Label(map.label.clone())),
        ("name", text(&spec.name)),
        ("type", text(&spec.ty)),
        ("key", text(&spec.key)),
        ("value", text(&spec.value)),
        ("max_entries", Data::Int(spec.max_entries.into())),
    ];
    info("BpfMapInfo", fields)
}

fn object(program: &ProgramInfo) -> Arc<Info> {
    let fields = [
        ("object", Data::File(program.object.clone())),
        ("type", text(&program.ty)),
        ("function", Data::None),
        ("slot", program.slot.as_ref().map_or(Data::None, |(slot, _)| Data::Int(*slot))),
        ("hidden", Data::Bool(program.hidden)),
        ("label", Data::Label(program.label.clone())),
        ("facts", Data::File(program.facts.clone())),
    ];
    info("BpfObjectInfo", fields)
}

pub(super) fn maps(maps: &[Arc<MapInfo>]) -> Arc<Info> {
    info("BpfMapsInfo", [("maps", Data::List(maps.iter().map(|used| Data::Info(map(used))).collect()))])
}

pub(super) fn edges(jumps: &[Jump]) -> Arc<Info> {
    let jumps = Data::List(jumps.iter().map(|one| Data::Info(jump(one))).collect());
    info("BpfEdgesInfo", [("jumps", jumps), ("on_miss", Data::None)])
}

fn jump(jump: &Jump) -> Arc<Info> {
    let fields = [
        ("target", Data::Label(jump.target.clone())),
        ("name", text(&jump.name)),
        ("on_miss", Data::Int(jump.on_miss.into())),
        ("loop", jump.bound.map_or(Data::None, |bound| Data::Int(bound.into()))),
    ];
    info(JUMP, fields)
}

fn chain(chain: &ChainInfo) -> Arc<Info> {
    let programs: Vec<Data> = chain.spec.programs.iter().map(|member| Data::Label(member.label.clone())).collect();
    let fields = [
        ("label", Data::Label(chain.label.clone())),
        ("bundle", Data::File(chain.bundle.clone())),
        ("entry", programs.first().cloned().unwrap_or(Data::None)),
        ("programs", Data::List(programs.into())),
    ];
    info("BpfChainInfo", fields)
}

pub(super) fn info<const N: usize>(name: &str, fields: [(&str, Data); N]) -> Arc<Info> {
    Arc::new(Info { id: id(name), fields: fields.into_iter().map(|(name, value)| (name.into(), value)).collect() })
}

fn text(text: &str) -> Data {
    Data::Str(text.into())
}

fn texts(list: &[String]) -> Data {
    Data::List(list.iter().map(|one| text(one)).collect())
}

fn files(list: &[Artifact]) -> Data {
    Data::Depset(Depset::new(Order::Postorder, list.iter().cloned().map(Data::File).collect(), Vec::new()))
}
