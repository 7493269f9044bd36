//! The constructor `packet()`: a packet a chain is tried with before it goes live, and the verdict it must give.

use super::attach::verdict;
use super::jumps::verdict_number;
use crate::attr::{AttrSpec, AttrType, Record, RecordSpec, Spanned, Value};
use crate::diagnostic::Diagnostic;
use crate::hook::Hook;
use crate::manifest::{MAX_PACKET, MIN_PACKET, PacketTest};

/// The constructor.
pub(super) fn record() -> RecordSpec {
    let bytes = AttrType::OneOf(vec![AttrType::String, AttrType::Int.list()]);
    let attrs = vec![
        AttrSpec::new("name", AttrType::String, "Its name, for messages.").required(),
        AttrSpec::new(
            "data",
            bytes,
            "Its bytes, from the Ethernet header on: hex digits, spaces between them as you like, or numbers.",
        )
        .required(),
        AttrSpec::new("verdict", verdict(), "What the chain must say to it.").required(),
    ];
    let doc = "A packet the chain is tried with before it goes live.".to_owned();
    RecordSpec { name: "packet".to_owned(), attrs, doc }
}

/// The tests, no two of one name; every finding at once.
pub(super) fn packets(items: &[Spanned], hook: &'static Hook) -> (Vec<PacketTest>, Vec<Diagnostic>) {
    let (mut tests, mut findings): (Vec<PacketTest>, _) = (Vec::new(), Vec::new());
    for item in items {
        match packet(item, hook) {
            Ok(test) if tests.iter().any(|known| known.name == test.name) => {
                let message = format!("two packets are named `{}`", test.name);
                findings.push(Diagnostic::error(&item.span, message).help("rename one; reports name them"));
            }
            Ok(test) => tests.push(test),
            Err(more) => findings.extend(more),
        }
    }
    (tests, findings)
}

fn packet(item: &Spanned, hook: &'static Hook) -> Result<PacketTest, Vec<Diagnostic>> {
    let Some(record) = item.value.as_record() else {
        let finding = Diagnostic::error(&item.span, "expected a packet");
        return Err(vec![finding.help("write `packet(\"name\", data = \"...\", verdict = \"drop\")`")]);
    };
    let verdict = record.field("verdict").map_or(Ok(0), |given| verdict_number(hook, given));
    match (data(record, item), verdict) {
        (Ok(bytes), Ok(verdict)) => {
            let data = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            Ok(PacketTest { name: record.get("name").as_str().unwrap_or_default().to_owned(), data, verdict })
        }
        (bytes, verdict) => Err([bytes.err(), verdict.err()].into_iter().flatten().collect()),
    }
}

fn data(record: &Record, item: &Spanned) -> Result<Vec<u8>, Diagnostic> {
    let span = record.field("data").map_or(&item.span, |field| &field.span);
    let bytes = match record.get("data") {
        Value::Str(text) => from_hex(text).map_err(|why| Diagnostic::error(span, why).help("write two hex digits for each byte")),
        list => from_numbers(list.items()),
    }?;
    if (MIN_PACKET..=MAX_PACKET).contains(&bytes.len()) {
        return Ok(bytes);
    }
    Err(Diagnostic::error(span, format!("a packet of {} bytes cannot be tried", bytes.len()))
        .help(format!("it begins with an Ethernet header, and has {MIN_PACKET} to {MAX_PACKET} bytes")))
}

fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    if let Some(wrong) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(format!("`{wrong}` is no hex digit"));
    }
    let count = digits.len();
    let test = PacketTest { name: String::new(), data: digits, verdict: 0 };
    test.bytes().ok_or_else(|| format!("{count} hex digits make no whole bytes"))
}

fn from_numbers(items: &[Spanned]) -> Result<Vec<u8>, Diagnostic> {
    let byte = |item: &Spanned| {
        let number = item.value.as_int().unwrap_or(-1);
        u8::try_from(number).map_err(|_| Diagnostic::error(&item.span, format!("{number} is no byte")).help("use 0 to 255"))
    };
    items.iter().map(byte).collect()
}
