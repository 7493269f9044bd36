//! CO-RE: has aya's reader make an object's accesses to the kernel's types fit the kernel's.
//!
//! Knows nothing of maps and programs: functions go in, and come back with other operands.

use std::collections::BTreeMap;

use aya_obj::btf::Btf;

use super::chain;
use crate::object::{Insn, Object, Reason, narrowed};

/// Relocates an object read from `bytes`. What cannot be done is the trouble of the functions that need it alone.
pub(super) fn relocate(object: &mut Object, bytes: &[u8], kernel: &Btf) -> Result<(), Reason> {
    if let Ok(code) = relocated(&narrowed(bytes, None)?, kernel) {
        object.relocate(&code, None);
        return Ok(());
    }
    for function in 0..object.len() {
        match relocated(&narrowed(bytes, Some(&object.get(function).place()))?, kernel) {
            Ok(code) => object.relocate(&code, Some(function)),
            Err(reason) => object.fail(function, reason),
        }
    }
    Ok(())
}

/// The functions by section and first instruction.
fn relocated(bytes: &[u8], kernel: &Btf) -> Result<BTreeMap<(usize, usize), Vec<Insn>>, Reason> {
    let mut object = aya_obj::Object::parse(bytes).map_err(|error| chain(&error))?;
    object.relocate_btf(kernel).map_err(|error| chain(&error))?;
    let functions = object.functions.iter();
    Ok(functions.map(|((section, address), function)| ((*section, *address as usize / 8), insns(function))).collect())
}

fn insns(function: &aya_obj::Function) -> Vec<Insn> {
    let instructions = function.instructions.iter();
    instructions.map(|insn| Insn::of(insn.code, insn.dst_reg(), insn.src_reg(), insn.off, insn.imm)).collect()
}
