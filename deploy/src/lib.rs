//! ouro-deploy: from a bundle to the kernel and back. Observe what is there, diff it with the bundle, apply the steps.
//!
//! Knows no BUILD files, sources or compilers, and prints nothing. The kernel is the only record: what is pinned in the bpffs
//! is all that is known of a deployment, so nothing can go stale, and a reboot forgets it with the kernel.

mod apply;
mod change;
mod choose;
mod conflict;
mod diff;
mod dispatcher;
mod error;
mod extension;
mod hook;
mod kernel;
mod layout;
mod live;
mod map_check;
mod maps;
mod meta;
mod migrate;
mod object;
mod observe;
mod offload;
mod problem;
mod rehearsal;
mod rejection;
mod resolve;
mod rights;
mod root;
mod status;
mod step;
mod trial;
mod usdt;
mod verify;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Attach, Manifest};

pub use change::{Change, NotAtomic, Plan, What};
pub use choose::{Choice, Refusal};
pub use conflict::Conflict;
pub use diff::{Options, RemoveOptions, acceptance, diff, remove, way_back};
pub use dispatcher::{Dispatcher, Member, Seat};
pub use error::{Error, ErrorKind};
pub use hook::{Hook, Port, Renewal, SocketId};
pub use kernel::drop_capabilities;
pub use kernel::{
    Device, Feature, Filter, Has, Host, LinkFacts, MapFacts, Missing, Offer, Offered, Unseen, Verified, features, offered,
};
pub use layout::Layout;
pub use map_check::Difference;
pub use meta::Meta;
pub use observe::{Attachment, Generation, Observed, observe};
pub use problem::Problem;
pub use rejection::{Place, Rejection};
pub use resolve::resolve;
pub use rights::{limit_to_change, limit_to_deploy, needed_capabilities, require_all_capabilities};
pub use root::Root;
pub use status::{
    Counts, DeploymentStatus, EdgeStatus, HookStatus, MapStatus, PreviousStatus, ProgramStatus, TrialStatus, deployed, status,
    status_of,
};
pub use step::{Runs, Step};
pub use trial::Trial;
pub use verify::{Verdict, VerifyOptions, verify_bundle, verify_object};

use choose::choose;
use kernel::{CoreTypes, Lock};
use offload::bind;

/// Where the bpffs is on nearly every machine.
pub const BPFFS: &str = "/sys/fs/bpf";

/// What [`deploy`] would do. Has the kernel verify what depends on it, and changes nothing.
pub fn plan(bpffs: &Path, bundle: &Bundle, options: &Options) -> Result<Plan, Error> {
    require_for(bpffs, bundle)?;
    let layout = Layout::new(bpffs, &bundle.manifest.name)?;
    let mut observed = observe(bpffs, layout.name())?;
    observed.look_at(&layout, &bundle.manifest.attach);
    let bundle = bind(bundle, &observed.host);
    let (bundle, choices) = choose(&bundle, CoreTypes::of(&bundle, options.btf.as_ref()))?;
    Ok(diff(&bundle, &observed, options).map_err(Error::Conflicts)?.with(choices))
}

/// Loads and verifies a bundle on maps and tables of its own, and runs its tests; then drops all of it. Gives what [`deploy`] would
/// do. Changes nothing, and leaves nothing behind, however it ends.
pub fn rehearse(bpffs: &Path, bundle: &Bundle, options: &Options, progress: &mut dyn FnMut(&Step)) -> Result<Plan, Error> {
    require_for(bpffs, bundle)?;
    let layout = Layout::new(bpffs, &bundle.manifest.name)?;
    let mut observed = observe(bpffs, layout.name())?;
    observed.look_at(&layout, &bundle.manifest.attach);
    let bundle = bind(bundle, &observed.host);
    let core = CoreTypes::of(&bundle, options.btf.as_ref());
    let (bundle, choices) = choose(&bundle, core.clone())?;
    let plan = diff(&bundle, &observed, options).map_err(Error::Conflicts)?;
    rehearsal::rehearse(&bundle, &observed.host, core, progress)?;
    Ok(plan.with(choices))
}

/// Makes a bundle live, and tells `progress` of each step before it is taken. Gives what was done; nothing if the bundle was live.
/// On failure what was live is live still. Links go to devices of the current network namespace.
pub fn deploy(bpffs: &Path, bundle: &Bundle, options: &Options, progress: &mut dyn FnMut(&Step)) -> Result<Plan, Error> {
    require_for(bpffs, bundle)?;
    let layout = Layout::new(bpffs, &bundle.manifest.name)?;
    let _lock = Lock::take(layout.folder())?;
    let mut observed = observe(bpffs, layout.name())?;
    observed.look_at(&layout, &bundle.manifest.attach);
    let bundle = bind(bundle, &observed.host);
    let core = CoreTypes::of(&bundle, options.btf.as_ref());
    let (bundle, choices) = choose(&bundle, core.clone())?;
    let plan = diff(&bundle, &observed, options).map_err(Error::Conflicts)?;
    let mut target = apply::Target::new(&layout, &observed.host, Some(&bundle));
    target.load_with(core);
    target.come_from(options.origin.clone());
    apply::apply(&mut target, &plan.steps, progress)?;
    Ok(plan.with(choices).without(target.lost()))
}

/// Makes the generation live again that was live before; nothing is loaded. Gives what was done.
pub fn rollback(bpffs: &Path, name: &str, progress: &mut dyn FnMut(&Step)) -> Result<Plan, Error> {
    require(bpffs)?;
    change(bpffs, name, &way_back, progress)
}

/// Makes the generation on trial live for good. Gives what was done.
pub fn confirm(bpffs: &Path, name: &str, progress: &mut dyn FnMut(&Step)) -> Result<Plan, Error> {
    require(bpffs)?;
    change(bpffs, name, &acceptance, progress)
}

/// The trial that is under way. For who waits for its end.
pub fn trial(bpffs: &Path, name: &str) -> Result<Option<Trial>, Error> {
    trial::read(&Layout::new(bpffs, name)?.unconfirmed())
}

/// Rolls back if this generation is on trial still. Gives what was done.
pub fn withdraw(bpffs: &Path, name: &str, generation: u32, progress: &mut dyn FnMut(&Step)) -> Result<Plan, Error> {
    let still = |observed: &Observed| observed.trial.is_some_and(|trial| trial.generation == generation);
    let decide = |observed: &Observed| if still(observed) { way_back(observed) } else { Ok(Plan::default()) };
    change(bpffs, name, &decide, progress)
}

/// Carries out what `decide` makes of what there is.
fn change(
    bpffs: &Path,
    name: &str,
    decide: &dyn Fn(&Observed) -> Result<Plan, Vec<Conflict>>,
    progress: &mut dyn FnMut(&Step),
) -> Result<Plan, Error> {
    let layout = Layout::new(bpffs, name)?;
    let _lock = Lock::existing(layout.folder())?.ok_or_else(|| Error::NotDeployed(name.to_owned()))?;
    let mut observed = observe(bpffs, name)?;
    observed.look_at_known(&layout);
    let plan = decide(&observed).map_err(Error::Conflicts)?;
    let mut target = apply::Target::new(&layout, &observed.host, None);
    apply::apply(&mut target, &plan.steps, progress)?;
    Ok(plan.without(target.lost()))
}

/// Changes where a live chain is attached, and loads nothing. `change` gets the attach points the manifest has. Gives what was
/// done. The next [`deploy`] attaches it again where its bundle says.
pub fn reattach(
    bpffs: &Path,
    name: &str,
    change: &mut dyn FnMut(&Manifest) -> Vec<Attach>,
    progress: &mut dyn FnMut(&Step),
) -> Result<Plan, Error> {
    require(bpffs)?;
    let layout = Layout::new(bpffs, name)?;
    let not_deployed = || Error::NotDeployed(name.to_owned());
    let _lock = Lock::existing(layout.folder())?.ok_or_else(not_deployed)?;
    let mut observed = observe(bpffs, name)?;
    if observed.trial.is_some() {
        return Err(Error::Conflicts(vec![Conflict::OnTrial { name: name.to_owned() }]));
    }
    let live = observed.current().filter(|number| observed.live().contains(number));
    let meta = live.and_then(|number| observed.generations[&number].meta.clone()).ok_or_else(not_deployed)?;
    let manifest = Manifest { attach: change(&meta.manifest), ..meta.manifest };
    observed.look_at(&layout, &manifest.attach);
    // Everything is loaded already, so the objects are not missed.
    let bundle = Bundle { manifest, objects: BTreeMap::new(), btf: None, digest: meta.digest };
    let options = Options { origin: meta.origin, placed: true, ..Options::default() };
    let plan = diff(&bundle, &observed, &options).map_err(Error::Conflicts)?;
    let mut target = apply::Target::new(&layout, &observed.host, Some(&bundle));
    target.come_from(options.origin);
    apply::apply(&mut target, &plan.steps, progress)?;
    Ok(plan.without(target.lost()))
}

/// What [`undeploy`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undeployed {
    /// The steps taken; none if there was no such deployment.
    pub steps: Vec<Step>,
    /// What ouro did not make and left.
    pub foreign: Vec<PathBuf>,
    /// The sockets that nobody could look at, with why: what was attached there stays, and lets everything pass.
    pub left: Vec<(Hook, Unseen)>,
}

/// Removes a deployment, and nothing that ouro did not make. Doing it twice is no error.
pub fn undeploy(bpffs: &Path, name: &str, options: &RemoveOptions, progress: &mut dyn FnMut(&Step)) -> Result<Undeployed, Error> {
    require(bpffs)?;
    let layout = Layout::new(bpffs, name)?;
    let Some(_lock) = Lock::existing(layout.folder())? else {
        // A command that was killed after it removed this folder left the one above it.
        layout.folder().parent().map_or(Ok(()), kernel::remove_folder)?;
        return Ok(Undeployed { steps: Vec::new(), foreign: Vec::new(), left: Vec::new() });
    };
    let observed = observe(bpffs, name)?;
    let steps = remove(&observed, options).map_err(Error::Conflicts)?;
    apply::apply(&mut apply::Target::new(&layout, &observed.host, None), &steps, progress)?;
    Ok(Undeployed { steps, foreign: observed.foreign, left: observed.unseen.into_values().collect() })
}

/// Everything here needs a bpffs, and the rights to look at what is pinned there.
fn require(bpffs: &Path) -> Result<(), Error> {
    kernel::require_capabilities(kernel::needed_capabilities(false))?;
    kernel::require_bpffs(bpffs)
}

/// The same, and what the bundle's programs need besides.
fn require_for(bpffs: &Path, bundle: &Bundle) -> Result<(), Error> {
    kernel::require_capabilities(capabilities(&bundle.manifest))?;
    kernel::require_bpffs(bpffs)
}

/// What loading a chain and attaching it takes, whoever does. Maps of a network card take more than others.
fn capabilities(manifest: &Manifest) -> Vec<&'static str> {
    let card = offload::has_maps(manifest).then_some("CAP_SYS_ADMIN");
    kernel::needed_capabilities(follows_kernel(manifest)).into_iter().chain(card).collect()
}

/// Whether a chain has programs that follow the kernel itself, which takes CAP_PERFMON.
fn follows_kernel(manifest: &Manifest) -> bool {
    manifest.programs.iter().any(|program| kernel::follows_kernel(&program.ty))
}
