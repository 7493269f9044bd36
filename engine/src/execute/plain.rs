//! What a process left in place of its outputs: plain files, or links to what it may read, which become copies. All else is refused.
//!
//! Reads with the rights of this process, which sees more than the action may: so a link is never followed before it is known where
//! it leads, and nothing is opened that could be a pipe or a device.

use std::fs::{self, FileType, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ouro_rules::{Action, Artifact, Diagnostic};

use super::action::Work;
use super::outputs::{self, open_plain};
use super::run::made_by;
use super::sight::is_input;

impl Work<'_> {
    /// Has every file that the action made be a plain one, and nobody else's under another name.
    pub(super) fn make_plain(&self, action: &Action) -> Result<(), Vec<Diagnostic>> {
        let findings: Vec<Diagnostic> = made_by(action).filter_map(|path| self.make_one_plain(action, path).err()).collect();
        if findings.is_empty() { Ok(()) } else { Err(findings) }
    }

    fn make_one_plain(&self, action: &Action, path: &Arc<str>) -> Result<(), Diagnostic> {
        if let Some(link) = outputs::obstacle(self.site.lock.root(), path).filter(|obstacle| obstacle.is_symlink()) {
            return Err(no_folder(action, link.strip_prefix(self.site.lock.root()).unwrap_or(&link)));
        }
        let place = self.files.place(path);
        let made = match fs::symlink_metadata(&place) {
            // Whoever gathers the outputs tells of those that are missing.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
            other => other.map_err(|error| outputs::trouble("read", path, &error))?,
        };
        let from = match made.file_type() {
            kind if kind.is_symlink() => self.end_of_link(action, path, &place)?,
            kind if !kind.is_file() => return Err(no_file(action, path, kind)),
            _ if is_nobody_elses(&made) => return Ok(()),
            _ => place.clone(),
        };
        copy(&from, &place).map_err(|error| outputs::trouble("read", path, &error))
    }

    /// Where a link leads, if the action may read that. What it leads to may be a source, which must neither become read-only nor
    /// change with the output.
    fn end_of_link(&self, action: &Action, path: &str, place: &Path) -> Result<PathBuf, Diagnostic> {
        match place.canonicalize() {
            Ok(end) if self.is_of(action, &end) => Ok(end),
            Ok(end) => Err(leads_astray(action, path, Some(end.strip_prefix(&self.sight.real_root).unwrap_or(&end)))),
            Err(_) => Err(leads_astray(action, path, None)),
        }
    }

    /// Whether a path without links is an input, or an output that is no link.
    fn is_of(&self, action: &Action, real: &Path) -> bool {
        let own = real.strip_prefix(&self.sight.real_root).ok().and_then(Path::to_str);
        let leads_there = |input: &Artifact| self.files.place(input.path()).canonicalize().is_ok_and(|input| input == real);
        let is_there = |output: &Artifact| {
            let place = self.files.place(output.path());
            let folder = place.parent().and_then(|folder| folder.canonicalize().ok());
            folder.zip(place.file_name()).is_some_and(|(folder, name)| folder.join(name) == real)
        };
        own.is_some_and(|own| is_input(action, own))
            || action.outputs.iter().any(is_there)
            || action.inputs.iter().any(leads_there)
    }
}

fn is_nobody_elses(made: &Metadata) -> bool {
    made.nlink() == 1
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut file = open_plain(from)?;
    let (mut bytes, executable) = (Vec::new(), outputs::is_executable(&file.metadata()?));
    file.read_to_end(&mut bytes)?;
    outputs::replace(to, &bytes, executable)
}

fn leads_astray(action: &Action, path: &str, end: Option<&Path>) -> Diagnostic {
    let end = match end {
        Some(end) => format!("to `{}`, which it does not declare", end.display()),
        None => "nowhere".to_owned(),
    };
    let message = format!("`{}` made a link of its output `{path}`, which leads {end}", action.owner);
    Diagnostic::bare(message)
        .note("what an output leads to could change and nobody would build it again")
        .help("declare what it leads to, or make a file")
}

fn no_file(action: &Action, path: &str, kind: FileType) -> Diagnostic {
    let (what, remedy) = match () {
        () if kind.is_dir() => ("folder", "declare the files in it as outputs, or pack them into one"),
        () if kind.is_fifo() => ("named pipe", "make a file"),
        () if kind.is_socket() => ("socket", "make a file"),
        () => ("device", "make a file"),
    };
    Diagnostic::bare(format!("`{}` made a {what} of its output `{path}`, which must be a file", action.owner)).help(remedy)
}

fn no_folder(action: &Action, folder: &Path) -> Diagnostic {
    let message = format!("`{}` made a link of `{}`, the folder of an output", action.owner, folder.display());
    Diagnostic::bare(message).help("leave the folder as it is: ouro makes it")
}
