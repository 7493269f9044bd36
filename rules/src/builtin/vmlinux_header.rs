//! `vmlinux_header`: the types of a kernel, for programs that include `vmlinux.h`.

use std::sync::Arc;

use crate::action::{Action, ActionKind, Artifact};
use crate::attr::{AttrSpec, AttrType, EdgeKind, Value};
use crate::diagnostic::Diagnostic;
use crate::label::Label;
use crate::native::Native;
use crate::provider::{Headers, Providers, Vmlinux};
use crate::rule::{Analysis, Context, Rule};
use crate::vmlinux::HEADER;

/// What `btf` is when it is no label.
const HOST: &str = "host";

pub(super) struct VmlinuxHeader {
    attrs: Vec<AttrSpec>,
}

impl VmlinuxHeader {
    pub(super) fn new() -> VmlinuxHeader {
        let btf = "Where the types are: a BTF file (or an ELF file with BTF), a header that has them (`.h`), or the kernel that runs here.";
        let slim =
            "Whether each program is compiled against the types it can reach, and against all of them only when it needs more.";
        VmlinuxHeader {
            attrs: vec![
                AttrSpec::new("btf", AttrType::Label, btf).allowed(&[HOST]).edge(EdgeKind::Source).required(),
                AttrSpec::new("slim", AttrType::Bool, slim).default(Value::Bool(true)),
            ],
        }
    }
}

impl Rule for VmlinuxHeader {
    fn name(&self) -> &str {
        "vmlinux_header"
    }

    fn doc(&self) -> &str {
        "The types of a kernel. Programs and libraries that list it in `deps` include them as `vmlinux.h`; see [vmlinux.md](vmlinux.md)."
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        let types = types(ctx).map_err(|finding| vec![finding])?;
        let label = ctx.target.label.clone();
        // In a folder of its own: a program's slim header has the same name.
        let header = Artifact::Output(ctx.output(&format!("{}.include/{HEADER}", label.name)).into());
        let action = Action {
            mnemonic: "vmlinux".into(),
            owner: label.clone(),
            kind: ActionKind::Native(Native::Vmlinux(types.path().clone())),
            inputs: vec![types.clone()],
            outputs: vec![header.clone()],
        };
        let slim = ctx.target.get("slim").as_bool().unwrap_or(true);
        let kernel = Vmlinux { label, types, header: header.clone(), slim };
        let headers = Headers { kernels: vec![Arc::new(kernel)], ..Headers::default() };
        let providers = Providers { files: vec![header], headers: Some(Arc::new(headers)), ..Providers::default() };
        Ok(Analysis { actions: vec![Arc::new(action)], providers, ..Analysis::default() })
    }
}

/// The file with the types.
fn types(ctx: &Context<'_>) -> Result<Artifact, Diagnostic> {
    match ctx.target.get("btf") {
        Value::Label(label) => one_file(ctx, label),
        _ => match &ctx.config.kernel_btf {
            Some(path) => Ok(Artifact::Source(path.as_str().into())),
            None => Err(no_host(ctx)),
        },
    }
}

fn one_file(ctx: &Context<'_>, label: &Label) -> Result<Artifact, Diagnostic> {
    match (ctx.deps)(label).map(|providers| &providers.files[..]).unwrap_or_default() {
        [file] => Ok(file.clone()),
        files => {
            let message = format!("`{label}` is {} files, and `btf` takes one", files.len());
            Err(Diagnostic::error(ctx.target.span_of("btf"), message).help("name the file itself"))
        }
    }
}

fn no_host(ctx: &Context<'_>) -> Diagnostic {
    let message = format!("there is no BTF of a running `{}` kernel on this machine", ctx.config.arch);
    Diagnostic::error(ctx.target.span_of("btf"), message)
        .note("a kernel offers it as `/sys/kernel/btf/vmlinux` when it has CONFIG_DEBUG_INFO_BTF")
        .help("name a BTF file of the kernel the programs are for: `btf = \"vmlinux.btf\"`")
}

/// Sources that find the whole header before their own: it lies beside them.
pub(super) fn shadowed(ctx: &Context<'_>, sources: &[Artifact], headers: &Headers) -> Option<Diagnostic> {
    let types =
        headers.kernels.iter().map(|kernel| &kernel.types).find(|types| types.path().rsplit('/').next() == Some(HEADER))?;
    let folder = |file: &Artifact| file.path().rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let source = sources.iter().find(|source| folder(source) == folder(types))?;
    let message =
        format!("`#include \"{HEADER}\"` in `{}` finds `{}`, all of it, for that lies beside it", source.path(), types.path());
    let finding = Diagnostic::error(ctx.target.span_of("srcs"), message).warning();
    Some(finding.help(format!("move the header to a folder of its own, or write `#include <{HEADER}>`")))
}

/// The kernel whose types a program sees, if it sees any.
pub(super) fn kernel_of<'a>(ctx: &Context<'_>, headers: &'a Headers) -> Result<Option<&'a Arc<Vmlinux>>, Diagnostic> {
    match &headers.kernels[..] {
        [] => Ok(None),
        [kernel] => Ok(Some(kernel)),
        [first, second, ..] => {
            let message = format!("`{}` sees two kernels: `{}` and `{}`", ctx.target.label, first.label, second.label);
            let finding = Diagnostic::error(ctx.target.span_of("deps"), message);
            Err(finding.help("keep one `vmlinux_header` among its `deps` and those of its libraries and maps"))
        }
    }
}
