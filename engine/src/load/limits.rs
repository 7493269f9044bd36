//! What ends an evaluation from outside: Ctrl-C, and files that never end or eat everything.
//!
//! Knows nothing of files. The interpreter has limits of its own, but loses the place where one is reached.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use ouro_rules::diagnostic::Diagnostic;
use starlark::eval::Evaluator;
use starlark::values::Heap;

/// How deep functions may call one another; the interpreter's own limit, whose place it does tell.
const MAX_CALLS: usize = 256;
/// How much memory the values of one file may take; far above what a workspace of 10,000 targets needs.
const MAX_HEAP: usize = 1 << 30;
/// How often one file may be looked at. The interpreter does it once in a thousand function calls and loop rounds, so this is about
/// a second, and the same on every machine.
const MAX_LOOKS: u32 = 10_000;

thread_local! {
    /// The name of the file this thread evaluates; empty when it evaluates none. Without a destructor, so that an allocator may ask.
    static EVALUATED: Cell<(*const u8, usize)> = const { Cell::new((std::ptr::null(), 0)) };
}

/// Tells `f` which file this thread evaluates. One operation of a file may ask for more memory than there is, and the interpreter
/// looks too late; who hands out the memory can say no, and say whom it said it to.
pub fn evaluated<R>(f: impl FnOnce(Option<&str>) -> R) -> R {
    let (name, length) = EVALUATED.get();
    if name.is_null() {
        return f(None);
    }
    // SAFETY: `named` put a string there that outlives its own call, in this thread, and took it away before returning.
    f(Some(unsafe { std::str::from_utf8_unchecked(std::slice::from_raw_parts(name, length)) }))
}

/// Runs `work` as the evaluation of a file.
pub(super) fn named<R>(file: &str, work: impl FnOnce() -> R) -> R {
    struct Reset((*const u8, usize));
    impl Drop for Reset {
        fn drop(&mut self) {
            EVALUATED.set(self.0);
        }
    }
    let _before = Reset(EVALUATED.replace((file.as_ptr(), file.len())));
    work()
}

/// Looks after one evaluation.
pub(super) struct Limits<'a> {
    cancelled: &'a AtomicBool,
    looks: Cell<u32>,
    reached: Cell<Option<Limit>>,
}

/// Why an evaluation was ended.
#[derive(Clone, Copy)]
enum Limit {
    Cancelled,
    Looks,
    Heap,
}

impl<'a> Limits<'a> {
    /// For one evaluation.
    pub(super) fn new(cancelled: &'a AtomicBool) -> Limits<'a> {
        Limits { cancelled, looks: Cell::new(0), reached: Cell::new(None) }
    }

    /// Sets the limits of an evaluation.
    pub(super) fn set<'v, 'l>(&'l self, eval: &mut Evaluator<'v, 'l, '_>) -> starlark::Result<()>
    where
        'v: 'l,
    {
        let heap = eval.heap();
        eval.set_check_cancelled(Box::new(move || self.ends(heap)));
        Ok(eval.set_max_callstack_size(MAX_CALLS)?)
    }

    /// Whether the evaluation ends here. Says yes once: asked again afterwards, the interpreter would forget where it was.
    fn ends(&self, heap: Heap<'_>) -> bool {
        self.looks.set(self.looks.get() + 1);
        let limit = match () {
            _ if self.reached.get().is_some() => return false,
            _ if self.cancelled.load(Ordering::Relaxed) => Limit::Cancelled,
            _ if self.looks.get() > MAX_LOOKS => Limit::Looks,
            _ if heap.peak_allocated_bytes() > MAX_HEAP => Limit::Heap,
            _ => return false,
        };
        self.reached.set(Some(limit));
        true
    }

    /// The finding of an evaluation that was ended, worded by what ended it.
    pub(super) fn word(&self, finding: Diagnostic) -> Diagnostic {
        let (message, help) = match self.reached.get() {
            None => return finding,
            Some(Limit::Cancelled) => ("interrupted", None),
            Some(Limit::Looks) => (
                "the file takes too long: more than ten million function calls and loop rounds",
                Some("compute less here; a `genrule` can do more work"),
            ),
            Some(Limit::Heap) => {
                ("the file takes too much memory: its values need more than 1 GiB", Some("make fewer or smaller values"))
            }
        };
        Diagnostic { message: message.to_owned(), help: help.map(str::to_owned), ..finding }
    }
}
