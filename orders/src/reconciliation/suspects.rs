//! What is suspected: it is a difference once it has stayed when everything was delivered that was on its way.

use std::{collections::BTreeMap, time::Instant};

use chassis::{clock::Micros, status::Chain};
use ordermesh::reconciliation::v1::ListDecisionsResponse;
use prost::Message as _;
use service::decisions::{MOST, micros};
use uuid::Uuid;

use super::{
    Reconciliation,
    compare::{self, Difference},
    memory::{Memory, Suspect},
    status::observe,
};
use crate::store::differences::{self, Kind, Model};

impl Reconciliation {
    /// Looks at every suspect again, and keeps those that are differences.
    pub(super) async fn confirm(&self, memory: &mut Memory) -> Result<(), String> {
        let ids: Vec<Uuid> = memory.suspects.keys().copied().collect();
        for ids in ids.chunks(MOST) {
            let (found, answer) = compare::these(&self.orders, self.payments.as_ref(), ids).await?;
            let found: BTreeMap<Uuid, Difference> =
                found.into_iter().map(|difference| (difference.order_id, difference)).collect();
            let (now, mut confirmed) = (self.clock.now(), Vec::new());
            for id in ids {
                let (Some(suspect), Some(difference)) = (memory.suspects.get_mut(id), found.get(id)) else {
                    memory.suspects.remove(id);
                    continue;
                };
                suspect.look(difference.kind, &answer, now, |since| self.is_drained(since));
                if suspect.is_delivered && now - suspect.since >= self.timing.settle_micros() {
                    confirmed.push(difference.kept(now));
                    memory.suspects.remove(id);
                }
            }
            self.keep(confirmed).await?;
        }
        Ok(())
    }

    /// Whether no decision has waited in a queue of orders at a moment after this one.
    fn is_drained(&self, since: Instant) -> bool {
        let topology = &self.whereabouts.topology;
        let queues = (0..topology.partitions).map(|at| topology.queue(self.whereabouts.name, at));
        self.whereabouts.health.are_empty(queues, since)
    }

    async fn keep(&self, found: Vec<Model>) -> Result<(), String> {
        if found.is_empty() {
            return Ok(());
        }
        let rows = found.clone();
        let new = self.database.transact(move |transaction| {
            let rows = rows.clone();
            Box::pin(async move { differences::record(transaction, &rows).await })
        });
        let new = new.await.map_err(|failure| Chain(&failure).to_string())?;
        // Who sees that something was found sees that it is there, too.
        self.count().await?;
        found.iter().filter(|difference| new.contains(&difference.order_id)).for_each(observe::found);
        Ok(())
    }
}

impl Suspect {
    /// Takes down what was seen.
    fn look(
        &mut self,
        kind: Kind,
        answer: &ListDecisionsResponse,
        now: Micros,
        is_drained: impl Fn(Instant) -> bool,
    ) {
        if self.kind != kind {
            *self = Self::new(kind, now);
        }
        if self.is_delivered {
            return;
        }
        let read = answer.read_time.as_ref().map(micros).unwrap_or_default();
        let first = *self.read.get_or_insert(read);
        // Messages leave in the order in which they are written: none of before waits any more.
        if answer.oldest_message_time.as_ref().is_none_or(|oldest| micros(oldest) > first) {
            self.published.get_or_insert_with(Instant::now);
        }
        if kind != Kind::NotApplied || self.published.is_some_and(is_drained) {
            self.is_delivered = true;
            self.since = now;
        }
    }
}

impl Difference {
    /// The row of a difference that was found, which is due to be healed where it can be.
    fn kept(&self, now: Micros) -> Model {
        Model {
            order_id: self.order_id,
            kind: self.kind,
            orders_has: self.orders.as_ref().map(prost::Message::encode_to_vec),
            payments_has: self.payments.as_ref().map(|decision| decision.encode_to_vec()),
            find_time: now,
            heal_time: None,
            heal_attempts: 0,
            next_heal_time: self.kind.can_heal().then_some(now),
            message_id: None,
        }
    }
}
