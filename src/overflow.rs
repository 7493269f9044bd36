//! The end of the stack: values that lie in one another a hundred thousand times, which a file makes in a short loop.
//!
//! The interpreter takes values apart by functions that call themselves, in places none of which is ours to bound. Knows nothing of
//! the interpreter.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use ouro_engine::load;

use crate::memory;

/// What was done about faults before; it tells those apart that are nobody's file's.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// From now on a file that exhausts the stack is named. The standard library has given every thread a second stack for this.
pub fn name_the_file() {
    let mut before = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: with success the old action is written, and nothing else happens.
    let before = unsafe {
        if libc::sigaction(libc::SIGSEGV, ptr::null(), before.as_mut_ptr()) != 0 {
            return;
        }
        before.assume_init()
    };
    let action = libc::sigaction {
        sa_sigaction: faulted as extern "C" fn(libc::c_int) as libc::sighandler_t,
        sa_flags: libc::SA_ONSTACK | (before.sa_flags & !libc::SA_SIGINFO),
        ..before
    };
    if BEFORE.set(before).is_ok() {
        // SAFETY: the handler only reads what it may, writes and ends.
        unsafe { libc::sigaction(libc::SIGSEGV, &action, ptr::null_mut()) };
    }
}

extern "C" fn faulted(signal: libc::c_int) {
    load::evaluated(|file| file.map(refuse));
    if let Some(before) = BEFORE.get() {
        // SAFETY: an action that was in force. The fault happens again, and is its business.
        unsafe { libc::sigaction(signal, before, ptr::null_mut()) };
    }
}

fn refuse(file: &str) {
    memory::end([
        "error: `",
        file,
        "` makes values that are nested too deeply\nhelp: look for a value that is put into a new one in a loop\n",
    ]);
}
