//! Texts to syntax trees: reads BUILD and `.star` files and lists what they load.
//!
//! Knows nothing of what the trees mean when they run.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use ouro_rules::diagnostic::{Diagnostic, Span};
use ouro_rules::label::Label;
use ouro_rules::repository::Repositories;
use starlark::syntax::ast::{AstStmt, Load as LoadStmt, Stmt};
use starlark::syntax::{AstModule, Dialect, DialectTypes};

use super::errors;
use super::nesting;

/// The two kinds of files; they differ in what they may say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// A BUILD file: calls, lists and variables.
    Build,
    /// A `.star` or `.bzl` file: functions.
    Star,
}

impl Language {
    fn dialect(self) -> Dialect {
        let star = self == Language::Star;
        Dialect {
            enable_def: star,
            enable_types: if star { DialectTypes::Enable } else { DialectTypes::Disable },
            enable_keyword_only_arguments: true,
            enable_load_reexport: false,
            enable_f_strings: true,
            ..Dialect::Standard
        }
    }
}

/// A file that was read and is not evaluated yet.
pub(super) struct Parsed {
    /// Its name in places: the path from the workspace root, or `@ouro//...`.
    pub(super) file: Arc<str>,
    pub(super) language: Language,
    pub(super) ast: AstModule,
    pub(super) loads: Vec<Load>,
}

/// One `load()` statement.
pub(super) struct Load {
    /// The first argument as written; the interpreter asks for the module by it.
    pub(super) text: String,
    /// Where that argument is.
    pub(super) span: Span,
    /// What it names.
    pub(super) target: Result<Label, Diagnostic>,
    /// The names it takes from the module.
    pub(super) symbols: Vec<(String, Span)>,
}

/// Reads a file as text; `None` when there is none.
pub(super) fn read(path: &Path, file: &Arc<str>) -> Result<Option<String>, Diagnostic> {
    match read_bytes(path) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|error| not_text(file, &error)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(Diagnostic::bare(format!("cannot read `{file}`: {error}"))),
    }
}

/// Reads a small file: its size is not asked for, as `std::fs::read` does, but room made for nearly all there are.
fn read_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4 << 10);
    File::open(path)?.take(u64::MAX).read_to_end(&mut bytes)?;
    bytes.shrink_to_fit();
    Ok(bytes)
}

/// Whether the error says that there is no such file; a folder of the name is not one either.
pub(super) fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | IsADirectory)
}

fn not_text(file: &Arc<str>, error: &std::string::FromUtf8Error) -> Diagnostic {
    let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
    let line = good.matches('\n').count() as u32 + 1;
    let column = good.rsplit('\n').next().unwrap_or_default().chars().count() as u32 + 1;
    Diagnostic::error(&Span::point(file.clone(), line, column), format!("`{file}` is not UTF-8")).help("save the file as UTF-8")
}

/// Parses a text. `here`, a repository and a package, is where its labels start.
pub(super) fn parse(
    file: &Arc<str>,
    text: String,
    language: Language,
    here: (&str, &str),
    repositories: &Repositories,
) -> Result<Parsed, Diagnostic> {
    if let Some((line, column)) = nesting::too_deep(&text) {
        return Err(Diagnostic::error(&Span::point(file.clone(), line, column), "expression too deep")
            .help("split it into several variables or list items"));
    }
    let ast = AstModule::parse(file, text, &language.dialect()).map_err(|error| errors::syntax(&error, language))?;
    let mut loads = Vec::new();
    collect_loads(&ast, ast.statement(), &|text| repositories.label(text, here.0, here.1), &mut loads);
    Ok(Parsed { file: file.clone(), language, ast, loads })
}

/// The same file again; the text has been parsed before, so it parses now.
pub(super) fn reparse(file: &str, text: &str, language: Language) -> Option<AstModule> {
    AstModule::parse(file, text.to_owned(), &language.dialect()).ok()
}

/// Reads a label as seen from the file.
type ReadLabel<'a> = &'a dyn Fn(&str) -> Result<Label, Diagnostic>;

fn collect_loads(ast: &AstModule, statement: &AstStmt, label: ReadLabel<'_>, loads: &mut Vec<Load>) {
    match &statement.node {
        Stmt::Statements(all) => all.iter().for_each(|one| collect_loads(ast, one, label, loads)),
        Stmt::Load(load) => loads.push(read_load(ast, load, label)),
        _ => {}
    }
}

fn read_load(ast: &AstModule, load: &LoadStmt, label: ReadLabel<'_>) -> Load {
    let place = |span| errors::span(&ast.file_span(span));
    let span = place(load.module.span);
    let text = load.module.node.clone();
    let target = module_label(&text, &span, label);
    let symbols = load.args.iter().map(|arg| (arg.their.node.clone(), place(arg.their.span))).collect();
    Load { text, span, target, symbols }
}

fn module_label(text: &str, span: &Span, label: ReadLabel<'_>) -> Result<Label, Diagnostic> {
    let label = label(text).map_err(|finding| Diagnostic { span: Some(span.clone()), ..finding })?;
    if !label.name.ends_with(".star") && !label.name.ends_with(".bzl") {
        return Err(Diagnostic::error(span, format!("`{text}` is no `.star` file"))
            .help("`load()` takes functions and values from `.star` files; targets of other packages need no `load()`"));
    }
    // `//fw/defs.star` reads as the file `defs.star` of a package `fw/defs.star`: surely not what was meant.
    if !text.contains(':') && text.contains("//") {
        let (package, name) = text.rsplit_once('/').unwrap_or(("/", text));
        let package = if package.ends_with('/') { format!("{package}/") } else { package.to_owned() };
        return Err(
            Diagnostic::error(span, format!("`{text}` names a package, not a file")).help(format!("write `{package}:{name}`"))
        );
    }
    Ok(label)
}
