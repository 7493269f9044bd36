//! Universes for commands that ask the target graph: kept by an earlier command, or loaded and kept for later ones.
//!
//! Knows nothing of what is asked.

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use ouro_engine::build::BuildError;
use ouro_engine::load::Loaded;
use ouro_engine::query;
use ouro_engine::universe::{self, Question, Sought, Universe};
use ouro_rules::label::{Label, Pattern, Scope};

use super::analysed::Asker;
use super::build::failure;
use crate::error::CliError;

/// A universe, and what it was loaded from unless it was kept.
pub struct Looked {
    /// What questions are asked of.
    pub universe: Universe,
    fresh: Option<Fresh>,
}

struct Fresh {
    patterns: Vec<Pattern>,
    loaded: Loaded,
    sought: Sought,
    began: SystemTime,
}

impl Fresh {
    /// Keeps the universe, and gives back what it was loaded from.
    fn keep(self, asker: &Asker<'_>, universe: &Universe) -> Loaded {
        universe.keep(&asker.question(&self.patterns), &self.loaded, &self.sought, self.began);
        self.loaded
    }
}

impl Asker<'_> {
    /// What can be asked about the packages of these patterns and all they depend on.
    pub fn universe(&self, patterns: &[Pattern], attributes: bool) -> Result<Looked, CliError> {
        let (widest, inside) = universe::widest(patterns);
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let has_all = |kept: &Universe| inside.iter().all(|package| kept.graph.package(package).is_some());
        let kept = |patterns: &[Pattern]| Universe::kept(&self.question(patterns), attributes, threads);
        let of_these = || if inside.is_empty() { None } else { kept(patterns) };
        let Some(universe) = kept(&widest).filter(has_all).or_else(of_these) else {
            return self.fresh(patterns, widest, &inside);
        };
        self.session.detail("nothing that was loaded has changed");
        self.session.findings(&universe.warnings)?;
        self.tell_left_out(&universe.left_out);
        Ok(Looked { universe, fresh: None })
    }

    /// Loads a universe: that of the widest patterns, if the packages inside are part of it.
    fn fresh(&self, patterns: &[Pattern], widest: Vec<Pattern>, inside: &[Arc<str>]) -> Result<Looked, CliError> {
        let began = SystemTime::now();
        let (patterns, mut loaded) = self.load_widest(patterns, widest, inside).map_err(failure)?;
        self.session.detail(&format!("loaded {} packages", loaded.packages.len()));
        self.session.findings(&loaded.warnings)?;
        let impossible = self.impossible(&loaded);
        let requested = query::everything(&loaded, &impossible);
        let left_out = impossible.into_iter().cloned().collect();
        loaded.requested = requested;
        let configured = self.configure(&loaded)?;
        let (universe, sought) = Universe::of(&self.workspace.root, &configured, left_out)?;
        drop(configured);
        Ok(Looked { universe, fresh: Some(Fresh { patterns, loaded, sought, began }) })
    }

    fn load_widest(
        &self,
        patterns: &[Pattern],
        widest: Vec<Pattern>,
        inside: &[Arc<str>],
    ) -> Result<(Vec<Pattern>, Loaded), BuildError> {
        match self.load_quietly(&widest) {
            Ok(loaded) if inside.iter().all(|package| loaded.packages.contains_key(package)) => Ok((widest, loaded)),
            Err(error) if inside.is_empty() => Err(error),
            _ => Ok((patterns.to_vec(), self.load_quietly(patterns)?)),
        }
    }

    /// Keeps what was loaded for later commands. To be done last: by then everything is said.
    pub fn keep(&self, looked: Looked) {
        let Looked { universe, fresh } = looked;
        let loaded = fresh.map(|fresh| fresh.keep(self, &universe));
        // The process ends now, and the kernel takes memory back faster than it can be taken apart.
        mem::forget((universe, loaded));
    }

    /// The packages of these targets and all they depend on, with just them asked for. Keeps what was loaded.
    pub fn loaded(&self, mut looked: Looked, labels: &[Label]) -> Result<Loaded, CliError> {
        let loaded = match looked.fresh.take() {
            Some(fresh) => fresh.keep(self, &looked.universe),
            None => {
                // A `.star` file may lie in no package.
                let is_package = |package: &&Arc<str>| looked.universe.graph.package(package).is_some();
                let packages: BTreeSet<&Arc<str>> = labels.iter().map(|label| &label.package).filter(is_package).collect();
                let pattern = |package: &Arc<str>| Pattern { negative: false, scope: Scope::Package(package.clone()) };
                // The universe has told what loading says.
                self.load_quietly(&packages.into_iter().map(pattern).collect::<Vec<_>>()).map_err(failure)?
            }
        };
        Ok(Loaded { requested: labels.to_vec(), ..loaded })
    }

    fn question<'q>(&'q self, patterns: &'q [Pattern]) -> Question<'q> {
        let Asker { workspace, configuration, program, .. } = self;
        Question { workspace, patterns, configuration, program: program.as_deref() }
    }
}
