//! Calls of rules and constructors: their arguments, checked, as targets and records.
//!
//! A wrong argument is a finding, never the end of the evaluation. Knows no file system.

use std::sync::Arc;

use ouro_rules::attr::{AttrSpec, AttrType, Record, Spanned, Value as Attr};
use ouro_rules::diagnostic::{Diagnostic, nearest};
use ouro_rules::label::Label;
use ouro_rules::named::Named;
use ouro_rules::rule::Role;
use ouro_rules::target::Target;
use starlark::eval::Arguments;
use starlark::values::{Heap, Value};

use super::coerce::Slot;
use super::context::{Build, Context};
use super::places::{Place, Site};
use super::values::Schema;
use super::visibility;

/// A call of a rule or constructor.
pub(super) struct Call<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) schema: &'a Schema,
    pub(super) site: &'a Site<'a>,
}

/// One argument of a call.
struct Argument<'n, 'v> {
    name: &'n str,
    value: Value<'v>,
    /// Whether it was given without its name.
    by_position: bool,
}

/// What every rule takes besides its own attributes.
const COMMON: &[&str] = &["name", "visibility", "tags"];

/// The attribute that says which files are labels.
const OUTS: &str = "outs";

/// A call of a rule: adds a target.
pub(super) fn target<'v>(call: &Call<'_>, build: &Build<'_>, args: &Arguments<'v, '_>, heap: Heap<'v>) -> starlark::Result<()> {
    if args.positions(heap)?.next().is_some() {
        let finding =
            Diagnostic::error(&call.site.positional().span(), format!("`{}` takes its arguments by name", call.schema.name));
        call.context.report(finding.help("write `name = \"...\"`"));
    }
    let given = named(args)?;
    call.report_unknown(&given, "attribute", COMMON);
    let name = call.name(&given);
    let attrs = call.attributes(&given);
    let visibility = call.strings("visibility", &given);
    let tags = call.strings("tags", &given);
    let Some(name) = name else { return Ok(()) };
    let written = Spanned { value: Attr::Str(name.clone()), span: call.site.argument("name").span() };
    let common = [("name", Some(written)), ("visibility", visibility.clone()), ("tags", tags.clone())];
    let mut attrs = attrs.unwrap_or_default();
    attrs.extend(common.into_iter().filter_map(|(name, value)| Some((name.into(), value?))));
    let target = Target {
        label: Label::new(call.context.package.clone(), name.clone()),
        rule: call.schema.key.clone(),
        attrs: Named::from(attrs),
        visibility: visibility.as_ref().map(|list| visibility::read(call.context, list)).unwrap_or_default(),
        tags: tags.iter().flat_map(|tags| tags.value.items()).filter_map(|tag| tag.value.as_str().map(Arc::from)).collect(),
        span: call.site.span.clone(),
        macro_trace: call.site.trace.clone(),
    };
    call.add(build, name, target, visibility.is_none());
    Ok(())
}

/// A call of a constructor; `None` when a finding was reported.
pub(super) fn record<'v>(call: &Call<'_>, args: &Arguments<'v, '_>, heap: Heap<'v>) -> starlark::Result<Option<Record>> {
    let mut given = named(args)?;
    let mut positions = args.positions(heap)?;
    let first = positions.next();
    let mut complete = true;
    if positions.next().is_some() {
        let finding = Diagnostic::error(&call.site.span, format!("`{}` takes one argument by position", call.schema.name));
        call.context.report(finding.help("give the others by name"));
        complete = false;
    }
    if let (Some(value), Some((name, _))) = (first, call.schema.attrs.first()) {
        complete &= !call.is_twice(&given, name);
        given.insert(0, Argument { name, value, by_position: true });
    }
    complete &= call.report_unknown(&given, "argument", &[]);
    let fields = call.attributes(&given).filter(|_| complete);
    let sorted = |fields| Named::from(fields).into_iter().collect();
    Ok(fields.map(|fields| Record { kind: call.schema.name.clone(), fields: sorted(fields) }))
}

fn named<'n, 'v: 'n>(args: &Arguments<'v, '_>) -> starlark::Result<Vec<Argument<'n, 'v>>> {
    let named = args.names_map()?;
    Ok(named.into_iter().map(|(name, value)| Argument { name: name.as_str(), value, by_position: false }).collect())
}

fn find<'g, 'v>(given: &'g [Argument<'_, 'v>], name: &str) -> Option<&'g Argument<'g, 'v>> {
    // `None` means "as if not given", so that macros can pass their own optional arguments on.
    given.iter().find(|argument| argument.name == name && !argument.value.is_none())
}

impl Call<'_> {
    fn is_twice(&self, given: &[Argument<'_, '_>], name: &str) -> bool {
        let twice = given.iter().any(|argument| argument.name == name);
        if twice {
            let finding =
                Diagnostic::error(&self.site.name_of(name), format!("`{name}` of `{}` is given twice", self.schema.name));
            self.context.report(finding);
        }
        twice
    }

    /// Reports what the schema does not have; whether there was nothing to report.
    fn report_unknown(&self, given: &[Argument<'_, '_>], what: &str, common: &[&str]) -> bool {
        let mut fine = true;
        for name in given.iter().map(|argument| argument.name).filter(|name| !self.known(common).any(|other| other == *name)) {
            let finding =
                Diagnostic::error(&self.site.name_of(name), format!("unknown {what} `{name}` of `{}`", self.schema.name));
            let list = self.known(common).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            self.context.report(finding.help(match (nearest(name, self.known(common)), self.only_missing(given)) {
                (Some(near), _) => format!("did you mean `{near}`?"),
                (None, Some(missing)) => format!("did you mean `{missing}`, which is missing? known are {list}"),
                (None, None) => format!("known are {list}"),
            }));
            fine = false;
        }
        fine
    }

    /// What can be given. What begins with `_` is between a rule and its defaults.
    fn known<'k>(&'k self, common: &'k [&'k str]) -> impl Iterator<Item = &'k str> {
        let own = self.schema.attrs.iter().map(|(name, _)| &**name).filter(|name| !name.starts_with('_'));
        own.chain(common.iter().copied())
    }

    /// The attribute that must be given and is not, if there is one of them.
    fn only_missing(&self, given: &[Argument<'_, '_>]) -> Option<&str> {
        let is_missing = |attr: &&AttrSpec| attr.required && find(given, &attr.name).is_none();
        let mut missing = self.schema.attrs.iter().map(|(_, attr)| attr).filter(is_missing);
        missing.next().filter(|_| missing.next().is_none()).map(|attr| &*attr.name)
    }

    /// Whether an argument that nobody knows is told to be this one: that it is missing need not be told, too.
    fn is_meant(&self, given: &[Argument<'_, '_>], name: &str) -> bool {
        let mut unknown =
            given.iter().map(|argument| argument.name).filter(|name| !self.known(COMMON).any(|other| other == *name));
        unknown.any(|unknown| nearest(unknown, self.known(COMMON)).or_else(|| self.only_missing(given)) == Some(name))
    }

    /// Every attribute of the schema; `None` when a finding was reported.
    fn attributes(&self, given: &[Argument<'_, '_>]) -> Option<Vec<(Arc<str>, Spanned)>> {
        // Room for what every rule takes besides, and no more: these lists make up most of a loaded workspace.
        let common = COMMON.iter().filter(|name| find(given, name).is_some()).count();
        let mut attrs = Vec::with_capacity(self.schema.attrs.len() + common);
        attrs.extend(self.schema.attrs.iter().filter_map(|(name, attr)| Some((name.clone(), self.attribute(attr, given)?))));
        (attrs.len() == self.schema.attrs.len()).then_some(attrs)
    }

    fn attribute(&self, attr: &AttrSpec, given: &[Argument<'_, '_>]) -> Option<Spanned> {
        match find(given, &attr.name) {
            Some(argument) => {
                let slot = Slot { context: self.context, attr };
                match self.is_fixed(attr) {
                    true => slot.coerce(argument.value, self.place(argument)),
                    false => slot.configurable(argument.value, self.place(argument)),
                }
            }
            None if attr.required => self.missing(given, &attr.name, &attr.ty),
            None => Some(Spanned { value: attr.default.clone(), span: self.site.span.clone() }),
        }
    }

    /// Whether an attribute counts before a configuration is chosen.
    fn is_fixed(&self, attr: &AttrSpec) -> bool {
        self.schema.role != Role::Built || attr.name == OUTS
    }

    fn place(&self, argument: &Argument<'_, '_>) -> Place<'_> {
        if argument.by_position { self.site.positional() } else { self.site.argument(argument.name) }
    }

    fn missing<T>(&self, given: &[Argument<'_, '_>], name: &str, ty: &AttrType) -> Option<T> {
        if self.is_meant(given, name) {
            return None;
        }
        let example = match ty {
            AttrType::List(_) => "[...]",
            AttrType::Bool => "True",
            AttrType::Int => "1",
            AttrType::Dict | AttrType::Scalars => "{...}",
            _ => "\"...\"",
        };
        let finding = Diagnostic::error(&self.site.span, format!("missing `{name}` of `{}`", self.schema.name));
        self.context.report(finding.help(format!("add `{name} = {example}`")));
        None
    }

    fn name(&self, given: &[Argument<'_, '_>]) -> Option<Arc<str>> {
        let Some(argument) = find(given, "name") else { return self.missing(given, "name", &AttrType::String) };
        let place = self.place(argument);
        let attr = AttrSpec::new("name", AttrType::String, "");
        let name = Slot { context: self.context, attr: &attr }.coerce(argument.value, place)?;
        let name = name.value.as_str()?;
        let finding = match Label::parse(&format!(":{name}"), "", self.context.package) {
            Err(_) => Diagnostic::error(&place.span(), format!("`{name}` cannot name a target"))
                .help("use letters, digits, `_`, `-`, `.` and, between them, `/`"),
            Ok(_) if matches!(name, "all" | "...") => Diagnostic::error(&place.span(), format!("`{name}` cannot name a target"))
                .help(format!("`:{name}` already means every target of the package")),
            Ok(label) => return Some(label.name),
        };
        self.context.report(finding);
        None
    }

    fn strings(&self, name: &str, given: &[Argument<'_, '_>]) -> Option<Spanned> {
        let attr = AttrSpec::new(name, AttrType::String.list(), "");
        let argument = find(given, name)?;
        Slot { context: self.context, attr: &attr }.coerce(argument.value, self.place(argument))
    }

    fn add(&self, build: &Build<'_>, name: Arc<str>, target: Target, without_visibility: bool) {
        let mut targets = build.targets.borrow_mut();
        if let Some(first) = targets.get(&name) {
            let finding = Diagnostic::error(target.span_of("name"), format!("duplicate target `{name}`"));
            self.context
                .report(finding.related(first.span_of("name"), "first declared here").help("give one of them another name"));
            return;
        }
        if without_visibility {
            build.without_visibility.borrow_mut().push(name.clone());
        }
        targets.insert(name, target);
    }
}
