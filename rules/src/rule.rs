//! The one trait behind every rule, and what analysis hands to it and takes from it.

use crate::action::Action;
use crate::attr::AttrSpec;
use crate::diagnostic::Diagnostic;
use crate::label::{Label, join};
use crate::provider::Providers;
use crate::target::Target;

/// A kind of target.
///
/// `name`, `visibility` and `tags` belong to every rule and are not in [`Rule::attrs`].
pub trait Rule: Send + Sync {
    /// Its name in BUILD files.
    fn name(&self) -> &str;
    /// One paragraph for the reference.
    fn doc(&self) -> &str;
    /// Its attributes.
    fn attrs(&self) -> &[AttrSpec];
    /// Turns a target into actions and providers. Pure; reports every finding it can, not only the first.
    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>>;
}

/// What a rule sees of the world.
pub struct Context<'a> {
    /// The target, attributes checked against the schema.
    pub target: &'a Target,
    /// What is built for.
    pub config: &'a Config,
    /// Providers of every label in the target's attributes (aliases followed), and for a chain of all its members.
    pub deps: &'a dyn Fn(&Label) -> Option<&'a Providers>,
}

impl Context<'_> {
    /// The path of an output of this target from the workspace root.
    pub fn output(&self, name: &str) -> String {
        format!("{}/{}", self.config.out_dir, join(&self.target.label.package, name))
    }
}

/// What a target means.
#[derive(Debug, Clone, Default)]
pub struct Analysis {
    /// Its work.
    pub actions: Vec<Action>,
    /// Its offer.
    pub providers: Providers,
    /// Findings that do not stop the build.
    pub warnings: Vec<Diagnostic>,
}

/// What is built for; part of output paths and command lines, never of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Outputs go below this folder of the workspace: `ouro-out/x86_64`.
    pub out_dir: String,
    /// The CPU that will run the programs, as in libbpf's `__TARGET_ARCH_*`: `x86`, `arm64`.
    pub arch: String,
    /// System header folders for `-target bpf`, in order: `/usr/include/x86_64-linux-gnu`.
    pub system_includes: Vec<String>,
}
