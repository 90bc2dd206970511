//! A client under chaos: it calls at both gateways by both protocols, repeats with its keys, at times calls twice at once or leaves.

use std::{ops::Range, time::Duration};

use anyhow::{Result, ensure};
use rand::{Rng as _, rngs::StdRng};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::timeline::Timeline;
use crate::journal::{Answer, Call, Given, Journal, Way};

/// How long a client waits for an answer before it calls again.
const PATIENCE: Duration = Duration::from_secs(5);
/// By when a client that leaves has left, in microseconds: about the time that a call takes.
const LEAVES: Range<u64> = 0..30_000;
/// Between two calls of a client.
const PACE: Duration = Duration::from_millis(100);
/// One of so many calls is left, and one is made twice at once.
const RARE: u32 = 8;

/// Calls until it is enough.
pub(super) async fn call(
    journal: &mut Journal,
    ways: &[Way; 4],
    mut random: StdRng,
    timeline: &Timeline,
    enough: &CancellationToken,
) -> Result<()> {
    while !enough.is_cancelled() {
        let (user, call) = journal.open();
        let way = &ways[random.random_range(0..ways.len())];
        let given = match random.random_range(0..RARE) {
            0 => {
                let gone = Duration::from_micros(random.random_range(LEAVES));
                let given = within(gone, call.attempt(user, way)).await?;
                timeline.count(|counts| counts.gone += u64::from(given.is_none()));
                given
            }
            1 => {
                timeline.count(|counts| counts.twice += 1);
                let (first, second) = (random.random_range(0..2_usize), random.random_range(2..4_usize));
                twice(user, call, [&ways[first], &ways[second]]).await?
            }
            _ => within(PATIENCE, call.attempt(user, way)).await?,
        };
        timeline.count(|counts| match given {
            Some(_) => counts.answered += 1,
            None => counts.unanswered += 1,
        });
        call.write_down(given);
        sleep(PACE).await;
    }
    Ok(())
}

/// What was answered by then, if anything was.
async fn within(
    time: Duration,
    attempt: impl Future<Output = Result<Option<Given>>>,
) -> Result<Option<Given>> {
    timeout(time, attempt).await.unwrap_or(Ok(None))
}

/// The same call at both gateways at once: one effect and one answer, which only one of them may be the first to have.
async fn twice(user: &str, call: &Call, [one, other]: [&Way; 2]) -> Result<Option<Given>> {
    let both =
        tokio::join!(within(PATIENCE, call.attempt(user, one)), within(PATIENCE, call.attempt(user, other)));
    match (both.0?, both.1?) {
        (Some(one), Some(other)) => {
            let key = &call.key;
            ensure!(one.0 == other.0, "{key} of {user} twice at once: {one:?} and {other:?}");
            let is_refused = matches!(one.0, Answer::Refused(_));
            ensure!(one.1 || other.1 || is_refused, "{key} of {user}: both were first: {one:?}");
            Ok(Some(one))
        }
        (one, other) => Ok(one.or(other)),
    }
}
