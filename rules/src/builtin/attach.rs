//! Constructors: `xdp()`, `tc()`, `tcx()` say where a chain is attached, `jump()` says more of a jump than its target.

use crate::attr::{AttrSpec, AttrType, EdgeKind, Record, RecordSpec, Spanned, Value};
use crate::diagnostic::Diagnostic;
use crate::manifest::{Attach, Direction, KERNEL_NAME, TcVia, XdpMode, is_interface_name};

/// The constructors that say where a chain is attached.
pub const ATTACH: &[&str] = &["xdp", "tc", "tcx"];

/// Every constructor.
pub fn records() -> Vec<RecordSpec> {
    vec![
        record(
            "jump",
            "A jump with more to say than its target.",
            vec![
                AttrSpec::new("target", AttrType::Label, "The program jumped to.").required().edge(EdgeKind::Jump),
                AttrSpec::new(
                    "on_miss",
                    verdict(),
                    "The verdict when the slot is empty; the program's own `on_miss` by default.",
                ),
                AttrSpec::new("loop", AttrType::Int, "For a jump that closes a cycle: how often it is taken at most in one run."),
                AttrSpec::new("name", AttrType::String, "Its name in the C source; the target's name by default."),
            ],
        ),
        record(
            "xdp",
            "Attaches to a device's receive path.",
            vec![
                interface(),
                AttrSpec::new("mode", AttrType::String, "`native` in the driver, `generic` in the stack, `offload` on the card.")
                    .allowed(&["native", "generic", "offload"])
                    .default(Value::Str("native".into())),
            ],
        ),
        record(
            "tc",
            "Attaches to traffic control: a TCX link where the kernel has it (6.6), a clsact filter where not.",
            vec![
                interface(),
                direction(),
                AttrSpec::new("priority", AttrType::Int, "For clsact: the filter's preference, 1 to 65535; lower runs first.")
                    .default(Value::Int(1)),
                AttrSpec::new("via", AttrType::String, "The mechanism.")
                    .allowed(&["auto", "tcx", "clsact"])
                    .default(Value::Str("auto".into())),
            ],
        ),
        record("tcx", "Attaches to traffic control through a TCX link; kernel 6.6.", vec![interface(), direction()]),
    ]
}

fn record(name: &str, doc: &str, attrs: Vec<AttrSpec>) -> RecordSpec {
    RecordSpec { name: name.to_owned(), attrs, doc: doc.to_owned() }
}

fn interface() -> AttrSpec {
    AttrSpec::new("interface", AttrType::String, "The network device.").required()
}

fn direction() -> AttrSpec {
    AttrSpec::new("direction", AttrType::String, "Which way packets go.")
        .allowed(&["ingress", "egress"])
        .default(Value::Str("ingress".into()))
}

/// A verdict: a name of the program type's own, or a number.
pub(super) fn verdict() -> AttrType {
    AttrType::OneOf(vec![AttrType::String, AttrType::Int])
}

/// The attach point a constructor made.
pub(super) fn attach(item: &Spanned) -> Result<Attach, Diagnostic> {
    let Some(record) = item.value.as_record() else {
        return Err(Diagnostic::error(&item.span, "expected an attach point").help("write `xdp(interface = \"eth0\")`"));
    };
    let interface = interface_name(record, item)?;
    let direction = if text(record, "direction") == "egress" { Direction::Egress } else { Direction::Ingress };
    Ok(match &*record.kind {
        "xdp" => Attach::Xdp { interface, mode: mode(text(record, "mode")) },
        "tcx" => Attach::Tc { interface, direction, priority: 1, via: TcVia::Tcx },
        _ => Attach::Tc { interface, direction, priority: priority(record, item)?, via: via(text(record, "via")) },
    })
}

fn text<'a>(record: &'a Record, name: &str) -> &'a str {
    record.get(name).as_str().unwrap_or_default()
}

fn mode(name: &str) -> XdpMode {
    match name {
        "generic" => XdpMode::Generic,
        "offload" => XdpMode::Offload,
        _ => XdpMode::Native,
    }
}

fn via(name: &str) -> TcVia {
    match name {
        "tcx" => TcVia::Tcx,
        "clsact" => TcVia::Clsact,
        _ => TcVia::Auto,
    }
}

fn interface_name(record: &Record, item: &Spanned) -> Result<String, Diagnostic> {
    let name = text(record, "interface");
    let span = record.field("interface").map_or(&item.span, |field| &field.span);
    if !is_interface_name(name) {
        return Err(Diagnostic::error(span, format!("`{name}` cannot name a network device"))
            .help(format!("a device's name has 1 to {KERNEL_NAME} characters, no space, no `/` and no `:`")));
    }
    Ok(name.to_owned())
}

fn priority(record: &Record, item: &Spanned) -> Result<u16, Diagnostic> {
    let span = record.field("priority").map_or(&item.span, |field| &field.span);
    let given = record.get("priority").as_int().unwrap_or(1);
    u16::try_from(given).ok().filter(|priority| *priority > 0).ok_or_else(|| {
        Diagnostic::error(span, format!("priority {given} is out of range")).help("use 1 to 65535; lower runs first")
    })
}
