//! `ouro init`: a workspace that builds and deploys at once.
//!
//! Knows the text of the files, not what the build makes of them.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use ouro_rules::Diagnostic;

use super::change::{self, Change};

/// The new files, by their path from the workspace root. Those that already exist and are left alone are marked.
const FILES: [(&str, &str); 4] =
    [(SETTINGS_FILE, SETTINGS), (GITIGNORE, IGNORED), ("fw/BUILD.ouro", BUILD), ("fw/count.c", COUNT)];

const SETTINGS_FILE: &str = "ouro.toml";

const GITIGNORE: &str = ".gitignore";

const SETTINGS: &str = "# The folder with this file is the root of the workspace; labels such as `//fw:count` start here.\n\
    # The name tells deployments of this project, from any checkout, from those of others.\n";

const IGNORED: &str = "/ouro-out\n/.ouro\n/compile_commands.json\n# Private keys, as `ouro key new` makes them.\n*.key\n";

const BUILD: &str = r#"# `ouro build //fw:all` compiles, `ouro deploy //fw:fw` loads and attaches, `ouro add` adds a program.

# How many packets came in.
bpf_map(
    name = "packets",
    type = "percpu_array",
    max_entries = 1,
)

bpf_program(
    name = "count",
    srcs = ["count.c"],
    type = "xdp",
    maps = [":packets"],
)

# What is deployed: the entry and all it jumps to. Every machine has `lo`; name your own device here, or with `--interface`.
bpf_chain(
    name = "fw",
    attach = [xdp(interface = "lo", mode = "generic")],
    entry = ":count",
)
"#;

const COUNT: &str = r#"// Counts packets and lets them pass.
#include <ouro/program.h>

SEC("xdp")
int count(struct xdp_md *ctx)
{
    __u32 key = 0;
    __u64 *counter = bpf_map_lookup_elem(&packets, &key);

    if (counter)
        *counter += 1; // the map is per CPU, so nobody else writes here
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
"#;

/// Writes a workspace into a folder, which is made if missing; tells the files. Overwrites nothing: with one of the files
/// there, none is written, except that a `.gitignore` of yours is left as it is.
pub fn init(folder: &Path) -> Result<Vec<PathBuf>, Vec<Diagnostic>> {
    // `.` would only make the names longer.
    let folder = folder.strip_prefix(".").unwrap_or(folder);
    let text =
        |name: &str, text: &str| if name == SETTINGS_FILE { format!("{text}{}", name_of(folder)) } else { text.to_owned() };
    let wanted = FILES.iter().map(|(name, body)| Change::create(folder.join(name), text(name, body)));
    let keeps = |path: &Path| path.ends_with(GITIGNORE) && path.exists();
    let changes: Vec<Change> = wanted.filter(|change| !keeps(&change.path)).collect();
    let there = changes.iter().filter(|change| change.path.exists());
    // A workspace has the other files, too: one finding says it all.
    let is_workspace = folder.join(SETTINGS_FILE).exists();
    let told = there.filter(|change| !is_workspace || change.path.ends_with(SETTINGS_FILE));
    let there: Vec<Diagnostic> = told.map(|change| refusal(&change.path)).collect();
    if !there.is_empty() {
        return Err(there);
    }
    change::apply(&changes).map_err(|finding| vec![finding])?;
    Ok(changes.into_iter().map(|change| change.path).collect())
}

/// The table that gives a new workspace the name of its folder, with something behind it that another folder's has not.
fn name_of(folder: &Path) -> String {
    let own = RandomState::new().hash_one(folder) & 0xff_ffff;
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let name =
        absolute.file_name().map(|name| name.to_string_lossy().replace(|c: char| c.is_control() || "\"\\".contains(c), "_"));
    name.map_or_else(String::new, |name| format!("\n[workspace]\nname = \"{name}-{own:06x}\"\n"))
}

fn refusal(path: &Path) -> Diagnostic {
    let finding = change::exists(path);
    if path.ends_with(SETTINGS_FILE) {
        finding.help("this is a workspace already; add to it with `ouro add NAME`")
    } else {
        finding
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_workspace_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("new/place");
        let written = init(&root).unwrap();
        assert_eq!(written, FILES.map(|(name, _)| root.join(name)));
        assert_eq!(fs::read_to_string(root.join("fw/count.c")).unwrap(), COUNT);
        let again = init(&root).unwrap_err();
        assert_eq!(again.len(), 1);
        assert!(again[0].help.as_deref().unwrap().contains("ouro add"));
    }

    #[test]
    fn one_file_in_the_way_stops_all() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("fw")).unwrap();
        fs::write(folder.path().join("fw/count.c"), "mine").unwrap();
        assert_eq!(init(folder.path()).unwrap_err().len(), 1);
        assert_eq!(fs::read_to_string(folder.path().join("fw/count.c")).unwrap(), "mine");
        assert!(!folder.path().join("ouro.toml").exists() && !folder.path().join("fw/BUILD.ouro").exists());
    }

    #[test]
    fn a_file_where_a_folder_should_be_is_told_as_that() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let error = init(&folder.path().join("file/new")).unwrap_err().remove(0);
        assert!(error.message.contains("not a directory") && !error.message.contains("already"), "{error:?}");
        assert!(error.help.is_some());
    }

    #[test]
    fn a_gitignore_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".gitignore"), "mine\n").unwrap();
        assert_eq!(init(folder.path()).unwrap().len(), 3);
        assert_eq!(fs::read_to_string(folder.path().join(".gitignore")).unwrap(), "mine\n");
    }
}
