//! What a rule of a user returned, as what its target offers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::fields::Fields;
use super::program;
use super::{find, id};
use crate::action::Artifact;
use crate::builtin::bpf_program::check_jumps;
use crate::data::{Info, ProviderId};
use crate::diagnostic::Diagnostic;
use crate::provider::{ChainInfo, Headers, MapInfo, Providers, RunInfo, TestInfo};
use crate::rule::{Analysis, Context};

/// What an implementation returned.
pub struct Returned<'a> {
    /// The providers.
    pub infos: &'a [Arc<Info>],
    /// Which attributes name what chains follow.
    pub edges: Edges<'a>,
}

/// The attributes of a rule whose labels chains follow.
#[derive(Debug, Clone, Copy)]
pub struct Edges<'a> {
    /// Those whose labels are jumps.
    pub jumps: &'a [&'a str],
    /// Those whose labels are programs this one is made from.
    pub programs: &'a [&'a str],
}

/// What a target of a user's rule means, besides the actions its rule declared. The bytecode of what it calls a program is inspected,
/// as that of every program.
pub fn analysis<'a>(ctx: &'a Context<'_>, returned: &Returned<'a>) -> Result<Analysis, Vec<Diagnostic>> {
    let mut offer = Offer { ctx, infos: BTreeMap::new(), findings: Vec::new() };
    returned.infos.iter().for_each(|info| offer.take(info));
    let analysis = offer.analysis(returned.edges);
    if offer.findings.is_empty() { Ok(analysis) } else { Err(offer.findings) }
}

/// What only other targets' analysis can tell; called once everything is analysed.
pub fn check(ctx: &Context<'_>) -> Vec<Diagnostic> {
    check_jumps(ctx)
}

pub(super) struct Offer<'a, 'c> {
    pub(super) ctx: &'a Context<'c>,
    infos: BTreeMap<&'a ProviderId, &'a Arc<Info>>,
    pub(super) findings: Vec<Diagnostic>,
}

impl<'a> Offer<'a, '_> {
    fn take(&mut self, info: &'a Arc<Info>) {
        if self.infos.insert(&info.id, info).is_some() {
            self.wrong(format!("`{}` is returned twice", info.id.name), "return one value of each provider");
        }
    }

    /// The fields of a provider that comes with ouro, if it was returned.
    pub(super) fn fields(&self, name: &'a str) -> Option<Fields<'a>> {
        self.infos.get(&id(name)).map(|info| Fields::of(info))
    }

    pub(super) fn wrong(&mut self, message: impl Into<String>, help: &str) {
        self.findings.push(Diagnostic::error(&self.ctx.target.span, message).help(help));
    }

    fn files(&mut self, fields: Option<Fields<'_>>, name: &str) -> Option<Vec<Artifact>> {
        fields?.files(name).unwrap_or_else(|message| {
            self.wrong(message, "give files that sources, `ctx.actions.declare_file()` or dependencies made");
            None
        })
    }

    fn analysis(&mut self, edges: Edges<'_>) -> Analysis {
        let default = self.fields("DefaultInfo");
        let run = self.run(default);
        let test = self.test(run.is_some());
        let map = self.map();
        let program = program::program(self, edges);
        let chain = self.chain();
        let executable = run.iter().map(|run| run.executable.clone());
        let object = program.iter().map(|(program, _)| program.object.clone());
        let mut files = self.files(default, "files").unwrap_or_else(|| executable.chain(object).collect());
        // Building the target is inspecting its object, whatever files the rule thought of.
        if let Some((program, _)) = &program
            && !files.contains(&program.facts)
        {
            files.push(program.facts.clone());
        }
        let (program, inspect) = program.unzip();
        let providers = Providers {
            files,
            headers: self.headers(),
            map,
            program: program.map(Arc::new),
            chain,
            run: run.map(Arc::new),
            test,
            runfiles: self.files(default, "runfiles").unwrap_or_default(),
            suite: false,
            infos: self.of_users(),
        };
        Analysis { actions: inspect.into_iter().map(Arc::new).collect(), providers, ..Analysis::default() }
    }

    fn of_users(&self) -> BTreeMap<ProviderId, Arc<Info>> {
        let own = self.infos.iter().filter(|(id, _)| find(id).is_none());
        own.map(|(id, info)| ((*id).clone(), Arc::clone(info))).collect()
    }

    fn run(&mut self, default: Option<Fields<'_>>) -> Option<RunInfo> {
        let info = self.fields("RunInfo");
        let executable = [info, default].into_iter().flatten().find_map(|fields| fields.file("executable")).cloned();
        if executable.is_none() && info.is_some() {
            self.wrong("`RunInfo` has no `executable`", "give one to `RunInfo` or to `DefaultInfo`");
        }
        Some(RunInfo {
            executable: executable?,
            args: info.map(|fields| fields.texts("args")).unwrap_or_default(),
            env: info.map(|fields| fields.dict("env")).unwrap_or_default(),
        })
    }

    fn test(&mut self, can_run: bool) -> Option<Arc<TestInfo>> {
        let fields = self.fields("TestInfo")?;
        if !can_run {
            self.wrong("`TestInfo` is returned without an executable", "give `executable` to `DefaultInfo`");
        }
        let seconds = fields.int("timeout_seconds");
        let timeout = seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
        if let (Some(given), None) = (seconds, timeout) {
            self.wrong(format!("`timeout_seconds` of `TestInfo` is {given}"), "give one second or more");
        }
        let timeout = timeout.map(Duration::from_secs);
        let (uncached, exclusive) = (fields.flag("uncached"), fields.flag("exclusive"));
        Some(Arc::new(TestInfo { timeout, uncached, exclusive, ..TestInfo::default() }))
    }

    fn headers(&mut self) -> Option<Arc<Headers>> {
        let fields = self.fields("BpfHeadersInfo")?;
        let files = self.files(Some(fields), "files").unwrap_or_default();
        let kernels = program::kernels(self.ctx, fields);
        Some(Arc::new(Headers { files, includes: fields.texts("includes"), defines: fields.texts("defines"), kernels }))
    }

    fn map(&self) -> Option<Arc<MapInfo>> {
        let info = self.infos.get(&id("BpfMapInfo"))?;
        program::map_of(self.ctx, info)
    }

    fn chain(&mut self) -> Option<Arc<ChainInfo>> {
        let fields = self.fields("BpfChainInfo")?;
        let (label, bundle) = (fields.label("label")?, fields.file("bundle")?.clone());
        let Some(chain) = (self.ctx.deps)(label).and_then(|providers| providers.chain.clone()) else {
            self.wrong(format!("`{label}` in `BpfChainInfo` is no chain"), "take it from a chain: `dep[BpfChainInfo].label`");
            return None;
        };
        Some(Arc::new(ChainInfo { bundle, ..(*chain).clone() }))
    }
}
