//! What is known of registers and stack between two instructions.
//!
//! Knows no instructions and no object.

use super::insn::FRAME_POINTER;
use super::value::{Atom, Value};

/// Registers r0 to r10, and the stack as far as it was written with something known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    registers: [Value; 11],
    /// Sorted by place; they do not overlap.
    stack: Vec<Spill>,
    /// The lowest place of the frame whose address was computed. From there upwards, whoever got the address may write; what lies
    /// below is spills of the compiler's own.
    exposed: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Spill {
    at: i32,
    bytes: u8,
    value: Value,
}

impl Spill {
    fn end(&self) -> i32 {
        self.at.saturating_add(i32::from(self.bytes))
    }
}

impl State {
    /// At a function's begin.
    pub fn entry() -> State {
        let mut state = State { registers: [const { Value::Anything }; 11], stack: Vec::new(), exposed: 0 };
        state.set(FRAME_POINTER, Value::One(Atom::Frame(0)));
        state
    }

    pub fn get(&self, register: u8) -> &Value {
        &self.registers[usize::from(register)]
    }

    pub fn set(&mut self, register: u8, value: Value) {
        self.registers[usize::from(register)] = value;
    }

    /// A place of the frame has its address in a register.
    pub fn expose(&mut self, at: i32) {
        self.exposed = self.exposed.min(at);
    }

    /// Somebody wrote through an address that may be any exposed one.
    pub fn forget_exposed(&mut self) {
        let exposed = self.exposed;
        self.stack.retain(|spill| spill.end() <= exposed);
    }

    /// A write to the frame.
    pub fn store(&mut self, at: i32, bytes: u8, value: Value) {
        let spill = Spill { at, bytes, value };
        self.stack.retain(|other| other.end() <= spill.at || spill.end() <= other.at);
        if spill.value != Value::Anything {
            let index = self.stack.partition_point(|other| other.at < at);
            self.stack.insert(index, spill);
        }
    }

    /// A read from the frame.
    pub fn load(&self, at: i32, bytes: u8) -> Value {
        let found = self.stack.iter().find(|spill| spill.at == at && spill.bytes == bytes);
        found.map_or(Value::Anything, |spill| spill.value.clone())
    }

    /// Takes in what may hold when control comes from elsewhere; whether anything changed. With `widen`, what differs becomes
    /// anything at once, so that no loop is followed for long.
    pub fn join(&mut self, other: &State, widen: bool) -> bool {
        let mut is_changed = other.exposed < self.exposed;
        let mut meet = |mine: &mut Value, theirs: &Value| {
            let met = if mine == theirs || !widen { mine.join(theirs) } else { Value::Anything };
            is_changed |= met != *mine;
            *mine = met;
        };
        for (mine, theirs) in self.registers.iter_mut().zip(&other.registers) {
            meet(mine, theirs);
        }
        for spill in &mut self.stack {
            meet(&mut spill.value, &other.load(spill.at, spill.bytes));
        }
        self.stack.retain(|spill| spill.value != Value::Anything);
        self.exposed = self.exposed.min(other.exposed);
        is_changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEVEN: Value = Value::One(Atom::Number(7));

    #[test]
    fn a_write_that_touches_a_spill_forgets_it() {
        let mut state = State::entry();
        state.store(-8, 8, SEVEN);
        state.store(-16, 8, SEVEN);
        state.store(-12, 4, Value::Anything);
        assert_eq!((state.load(-8, 8), state.load(-16, 8)), (SEVEN, Value::Anything));
        assert_eq!(state.load(-8, 4), Value::Anything);
    }

    #[test]
    fn what_others_may_write_is_forgotten_and_spills_below_are_not() {
        let mut state = State::entry();
        state.store(-8, 8, SEVEN);
        state.store(-24, 8, SEVEN);
        state.forget_exposed();
        assert_eq!(state.load(-8, 8), SEVEN);
        state.expose(-16);
        state.forget_exposed();
        assert_eq!((state.load(-8, 8), state.load(-24, 8)), (Value::Anything, SEVEN));
    }

    #[test]
    fn joins_say_whether_they_changed_anything() {
        let (mut state, mut other) = (State::entry(), State::entry());
        state.store(-8, 8, SEVEN);
        other.store(-8, 8, SEVEN);
        assert!(!state.join(&other, false));
        other.store(-8, 8, Value::One(Atom::Number(8)));
        assert!(state.clone().join(&other, false));
        assert!(state.join(&other, true));
        assert_eq!(state.load(-8, 8), Value::Anything);
    }
}
