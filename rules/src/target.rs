//! Targets: what a BUILD file declares, before any rule has looked at it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::attr::{Spanned, Value};
use crate::diagnostic::{Diagnostic, Span, through};
use crate::label::Label;
use crate::named::Named;

/// One call of a rule in a BUILD file.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name.
    pub label: Label,
    /// The rule's name in the rule table: `bpf_program`.
    pub rule: Arc<str>,
    /// Every attribute the rule declares, defaults filled in.
    pub attrs: Named<Spanned>,
    /// Who may depend on it.
    pub visibility: Visibility,
    /// Free words to select by. `manual` keeps it out of `:all` and `...`.
    pub tags: Vec<Arc<str>>,
    /// The call in the BUILD file.
    pub span: Span,
    /// When a macro made it: the calls between the BUILD file and the rule, outermost first.
    pub macro_trace: Vec<Span>,
}

/// Who may depend on a target.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Visibility {
    /// Its own package alone; the default.
    #[default]
    Private,
    /// Everyone.
    Public,
    /// These packages (`//a:__pkg__`) and subtrees (`//a:__subpackages__`), besides its own.
    Packages(Vec<PackageScope>),
    /// These packages, and those of these `package_group` targets.
    Groups(Vec<PackageScope>, Vec<(Label, Span)>),
}

/// One entry of a visibility list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageScope {
    /// The package.
    pub package: Arc<str>,
    /// Whether those below it are meant too.
    pub below: bool,
}

impl Visibility {
    /// Whether a target of package `to` may depend on one of package `owner` with this visibility, as far as that can be told
    /// without looking into groups.
    pub fn allows(&self, owner: &str, to: &str) -> bool {
        owner == to
            || match self {
                Visibility::Private => false,
                Visibility::Public => true,
                Visibility::Packages(scopes) | Visibility::Groups(scopes, _) => scopes.iter().any(|scope| scope.contains(to)),
            }
    }

    /// The groups it names, with the places.
    pub fn groups(&self) -> &[(Label, Span)] {
        match self {
            Visibility::Groups(_, groups) => groups,
            Visibility::Private | Visibility::Public | Visibility::Packages(_) => &[],
        }
    }
}

impl Target {
    /// An attribute's value; `Value::None` when it is not declared.
    pub fn get(&self, name: &str) -> &Value {
        self.attrs.get(name).map_or(&Value::None, |attr| &attr.value)
    }

    /// A finding about this target; when a macro made it and its call is all there is to show, with the calls inside the macro.
    pub fn blamed(&self, finding: Diagnostic) -> Diagnostic {
        if finding.span.as_ref() == Some(&self.span) { through(finding, &self.macro_trace) } else { finding }
    }

    /// Where an attribute was written; the whole call when it was not.
    pub fn span_of(&self, name: &str) -> &Span {
        self.attrs.get(name).map_or(&self.span, |attr| &attr.span)
    }
}
