//! The built-in rules and constructors, one file per rule.

use crate::attr::RecordSpec;
use crate::rule::Rule;

/// Every built-in rule.
pub fn rules() -> Vec<Box<dyn Rule>> {
    Vec::new()
}

/// Every built-in constructor: `xdp`, `tc`, `tcx`, `jump`.
pub fn records() -> Vec<RecordSpec> {
    Vec::new()
}
