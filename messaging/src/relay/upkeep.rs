//! Keeping the topology on the broker in place: every relay does it, with the lease or without.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::Relay;
use crate::{
    broker::{DeadLetter, Found},
    health::{Cause, Part},
    observe,
    retry::Backoff,
};

/// Between two looks. Whatever is deleted on the broker is missing for so long, and while a stranger's queue takes the messages they
/// are lost to their consumer: a second of them at most. A look is a dozen small requests on a connection of its own.
const LOOK: Duration = Duration::from_secs(1);

impl Relay {
    /// Looks after the topology, for ever.
    pub(super) async fn keep_topology(&self) {
        let part = self.part.beside("topology");
        let (mut backoff, mut known) = (Backoff::new(), false);
        loop {
            match self.broker.upkeep().await {
                Ok(None) => {
                    part.health().set_no_queues();
                    part.ok();
                    return std::future::pending().await;
                }
                Ok(Some(mut upkeep)) => {
                    let error = loop {
                        let asked = Instant::now();
                        match upkeep.look().await {
                            Ok(found) => self.report(&part, asked, found, &mut known),
                            Err(error) => break error,
                        }
                        backoff.reset();
                        tokio::time::sleep(LOOK).await;
                    };
                    part.broker_failed(&error);
                }
                Err(error) => part.broker_failed(&error),
            }
            tokio::time::sleep(backoff.delay()).await;
        }
    }

    /// `known` once the topology was seen: what is missing before that has never been there.
    fn report(&self, part: &Part, asked: Instant, found: Found, known: &mut bool) {
        let Found { restored, moved, refused, unmoved, dead_letters, queues } = found;
        if std::mem::replace(known, true) && !restored.is_empty() {
            observe::restored(&self.source, &restored);
        }
        // One line for all that share a cause: a policy may remove thousands.
        let mut causes: BTreeMap<_, Vec<&DeadLetter>> = BTreeMap::new();
        for letter in &moved {
            causes.entry((&letter.consumer, letter.policy)).or_default().push(letter);
        }
        causes.values().for_each(|letters| observe::dead_letters_moved(&self.source, letters));
        let waiting: u64 = dead_letters.values().sum();
        part.health().set_dead_letters(dead_letters);
        part.health().set_queues(asked, queues);
        match (refused, unmoved, waiting) {
            (Some(reason), ..) => part.failed(Cause::Broker, reason),
            (None, Some(reason), _) => part.failed(Cause::Messages, reason),
            (None, None, 0) => part.ok(),
            (None, None, _) => {
                let reason = format!("{waiting} dead letters wait on the broker to be parked");
                part.degraded(Cause::Messages, reason);
            }
        }
    }
}
