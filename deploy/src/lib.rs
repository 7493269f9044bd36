//! ouro-deploy: from a bundle to the kernel and back. Observe what is there, diff it with the bundle, apply the steps.
//!
//! Knows no BUILD files, sources or compilers, and prints nothing. The kernel is the only record: what is pinned in the bpffs
//! is all that is known of a deployment, so nothing can go stale, and a reboot forgets it with the kernel.

mod apply;
mod conflict;
mod diff;
mod error;
mod hook;
mod kernel;
mod layout;
mod map_check;
mod maps;
mod meta;
mod migrate;
mod object;
mod observe;
mod problem;
mod rejection;
mod status;
mod step;
mod verify;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Attach, Manifest};

pub use conflict::Conflict;
pub use diff::{Options, RemoveOptions, diff, remove};
pub use error::{Error, ErrorKind};
pub use hook::Hook;
pub use kernel::{Device, Feature, Filter, Has, Host, MapFacts, Verified, features};
pub use kernel::{drop_capabilities, limit_capabilities, needed_capabilities};
pub use layout::Layout;
pub use map_check::Difference;
pub use meta::Meta;
pub use observe::{Attachment, Generation, Observed, observe};
pub use problem::Problem;
pub use rejection::{Place, Rejection};
pub use status::{Counts, DeploymentStatus, EdgeStatus, HookStatus, MapStatus, ProgramStatus, status};
pub use step::Step;
pub use verify::{Verdict, VerifyOptions, verify_bundle, verify_object};

use kernel::Lock;

/// Where the bpffs is on nearly every machine.
pub const BPFFS: &str = "/sys/fs/bpf";

/// The steps [`deploy`] would take. Changes nothing.
pub fn plan(bpffs: &Path, bundle: &Bundle, options: &Options) -> Result<Vec<Step>, Error> {
    require_for(bpffs, bundle)?;
    diff(bundle, &observe(bpffs, &bundle.manifest.name)?, options).map_err(Error::Conflicts)
}

/// Makes a bundle live, and tells `progress` of each step before it is taken. Gives the steps taken; none if the bundle was
/// live. On failure what was live is live still. Links go to devices of the current network namespace.
pub fn deploy(bpffs: &Path, bundle: &Bundle, options: &Options, progress: &mut dyn FnMut(&Step)) -> Result<Vec<Step>, Error> {
    require_for(bpffs, bundle)?;
    let layout = Layout::new(bpffs, &bundle.manifest.name)?;
    let _lock = Lock::take(layout.folder())?;
    let observed = observe(bpffs, layout.name())?;
    let steps = diff(bundle, &observed, options).map_err(Error::Conflicts)?;
    let mut target = apply::Target::new(&layout, &observed.host, Some(bundle));
    target.load_with(options.btf.clone());
    apply::apply(&mut target, &steps, progress)?;
    Ok(steps)
}

/// Changes where a live chain is attached, and loads nothing. `change` gets the attach points the manifest has. Gives the steps
/// taken. The next [`deploy`] attaches it again where its bundle says.
pub fn reattach(
    bpffs: &Path,
    name: &str,
    change: &mut dyn FnMut(&Manifest) -> Vec<Attach>,
    progress: &mut dyn FnMut(&Step),
) -> Result<Vec<Step>, Error> {
    require(bpffs)?;
    let layout = Layout::new(bpffs, name)?;
    let not_deployed = || Error::NotDeployed(name.to_owned());
    let _lock = Lock::existing(layout.folder())?.ok_or_else(not_deployed)?;
    let observed = observe(bpffs, name)?;
    let live = observed.live().last().and_then(|number| observed.generations.get(number));
    let meta = live.and_then(|generation| generation.meta.clone()).ok_or_else(not_deployed)?;
    let manifest = Manifest { attach: change(&meta.manifest), ..meta.manifest };
    // Everything is loaded already, so the objects are not missed.
    let bundle = Bundle { manifest, objects: BTreeMap::new(), digest: meta.digest };
    let steps = diff(&bundle, &observed, &Options::default()).map_err(Error::Conflicts)?;
    apply::apply(&mut apply::Target::new(&layout, &observed.host, Some(&bundle)), &steps, progress)?;
    Ok(steps)
}

/// What [`undeploy`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undeployed {
    /// The steps taken; none if there was no such deployment.
    pub steps: Vec<Step>,
    /// What ouro did not make and left.
    pub foreign: Vec<PathBuf>,
}

/// Removes a deployment, and nothing that ouro did not make. Doing it twice is no error.
pub fn undeploy(bpffs: &Path, name: &str, options: &RemoveOptions, progress: &mut dyn FnMut(&Step)) -> Result<Undeployed, Error> {
    require(bpffs)?;
    let layout = Layout::new(bpffs, name)?;
    let Some(_lock) = Lock::existing(layout.folder())? else { return Ok(Undeployed { steps: Vec::new(), foreign: Vec::new() }) };
    let observed = observe(bpffs, name)?;
    let steps = remove(&observed, options).map_err(Error::Conflicts)?;
    apply::apply(&mut apply::Target::new(&layout, &observed.host, None), &steps, progress)?;
    Ok(Undeployed { steps, foreign: observed.foreign })
}

/// Everything here needs a bpffs, and the rights to look at what is pinned there.
fn require(bpffs: &Path) -> Result<(), Error> {
    kernel::require_capabilities(false)?;
    kernel::require_bpffs(bpffs)
}

/// The same, and what the bundle's programs need besides.
fn require_for(bpffs: &Path, bundle: &Bundle) -> Result<(), Error> {
    kernel::require_capabilities(follows_kernel(&bundle.manifest))?;
    kernel::require_bpffs(bpffs)
}

/// Whether a chain has programs that follow the kernel itself, which takes CAP_PERFMON.
pub fn follows_kernel(manifest: &Manifest) -> bool {
    manifest.programs.iter().any(|program| kernel::follows_kernel(&program.ty))
}
