//! The order of work: everything after what it needs, on a fixed number of threads.
//!
//! Knows numbers and dependencies, nothing of actions.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often an interruption is looked for.
const POLL: Duration = Duration::from_millis(20);

/// How a piece of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// What needs it may start.
    Done,
    /// What needs it is not tried.
    Failed,
}

/// Calls `work` for every number below `needs.len()`; where there is a choice the most urgent first, and of those as urgent the
/// lowest. After a failure nothing new starts, unless `keep_going`. `interrupted` is asked again and again on the calling thread;
/// once it says yes, nothing new starts. Returns how many were not tried.
pub(super) fn run(
    needs: &[Vec<u32>],
    urgencies: &[u64],
    jobs: usize,
    keep_going: bool,
    work: &(dyn Fn(usize) -> End + Sync),
    interrupted: &dyn Fn() -> bool,
) -> usize {
    let schedule = Schedule::new(needs, urgencies, keep_going);
    let (ended, all_ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, needs.len().max(1)) {
            let (schedule, ended) = (&schedule, ended.clone());
            scope.spawn(move || {
                let _ended = ended;
                schedule.work_off(work);
            });
        }
        drop(ended);
        // The channel closes when the last thread is done: no time is lost waiting for the next look.
        while let Err(RecvTimeoutError::Timeout) = all_ended.recv_timeout(POLL) {
            if interrupted() {
                schedule.stop();
            }
        }
    });
    schedule.lock().untried
}

struct Schedule<'a> {
    urgencies: &'a [u64],
    dependents: Vec<Vec<u32>>,
    keep_going: bool,
    queue: Mutex<Queue>,
    changed: Condvar,
}

struct Queue {
    ready: BinaryHeap<(u64, Reverse<u32>)>,
    /// For each piece of work, how many that it needs are not done.
    missing: Vec<u32>,
    running: usize,
    untried: usize,
    stopped: bool,
}

impl<'a> Schedule<'a> {
    fn new(needs: &[Vec<u32>], urgencies: &'a [u64], keep_going: bool) -> Schedule<'a> {
        let mut dependents = vec![Vec::new(); needs.len()];
        for (place, needed) in needs.iter().enumerate() {
            needed.iter().for_each(|needed| dependents[*needed as usize].push(place as u32));
        }
        let missing: Vec<u32> = needs.iter().map(|needed| needed.len() as u32).collect();
        let ready = BinaryHeap::new();
        let mut queue = Queue { ready, missing, running: 0, untried: needs.len(), stopped: false };
        let free: Vec<u32> = (0..needs.len() as u32).filter(|place| queue.missing[*place as usize] == 0).collect();
        queue.ready.extend(free.into_iter().map(|place| (urgencies[place as usize], Reverse(place))));
        Schedule { urgencies, dependents, keep_going, queue: Mutex::new(queue), changed: Condvar::new() }
    }

    fn work_off(&self, work: &(dyn Fn(usize) -> End + Sync)) {
        let _guard = StopOnPanic(self);
        while let Some(place) = self.next() {
            let end = work(place as usize);
            self.ended(place, end);
        }
    }

    /// Waits for something to do; nothing when nothing will come any more.
    fn next(&self) -> Option<u32> {
        let mut queue = self.lock();
        loop {
            if queue.stopped || (queue.ready.is_empty() && queue.running == 0) {
                self.changed.notify_all();
                return None;
            }
            if let Some((_, Reverse(place))) = queue.ready.pop() {
                queue.running += 1;
                queue.untried -= 1;
                return Some(place);
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn ended(&self, place: u32, end: End) {
        let mut queue = self.lock();
        queue.running -= 1;
        match end {
            End::Done => self.release(&mut queue, place),
            End::Failed => queue.stopped |= !self.keep_going,
        }
        self.changed.notify_all();
    }

    fn release(&self, queue: &mut Queue, place: u32) {
        for dependent in &self.dependents[place as usize] {
            let missing = &mut queue.missing[*dependent as usize];
            *missing -= 1;
            if *missing == 0 {
                queue.ready.push((self.urgencies[*dependent as usize], Reverse(*dependent)));
            }
        }
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// A thread that panicked left the numbers whole: none is changed while `work` runs.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without it, the other threads would wait for ever for what a thread that panicked was doing.
struct StopOnPanic<'a>(&'a Schedule<'a>);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0 and 1 stand alone, 2 needs both, 3 needs 2, 4 stands alone.
    fn needs() -> Vec<Vec<u32>> {
        vec![vec![], vec![], vec![0, 1], vec![2], vec![]]
    }

    const ALIKE: [u64; 5] = [0; 5];

    fn order(jobs: usize, keep_going: bool, fails: &[usize]) -> (Vec<usize>, usize) {
        order_by(&ALIKE, jobs, keep_going, fails)
    }

    fn order_by(urgencies: &[u64], jobs: usize, keep_going: bool, fails: &[usize]) -> (Vec<usize>, usize) {
        let order = Mutex::new(Vec::new());
        let work = |place: usize| {
            order.lock().unwrap().push(place);
            if fails.contains(&place) { End::Failed } else { End::Done }
        };
        let untried = run(&needs(), urgencies, jobs, keep_going, &work, &|| false);
        (order.into_inner().unwrap(), untried)
    }

    #[test]
    fn work_comes_after_what_it_needs() {
        assert_eq!(order(1, false, &[]), (vec![0, 1, 2, 3, 4], 0));
        for _ in 0..200 {
            let (order, untried) = order(4, false, &[]);
            let at = |place: usize| order.iter().position(|other| *other == place).unwrap();
            assert!(untried == 0 && order.len() == 5 && at(0).max(at(1)) < at(2) && at(2) < at(3), "{order:?}");
        }
    }

    #[test]
    fn the_most_urgent_comes_first_of_what_is_ready() {
        assert_eq!(order_by(&[1, 2, 9, 9, 3], 1, false, &[]), (vec![4, 1, 0, 2, 3], 0));
        assert_eq!(order_by(&[5, 5, 9, 1, 3], 1, false, &[]), (vec![0, 1, 2, 4, 3], 0));
    }

    #[test]
    fn a_failure_stops_all_or_only_what_needs_it() {
        assert_eq!(order(1, false, &[1]), (vec![0, 1], 3));
        assert_eq!(order(1, true, &[1]), (vec![0, 1, 4], 2));
        assert_eq!(order(1, true, &[0, 1, 4]), (vec![0, 1, 4], 2));
    }

    #[test]
    fn an_interruption_lets_running_work_end_and_starts_no_more() {
        let asked = std::sync::atomic::AtomicBool::new(false);
        let work = |_: usize| {
            while !asked.load(std::sync::atomic::Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(2 * POLL);
            End::Done
        };
        let interrupted = || {
            asked.store(true, std::sync::atomic::Ordering::Relaxed);
            true
        };
        assert_eq!(run(&needs(), &ALIKE, 2, true, &work, &interrupted), 3);
    }

    #[test]
    fn a_panic_ends_all_threads() {
        let work = |place: usize| if place == 2 { panic!("on purpose") } else { End::Done };
        let caught = std::panic::catch_unwind(|| run(&needs(), &ALIKE, 3, true, &work, &|| false));
        assert!(caught.is_err());
    }

    #[test]
    fn nothing_to_do_is_done_at_once() {
        assert_eq!(run(&[], &[], 8, false, &|_| panic!("nothing to do"), &|| false), 0);
    }
}
