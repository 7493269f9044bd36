//! Times and how they are compared. Knows nothing of builds.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What one run of something cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// Time on the clock.
    pub wall: Duration,
    /// Time of all its threads and processes on a CPU; says more where others use the machine, too.
    pub cpu: Duration,
}

impl Cost {
    /// The rest of it when a part has cost so much.
    pub fn without(self, part: Cost) -> Cost {
        Cost { wall: self.wall.saturating_sub(part.wall), cpu: self.cpu.saturating_sub(part.cpu) }
    }
}

/// What rounds of the same work cost.
#[derive(Debug, Clone, Default)]
pub struct Series(Vec<Cost>);

impl Series {
    /// Adds a round.
    pub fn push(&mut self, cost: Cost) {
        self.0.push(cost);
    }

    /// The median time on the clock.
    pub fn wall(&self) -> Duration {
        median(self.0.iter().map(|cost| cost.wall).collect())
    }

    /// The median time on CPUs.
    pub fn cpu(&self) -> Duration {
        median(self.0.iter().map(|cost| cost.cpu).collect())
    }

    /// The median of how many more milliseconds on CPUs a round took than the rival's of its turn.
    pub fn more(&self, rival: &Series) -> f64 {
        let mut more: Vec<f64> = self.0.iter().zip(&rival.0).map(|(a, b)| ms(a.cpu) - ms(b.cpu)).collect();
        more.sort_by(f64::total_cmp);
        more[more.len() / 2]
    }

    /// The median ratio to a rival that took turns: what slows one round slows both.
    pub fn ratio(&self, rival: &Series) -> f64 {
        let mut ratios: Vec<f64> =
            self.0.iter().zip(&rival.0).map(|(a, b)| a.wall.as_secs_f64() / b.wall.as_secs_f64()).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    }
}

/// Rounds of two kinds of work that take turns.
pub fn in_turns(rounds: usize, mut first: impl FnMut(usize) -> Cost, mut second: impl FnMut(usize) -> Cost) -> [Series; 2] {
    let [first, second, _] = in_three_turns(rounds, &mut first, &mut second, &mut |_| Cost::default());
    [first, second]
}

/// The same of three.
pub fn in_three_turns(
    rounds: usize,
    mut first: impl FnMut(usize) -> Cost,
    mut second: impl FnMut(usize) -> Cost,
    mut third: impl FnMut(usize) -> Cost,
) -> [Series; 3] {
    let mut series = [Series::default(), Series::default(), Series::default()];
    for round in 0..rounds {
        series[0].push(first(round));
        series[1].push(second(round));
        series[2].push(third(round));
    }
    series
}

/// Rounds of one kind of work.
pub fn rounds(count: usize, work: impl FnMut(usize) -> Cost) -> Series {
    Series((0..count).map(work).collect())
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) -> Cost {
    let (cpu, began) = (cpu_of_children(), Instant::now());
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let cost = Cost { wall: began.elapsed(), cpu: cpu_of_children() - cpu };
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    cost
}

/// A duration in milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The most memory that any child of this process held at once, in MB.
pub fn peak_of_children() -> f64 {
    usage_of_children().ru_maxrss as f64 / 1024.0
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn cpu_of_children() -> Duration {
    let usage = usage_of_children();
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

fn usage_of_children() -> libc::rusage {
    let mut usage = std::mem::MaybeUninit::uninit();
    // SAFETY: the call fills the one `rusage` it is given room for.
    let result = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    assert_eq!(result, 0, "getrusage");
    // SAFETY: the call succeeded, so it filled the buffer.
    unsafe { usage.assume_init() }
}
