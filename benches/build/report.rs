//! The table: a line for each piece of work, its rival beside it, and whether its bound holds.

use std::time::Duration;

use crate::measure::{Series, ms};

/// What was measured so far.
#[derive(Default)]
pub struct Report {
    broken: Vec<String>,
}

/// What a piece of work may cost at most.
pub enum Bound {
    /// So many times what the rival beside it takes.
    OfRival(f64),
    /// A time, and what it is made of.
    Time(Duration, String),
}

impl Report {
    /// A heading.
    pub fn title(&self, text: &str) {
        println!("\n{text}");
    }

    /// One piece of work.
    pub fn row(&mut self, work: &str, ours: &Series, rival: Option<(&str, &Series)>, bound: Option<Bound>) {
        let beside = rival.map_or_else(String::new, |(name, rival)| format!("{name} {}", time(rival)));
        let (held, bound) = match bound {
            None => (true, String::new()),
            Some(Bound::OfRival(most)) => {
                let ratio = rival.map_or(f64::NAN, |(_, rival)| ours.ratio(rival));
                (ratio <= most, format!("{ratio:.2} of it, at most {most:.2}"))
            }
            Some(Bound::Time(most, what)) => (ours.wall() <= most, format!("at most {:.1} ms: {what}", ms(most))),
        };
        self.line(work, &time(ours), &beside, held, &bound);
    }

    /// What each of `count` pieces of work costs more than a rival's, in time on CPUs; and the most it may be where the rival's
    /// takes so long: that stretches as the rival's does here.
    pub fn each(&mut self, work: &str, ours: &Series, rival: (&str, &Series), count: usize, (most, at): (Duration, Duration)) {
        let (more, theirs) = (ours.more(rival.1) / count as f64, ms(rival.1.cpu()) / count as f64);
        let bound = ms(most) * theirs / ms(at);
        let what = format!("at most {bound:.2} ms: {:.1} ms where {} takes {:.0} ms", ms(most), rival.0, ms(at));
        let beside = format!("{} {theirs:8.1} ms each", rival.0);
        self.line(work, &format!("{more:8.2} ms more"), &beside, more <= bound, &what);
    }

    /// An amount of memory in MB, with the most it may be.
    pub fn memory(&mut self, work: &str, value: f64, most: Option<f64>) {
        let bound = most.map_or_else(String::new, |most| format!("at most {most:.0} MB"));
        self.line(work, &format!("{value:8.1} MB"), "", most.is_none_or(|most| value <= most), &bound);
    }

    /// How often something happened, and how often it may at most.
    pub fn count(&mut self, work: &str, value: usize, most: usize) {
        self.line(work, &format!("{value:8}"), "", value <= most, &format!("at most {most}"));
    }

    /// Something to know besides figures.
    pub fn note(&self, work: &str, text: &str) {
        println!("  {work:<44} {text}");
    }

    /// Says which bounds were broken; whether there was none.
    pub fn end(self) -> bool {
        match self.broken.len() {
            0 => println!("\nall bounds hold"),
            count => println!("\n{count} bounds broken: {}", self.broken.join("; ")),
        }
        self.broken.is_empty()
    }

    fn line(&mut self, work: &str, ours: &str, beside: &str, held: bool, bound: &str) {
        let verdict = if held { "" } else { "   BROKEN" };
        println!("{}", format!("  {work:<44} {ours:<22} {beside:<28} {bound}{verdict}").trim_end());
        if !held {
            self.broken.push(work.to_owned());
        }
    }
}

/// Time on the clock, and in brackets on CPUs.
fn time(series: &Series) -> String {
    format!("{:8.1} ms [{:.1}]", ms(series.wall()), ms(series.cpu()))
}
