//! The allocator: mimalloc, with a bound on what one operation of a BUILD file can ask for.
//!
//! `"x" * 2000000000` is one step of the interpreter, so no limit of it stands between the file and the machine's memory. Knows
//! nothing of what the memory is for.

use std::alloc::{GlobalAlloc, Layout};
use std::io::Write as _;

use mimalloc::MiMalloc;
use ouro_engine::load;

/// The most a file may ask for at once; what it may hold in all is the loader's business.
const MOST: usize = 1 << 30;

/// The allocator with the bound.
pub struct Bounded;

// SAFETY: everything is passed on to an allocator as it is; what is refused ends the process.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: the caller keeps the same promises to us.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: as above.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check(size);
        // SAFETY: as above.
        unsafe { MiMalloc.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { MiMalloc.dealloc(block, layout) }
    }
}

/// `mi_option_abandoned_page_purge` of mimalloc 2.
const PURGE_WHEN_THREADS_END: libc::c_int = 12;

unsafe extern "C" {
    fn mi_option_set_enabled(option: libc::c_int, enable: bool);
}

/// Has memory that the threads of one phase leave given back before the next phase takes as much: the peak is a tenth lower.
pub fn give_back_early() {
    // SAFETY: sets a number that mimalloc reads.
    unsafe { mi_option_set_enabled(PURGE_WHEN_THREADS_END, true) };
}

fn check(size: usize) {
    if size > MOST {
        load::evaluated(|file| file.map(refuse));
    }
}

fn refuse(file: &str) {
    end([
        "error: `",
        file,
        "` asks for more than 1 GiB of memory at once\nhelp: look for a value that is multiplied, or doubled in a loop\n",
    ])
}

/// Ends the process at once. The allocator would give its memory back piece by piece, which the kernel does better in one go.
pub fn leave(code: u8) -> ! {
    let _ = std::io::stdout().flush();
    // SAFETY: everything that was to be written is.
    unsafe { libc::_exit(code.into()) }
}

/// Says why and ends the process. Neither an allocator nor the handler of a signal can unwind or format, so this is no finding
/// like others.
pub fn end(parts: [&str; 3]) {
    for part in parts {
        // SAFETY: the bytes are there; a message that cannot be written is lost.
        unsafe { libc::write(libc::STDERR_FILENO, part.as_ptr().cast(), part.len()) };
    }
    // SAFETY: ends the process without running anything; locks end with it.
    unsafe { libc::_exit(1) }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    unsafe extern "C" {
        fn mi_option_is_enabled(option: libc::c_int) -> bool;
    }

    /// What sets the option by its name, in a process that begins.
    const BY_NAME: &str = "MIMALLOC_ABANDONED_PAGE_PURGE";

    /// Another version of mimalloc may have other numbers, and would tell nobody.
    #[test]
    fn the_number_is_that_of_the_option() {
        // SAFETY: reads a number that nobody else sets.
        let is_on = || unsafe { mi_option_is_enabled(PURGE_WHEN_THREADS_END) };
        if std::env::var_os(BY_NAME).is_some() {
            return assert!(is_on(), "`{BY_NAME}` sets another one");
        }
        assert!(!is_on());
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "memory::tests::the_number_is_that_of_the_option"]).env(BY_NAME, "1");
        let said = String::from_utf8(again.output().unwrap().stdout).unwrap();
        assert!(said.contains("1 passed"), "{said}");
        give_back_early();
        assert!(is_on());
    }
}
