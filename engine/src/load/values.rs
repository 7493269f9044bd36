//! The interpreter's view of rules, constructors and what constructors make.
//!
//! Knows how they are called; what a call means is in [`super::declare`].

use std::sync::Arc;

use allocative::Allocative;
use ouro_rules::attr::{AttrSpec, Record, RecordSpec};
use ouro_rules::diagnostic::Diagnostic;
use ouro_rules::rule::{Role, Rule};
use starlark::any::ProvidesStaticType;
use starlark::eval::{Arguments, Evaluator};
use starlark::starlark_simple_value;
use starlark::values::{Heap, NoSerialize, StarlarkPagablePanic, StarlarkValue, Value, ValueLike, starlark_value};

use super::context::Context;
use super::declare;
use super::errors::refuse;

/// The attributes of a rule or constructor, by name.
pub(super) struct Schema {
    /// The function's name.
    pub(super) name: Arc<str>,
    /// The rule's name in the rule table.
    pub(super) key: Arc<str>,
    /// The attributes with their names ready to be shared.
    pub(super) attrs: Vec<(Arc<str>, AttrSpec)>,
    /// What targets of the rule are for.
    pub(super) role: Role,
}

impl Schema {
    pub(super) fn new(name: &str, key: &str, attrs: &[AttrSpec], role: Role) -> Arc<Schema> {
        Arc::new(Schema {
            role,
            name: name.into(),
            key: key.into(),
            attrs: attrs.iter().map(|attr| (attr.name.as_str().into(), attr.clone())).collect(),
        })
    }
}

/// A rule as a function: `bpf_program(...)`.
#[derive(Clone, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(super) struct RuleFunction(#[allocative(skip)] Arc<Schema>);

/// A constructor as a function: `xdp(...)`.
#[derive(Clone, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(super) struct RecordFunction(#[allocative(skip)] Arc<Schema>);

/// What a constructor made.
#[derive(Clone, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(super) struct RecordValue(#[allocative(skip)] pub(super) Arc<Record>);

/// Stands for something a finding has been reported for: a name nobody defines, a symbol of a file that did not load.
/// Everything can be done with it, so that evaluation goes on to the next mistake; what touches it is not reported again.
#[derive(Clone, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(super) struct Unknown;

starlark_simple_value!(RuleFunction);
starlark_simple_value!(RecordFunction);
starlark_simple_value!(RecordValue);
starlark_simple_value!(Unknown);

impl RuleFunction {
    pub(super) fn new(rule: &dyn Rule) -> RuleFunction {
        RuleFunction(Schema::new(rule.name(), rule.name(), rule.attrs(), rule.role()))
    }
}

impl RecordFunction {
    pub(super) fn new(spec: &RecordSpec) -> RecordFunction {
        RecordFunction(Schema::new(&spec.name, &spec.name, &spec.attrs, Role::Built))
    }
}

#[starlark_value(type = "rule")]
impl<'v> StarlarkValue<'v> for RuleFunction {
    fn invoke(&self, _me: Value<'v>, args: &Arguments<'v, '_>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
        call(&self.0, args, eval)
    }
}

/// A call of a rule: adds a target.
pub(super) fn call<'v>(
    schema: &Schema,
    args: &Arguments<'v, '_>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let context = Context::of(eval)?;
    let Some(build) = &context.build else {
        return Err(refuse(
            Diagnostic::bare(format!("`{}` is called while a `.star` file loads", schema.name))
                .help("call it from a BUILD file, or inside a function that a BUILD file calls"),
        ));
    };
    let site = context.site(eval);
    let before = context.found();
    declare::target(&declare::Call { context, schema, site: &site }, build, args, eval.heap())?;
    context.blame(before, &site);
    Ok(Value::new_none())
}

#[starlark_value(type = "constructor")]
impl<'v> StarlarkValue<'v> for RecordFunction {
    fn invoke(&self, _me: Value<'v>, args: &Arguments<'v, '_>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
        let context = Context::of(eval)?;
        let site = context.site(eval);
        let before = context.found();
        let made = declare::record(&declare::Call { context, schema: &self.0, site: &site }, args, eval.heap())?;
        context.blame(before, &site);
        Ok(match made {
            Some(record) => eval.heap().alloc(RecordValue(Arc::new(record))),
            None => eval.heap().alloc(Unknown),
        })
    }
}

#[starlark_value(type = "record")]
impl<'v> StarlarkValue<'v> for RecordValue {}

#[starlark_value(type = "unknown")]
impl<'v> StarlarkValue<'v> for Unknown {
    fn invoke(&self, me: Value<'v>, _args: &Arguments<'v, '_>, _eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
        Ok(me)
    }

    fn get_attr(&self, _attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        Some(heap.alloc(Unknown))
    }

    fn at(&self, _index: Value<'v>, heap: Heap<'v>) -> starlark::Result<Value<'v>> {
        Ok(heap.alloc(Unknown))
    }

    fn add(&self, _rhs: Value<'v>, heap: Heap<'v>) -> Option<starlark::Result<Value<'v>>> {
        Some(Ok(heap.alloc(Unknown)))
    }

    fn radd(&self, _lhs: Value<'v>, heap: Heap<'v>) -> Option<starlark::Result<Value<'v>>> {
        Some(Ok(heap.alloc(Unknown)))
    }

    fn iterate_collect(&self, _heap: Heap<'v>) -> starlark::Result<Vec<Value<'v>>> {
        Ok(Vec::new())
    }
}

/// Whether a finding has been reported for this value, or for an item of it.
pub(super) fn is_unknown(value: Value<'_>) -> bool {
    value.downcast_ref::<Unknown>().is_some()
}

macro_rules! shown_as {
    ($type:ty, $this:ident => $($format:tt)*) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let $this = self;
                write!(f, $($format)*)
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    };
}

pub(super) use shown_as;

shown_as!(RuleFunction, this => "<rule {}>", this.0.name);
shown_as!(RecordFunction, this => "<constructor {}>", this.0.name);
shown_as!(RecordValue, this => "{}(...)", this.0.kind);
shown_as!(Unknown, _this => "<unknown>");
