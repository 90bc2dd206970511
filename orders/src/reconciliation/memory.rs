//! What the process that compares knows: how far it is, and what it suspects. Another process begins anew.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use chassis::clock::Micros;
use uuid::Uuid;

use super::{
    compare::{Difference, MOST_FOUND},
    settings::Timing,
};
use crate::store::differences::Kind;

/// What the newest orders may take of what is kept in mind: however many of them differ, the sweep comes to the older ones.
const NEWEST: usize = MOST_FOUND / 2;

/// How far it is.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Orders that were placed before, and not before [`Memory::compared_from`], are compared.
    pub(crate) tail: Micros,
    /// How far back the sweep is.
    pub(crate) sweep: Micros,
    /// Whether it is over, and the next one has not begun.
    rests: bool,
    /// Some of the newest orders that were placed before were left, while the sweep was at older ones: the next one takes them.
    left: Option<Micros>,
    /// When the sweep last came to the first order.
    pub(crate) swept: Option<Micros>,
    /// The sweep goes on then.
    pub(crate) rest_until: Instant,
    /// The processes of payments that have answered.
    pub(crate) instances: HashSet<String>,
    /// Of the orders that are NEW, the one that was looked at last.
    pub(crate) undecided: Uuid,
    /// Of the differences that are kept, the one that was looked at last.
    pub(crate) known: Uuid,
    /// What may be a difference.
    pub(crate) suspects: BTreeMap<Uuid, Suspect>,
}

/// Since when something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Suspect {
    /// What seems to be wrong.
    pub(crate) kind: Kind,
    /// Since when it does, or since when nothing about it can be on its way any more.
    pub(crate) since: Micros,
    /// When payments first said so, by its clock; `None` before it is asked about this order alone.
    pub(crate) read: Option<Micros>,
    /// When everything was seen to have been published that waited at payments then.
    pub(crate) published: Option<Instant>,
    /// Whether everything has been delivered that was on its way then.
    pub(crate) is_delivered: bool,
}

impl Suspect {
    /// Nobody has been asked about this order alone.
    pub(super) const fn new(kind: Kind, now: Micros) -> Self {
        Self { kind, since: now, read: None, published: None, is_delivered: false }
    }
}

impl Memory {
    /// Nothing is compared yet.
    pub(super) fn begun(now: Micros, timing: &Timing) -> Self {
        let begun = (now - timing.settle_micros()) / 1_000 * 1_000;
        Self {
            tail: begun,
            sweep: begun,
            rests: false,
            left: None,
            swept: None,
            rest_until: Instant::now(),
            instances: HashSet::new(),
            undecided: Uuid::nil(),
            known: Uuid::nil(),
            suspects: BTreeMap::new(),
        }
    }

    /// How many more can be kept in mind.
    pub(super) fn room(&self) -> usize {
        MOST_FOUND.saturating_sub(self.suspects.len())
    }

    /// How many of them may be among the newest orders.
    pub(super) fn room_for_newest(&self) -> usize {
        NEWEST.saturating_sub(self.suspects.len())
    }

    /// Orders that were placed from here on, and before `tail`, are compared.
    pub(super) fn compared_from(&self) -> Micros {
        self.left.map_or(self.sweep, |left| left.max(self.sweep))
    }

    /// Of the newest orders those that were placed before this time are left. A sweep that rests begins there; one that is under way goes on with
    /// the older ones, so that it comes to its end.
    pub(super) fn leave(&mut self, left_at: Micros) {
        if self.rests {
            self.sweep_from(left_at);
        } else {
            self.left = Some(self.left.map_or(left_at, |left| left.max(left_at)));
        }
    }

    /// The sweep goes on from here.
    pub(super) fn begin_sweep(&mut self) -> Micros {
        self.rests = false;
        self.sweep
    }

    /// The sweep has come to the first order. The next one begins after this time, or at once where some of the newest orders were left.
    pub(super) fn end_sweep(&mut self, between: Duration) {
        let rests = self.left.is_none();
        self.sweep_from(self.tail);
        if rests {
            self.rests = true;
            self.rest_until = Instant::now() + between;
        }
    }

    /// Keeps in mind what may be differences, unless that is too much already: a later sweep finds it.
    pub(super) fn suspect(&mut self, found: impl IntoIterator<Item = Difference>, now: Micros) {
        if self.room() == 0 {
            return;
        }
        for Difference { order_id, kind, .. } in found {
            self.suspects.entry(order_id).or_insert_with(|| Suspect::new(kind, now));
        }
    }

    /// Who has answered: a process that was not there before may be on a database that was restored, so the sweep begins anew.
    pub(super) fn answered_by(&mut self, instance: &str) {
        if !instance.is_empty() && self.instances.insert(instance.to_owned()) && self.instances.len() > 1 {
            tracing::info!(
                payments.instance = instance,
                "payments was started anew: everything is compared again"
            );
            self.sweep_from(self.tail);
        }
    }

    /// Lets the sweep begin again at this time, and at once: only what was placed from then on is compared.
    pub(super) fn sweep_from(&mut self, time: Micros) {
        (self.sweep, self.left, self.rests) = (time, None, false);
        self.rest_until = Instant::now();
    }
}
