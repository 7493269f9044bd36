//! The standard library: what BUILD files load from `@ouro//`, compiled into the binary.

/// The repository's name in labels.
pub(super) const REPO: &str = "ouro";

/// Every file of the repository by its path.
const FILES: &[(&str, &str)] = &[
    ("bpf/defs.star", include_str!("../../../stdlib/bpf/defs.star")),
    ("file/defs.star", include_str!("../../../stdlib/file/defs.star")),
    ("test/defs.star", include_str!("../../../stdlib/test/defs.star")),
    ("xdp/defs.star", include_str!("../../../stdlib/xdp/defs.star")),
];

/// The text of a file of the standard library, by its path in the repository.
pub(super) fn text(path: &str) -> Option<&'static str> {
    FILES.iter().find(|(name, _)| *name == path).map(|(_, text)| *text)
}

/// The paths of all files.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(path, _)| *path)
}

/// The text of a file as [`Span::file`](ouro_rules::Span) names it, `@ouro//xdp/defs.star`; for showing findings.
pub fn source(file: &str) -> Option<&'static str> {
    text(file.strip_prefix("@ouro//")?)
}
