//! Follows a function's values to its tail calls: which table and which index each may have, and how deep the stack goes.
//!
//! Abstract interpretation over basic blocks: the state before a block is the union over all ways into it. Two things are taken
//! for granted of compiled code: nobody writes below an address he was handed, and nobody leaves a function but by its exit.

use std::collections::BTreeSet;

use super::body::Body;
use super::elf::{Code, Image};
use super::insn::{Insn, Kind};
use super::results;
use super::state::State;
use super::unreadable::Unreadable;
use super::value::{Atom, Value};
use crate::manifest::LINK_SECTION;

/// After so many visits of one block its differences become anything.
const PATIENCE: usize = 32;

/// What one function does, places counted from its section's begin.
#[derive(Default)]
pub(super) struct Flow {
    /// Bytes of its frame.
    pub stack: u32,
    pub tail_calls: Vec<TailCall>,
    pub calls: Vec<Call>,
    /// Calls through pointers.
    pub pointer_calls: Vec<usize>,
    /// The numbers of functions whose address it takes.
    pub callbacks: Vec<usize>,
    /// What its wide loads load, with the place.
    pub references: Vec<(Atom, usize)>,
}

/// A use of the helper `bpf_tail_call`.
pub(super) struct TailCall {
    pub at: usize,
    pub table: Value,
    pub index: Value,
}

/// A call of another function of the object.
pub(super) struct Call {
    pub at: usize,
    /// Its number.
    pub callee: usize,
    /// Whether anybody looks at what it returns.
    pub is_result_read: bool,
}

impl Flow {
    /// Follows the function of this number.
    pub fn of(image: &Image<'_>, function: usize) -> Result<Flow, Unreadable> {
        let function = &image.functions[function];
        let code = &image.code[&function.section];
        let body = Body::read(function, code)?;
        let tracer = Tracer { image, code, section: function.section, start: function.start, body: &body };
        let mut flow = Flow::default();
        for (block, state) in body.blocks.iter().zip(tracer.fixpoint()) {
            let Some(mut state) = state else { continue };
            for at in block.start..block.end {
                tracer.note(at, &state, &mut flow);
                tracer.step(at, &mut state);
            }
        }
        if !flow.calls.is_empty() {
            let read = results::read_behind(&body);
            flow.calls.iter_mut().for_each(|call| call.is_result_read = read[call.at - function.start]);
        }
        Ok(flow)
    }
}

/// The bytes of stack an instruction needs, given the state before it.
fn depth((insn, kind): (Insn, Kind), state: &State) -> u32 {
    let (register, by) = match kind {
        Kind::Shift(by) => (insn.dst, offset(by)),
        Kind::Store { .. } | Kind::Atomic => (insn.dst, i32::from(insn.off)),
        Kind::Load { .. } => (insn.src, i32::from(insn.off)),
        _ => return 0,
    };
    let frame = |atom: &Atom| if let Atom::Frame(at) = atom { Some(at.saturating_add(by)) } else { None };
    let lowest = state.get(register).atoms().unwrap_or_default().iter().filter_map(frame).min();
    lowest.unwrap_or(0).min(0).unsigned_abs()
}

struct Tracer<'a> {
    image: &'a Image<'a>,
    code: &'a Code,
    section: usize,
    start: usize,
    body: &'a Body,
}

impl Tracer<'_> {
    /// The state before each block; none for blocks nothing leads to.
    fn fixpoint(&self) -> Vec<Option<State>> {
        let count = self.body.blocks.len();
        let mut states: Vec<Option<State>> = vec![None; count];
        let mut visits = vec![0; count];
        states[0] = Some(State::entry());
        // Lowest first: compilers lay blocks out so that most come behind those that lead to them.
        let mut open = BTreeSet::from([0]);
        while let Some(index) = open.pop_first() {
            let block = &self.body.blocks[index];
            let Some(mut state) = states[index].clone() else { continue };
            visits[index] += 1;
            (block.start..block.end).for_each(|at| self.step(at, &mut state));
            for next in &block.next {
                let is_new = match &mut states[*next] {
                    Some(known) => known.join(&state, visits[*next] >= PATIENCE),
                    unknown => unknown.replace(state.clone()).is_none(),
                };
                if is_new {
                    open.insert(*next);
                }
            }
        }
        states
    }

    /// What one instruction does to the state.
    fn step(&self, at: usize, state: &mut State) {
        let (insn, kind) = self.body.ops[at];
        match kind {
            Kind::Move { wide, by_register } => state.set(insn.dst, moved(insn, wide, by_register, state)),
            Kind::Shift(by) => shift(insn, by, state),
            Kind::Arithmetic { .. } => state.set(insn.dst, Value::Anything),
            Kind::WideLoad => state.set(insn.dst, self.wide(at)),
            Kind::Load { bytes, plain } => state.set(insn.dst, self.load(insn, bytes, plain, state)),
            Kind::Store { bytes, by_register } => store(insn, bytes, by_register, state),
            Kind::Atomic => atomic(insn, state),
            Kind::CallFunction | Kind::TailCall | Kind::CallHelper | Kind::CallPointer | Kind::PacketLoad => {
                (0..=5).for_each(|register| state.set(register, Value::Anything));
                state.forget_exposed();
            }
            Kind::Half | Kind::Goto(_) | Kind::Branch { .. } | Kind::Exit => {}
        }
    }

    /// Writes down what an instruction means to others.
    fn note(&self, at: usize, state: &State, flow: &mut Flow) {
        let place = self.start + at;
        flow.stack = flow.stack.max(depth(self.body.ops[at], state));
        match self.body.ops[at].1 {
            Kind::TailCall => {
                flow.tail_calls.push(TailCall { at: place, table: state.get(2).clone(), index: state.get(3).clone() })
            }
            Kind::CallFunction => {
                flow.calls.extend(self.callee(place).map(|callee| Call { at: place, callee, is_result_read: true }))
            }
            Kind::CallPointer => flow.pointer_calls.push(place),
            Kind::WideLoad => {
                flow.callbacks.extend(self.callback(place));
                flow.references.extend(self.wide(at).atoms().into_iter().flatten().map(|atom| (*atom, place)));
            }
            _ => {}
        }
    }

    /// The function a call leads to: by relocation, whose immediate counts from the symbol, or else from the next instruction.
    fn callee(&self, place: usize) -> Option<usize> {
        let by = i64::from(self.code.insns[place].imm) + 1;
        let (section, base) = match self.code.relocation(place) {
            Some(symbol) => self.image.symbols.get(symbol).and_then(|symbol| Some((symbol.section?, symbol.value / 8)))?,
            None => (self.section, place as u64),
        };
        self.image.function_at(section, usize::try_from(base.checked_add_signed(by)?).ok()?)
    }

    /// The function whose address a wide load takes.
    fn callback(&self, place: usize) -> Option<usize> {
        let symbol = self.image.symbols.get(self.code.relocation(place)?)?;
        let at = symbol.value.checked_add_signed(i64::from(self.code.insns[place].imm))?;
        self.image.function_at(symbol.section?, usize::try_from(at / 8).ok()?)
    }

    fn wide(&self, at: usize) -> Value {
        let (low, high) = (self.body.ops[at].0, self.body.ops[at + 1].0);
        match self.code.relocation(self.start + at) {
            Some(symbol) => match self.image.symbol_at(symbol, i64::from(low.imm)) {
                Some(symbol) => Value::One(Atom::Address(symbol)),
                None => Value::Anything,
            },
            None if low.src == 0 => Value::One(Atom::Number(i64::from(high.imm) << 32 | i64::from(low.imm as u32))),
            None => Value::Anything,
        }
    }

    fn load(&self, insn: Insn, bytes: u8, plain: bool, state: &State) -> Value {
        match state.get(insn.src) {
            Value::One(Atom::Frame(at)) if plain => state.load(at.saturating_add(i32::from(insn.off)), bytes),
            address if bytes == 4 && insn.off == 0 && plain => address.map(|atom| self.linked(atom)),
            _ => Value::Anything,
        }
    }

    /// What is read at an address: the number the bundle step links, when it is one.
    fn linked(&self, atom: Atom) -> Option<Atom> {
        let Atom::Address(number) = atom else { return None };
        let symbol = &self.image.symbols[number];
        (self.image.section_of(symbol) == Some(LINK_SECTION)).then_some(Atom::Linked(number))
    }
}

fn moved(insn: Insn, wide: bool, by_register: bool, state: &State) -> Value {
    match (by_register, wide) {
        (true, true) => state.get(insn.src).clone(),
        (true, false) => state.get(insn.src).map(low_half),
        (false, true) => Value::One(Atom::Number(i64::from(insn.imm))),
        (false, false) => Value::One(Atom::Number(i64::from(insn.imm as u32))),
    }
}

/// The lower 32 bits; half an address is nothing.
fn low_half(atom: Atom) -> Option<Atom> {
    match atom {
        Atom::Linked(_) => Some(atom),
        Atom::Number(number) => Some(Atom::Number(i64::from(number as u32))),
        Atom::Address(_) | Atom::Frame(_) => None,
    }
}

/// Addresses of the frame are followed through additions; other sums are nobody's table or slot.
fn shift(insn: Insn, by: i64, state: &mut State) {
    let by = offset(by);
    let sum =
        state.get(insn.dst).map(|atom| if let Atom::Frame(at) = atom { Some(Atom::Frame(at.saturating_add(by))) } else { None });
    for atom in sum.atoms().unwrap_or_default() {
        if let Atom::Frame(at) = atom {
            state.expose(*at);
        }
    }
    state.set(insn.dst, sum);
}

/// Only `-i32::MIN` does not fit, and no frame is that deep.
fn offset(by: i64) -> i32 {
    i32::try_from(by).unwrap_or(i32::MAX)
}

fn store(insn: Insn, bytes: u8, by_register: bool, state: &mut State) {
    let value = match (by_register, bytes) {
        (true, 8) => state.get(insn.src).clone(),
        (true, 4) => state.get(insn.src).map(low_half),
        (false, 8) => Value::One(Atom::Number(i64::from(insn.imm))),
        (false, 4) => Value::One(Atom::Number(i64::from(insn.imm as u32))),
        _ => Value::Anything,
    };
    write(insn, bytes, value, state);
}

/// A fetching operation leaves the old number in `src` or r0; any may be one.
fn atomic(insn: Insn, state: &mut State) {
    write(insn, 8, Value::Anything, state);
    state.set(insn.src, Value::Anything);
    state.set(0, Value::Anything);
}

fn write(insn: Insn, bytes: u8, value: Value, state: &mut State) {
    match state.get(insn.dst) {
        Value::One(Atom::Frame(at)) => state.store(at.saturating_add(i32::from(insn.off)), bytes, value),
        _ => state.forget_exposed(),
    }
}
