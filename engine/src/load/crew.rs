//! Threads for loading and analysis: none for small work, all cores for large.
//!
//! Knows nothing of what it runs.

use std::sync::OnceLock;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// The interpreter recurses over syntax trees and calls; its threads need more than the usual 2 MiB.
const STACK: usize = 16 << 20;

/// Up to this many pieces of work are done before threads for them would have started.
const HANDFUL: usize = 8;

/// Worker threads, started when there is enough to do.
#[derive(Default)]
pub(crate) struct Crew {
    pool: OnceLock<Option<ThreadPool>>,
}

impl Crew {
    /// Applies `work` to every item; results are in the order of the items.
    pub(crate) fn map<T: Send, R: Send>(&self, items: Vec<T>, work: impl Fn(T) -> R + Send + Sync) -> Vec<R> {
        match self.pool(items.len()) {
            Some(pool) => pool.install(|| items.into_par_iter().map(work).collect()),
            None => items.into_iter().map(work).collect(),
        }
    }

    /// Two pieces of work on so many items, side by side if those are many.
    pub(crate) fn both<A: Send, B: Send>(
        &self,
        items: usize,
        one: impl FnOnce() -> A + Send,
        other: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        match self.pool(items) {
            Some(pool) => pool.install(|| rayon::join(one, other)),
            None => (one(), other()),
        }
    }

    fn pool(&self, items: usize) -> Option<&ThreadPool> {
        if items <= HANDFUL {
            return None;
        }
        // Without threads, all is done on the calling one.
        self.pool.get_or_init(|| ThreadPoolBuilder::new().stack_size(STACK).build().ok()).as_ref()
    }
}

/// Runs `work` on a thread with a stack fit for the interpreter.
pub(crate) fn on_large_stack<R: Send>(work: impl FnOnce() -> R + Send) -> std::io::Result<R> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
