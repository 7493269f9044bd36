//! Outputs that are named by their paths, where commands ask about what makes them.

use std::path::{Component, Path, PathBuf};

use ouro_engine::workspace::{OUT_FOLDER, Workspace};

/// The path, from the root, of the output that this text names: a path below the folder of outputs, from here or from the root.
pub fn named(workspace: &Workspace, text: &str) -> Option<String> {
    let from = |folder: &Path| plain(&folder.join(text)).strip_prefix(&workspace.root).ok().map(Path::to_owned);
    let places = [from(&workspace.root.join(&workspace.cwd)), from(&workspace.root)];
    let output = places.into_iter().flatten().find(|path| path.starts_with(OUT_FOLDER))?;
    output.to_str().map(str::to_owned)
}

/// The package that an output is of: the innermost one its path leads through.
pub fn package<'a>(workspace: &Workspace, output: &'a str) -> &'a str {
    // The first two parts are the folder of outputs and the platform.
    let below = output.splitn(3, '/').nth(2).unwrap_or_default();
    let mut folders = below.rmatch_indices('/').map(|(at, _)| &below[..at]).chain([""]);
    folders.find(|folder| is_package(workspace, folder)).unwrap_or_default()
}

/// Whether a folder is a package of its own.
pub fn is_package(workspace: &Workspace, folder: &str) -> bool {
    ["BUILD.ouro", "BUILD"].iter().any(|name| workspace.root.join(folder).join(name).is_file())
}

/// The path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}
