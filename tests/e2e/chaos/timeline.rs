//! What happened when: calls, the age of the oldest order that has not ended, and faults; as lines while it runs, and as a picture.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::picture;
use crate::alone::number;

/// Between two looks, and how many of them a progress line is for.
const LOOK: Duration = Duration::from_secs(1);
const LINE: usize = 5;

/// The age of the oldest order that is NEW, in milliseconds.
const AGE: &str =
    "SELECT CAST(COALESCE(EXTRACT(EPOCH FROM now()) * 1000 - MIN(create_time) / 1000, 0) AS BIGINT)
    FROM orders WHERE status = 1";

/// How calls ended, of which one that was left is not answered, and sessions of the database.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) answered: u64,
    pub(super) unanswered: u64,
    /// Left before they were answered.
    pub(super) gone: u64,
    /// Made twice at once.
    pub(super) twice: u64,
    /// Sessions that the database has ended.
    pub(super) sessions: i64,
}

/// One look. Times are in seconds from the beginning.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) at: f64,
    /// Answers per second since the look before.
    pub(super) rate: f64,
    /// Unknown while the database is away.
    pub(super) age: Option<f64>,
}

/// A fault, from its beginning to its end, or to the end of the run.
#[derive(Debug)]
pub(super) struct Bar {
    /// Faults of one row do not overlap.
    pub(super) row: &'static str,
    pub(super) what: &'static str,
    pub(super) whom: String,
    pub(super) from: f64,
    pub(super) until: Option<f64>,
}

#[derive(Debug, Default)]
struct Seen {
    counts: Counts,
    samples: Vec<Sample>,
    bars: Vec<Bar>,
}

pub(super) struct Timeline {
    begun: Instant,
    seen: Mutex<Seen>,
}

impl Timeline {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), seen: Mutex::default() }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.with(|seen| change(&mut seen.counts));
    }

    /// How calls have ended so far.
    pub(super) fn counts(&self) -> Counts {
        self.with(|seen| seen.counts)
    }

    /// How often a fault was there and over, for so many seconds or more.
    pub(super) fn times(&self, row: &str, what: &str, least: f64) -> usize {
        let lasted = |bar: &Bar| bar.until.is_some_and(|until| until - bar.from >= least);
        self.with(|seen| {
            seen.bars.iter().filter(|bar| bar.row == row && bar.what == what && lasted(bar)).count()
        })
    }

    /// A fault begins; its number is for its end.
    pub(super) fn begin(&self, row: &'static str, what: &'static str, whom: &str) -> usize {
        let bar = Bar { row, what, whom: whom.to_owned(), from: self.now(), until: None };
        self.with(|seen| {
            seen.bars.push(bar);
            seen.bars.len() - 1
        })
    }

    pub(super) fn end(&self, bar: usize) {
        let now = self.now();
        self.with(|seen| seen.bars[bar].until = Some(now));
    }

    /// Says where the run is.
    pub(super) fn say(&self, what: &str) {
        eprintln!("{:6.0} s  {what}", self.now());
    }

    /// Looks every second, for ever.
    pub(super) async fn watch(&self, orders: &str) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut answered, mut before) = (0, self.now());
        loop {
            looks.tick().await;
            let age = timeout(LOOK, number(orders, AGE)).await.ok().and_then(Result::ok);
            let (age, at) = (age.map(|millis| millis as f64 / 1_000.0), self.now());
            let line = self.with(|seen| {
                let new = seen.counts.answered - answered;
                answered = seen.counts.answered;
                let rate = new as f64 / (at - before).max(0.001);
                seen.samples.push(Sample { at, rate, age });
                seen.samples.len().is_multiple_of(LINE).then(|| seen.line())
            });
            before = at;
            if let Some(line) = line {
                self.say(&line);
            }
        }
    }

    /// How many of which faults there were, and what the load was.
    pub(super) fn summary(&self) -> String {
        let now = self.now();
        self.with(|seen| {
            let mut faults: BTreeMap<(&str, &str), usize> = BTreeMap::new();
            for bar in &seen.bars {
                *faults.entry((bar.row, bar.what)).or_default() += 1;
            }
            let Counts { answered, unanswered, gone, twice, sessions } = seen.counts;
            let age = seen.samples.iter().filter_map(|sample| sample.age).fold(0.0, f64::max);
            let mut text = format!(
                "{now:.0} s: {answered} answers, {unanswered} calls without one ({gone} left), {twice} made twice at once; \
                 {sessions} sessions were ended; an order took {age:.1} s at most\n"
            );
            for ((row, what), count) in faults {
                // Text takes all that is written.
                let _ = writeln!(text, "  {row} {what}: {count}");
            }
            text
        })
    }

    /// The picture, as SVG.
    pub(super) fn svg(&self) -> Result<String, fmt::Error> {
        let now = self.now();
        self.with(|seen| picture::svg(&seen.samples, &seen.bars, now))
    }
}

impl Seen {
    fn line(&self) -> String {
        let last = &self.samples[self.samples.len() - LINE..];
        let rate = last.iter().map(|sample| sample.rate).sum::<f64>() / LINE as f64;
        let age = last.last().and_then(|sample| sample.age);
        let age = age.map_or_else(|| "unknown".to_owned(), |age| format!("{age:.1} s"));
        let under_way = self.bars.iter().filter(|bar| bar.until.is_none());
        let under_way: Vec<String> = under_way.map(|bar| format!("{} {}", bar.whom, bar.what)).collect();
        let Counts { answered, unanswered, .. } = self.counts;
        let faults = self.bars.len();
        format!(
            "{answered} answered, {rate:.0}/s, {unanswered} not; oldest NEW order {age}; {faults} faults, now: {}",
            under_way.join(", ")
        )
    }
}
