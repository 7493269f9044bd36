//! Many files with new stamps at once, as after all outputs were put back: too many for the tail, which every build reads.
//!
//! Knows nothing of why they have new stamps. Their bytes are the same.

use std::io::{self, Read, Seek, SeekFrom, Write};

use ouro_cache::Digest;

use crate::state::leftover;

use super::{FileId, HEAD, Known, Patch, Roles, SUM, Snapshot, StateError, TAIL, tail};

/// As many as this go into the tail.
const FEW: usize = 200;

impl Snapshot {
    /// What a file was.
    pub fn roles(&self, file: FileId) -> Roles {
        self.files.known(file).map_or(Roles::default(), |known| known.roles)
    }

    /// What is known of these files: the same as [`Snapshot::known`] tells of each, with one look at the disk for all.
    pub fn all_known(&self, files: &[FileId]) -> Vec<Option<Known>> {
        let length = self.files.base_len() as u64 * 32;
        let start = self.body.start + SUM as u64;
        let digests = super::read(&self.file, start..start + length, self.length).unwrap_or_default();
        let digest = |file: &FileId| match self.later.digests.get(file) {
            Some(known) => *known,
            None => digests
                .as_chunks::<32>()
                .0
                .get(file.index())
                .filter(|bytes| **bytes != [0; 32])
                .map(|bytes| Digest::from_bytes(*bytes)),
        };
        files.iter().map(|file| Some(Known { digest: digest(file), ..self.files.known(*file)? })).collect()
    }

    /// Writes down files that have other stamps and the same bytes. Only under the lock, and while it is current.
    pub fn restamp(&mut self, found: &[(FileId, Known)]) -> Result<(), StateError> {
        if found.len() <= FEW || !self.whole {
            return self.append(&Patch { files: found.to_vec(), ..Patch::default() });
        }
        found.iter().for_each(|(file, known)| self.files.set(*file, *known));
        // The tail would take back what the head says now.
        let again = found.iter().filter(|(file, _)| self.later.digests.contains_key(file)).copied().collect();
        let patch = Patch { files: again, ..Patch::default() };
        self.rewrite(&patch).map_err(StateError::at("write", &self.path))
    }

    /// Writes everything anew, with the head as it is in memory and one more patch.
    fn rewrite(&mut self, patch: &Patch) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(std::path::Path::new("."));
        let mut file = tempfile::Builder::new().prefix(leftover::PREFIX).tempfile_in(folder)?;
        let head = ouro_cache::seal(HEAD, &self.files.bytes()[SUM..]);
        file.write_all(&(head.len() as u64).to_le_bytes())?;
        file.write_all(&head)?;
        let mut before = &self.file;
        before.seek(SeekFrom::Start(self.body.start))?;
        io::copy(&mut before.take(self.length - self.body.start), file.as_file_mut())?;
        if !patch.is_empty() {
            file.write_all(&tail::encode(patch, TAIL))?;
        }
        self.length = file.as_file().metadata()?.len();
        self.file = file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}
