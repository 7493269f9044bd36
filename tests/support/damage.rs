//! Damage of what a workspace keeps, at places all over it.

use std::fs;
use std::path::PathBuf;

use super::Workspace;

/// The snapshot of the only build that was asked for.
pub fn snapshot(workspace: &Workspace) -> PathBuf {
    let mut found = fs::read_dir(workspace.path(".ouro/snapshots")).expect("snapshots");
    found.next().expect("a snapshot").expect("an entry").path()
}

/// The bytes damaged at so many places, each of which is given with them: cut off there, a bit turned over, or zeroed from there on.
pub fn damaged(whole: &[u8], places: usize) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..whole.len()).step_by(whole.len() / places).enumerate().map(|(round, place)| {
        let mut bytes = whole.to_owned();
        match round % 3 {
            0 => bytes.truncate(place),
            1 => bytes[place] ^= 0x40,
            _ => bytes[place..].fill(0),
        }
        (place, bytes)
    })
}
