//! Rules and providers are known by the file that defines them and the name they are assigned to there.
//!
//! Knows nothing of what has the name.

use std::sync::{Arc, OnceLock};

use ouro_rules::diagnostic::{Diagnostic, Span};

/// The name of something that a `.star` file defines; given by the first assignment at its top level.
pub(super) struct Assigned {
    /// The function that made it: `rule`.
    made_by: &'static str,
    /// The file, as in places.
    pub(super) file: Arc<str>,
    /// The call that made it.
    pub(super) span: Span,
    name: OnceLock<Arc<str>>,
}

impl Assigned {
    /// Something made by a call at `span`, without a name yet.
    pub(super) fn new(made_by: &'static str, file: &Arc<str>, span: Span) -> Arc<Assigned> {
        Arc::new(Assigned { made_by, file: file.clone(), span, name: OnceLock::new() })
    }

    /// Something that comes with ouro.
    pub(super) fn builtin(name: &str) -> Arc<Assigned> {
        let export = Assigned::new("", &"".into(), Span::point("", 1, 1));
        export.assign(name);
        export
    }

    /// Assigns it to a name; later assignments are only other names for it.
    pub(super) fn assign(&self, name: &str) {
        self.name.get_or_init(|| name.into());
    }

    /// Its name; empty before it has one.
    pub(super) fn name(&self) -> Arc<str> {
        self.name.get().cloned().unwrap_or_else(|| "".into())
    }

    /// What is wrong when the file has ended and it has no name.
    pub(super) fn finding(&self) -> Option<Diagnostic> {
        if self.name.get().is_some() {
            return None;
        }
        let call = self.made_by;
        let finding = Diagnostic::error(&self.span, format!("what `{call}()` makes here is assigned to no name"));
        Some(finding.help(format!("assign it at the top level of the file: `my_{call} = {call}(...)`")))
    }
}
