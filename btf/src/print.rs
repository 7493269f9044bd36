//! Types as a C header: `vmlinux.h`, whole or of some types.
//!
//! Knows nothing of why these types are wanted.

mod declarator;
mod order;
mod record;

use crate::Damaged;
use crate::layout::Layout;
use crate::names::Names;
use crate::types::{Btf, Kind};

const HEAD: &str = "#ifndef __VMLINUX_H__\n\
    #define __VMLINUX_H__\n\
    \n\
    #ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n\
    #pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)\n\
    #endif\n\
    \n";

const TAIL: &str = "#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n\
    #pragma clang attribute pop\n\
    #endif\n\
    \n\
    #endif /* __VMLINUX_H__ */\n";

const FUNCTIONS: &str = "#ifndef BPF_NO_KFUNC_PROTOTYPES\n\
    #ifndef __ksym\n\
    #define __ksym __attribute__((section(\".ksyms\")))\n\
    #endif\n\
    #ifndef __weak\n\
    #define __weak __attribute__((weak))\n\
    #endif\n\
    \n";

/// What is known of a type that is printed, or will be.
const DECLARED: u8 = 1;
const BEGUN: u8 = 2;
const DEFINED: u8 = 4;

/// Deeper nesting than C has use for.
const MAX_DEPTH: usize = 128;

/// How often each type and member may be printed on average. Those of a real kernel are printed twice at most, as parts of records
/// without a name that several others have.
const MOST_PER_TYPE: u64 = 64;

/// A header of these types, and of what they need.
pub(crate) fn header(btf: &Btf, names: &Names, roots: &[u32]) -> Result<String, Damaged> {
    let mut printer = Printer::new(btf, names);
    printer.text.push_str(HEAD);
    let (functions, types): (Vec<u32>, Vec<u32>) =
        by_name(btf, names, roots).into_iter().partition(|id| btf.types[*id as usize].kind == Kind::Function);
    types.into_iter().try_for_each(|id| printer.root(id))?;
    roots.iter().try_for_each(|id| printer.lone_enum(*id))?;
    printer.functions(&functions)?;
    printer.text.push_str(TAIL);
    Ok(printer.text)
}

/// By name: numbers change with every build of a kernel, and a header that did not change compiles nothing again.
fn by_name(btf: &Btf, names: &Names, roots: &[u32]) -> Vec<u32> {
    let named = roots.iter().map(|id| (names.name(btf, *id), *id)).filter(|(name, _)| !name.is_empty());
    let mut named: Vec<(&str, u32)> = named.collect();
    named.sort_unstable();
    named.into_iter().map(|(_, id)| id).collect()
}

struct Printer<'a> {
    btf: &'a Btf,
    names: &'a Names,
    layout: Layout<'a>,
    /// By id: [`DECLARED`], [`BEGUN`], [`DEFINED`].
    state: Vec<u8>,
    text: String,
    /// How many members were added to fill gaps.
    fillers: usize,
    /// What may still be visited or printed.
    left: u64,
}

impl<'a> Printer<'a> {
    fn new(btf: &'a Btf, names: &'a Names) -> Printer<'a> {
        let left = MOST_PER_TYPE * (btf.types.len() + btf.members.len() + btf.enumerators.len()) as u64;
        let state = vec![0; btf.types.len()];
        Printer { btf, names, layout: Layout::new(btf), state, text: String::new(), fillers: 0, left }
    }

    /// Counts what is done: types without a name can hold each other so that there is no end to them.
    fn spend(&mut self, steps: usize) -> Result<(), Damaged> {
        self.left = self.left.checked_sub(steps as u64).ok_or(Damaged::TooDeep)?;
        Ok(())
    }

    fn indent(&mut self, depth: usize) {
        self.text.extend(std::iter::repeat_n('\t', depth));
    }

    fn is(&self, id: u32, state: u8) -> bool {
        self.state.get(id as usize).is_some_and(|known| known & state != 0)
    }

    fn set(&mut self, id: u32, state: u8) {
        if let Some(known) = self.state.get_mut(id as usize) {
            *known |= state;
        }
    }

    /// What is declared under a word that is one of C's since C23, as `bool` is: newer compilers have it already.
    fn guarded(&mut self, is_new: bool, print: impl FnOnce(&mut Self) -> Result<(), Damaged>) -> Result<(), Damaged> {
        if !is_new {
            return print(self);
        }
        self.text.push_str("#if __STDC_VERSION__ < 202311L\n");
        print(self)?;
        self.text.push_str("#endif\n\n");
        Ok(())
    }

    /// Functions of the kernel that programs may call.
    fn functions(&mut self, functions: &[u32]) -> Result<(), Damaged> {
        let prototypes: Vec<(u32, u32)> =
            functions.iter().filter_map(|id| Some((*id, self.btf.get(*id)?.size_or_type))).collect();
        prototypes.iter().try_for_each(|(_, prototype)| self.mention(*prototype))?;
        if prototypes.is_empty() {
            return Ok(());
        }
        self.text.push_str(FUNCTIONS);
        for (function, prototype) in prototypes {
            self.text.push_str("extern ");
            self.declare(prototype, self.names.name(self.btf, function), 0)?;
            self.text.push_str(" __weak __ksym;\n");
        }
        self.text.push_str("#endif\n\n");
        Ok(())
    }
}
