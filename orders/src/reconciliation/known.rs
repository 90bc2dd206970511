//! The differences that are kept: whether they are still there, and what is due to heal them.

use std::collections::BTreeMap;

use chassis::{clock::Micros, status::Chain};
use prost::Message as _;
use service::decisions::MOST;
use uuid::Uuid;

use super::{
    Reconciliation,
    compare::{self, Difference},
    heal,
    memory::Memory,
    status::observe,
};
use crate::store::differences::{self, Model};

/// For so long an operator is shown what was healed, in microseconds.
const KEEP: Micros = 30 * 24 * 3_600 * 1_000_000;

impl Reconciliation {
    /// Looks at a thousand of the differences that are kept.
    pub(super) async fn look_again(&self, memory: &mut Memory) -> Result<(), String> {
        let text = |failure: storage::Failure| Chain(&failure).to_string();
        let kept = differences::page(self.database.read(), false, memory.known, MOST as u64).await;
        let kept = kept.map_err(|error| text(error.into()))?;
        let more = kept.len() >= MOST;
        memory.known = kept.last().map(|last| last.order_id).filter(|_| more).unwrap_or(Uuid::nil());
        let ids: Vec<Uuid> = kept.iter().map(|difference| difference.order_id).collect();
        let (found, _) = compare::these(&self.orders, self.payments.as_ref(), &ids).await?;
        let found: BTreeMap<Uuid, Difference> =
            found.into_iter().map(|difference| (difference.order_id, difference)).collect();
        let now = self.clock.now();
        let mut changed: Vec<Model> =
            kept.into_iter().filter_map(|kept| seen(found.get(&kept.order_id), kept, now)).collect();
        if changed.is_empty() {
            return Ok(());
        }
        heal::heal(self, &mut changed, now).await.map_err(text)?;
        changed.iter().filter(|difference| difference.heal_time.is_some()).for_each(observe::healed);
        Ok(())
    }

    /// Forgets what was healed long ago.
    pub(super) async fn forget(&self) -> Result<(), String> {
        let before = self.clock.now() - KEEP;
        let forgotten = self.database.transact(move |transaction| {
            Box::pin(async move { differences::forget(transaction, before).await })
        });
        forgotten.await.map_err(|failure| Chain(&failure).to_string())
    }

    /// Shows how many differences there are.
    pub(super) async fn count(&self) -> Result<(), String> {
        let counts = differences::counts(self.database.read()).await;
        observe::differences(&counts.map_err(|error| Chain(&error).to_string())?);
        Ok(())
    }
}

/// The difference as it is now, if something is to be written or done: it is gone, it is another one, or it is due to be healed.
fn seen(found: Option<&Difference>, kept: Model, now: Micros) -> Option<Model> {
    let Some(found) = found else {
        return Some(Model { heal_time: Some(now), next_heal_time: None, ..kept });
    };
    if found.kind == kept.kind {
        return kept.next_heal_time.is_some_and(|due| due <= now).then_some(kept);
    }
    Some(Model {
        kind: found.kind,
        orders_has: found.orders.as_ref().map(|order| order.encode_to_vec()),
        payments_has: found.payments.as_ref().map(|decision| decision.encode_to_vec()),
        heal_attempts: 0,
        next_heal_time: found.kind.can_heal().then_some(now),
        ..kept
    })
}
