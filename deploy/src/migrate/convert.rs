//! Values of one type as values of another, member by member.
//!
//! Pure; knows layouts, not maps. What cannot be carried over without a loss is refused with a word.

use ouro_rules::manifest::{Layout, Member};

/// How to make a value of one type from one of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conversion {
    bytes: usize,
    moves: Vec<Move>,
}

/// One part of a [`Conversion`]; places are in bits from the begin of what it is a part of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Move {
    /// The same bytes.
    Same { from: u64, to: u64, bytes: u32 },
    /// A number that may have another size or sign.
    Number { name: String, from: Bits, to: Bits },
    /// The elements of an array.
    Each { from: (u64, u32), to: (u64, u32), count: u32, moves: Vec<Move> },
}

/// Where a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bits {
    at: u64,
    bits: u32,
    signed: bool,
}

impl Conversion {
    /// How values of `old` become values of `new`, or every reason why they cannot. Members that are gone are dropped, and new
    /// ones are zero.
    pub(crate) fn plan(old: &Layout, new: &Layout) -> Result<Conversion, Vec<String>> {
        let mut planner = Planner::default();
        let moves = planner.moves("", (old, 0, None), (new, 0, None));
        let bytes = new.bytes() as usize;
        if planner.refusals.is_empty() { Ok(Conversion { bytes, moves }) } else { Err(planner.refusals) }
    }

    /// The value of the new type; an error names what does not fit.
    pub(crate) fn apply(&self, old: &[u8]) -> Result<Vec<u8>, String> {
        let mut new = vec![0; self.bytes];
        carry(&self.moves, (old, 0), (&mut new, 0))?;
        Ok(new)
    }
}

/// A part of a type: what it is, where it begins, and how many bits a bitfield has.
type Part<'a> = (&'a Layout, u64, Option<u32>);

#[derive(Default)]
struct Planner {
    refusals: Vec<String>,
}

impl Planner {
    fn moves(&mut self, name: &str, old: Part<'_>, new: Part<'_>) -> Vec<Move> {
        let ((from, from_at, from_bits), (to, to_at, to_bits)) = (old, new);
        match (from, to) {
            (Layout::Int { bytes, signed }, Layout::Int { bytes: to_bytes, signed: to_signed }) => {
                let bits = |at, bits: Option<u32>, bytes: u32, signed| Bits {
                    at,
                    bits: bits.unwrap_or(bytes.saturating_mul(8)),
                    signed,
                };
                let (from, to) = (bits(from_at, from_bits, *bytes, *signed), bits(to_at, to_bits, *to_bytes, *to_signed));
                match from.bits <= 64 && to.bits <= 64 {
                    true => vec![Move::Number { name: shown(name), from, to }],
                    false if from.bits == to.bits => vec![Move::Same { from: from_at, to: to_at, bytes: *bytes }],
                    false => self.refuse(name, format!("is {} and becomes {}", old.0.describe(), new.0.describe())),
                }
            }
            _ if from == to => vec![Move::Same { from: from_at, to: to_at, bytes: from.bytes() }],
            (Layout::Struct { members: from, .. }, Layout::Struct { members: to, .. }) => {
                let pairs = to.iter().filter_map(|to| Some((from.iter().find(|from| from.name == to.name)?, to)));
                let place = |at: u64, member: &Member| at + u64::from(member.at);
                let moves = pairs.flat_map(|(from, to)| {
                    let name = if name.is_empty() { to.name.clone() } else { format!("{name}.{}", to.name) };
                    let (old, new) = (place(from_at, from), place(to_at, to));
                    self.moves(&name, (&from.layout, old, from.bits), (&to.layout, new, to.bits))
                });
                moves.collect()
            }
            (Layout::Array { count, of }, Layout::Array { count: to_count, of: to_of }) => {
                if count > to_count {
                    return self.refuse(name, format!("has {count} elements and would have {to_count}"));
                }
                let moves = self.moves(&format!("{name}[]"), (of, 0, None), (to_of, 0, None));
                vec![Move::Each { from: (from_at, of.bytes()), to: (to_at, to_of.bytes()), count: *count, moves }]
            }
            (Layout::Union { .. }, Layout::Union { .. }) => {
                self.refuse(name, "is a union that changes, and which of its members counts is not known".to_owned())
            }
            _ => self.refuse(name, format!("is {} and becomes {}", from.describe(), to.describe())),
        }
    }

    fn refuse(&mut self, name: &str, why: String) -> Vec<Move> {
        self.refusals.push(format!("{} {why}", shown(name)));
        Vec::new()
    }
}

/// A member's name for people; the value itself has none.
fn shown(name: &str) -> String {
    if name.is_empty() { "it".to_owned() } else { format!("`{name}`") }
}

/// Carries parts over, from one value and place to another.
fn carry(moves: &[Move], old: (&[u8], u64), new: (&mut [u8], u64)) -> Result<(), String> {
    let ((source, source_at), (target, target_at)) = (old, new);
    for part in moves {
        match part {
            Move::Same { from, to, bytes } => {
                let from = source.get((source_at + from) as usize / 8..).unwrap_or_default();
                let to = target.get_mut((target_at + to) as usize / 8..).unwrap_or_default();
                from.iter().zip(to).take(*bytes as usize).for_each(|(from, to)| *to = *from);
            }
            Move::Number { name, from, to } => {
                let number = read(source, source_at, *from);
                if !fits(number, *to) {
                    return Err(format!("{name} is {number}, which {} bits cannot hold", to.bits));
                }
                write(target, target_at, *to, number);
            }
            Move::Each { from, to, count, moves } => {
                for index in 0..u64::from(*count) {
                    let place = |at: u64, (start, bytes): (u64, u32)| at + start + index * u64::from(bytes) * 8;
                    carry(moves, (source, place(source_at, *from)), (&mut *target, place(target_at, *to)))?;
                }
            }
        }
    }
    Ok(())
}

/// Where the bit of this weight is, as byte and shift. In the other order of bytes the largest stands first.
fn bit(at: u64, place: Bits, weight: u32) -> (usize, u32) {
    let index = at + place.at + u64::from(if BIG_ENDIAN { place.bits - 1 - weight } else { weight });
    let shift = (index % 8) as u32;
    ((index / 8) as usize, if BIG_ENDIAN { 7 - shift } else { shift })
}

const BIG_ENDIAN: bool = cfg!(target_endian = "big");

fn read(bytes: &[u8], at: u64, place: Bits) -> i128 {
    let mut number = 0i128;
    for weight in 0..place.bits {
        let (byte, shift) = bit(at, place, weight);
        number |= i128::from(bytes.get(byte).map_or(0, |byte| byte >> shift & 1)) << weight;
    }
    let is_negative = place.signed && place.bits > 0 && number >> (place.bits - 1) & 1 == 1;
    if is_negative { number - (1 << place.bits) } else { number }
}

fn fits(number: i128, place: Bits) -> bool {
    let top = 1i128 << if place.signed { place.bits.saturating_sub(1) } else { place.bits };
    let low = if place.signed { -top } else { 0 };
    (low..top).contains(&number)
}

fn write(bytes: &mut [u8], at: u64, place: Bits, number: i128) {
    for weight in 0..place.bits {
        let (byte, shift) = bit(at, place, weight);
        if let Some(byte) = bytes.get_mut(byte)
            && number >> weight & 1 == 1
        {
            *byte |= 1 << shift;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(bytes: u32, signed: bool) -> Layout {
        Layout::Int { bytes, signed }
    }

    fn member(name: &str, at: u32, layout: Layout) -> Member {
        Member { name: name.to_owned(), at: at * 8, bits: None, layout }
    }

    fn bitfield(name: &str, at: u32, bits: u32, signed: bool) -> Member {
        Member { name: name.to_owned(), at, bits: Some(bits), layout: int(4, signed) }
    }

    fn record(bytes: u32, members: Vec<Member>) -> Layout {
        Layout::Struct { bytes, members }
    }

    fn array(count: u32, of: Layout) -> Layout {
        Layout::Array { count, of: Box::new(of) }
    }

    fn convert(old: &Layout, new: &Layout, value: &[u8]) -> Result<Vec<u8>, String> {
        Conversion::plan(old, new).unwrap().apply(value)
    }

    fn refusals(old: &Layout, new: &Layout) -> Vec<String> {
        Conversion::plan(old, new).unwrap_err()
    }

    #[test]
    fn members_of_equal_name_are_carried_over() {
        let old =
            record(12, vec![member("gone", 0, int(4, false)), member("hits", 4, int(4, false)), member("kind", 8, int(1, true))]);
        let new = record(
            24,
            vec![member("kind", 0, int(4, true)), member("fresh", 4, int(4, false)), member("hits", 8, int(8, false))],
        );
        let mut value = [9u32.to_ne_bytes(), 77u32.to_ne_bytes(), [0; 4]].concat();
        value[8] = 0xfe;
        let expected = [&(-2i32).to_ne_bytes()[..], &[0; 4], &77u64.to_ne_bytes(), &[0; 8]].concat();
        assert_eq!(convert(&old, &new, &value).unwrap(), expected);
    }

    #[test]
    fn a_number_that_does_not_fit_is_named() {
        let (wide, narrow) =
            (record(8, vec![member("hits", 0, int(8, false))]), record(1, vec![member("hits", 0, int(1, false))]));
        assert_eq!(convert(&wide, &narrow, &255u64.to_ne_bytes()), Ok(vec![255]));
        assert_eq!(convert(&wide, &narrow, &256u64.to_ne_bytes()), Err("`hits` is 256, which 8 bits cannot hold".to_owned()));
        assert_eq!(
            convert(&int(4, true), &int(8, false), &(-1i32).to_ne_bytes()),
            Err("it is -1, which 64 bits cannot hold".to_owned())
        );
        assert_eq!(convert(&int(4, true), &int(8, true), &(-1i32).to_ne_bytes()), Ok(vec![0xff; 8]));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn bitfields_grow_move_and_become_numbers() {
        let old = record(4, vec![bitfield("a", 0, 3, false), bitfield("b", 3, 5, true), bitfield("c", 8, 12, false)]);
        let new = record(8, vec![bitfield("b", 0, 9, true), bitfield("a", 9, 3, false), member("c", 4, int(2, false))]);
        let value = (5u32 | (0b10001 << 3) | (0xabc << 8)).to_le_bytes();
        let converted = convert(&old, &new, &value).unwrap();
        assert_eq!(u32::from_le_bytes(*converted.first_chunk().unwrap()), 0b1_1111_0001 | 5 << 9);
        assert_eq!(converted[4..], [0xbc, 0x0a, 0, 0]);
        let narrow = record(4, vec![bitfield("c", 0, 8, false)]);
        assert_eq!(convert(&old, &narrow, &value), Err("`c` is 2748, which 8 bits cannot hold".to_owned()));
    }

    #[test]
    fn arrays_and_structs_are_converted_inside() {
        let point = |size: u32| record(2 * size, vec![member("x", 0, int(size, false)), member("y", size, int(size, false))]);
        let old = record(4, vec![member("path", 0, array(2, point(1)))]);
        let new = record(12, vec![member("path", 0, array(3, point(2)))]);
        let expected: Vec<u8> = [1u16, 2, 3, 4, 0, 0].iter().flat_map(|number| number.to_ne_bytes()).collect();
        assert_eq!(convert(&old, &new, &[1, 2, 3, 4]).unwrap(), expected);
        assert_eq!(refusals(&new, &old), ["`path` has 3 elements and would have 2"]);
    }

    #[test]
    fn unions_stay_as_they_are_or_are_refused() {
        let union = |bytes| Layout::Union {
            bytes,
            members: vec![member("v4", 0, int(4, false)), member("v6", 0, array(bytes, int(1, false)))],
        };
        let with = |at, bytes| record(at + bytes, vec![member("address", at, union(bytes))]);
        assert_eq!(convert(&with(0, 16), &with(4, 16), &[7; 16]).unwrap(), [vec![0; 4], vec![7; 16]].concat());
        let text = "`address` is a union that changes, and which of its members counts is not known";
        assert_eq!(refusals(&with(0, 16), &with(0, 8)), [text]);
    }

    #[test]
    fn what_becomes_something_else_is_refused_all_at_once() {
        let pointer = Layout::Other { bytes: 8, what: "a pointer".to_owned() };
        let old = record(16, vec![member("a", 0, pointer), member("b", 8, int(4, false)), member("c", 12, int(4, false))]);
        let new = record(16, vec![member("a", 0, int(8, false)), member("b", 8, array(4, int(1, false)))]);
        assert_eq!(
            refusals(&old, &new),
            [
                "`a` is a pointer and becomes a number of 8 bytes",
                "`b` is a number of 4 bytes and becomes an array of 4, each a number of 1 byte"
            ]
        );
    }

    #[test]
    fn a_value_cut_short_is_no_reason_to_panic() {
        let old = record(8, vec![member("a", 0, int(4, false)), member("b", 4, array(4, int(1, false)))]);
        let new = record(9, vec![member("b", 0, array(4, int(1, false))), member("a", 4, int(4, false))]);
        assert_eq!(convert(&old, &new, &[]).unwrap(), [0; 9]);
    }
}
