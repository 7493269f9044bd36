//! Has the kernel verify programs, on all cores, and reads what its verifier tells of them.
//!
//! Knows finished programs, not objects.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, mpsc};
use std::thread;

use serde::Serialize;

use super::sys;

/// `BPF_LOG_LEVEL1`: every instruction, of a program that is refused; `BPF_LOG_LEVEL2`: of any; `BPF_LOG_STATS`: only the sums.
const TRACE: u32 = 1;
const WHOLE: u32 = 2;
const SUMS: u32 = 4;
/// The sums fit in here, with 256 functions.
const SHORT_LOG: usize = 16 << 10;
const LOG: usize = 64 << 10;
/// A longer log is cut by the kernel; since 6.4 at its begin.
const LONGEST_LOG: usize = 64 << 20;
/// What the verifier tells of a program it took. What a kernel does not tell is 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Instructions that were gone through, those of loops once for each turn; the limit is 1,000,000.
    pub instructions: u32,
    /// Bytes of stack on the deepest way of calls; the limit is 512.
    pub stack: u32,
    /// Bytes of stack of each function, the program's own first.
    pub frames: Vec<u32>,
    /// States that were looked at.
    pub states: u32,
    /// States held at once.
    pub peak_states: u32,
    /// How long it took, in microseconds.
    pub microseconds: u64,
}

impl Verified {
    fn read(log: &str, calls: &[(usize, usize)]) -> Verified {
        let after = |word: &str| log.lines().rev().find_map(|line| line.split_once(word)).map(|(_, rest)| rest);
        let number = |word: &str| {
            let digits = after(word)?.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse::<u64>().ok()
        };
        let small = |word: &str| number(word).and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
        let frames = after("stack depth ").unwrap_or_default();
        // Newer kernels say more behind them: `stack depth 8+0+32 max 40`.
        let depths = frames.split_whitespace().next().unwrap_or_default();
        let frames: Vec<u32> = depths.split('+').map_while(|depth| depth.parse().ok()).collect();
        Verified {
            instructions: small("processed "),
            stack: deepest(&frames, calls),
            frames,
            states: small("total_states "),
            peak_states: small("peak_states "),
            microseconds: number("verification time ").unwrap_or(0),
        }
    }
}

/// Bytes of stack on the deepest way of calls from the first function down. The kernel takes no recursion, so no way is longer
/// than there are functions: so often the depths below each are added up, a call deeper each time.
fn deepest(frames: &[u32], calls: &[(usize, usize)]) -> u32 {
    let calls: BTreeSet<(usize, usize)> =
        calls.iter().copied().filter(|(caller, callee)| (*caller).max(*callee) < frames.len()).collect();
    let mut depths = frames.to_vec();
    for _ in frames {
        let mut deeper = frames.to_vec();
        for (caller, callee) in &calls {
            deeper[*caller] = deeper[*caller].max(frames[*caller].saturating_add(depths[*callee]));
        }
        if deeper == depths {
            break;
        }
        depths = deeper;
    }
    depths.first().copied().unwrap_or(0)
}

/// A program that was taken, with what the verifier wrote of it.
pub(super) struct Taken {
    pub(super) program: OwnedFd,
    pub(super) verified: Verified,
    pub(super) log: String,
}

/// A program that was not: why, and what the verifier wrote of it.
pub(super) struct Refused {
    pub(super) error: io::Error,
    pub(super) log: String,
}

/// Loads a program. Its whole log is written only where it is asked for, or says why it was refused.
pub(super) fn load(program: &sys::Program<'_>, calls: &[(usize, usize)], whole_log: bool) -> Result<Taken, Refused> {
    if !whole_log {
        let mut log = vec![0; SHORT_LOG];
        if let Ok(loaded) = sys::prog_load(program, SUMS, &mut log) {
            return Ok(taken(loaded, &log, calls));
        }
    }
    let level = if whole_log { WHOLE } else { TRACE } | SUMS;
    let mut size = LOG;
    loop {
        let mut log = vec![0; size];
        match sys::prog_load(program, level, &mut log) {
            Ok(loaded) => return Ok(taken(loaded, &log, calls)),
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && size < LONGEST_LOG => size *= 8,
            Err(error) => return Err(Refused { error, log: text(&log) }),
        }
    }
}

fn taken(program: OwnedFd, log: &[u8], calls: &[(usize, usize)]) -> Taken {
    let log = text(log);
    Taken { program, verified: Verified::read(&log, calls), log }
}

fn text(log: &[u8]) -> String {
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    String::from_utf8_lossy(&log[..end]).into_owned()
}

/// Does `work` on all cores for what `items` gives; the results are in order. This thread takes the items, and works, too, when
/// there are no more.
pub(super) fn on_all_cores<I: Send, T: Send>(items: impl ExactSizeIterator<Item = I>, work: impl Fn(I) -> T + Sync) -> Vec<T> {
    let helpers = sys::cores().min(items.len()).saturating_sub(1);
    let (sender, receiver) = mpsc::channel::<(usize, I)>();
    let (receiver, done) = (Mutex::new(receiver), Mutex::new(Vec::with_capacity(items.len())));
    let next = || receiver.lock().ok()?.recv().ok();
    let worker = || {
        for (number, item) in std::iter::from_fn(next) {
            let result = work(item);
            done.lock().expect("BUG: nobody panics with it").push((number, result));
        }
    };
    // Waits for what helpers do, and not until each of them is gone.
    thread::scope(|scope| {
        (0..helpers).for_each(|_| drop(scope.spawn(worker)));
        items.enumerate().for_each(|item| sender.send(item).expect("BUG: the receiver is there"));
        drop(sender);
        worker();
    });
    let mut done = done.into_inner().expect("BUG: nobody panics with it");
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_read() {
        let log = "verification time 60 usec\nstack depth 8+0+32\n\
                   processed 17 insns (limit 1000000) max_states_per_insn 1 total_states 3 peak_states 2 mark_read 1\n";
        let frames = vec![8, 0, 32];
        let verified = Verified { instructions: 17, stack: 40, frames, states: 3, peak_states: 2, microseconds: 60 };
        assert_eq!(Verified::read(log, &[(0, 1), (0, 2)]), verified);
        let newer = log.replace("8+0+32\n", "8+0+32 max 40\ninsns processed 9+4+4\n");
        assert_eq!(Verified::read(&newer, &[(0, 1), (0, 2)]), verified);
        assert_eq!(Verified::read("", &[]), Verified::default());
    }

    /// Every way of calls was gone: minutes for a program that the kernel takes at once.
    #[test]
    fn many_calls_of_the_same_functions_take_no_longer() {
        let frames = vec![8; 8];
        let calls: Vec<(usize, usize)> = (0..7).flat_map(|level| vec![(level, level + 1); 60]).chain([(0, 7), (9, 1)]).collect();
        assert_eq!((deepest(&frames, &calls), deepest(&[], &calls)), (64, 0));
        assert!(deepest(&[8, 8], &[(0, 1), (1, 0)]) > 0, "what bites its tail comes to an end");
    }

    #[test]
    fn results_come_in_order() {
        assert_eq!(on_all_cores(0..100, |number| number * 2), (0..100).map(|number| number * 2).collect::<Vec<_>>());
        assert_eq!(on_all_cores(0..0, |number: usize| number), Vec::<usize>::new());
    }

    #[test]
    fn one_that_takes_long_does_not_hold_up_the_others() {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let all = std::sync::Barrier::new(cores);
        let waited = on_all_cores(0..cores, |number| {
            all.wait();
            number
        });
        assert_eq!(waited, (0..cores).collect::<Vec<_>>());
    }
}
