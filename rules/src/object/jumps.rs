//! Tail calls compared with the declared jumps.
//!
//! Knows what each call's table and index may be, not how that was found out.

use std::collections::BTreeSet;

use super::decoded::Decoded;
use super::flow::TailCall;
use super::value::{Atom, Value};
use super::{Expected, JumpSite};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::manifest::{SLOT_PREFIX, TABLE_MAP};

/// The jumps of `functions`, each place once, sorted; what is not declared, or declared and not there, is a finding.
pub(super) fn check(
    decoded: &Decoded<'_>,
    functions: &BTreeSet<usize>,
    expected: &Expected,
    findings: &mut Vec<Diagnostic>,
) -> Vec<JumpSite> {
    let mut sites = BTreeSet::new();
    let mut is_all_known = true;
    for function in functions {
        is_all_known &= decoded.flows[*function].pointer_calls.is_empty();
        for call in &decoded.flows[*function].tail_calls {
            let site = Site { decoded, expected, function: *function, call };
            let more = site.findings();
            is_all_known &= more.is_empty();
            findings.extend(more);
            sites.extend(site.jumps());
        }
    }
    if is_all_known {
        findings.extend(missing(expected, &sites));
    }
    sites.into_iter().collect()
}

/// Declared jumps nobody takes. Said only when every jump is known: one that is not may be the missing one.
fn missing(expected: &Expected, sites: &BTreeSet<JumpSite>) -> Vec<Diagnostic> {
    let is_taken = |name: &&String| sites.iter().any(|site| site.name == **name);
    let finding = |name: &String| {
        Diagnostic::bare(format!("`{}` declares the jump `{name}`, but its code never takes it", expected.label))
            .help(format!("write `OURO_JUMP(ctx, {name});` where it belongs, or remove it from `jumps`"))
    };
    expected.jumps.iter().filter(|name| !is_taken(name)).map(finding).collect()
}

struct Site<'a> {
    decoded: &'a Decoded<'a>,
    expected: &'a Expected,
    function: usize,
    call: &'a TailCall,
}

impl Site<'_> {
    fn findings(&self) -> Vec<Diagnostic> {
        let table = self.table_finding();
        let indexes = match (self.call.index.atoms(), &table) {
            (_, Some(_)) => Vec::new(),
            (None, None) => vec![self.computed()],
            (Some(atoms), None) => atoms.iter().filter_map(|atom| self.index_finding(*atom)).collect(),
        };
        table.into_iter().chain(indexes).collect()
    }

    /// The declared jumps it takes.
    fn jumps(&self) -> Vec<JumpSite> {
        let span = self.decoded.span(self.function, self.call.at);
        let names = self.call.index.atoms().unwrap_or_default().iter().filter_map(|atom| self.slot_name(*atom));
        let site = |name: &str| JumpSite {
            name: name.to_owned(),
            function: self.name().to_owned(),
            file: span.as_ref().map(|span| span.file.to_string()).unwrap_or_default(),
            line: span.as_ref().map(|span| span.line).unwrap_or_default(),
        };
        names.filter(|name| self.is_declared(name)).map(site).collect()
    }

    fn table_finding(&self) -> Option<Diagnostic> {
        let finding = match &self.call.table {
            Value::One(Atom::Address(symbol)) => match self.decoded.image.symbols[*symbol].name {
                TABLE_MAP => return None,
                name => self.finding(format!("jumps through `{name}`")),
            },
            _ => self.finding("jumps through a table that is not known before it runs".to_owned()),
        };
        Some(finding.help("declare the programs in `jumps` and write `OURO_JUMP(ctx, name);`, ouro makes the table"))
    }

    fn index_finding(&self, atom: Atom) -> Option<Diagnostic> {
        let Some(name) = self.slot_name(atom) else {
            return Some(match atom {
                Atom::Number(slot) => self.finding(format!("jumps to slot {slot} by number")).help(
                    "slots are given when a chain is linked; declare the program in `jumps` and write `OURO_JUMP(ctx, name);`",
                ),
                _ => self.computed(),
            });
        };
        let remedy = did_you_mean(name, self.expected.jumps.iter().map(String::as_str));
        let finding = || self.finding(format!("jumps to `{name}`, which `{}` does not declare", self.expected.label));
        (!self.is_declared(name)).then(|| finding().help(format!("add `:{name}` to `jumps`")).maybe_help(remedy))
    }

    fn computed(&self) -> Diagnostic {
        self.finding("jumps to a slot that is computed when it runs".to_owned())
            .note("jumps that are known before can be checked, and cost the kernel less")
            .help("write one `OURO_JUMP(ctx, name);` for each program, in a `switch` or behind an `if`")
    }

    /// The jump whose slot this is.
    fn slot_name(&self, atom: Atom) -> Option<&str> {
        let Atom::Linked(symbol) = atom else { return None };
        self.decoded.image.symbols[symbol].name.strip_prefix(SLOT_PREFIX)
    }

    fn is_declared(&self, name: &str) -> bool {
        self.expected.jumps.iter().any(|jump| jump == name)
    }

    fn name(&self) -> &str {
        self.decoded.function(self.function).name
    }

    fn finding(&self, what: String) -> Diagnostic {
        self.decoded.finding(self.function, self.call.at, format!("`{}` {what}", self.name()))
    }
}
