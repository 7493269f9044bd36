//! Unpacks gzip (RFC 1951 and 1952), which the kernel keeps its configuration in.
//!
//! Small rather than fast; whatever the bytes are, it ends and does not panic. Nothing checks the sum at the end: the kernel is
//! believed.

/// More than any kernel's configuration.
const LIMIT: usize = 16 << 20;
const LONGEST: usize = 15;
/// The order in which the lengths of codes of lengths are given.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const LENGTHS: [(u16, u8); 29] =
    steps(3, [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0]);
const DISTANCES: [(u16, u8); 30] =
    steps(1, [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13]);

/// Each begins where the one before ends; the last length is the odd one out, 258.
const fn steps<const N: usize>(first: u16, bits: [u8; N]) -> [(u16, u8); N] {
    let (mut steps, mut base, mut index) = ([(0, 0); N], first, 0);
    while index < N {
        steps[index] = (if N == 29 && index == 28 { 258 } else { base }, bits[index]);
        base = base.wrapping_add(1 << bits[index]);
        index += 1;
    }
    steps
}

/// Unpacks a file.
pub(super) fn gunzip(bytes: &[u8]) -> Option<Vec<u8>> {
    // The kernel's has neither name nor comment: ten bytes, and the flags are zero.
    let [0x1f, 0x8b, 8, 0, ..] = bytes else { return None };
    let mut bits = Bits { bytes: bytes.get(10..)?, held: 0, count: 0 };
    let mut out = Vec::new();
    loop {
        let last = bits.take(1)?;
        match bits.take(2)? {
            0 => stored(&mut bits, &mut out)?,
            1 => fixed(&mut bits, &mut out)?,
            2 => dynamic(&mut bits, &mut out)?,
            _ => return None,
        }
        if last == 1 {
            return Some(out);
        }
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    held: u32,
    count: u32,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        while self.count < count {
            let (first, rest) = self.bytes.split_first()?;
            self.held |= u32::from(*first) << self.count;
            self.count += 8;
            self.bytes = rest;
        }
        let value = self.held & ((1 << count) - 1);
        self.held >>= count;
        self.count -= count;
        Some(value)
    }

    /// Forgets the rest of a byte.
    fn align(&mut self) {
        self.held = 0;
        self.count = 0;
    }
}

/// Codes by their lengths: how many there are of each, and the symbols in the order of codes.
struct Codes {
    counts: [u16; LONGEST + 1],
    symbols: Vec<u16>,
}

impl Codes {
    fn of(lengths: &[u8]) -> Codes {
        let mut counts = [0; LONGEST + 1];
        lengths.iter().for_each(|length| counts[usize::from(*length)] += 1);
        let mut symbols: Vec<u16> = (0..lengths.len() as u16).filter(|symbol| lengths[usize::from(*symbol)] > 0).collect();
        symbols.sort_by_key(|symbol| lengths[usize::from(*symbol)]);
        Codes { counts, symbols }
    }

    fn read(&self, bits: &mut Bits<'_>) -> Option<u16> {
        let (mut code, mut first, mut index) = (0i32, 0i32, 0i32);
        for length in 1..=LONGEST {
            code |= i32::try_from(bits.take(1)?).ok()?;
            let count = i32::from(self.counts[length]);
            if code - count < first {
                return self.symbols.get(usize::try_from(index + code - first).ok()?).copied();
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}

fn stored(bits: &mut Bits<'_>, out: &mut Vec<u8>) -> Option<()> {
    bits.align();
    let length = bits.take(16)? as usize;
    bits.take(16)?;
    let (data, rest) = bits.bytes.split_at_checked(length)?;
    bits.bytes = rest;
    out.extend(data);
    (out.len() <= LIMIT).then_some(())
}

fn fixed(bits: &mut Bits<'_>, out: &mut Vec<u8>) -> Option<()> {
    let mut lengths = [8u8; 288];
    lengths[144..256].fill(9);
    lengths[256..280].fill(7);
    unpack(bits, out, &Codes::of(&lengths), &Codes::of(&[5; 30]))
}

fn dynamic(bits: &mut Bits<'_>, out: &mut Vec<u8>) -> Option<()> {
    let (literals, distances, count) = (bits.take(5)? as usize + 257, bits.take(5)? as usize + 1, bits.take(4)? as usize + 4);
    let mut lengths = [0u8; 19];
    for place in ORDER.iter().take(count) {
        lengths[*place] = bits.take(3)? as u8;
    }
    let codes = Codes::of(&lengths);
    let mut lengths: Vec<u8> = Vec::new();
    while lengths.len() < literals + distances {
        let (value, count) = match codes.read(bits)? {
            symbol @ 0..=15 => (symbol as u8, 1),
            16 => (*lengths.last()?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            _ => (0, 11 + bits.take(7)?),
        };
        lengths.extend((0..count).map(|_| value));
    }
    let (first, second) = lengths.get(..literals + distances)?.split_at(literals);
    unpack(bits, out, &Codes::of(first), &Codes::of(second))
}

fn unpack(bits: &mut Bits<'_>, out: &mut Vec<u8>, literals: &Codes, distances: &Codes) -> Option<()> {
    loop {
        match literals.read(bits)? {
            symbol @ 0..=255 => out.push(symbol as u8),
            256 => return Some(()),
            symbol => {
                let (base, extra) = LENGTHS.get(usize::from(symbol) - 257)?;
                let length = usize::from(*base) + bits.take(u32::from(*extra))? as usize;
                let (base, extra) = DISTANCES.get(usize::from(distances.read(bits)?))?;
                let distance = usize::from(*base) + bits.take(u32::from(*extra))? as usize;
                let start = out.len().checked_sub(distance)?;
                (start..start + length).for_each(|place| out.push(out[place]));
            }
        }
        if out.len() > LIMIT {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gzip_packs_is_unpacked() {
        // `printf 'ouro ouro ouro\n' | gzip -n`: one block with the fixed codes, and a length with a distance.
        let packed = [
            0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 0x03, 0xcb, 0x2f, 0x2d, 0xca, 0x57, 0xc8, 0x87, 0x11, 0x5c, 0, 0x1a, 0x09, 0xe2,
            0xb5, 0x0f, 0, 0, 0,
        ];
        assert_eq!(gunzip(&packed).as_deref(), Some(&b"ouro ouro ouro\n"[..]));
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        for bytes in [&b""[..], &[0x1f, 0x8b, 8, 0], &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xcb], &[0xff; 64]] {
            assert_eq!(gunzip(bytes), None);
        }
    }
}
