//! One order: what it was, and when something is to be done about it.

use uuid::Uuid;

use crate::store::entity::order::{Model, Status};

/// Payments is asked again after this part of the time that an order has: 30 s of the usual ten minutes.
const ASKS_OF_TTL: i64 = 20;
/// Sooner would ask again for what is merely under way, in microseconds.
const SOONEST_ASK: i64 = 1_000_000;
/// However long an order has, payments is asked again after this time, in microseconds.
const LATEST_FIRST_ASK: i64 = 30_000_000;
/// However long payments has been silent, it is asked again after this time, in microseconds.
const LATEST_ASK: i64 = 3_600_000_000;

impl Model {
    /// The order as it was when it was placed: rebuilt from what never changes.
    #[must_use]
    pub fn as_placed(&self) -> Self {
        Self {
            status: Status::New,
            cancel_reason: None,
            update_time: self.create_time,
            cancel_request_time: None,
            cancel_request_id: None,
            version: 1,
            ledger_entry_id: None,
            ..self.clone()
        }
    }

    /// The order as it was when its cancellation was requested, if that was.
    #[must_use]
    pub fn as_cancel_requested(&self) -> Option<Self> {
        let at = self.cancel_request_time?;
        let cancel_request_id = self.cancel_request_id.clone();
        let placed = self.as_placed();
        let version = placed.version + 1;
        Some(Self { cancel_request_time: Some(at), cancel_request_id, update_time: at, version, ..placed })
    }

    /// The id of the message that payments was asked with last.
    #[must_use]
    pub fn last_message(&self) -> Uuid {
        self.asked_message_id.unwrap_or(self.id)
    }

    /// Whether an undecided payment is given up at `now`.
    #[must_use]
    pub const fn is_expired(&self, now: i64) -> bool {
        now >= self.expire_time
    }

    /// When payments is to be asked again that was asked `now`. Each time it has twice as long as the time before, so that a silence of an
    /// hour costs a dozen messages; the expiry, like a cancellation, begins anew.
    #[must_use]
    pub fn next_ask(&self, now: i64) -> i64 {
        let expired = self.is_expired(now).then_some(self.expire_time);
        let begun = [Some(self.create_time), self.cancel_request_time, expired].into_iter().flatten().max();
        let soonest =
            ((self.expire_time - self.create_time) / ASKS_OF_TTL).clamp(SOONEST_ASK, LATEST_FIRST_ASK);
        let silent = now.saturating_sub(begun.unwrap_or(now)).clamp(soonest, LATEST_ASK);
        let next = now.saturating_add(silent);
        if expired.is_some() { next } else { next.min(self.expire_time) }
    }

    /// Every version so far, the oldest first: rebuilt from what never changes.
    #[must_use]
    pub fn versions(&self) -> Vec<Self> {
        let ended = (self.status != Status::New).then(|| self.clone());
        [self.as_placed()].into_iter().chain(self.as_cancel_requested()).chain(ended).collect()
    }
}
