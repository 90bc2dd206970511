//! How old messages are, by the clock of whoever has written them, which may be a stranger's.

use std::time::Duration;

use crate::{envelope::Envelope, retry};

/// An older message, or one from further ahead, has an implausible time: one of the year 1 would outweigh all others in a sum. A broker that was
/// away for some days has older ones than usual.
const PLAUSIBLE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Records how old each is, and returns how many have an implausible time. Where the clock of who has written it is ahead, no time has passed.
pub(super) fn record<'m>(
    histogram: &metrics::Histogram,
    messages: impl Iterator<Item = &'m Envelope>,
) -> u64 {
    let (now, most) = (retry::now(), retry::micros(PLAUSIBLE));
    let mut implausible = 0;
    for message in messages {
        let age = now.saturating_sub(message.create_time);
        if (-most..=most).contains(&age) {
            histogram.record(Duration::from_micros(u64::try_from(age).unwrap_or_default()).as_secs_f64());
        } else {
            implausible += 1;
        }
    }
    implausible
}
