//! Dispatchers: programs of raw instructions that call the XDP chains of a device one after another.
//!
//! Knows their instructions and types, and no deployments. For each chain there is a function that tail-calls its slot: a tail call
//! replaces the frame of that function alone, so what the chain's entry returns comes back to the dispatcher. A function with a tail
//! call must have BTF, and return an `int`; x86-64 from kernel 5.10, arm64 from 6.0. The functions are global: of a static one, older
//! kernels (6.12 is one) believe that it returns nothing but what stands behind its tail call, and drop what tells other verdicts apart.

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use super::maps::{create_table, fill_slot};
use super::prepare::kind_of;
use super::types::KernelTypes;
use super::{pins, sys};
use crate::Error;

/// What a function says whose slot is empty: no verdict of XDP's, and far from those to come.
const NEXT: i32 = 0x6f75_726f;
/// `XDP_PASS`: when no chain says anything.
const PASS: i32 = 2;

/// The types' places in [`types`].
const MAIN: u32 = 5;
const MEMBER: u32 = 6;

/// One chain: the pin of its entry, and the verdicts after which the next one runs.
pub(crate) struct Called {
    pub(crate) entry: PathBuf,
    pub(crate) proceed_on: Vec<i32>,
}

/// Pins a table with these entries, and the dispatcher that calls them in this order, for programs of this section.
pub(crate) fn create_dispatcher(section: &str, called: &[Called], table: &Path, dispatcher: &Path) -> Result<(), Error> {
    let failed = |error| Error::io("cannot load the device's dispatcher, which takes kernel 5.10, on arm64 6.0", error);
    let unknown = |reason| Error::Object { of: "the dispatcher of the device".to_owned(), reason };
    create_table(table, u32::try_from(called.len()).unwrap_or(u32::MAX))?;
    for (slot, chain) in (0..).zip(called) {
        fill_slot(table, slot, &chain.entry)?;
    }
    let (ty, attach_type, flags, _) = kind_of(section, &KernelTypes::default()).map_err(unknown)?;
    let map = pins::require(table, pins::Kind::Map)?;
    let btf = sys::btf_load(&types()).map_err(failed)?;
    let (insns, functions) = instructions(map.as_raw_fd(), called);
    let program = sys::Program {
        ty,
        attach_type,
        flags,
        insns: &insns.concat(),
        license: c"GPL",
        name: "ouro_dispatcher",
        btf: Some(btf.as_fd()),
        functions: &functions,
        lines: &[],
        attach_btf_id: 0,
        attach_btf: None,
        modules: &[],
        card: 0,
    };
    let fd = sys::prog_load(&program, 0, &mut []).map_err(failed)?;
    super::maps::pin(&fd, dispatcher)
}

type Insn = [u8; 8];

fn insn(code: u8, registers: u8, offset: i16, number: i32) -> Insn {
    let ([low, high], [a, b, c, d]) = (offset.to_ne_bytes(), number.to_ne_bytes());
    [code, registers, low, high, a, b, c, d]
}

/// The source register stands in the upper half.
const fn registers(to: u8, from: u8) -> u8 {
    to | from << 4
}

const EXIT: u8 = 0x95;
const CALL: u8 = 0x85;
const COPY: u8 = 0xbf;
const COPY_32: u8 = 0xbc;
const SET: u8 = 0xb7;
const JUMP: u8 = 0x05;
/// Of the lower halves: a verdict has 32 bits.
const JUMP_IF_EQUAL: u8 = 0x16;

/// The dispatcher and then one function for each chain, with where each of them begins. Register 6 keeps the context, register 7
/// the last verdict.
///
/// ```c
/// verdict = XDP_PASS;
/// said = member_0(ctx);                              // for each chain
/// if (said != NEXT) {
///     verdict = said;
///     if (said is not in proceed_on) return verdict;
/// }
/// return verdict;
/// ```
fn instructions(table: i32, called: &[Called]) -> (Vec<Insn>, Vec<[u32; 2]>) {
    let parts: Vec<Vec<Insn>> = called.iter().map(|chain| judge(&chain.proceed_on)).collect();
    let length: usize = 2 + parts.iter().map(Vec::len).sum::<usize>() + 2;
    let mut all = vec![insn(COPY, registers(6, 1), 0, 0), insn(SET, 7, 0, PASS)];
    let mut functions = vec![[0, MAIN]];
    for (index, mut part) in parts.into_iter().enumerate() {
        let start = length + index * member(table, 0).len();
        // Both count from the instruction behind them.
        part[1] = insn(CALL, registers(0, 1), 0, distance(all.len() + 2, start));
        let after = all.len() + part.len();
        let last = part.len() - 1;
        part[last] = insn(JUMP, 0, i16::try_from(distance(after, length - 2)).unwrap_or(i16::MAX), 0);
        functions.push([u32::try_from(start).unwrap_or(u32::MAX), MEMBER]);
        all.extend(part);
    }
    all.extend([insn(COPY_32, registers(0, 7), 0, 0), insn(EXIT, 0, 0, 0)]);
    all.extend((0..).zip(called).flat_map(|(slot, _)| member(table, slot)));
    (all, functions)
}

fn distance(from: usize, to: usize) -> i32 {
    i32::try_from(to).unwrap_or(i32::MAX) - i32::try_from(from).unwrap_or(0)
}

/// Calls one chain and goes on behind this part, or to the end: the call and the last jump are still to be aimed.
fn judge(proceed_on: &[i32]) -> Vec<Insn> {
    let mut part = vec![insn(COPY, registers(1, 6), 0, 0), insn(CALL, 0, 0, 0)];
    let behind = |checks: usize| i16::try_from(checks + 1).unwrap_or(i16::MAX);
    part.push(insn(JUMP_IF_EQUAL, 0, behind(proceed_on.len() + 1), NEXT));
    part.push(insn(COPY_32, registers(7, 0), 0, 0));
    let checks = proceed_on.iter().enumerate();
    part.extend(checks.map(|(index, verdict)| insn(JUMP_IF_EQUAL, 0, behind(proceed_on.len() - index - 1), *verdict)));
    part.push(insn(JUMP, 0, 0, 0));
    part
}

/// `bpf_tail_call(ctx, table, slot); return NEXT;` with the context still in register 1.
fn member(table: i32, slot: i32) -> [Insn; 6] {
    const LOAD_WIDE: u8 = 0x18;
    const TAIL_CALL: i32 = 12;
    /// `BPF_PSEUDO_MAP_FD`, as the source register.
    const MAP: u8 = 1;
    [
        insn(LOAD_WIDE, registers(2, MAP), 0, table),
        insn(0, 0, 0, 0),
        insn(SET, 3, 0, slot),
        insn(CALL, 0, 0, TAIL_CALL),
        insn(SET, 0, 0, NEXT),
        insn(EXIT, 0, 0, 0),
    ]
}

/// `int ouro_dispatcher(struct xdp_md *ctx)` and `int member(struct xdp_md *ctx)`, as BTF (Documentation/bpf/btf.rst). The name of
/// the struct says that a global function takes the context; what is in it does not matter.
fn types() -> Vec<u8> {
    const STRINGS: &[u8] = b"\0int\0ctx\0ouro_dispatcher\0member\0xdp_md\0";
    // Where these names stand among the strings.
    let (int, ctx, dispatcher, member, context) = (1, 5, 9, 25, 32);
    let kind = |kind: u32, extra: u32| kind << 24 | extra;
    let all: [&[u32]; 6] = [
        // A signed number of 32 bits.
        &[int, kind(1, 0), 4, 1 << 24 | 32],
        &[context, kind(4, 0), 0],
        &[0, kind(2, 0), 2],
        &[0, kind(13, 1), 1, ctx, 3],
        // Both global.
        &[dispatcher, kind(12, 1), 4],
        &[member, kind(12, 1), 4],
    ];
    let words = all.concat();
    let length = u32::try_from(words.len() * 4).unwrap_or(0);
    let strings = u32::try_from(STRINGS.len()).unwrap_or(0);
    let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
    bytes.extend([1, 0]);
    bytes.extend([24, 0, length, length, strings].iter().chain(&words).flat_map(|word| word.to_ne_bytes()));
    bytes.extend(STRINGS);
    bytes
}
