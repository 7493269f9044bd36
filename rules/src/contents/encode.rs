//! A value of a BUILD file as the bytes of a C type.
//!
//! Knows one value; what it is a part of is not its business.

use super::{Given, GivenValue};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::manifest::{Layout, Member};

/// The bytes; every finding at once. What is not given is zero.
pub(super) fn encode(layout: &Layout, given: &Given, big_endian: bool) -> Result<Vec<u8>, Vec<Diagnostic>> {
    let mut writer = Writer { bytes: vec![0; layout.bytes() as usize], big_endian, findings: Vec::new() };
    writer.put(layout, None, 0, given);
    if writer.findings.is_empty() { Ok(writer.bytes) } else { Err(writer.findings) }
}

struct Writer {
    bytes: Vec<u8>,
    big_endian: bool,
    findings: Vec<Diagnostic>,
}

impl Writer {
    /// Writes a value that begins at the bit `at`; `bits` are those of a bitfield.
    fn put(&mut self, layout: &Layout, bits: Option<u32>, at: u64, given: &Given) {
        match (layout, &given.value) {
            (Layout::Int { bytes, signed }, _) if number(given).is_some() => {
                self.number(bits.unwrap_or(bytes.saturating_mul(8)), *signed, at, given);
            }
            (Layout::Array { count, of }, GivenValue::List(items)) => self.items(*count, of, at, given, items),
            (Layout::Array { count, of }, GivenValue::Text(text)) if of.bytes() == 1 => self.text(*count, at, given, text),
            (Layout::Struct { members, .. }, GivenValue::Dict(entries)) => self.members(members, at, entries),
            (Layout::Union { members, .. }, GivenValue::Dict(entries)) => {
                if entries.len() > 1 {
                    self.wrong(given, "a union holds one member at a time".to_owned(), "give one");
                }
                self.members(members, at, entries);
            }
            _ => self.mismatch(layout, given),
        }
    }

    fn mismatch(&mut self, layout: &Layout, given: &Given) {
        let help = match layout {
            Layout::Int { .. } => "write a number".to_owned(),
            Layout::Array { of, .. } if of.bytes() == 1 => "write a string, or a list of numbers".to_owned(),
            Layout::Array { .. } => "write a list".to_owned(),
            Layout::Struct { members, .. } | Layout::Union { members, .. } => {
                let shown = members.first().map_or("member", |member| member.name.as_str());
                format!("write a dictionary of members, as in `{{\"{shown}\": ...}}`")
            }
            Layout::Other { .. } => "leave it out; only the kernel and programs can make it".to_owned(),
        };
        self.findings
            .push(Diagnostic::error(&given.span, format!("expected {}, got {}", layout.describe(), given.describe())).help(help));
    }

    fn number(&mut self, bits: u32, signed: bool, at: u64, given: &Given) {
        let Some(value) = number(given) else { return };
        let (low, high) = range(bits, signed);
        if value < low || value > high {
            self.wrong(
                given,
                format!("{} does not fit: the type holds {low} to {high}", given.describe()),
                "give another number",
            );
            return;
        }
        for bit in (0..bits).filter(|bit| value >> (*bit).min(127) & 1 == 1) {
            // In the other order the largest bit stands first, in the number and in its bytes.
            let place = at + u64::from(if self.big_endian { bits - 1 - bit } else { bit });
            let shift = if self.big_endian { 7 - place % 8 } else { place % 8 };
            if let Some(byte) = self.bytes.get_mut(place as usize / 8) {
                *byte |= 1 << shift;
            }
        }
    }

    fn items(&mut self, count: u32, of: &Layout, at: u64, given: &Given, items: &[Given]) {
        if items.len() > count as usize {
            self.wrong(given, format!("{} items do not fit into an array of {count}", items.len()), "remove some");
            return;
        }
        for (item, index) in items.iter().zip(0u64..) {
            self.put(of, None, at + index * u64::from(of.bytes()) * 8, item);
        }
    }

    fn text(&mut self, count: u32, at: u64, given: &Given, text: &str) {
        if text.len() > count as usize {
            self.wrong(given, format!("{} has {} bytes, and the array {count}", given.describe(), text.len()), "shorten it");
            return;
        }
        let place = self.bytes.get_mut(at as usize / 8..).unwrap_or_default();
        place.iter_mut().zip(text.bytes()).for_each(|(place, byte)| *place = byte);
    }

    fn members(&mut self, members: &[Member], at: u64, entries: &[(Given, Given)]) {
        for (name, value) in entries {
            let GivenValue::Text(text) = &name.value else {
                self.wrong(name, format!("{} names no member", name.describe()), "write the member's name as a string");
                continue;
            };
            match find(members, text) {
                Some((member, offset)) => self.put(&member.layout, member.bits, at + offset, value),
                None => {
                    let help = did_you_mean(text, names(members))
                        .unwrap_or_else(|| format!("there are: {}", names(members).collect::<Vec<_>>().join(", ")));
                    self.wrong(name, format!("there is no member `{text}`"), &help);
                }
            }
        }
    }

    fn wrong(&mut self, given: &Given, message: String, help: &str) {
        self.findings.push(Diagnostic::error(&given.span, message).help(help));
    }
}

/// The number a value means. Text is one where it is written as one, for those that have more bits than BUILD files'.
fn number(given: &Given) -> Option<i128> {
    match &given.value {
        GivenValue::Int(number) => Some((*number).into()),
        GivenValue::Bool(truth) => Some((*truth).into()),
        GivenValue::Text(text) => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok().map(i128::from),
            None => text.parse::<u64>().ok().map(i128::from),
        },
        _ => None,
    }
}

/// The smallest and the largest number of so many bits; more than BUILD files can write for the largest of types.
fn range(bits: u32, signed: bool) -> (i128, i128) {
    match (bits.min(126), signed) {
        (bits, false) => (0, (1 << bits) - 1),
        (0, true) => (0, 0),
        (bits, true) => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
    }
}

/// The member of this name and the bit it begins at, also in unions without a name.
fn find<'a>(members: &'a [Member], name: &str) -> Option<(&'a Member, u64)> {
    members.iter().find_map(|member| match &member.layout {
        _ if member.name == name => Some((member, member.at.into())),
        Layout::Union { members, .. } if member.name.is_empty() => {
            find(members, name).map(|(found, at)| (found, u64::from(member.at) + at))
        }
        _ => None,
    })
}

fn names(members: &[Member]) -> impl Iterator<Item = &str> {
    members.iter().flat_map(|member| match &member.layout {
        Layout::Union { members, .. } if member.name.is_empty() => members.iter().map(|inner| inner.name.as_str()).collect(),
        _ => vec![member.name.as_str()],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Span;

    fn given(value: GivenValue) -> Given {
        Given { value, span: Span::point("BUILD.ouro", 1, 1) }
    }

    fn int(number: i64) -> Given {
        given(GivenValue::Int(number))
    }

    fn text(text: &str) -> Given {
        given(GivenValue::Text(text.into()))
    }

    fn list(items: Vec<Given>) -> Given {
        given(GivenValue::List(items))
    }

    fn dict(entries: Vec<(&str, Given)>) -> Given {
        given(GivenValue::Dict(entries.into_iter().map(|(name, value)| (text(name), value)).collect()))
    }

    fn number(bytes: u32, signed: bool) -> Layout {
        Layout::Int { bytes, signed }
    }

    fn member(name: &str, at: u32, bits: Option<u32>, layout: Layout) -> Member {
        Member { name: name.to_owned(), at, bits, layout }
    }

    /// `struct { __u8 kind; __u8 low : 3, high : 5; __s16 port; union { __u32 v4; __u8 raw[4]; }; char name[4]; void *ctx; }`
    fn flow() -> Layout {
        let raw = Layout::Array { count: 4, of: Box::new(number(1, false)) };
        let union = vec![member("v4", 0, None, number(4, false)), member("raw", 0, None, raw.clone())];
        let members = vec![
            member("kind", 0, None, number(1, false)),
            member("low", 8, Some(3), number(1, false)),
            member("high", 11, Some(5), number(1, false)),
            member("port", 16, None, number(2, true)),
            member("", 32, None, Layout::Union { bytes: 4, members: union }),
            member("name", 64, None, raw),
            member("ctx", 96, None, Layout::Other { bytes: 8, what: "a pointer".to_owned() }),
        ];
        Layout::Struct { bytes: 20, members }
    }

    fn bytes(layout: &Layout, value: Given) -> Vec<u8> {
        encode(layout, &value, false).unwrap()
    }

    fn refusals(layout: &Layout, value: Given) -> Vec<String> {
        encode(layout, &value, false).unwrap_err().into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn numbers_have_the_size_and_sign_of_the_type() {
        assert_eq!(bytes(&number(2, true), int(-2)), [0xfe, 0xff]);
        assert_eq!(encode(&number(4, false), &int(0x0102_0304), true).unwrap(), [1, 2, 3, 4]);
        assert_eq!(bytes(&number(8, false), text("0xffffffffffffffff")), [0xff; 8]);
        assert_eq!(bytes(&number(8, false), text("18446744073709551615")), [0xff; 8]);
        assert_eq!(bytes(&number(1, false), given(GivenValue::Bool(true))), [1]);
        assert_eq!(bytes(&number(16, true), int(7))[..2], [7, 0]);
        for (layout, value, range) in [
            (number(1, false), int(256), "0 to 255"),
            (number(1, false), int(-1), "0 to 255"),
            (number(1, true), int(128), "-128 to 127"),
            (number(8, true), text("0xffffffffffffffff"), "-9223372036854775808 to 9223372036854775807"),
        ] {
            assert!(refusals(&layout, value)[0].ends_with(&format!("does not fit: the type holds {range}")));
        }
    }

    #[test]
    fn members_go_where_they_belong() {
        let value = dict(vec![
            ("kind", int(6)),
            ("low", int(5)),
            ("high", int(17)),
            ("port", int(-1)),
            ("raw", list(vec![int(10), int(1)])),
            ("name", text("ab")),
        ]);
        let expected = [6, 5 | 17 << 3, 0xff, 0xff, 10, 1, 0, 0, b'a', b'b', 0, 0];
        assert_eq!(bytes(&flow(), value.clone())[..12], expected);
        // On a big-endian machine the first bitfield has the highest bits.
        assert_eq!(encode(&flow(), &value, true).unwrap()[1], 5 << 5 | 17);
    }

    #[test]
    fn what_does_not_fit_is_told_all_at_once() {
        let value = dict(vec![
            ("knd", int(1)),
            ("low", int(8)),
            ("name", text("abcde")),
            ("raw", list(vec![int(0); 5])),
            ("ctx", int(1)),
            ("port", list(vec![])),
        ]);
        assert_eq!(
            refusals(&flow(), value),
            [
                "there is no member `knd`",
                "`8` does not fit: the type holds 0 to 7",
                "`\"abcde\"` has 5 bytes, and the array 4",
                "5 items do not fit into an array of 4",
                "expected a pointer, got `1`",
                "expected a number of 2 bytes, got a list of 0",
            ]
        );
        assert_eq!(refusals(&flow(), int(1)), ["expected a struct of 20 bytes, got `1`"]);
        let union = Layout::Union { bytes: 4, members: vec![member("a", 0, None, number(4, false))] };
        assert_eq!(refusals(&union, dict(vec![("a", int(1)), ("a", int(2))])), ["a union holds one member at a time"]);
    }
}
