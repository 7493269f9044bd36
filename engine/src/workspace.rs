//! The workspace: its root folder and `ouro.toml`.
//!
//! Knows nothing of packages, BUILD files or what the settings are used for.

mod configurations;
mod settings;

use std::path::{Path, PathBuf};

use ouro_rules::diagnostic::Diagnostic;

pub use self::configurations::{ConfigurationRequest, configurations};
pub use self::settings::{
    BuildSettings, CacheSettings, ConfigSettings, DeploySettings, FlagSetting, SandboxSettings, Settings, ToolchainSettings,
    WorkspaceSettings,
};

/// The file that makes a folder the root of a workspace.
pub const SETTINGS_FILE: &str = "ouro.toml";

/// Everything ouro makes lies in this folder of the root; never searched for packages or sources.
pub const OUT_FOLDER: &str = "ouro-out";

/// Whether a path from the root is that folder, or lies in it.
pub fn is_output(path: &str) -> bool {
    path.strip_prefix(OUT_FOLDER).is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// A workspace on disk.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// The absolute path of the folder with `ouro.toml`.
    pub root: PathBuf,
    /// The folder ouro was started in, from the root, with `/`; empty for the root. Relative patterns start here.
    pub cwd: String,
    /// What `ouro.toml` says.
    pub settings: Settings,
}

impl Workspace {
    /// Finds the root from the folder `start` upward and reads its `ouro.toml`.
    pub fn find(start: &Path) -> Result<Workspace, Vec<Diagnostic>> {
        let start = std::path::absolute(start)
            .map_err(|error| vec![Diagnostic::bare(format!("cannot find the current folder: {error}"))])?;
        let root = start.ancestors().find(|folder| folder.join(SETTINGS_FILE).is_file()).ok_or_else(|| vec![no_root(&start)])?;
        let below = start.strip_prefix(root).expect("BUG: an ancestor is a prefix");
        let cwd = below.to_str().ok_or_else(|| vec![not_unicode(below)])?.to_owned();
        Workspace::open(root.to_owned(), cwd)
    }

    fn open(root: PathBuf, cwd: String) -> Result<Workspace, Vec<Diagnostic>> {
        let path = root.join(SETTINGS_FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| vec![Diagnostic::bare(format!("cannot read `{}`: {error}", path.display()))])?;
        let settings = settings::parse(&text)?;
        Ok(Workspace { root, cwd, settings })
    }

    /// Whether the folder `path` (from the root) lies outside of what packages and globs see.
    pub fn ignores(&self, path: &str) -> bool {
        path == OUT_FOLDER || self.settings.workspace.ignore.iter().any(|ignored| ignored == path)
    }
}

fn no_root(start: &Path) -> Diagnostic {
    Diagnostic::bare(format!("no `{SETTINGS_FILE}` in `{}` or in any folder above it", start.display()))
        .help("run `ouro init` in the folder that shall become the workspace")
}

fn not_unicode(path: &Path) -> Diagnostic {
    Diagnostic::bare(format!("the folder `{}` has a name that is not UTF-8", path.display()))
        .help("rename the folder; packages are named by their folders")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_found_from_below() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::write(root.join(SETTINGS_FILE), "").unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        let found = Workspace::find(&root.join("a/b")).unwrap();
        assert_eq!((found.root.as_path(), found.cwd.as_str()), (root, "a/b"));
        assert_eq!(Workspace::find(root).unwrap().cwd, "");
    }

    #[test]
    fn without_a_root_the_remedy_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let found = Workspace::find(folder.path()).unwrap_err();
        assert!(found[0].message.starts_with("no `ouro.toml` in `"));
        assert!(found[0].help.as_deref().unwrap().contains("ouro init"));
    }
}
