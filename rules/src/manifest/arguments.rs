//! How programs read the arguments of declared probes: how the table of libbpf's `usdt.bpf.h` lies in memory, in the version that they
//! were compiled with.
//!
//! Plain data; what stands in the table is a deployer's business.

use ouro_cache::Digest;
use serde::{Deserialize, Serialize};

use super::map::ABI_DIGITS;

/// The first bit of a member, from the begin of what it is in, and how many it has.
pub type Bits = (u32, u32);

/// An element of the table: `struct __bpf_usdt_spec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arguments {
    /// Bytes of an element.
    pub size: u32,
    /// Where the first argument is.
    pub first: u32,
    /// Bytes of an argument, a `struct __bpf_usdt_arg_spec`.
    pub step: u32,
    /// How many arguments there is room for.
    pub most: u32,
    /// How many there are: `arg_cnt`.
    pub count: Bits,
    /// Of an argument, the constant or the offset: `val_off`.
    pub value: Bits,
    /// What it is: `arg_type`.
    pub kind: Bits,
    /// Where the context has the register: `reg_off`.
    pub register: Bits,
    /// Whether it has a sign: `arg_signed`.
    pub sign: Bits,
    /// Bits that eight bytes have more than it: `arg_bitshift`.
    pub shift: Bits,
    /// Where the context has the index, and how many bits that is shifted by: `idx_reg_off` and `scale_bitshift`; libbpf 1.7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<(Bits, Bits)>,
}

impl Arguments {
    /// How the table lies in memory, as hex digits: equal where an element of one is an element of the other.
    pub fn abi(&self) -> String {
        let text = serde_json::to_vec(self).expect("BUG: a table is plain data");
        let mut digits = Digest::of(&text).to_string();
        digits.truncate(ABI_DIGITS);
        digits
    }

    /// Whether every member lies within what it is in. Manifests may come from anywhere.
    pub(crate) fn is_sound(&self) -> bool {
        let within = |(start, bits): Bits, bytes: u32| {
            (1..=64).contains(&bits) && u64::from(start) + u64::from(bits) <= u64::from(bytes) * 8
        };
        let index = self.index.iter().flat_map(|(index, scale)| [*index, *scale]);
        let mut members = [self.value, self.kind, self.register, self.sign, self.shift].into_iter().chain(index);
        let all = u64::from(self.first) + u64::from(self.step) * u64::from(self.most);
        self.size <= 1 << 16
            && all <= self.size.into()
            && within(self.count, self.size)
            && members.all(|member| within(member, self.step))
    }
}
