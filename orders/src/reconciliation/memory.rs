//! What the process that compares knows: how far it is, and what it suspects. Another process begins anew.

use std::{
    collections::{BTreeMap, HashSet},
    time::Instant,
};

use chassis::clock::Micros;
use uuid::Uuid;

use super::{
    compare::{Difference, MOST_FOUND},
    settings::Timing,
};
use crate::store::differences::Kind;

/// How far it is.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Orders that were placed before, and not before `sweep`, are compared.
    pub(crate) tail: Micros,
    /// Orders that were placed from here on are compared.
    pub(crate) sweep: Micros,
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
            swept: None,
            rest_until: Instant::now(),
            instances: HashSet::new(),
            undecided: Uuid::nil(),
            known: Uuid::nil(),
            suspects: BTreeMap::new(),
        }
    }

    /// Whether no more can be kept in mind.
    pub(super) fn is_full(&self) -> bool {
        self.suspects.len() >= MOST_FOUND
    }

    /// Keeps in mind what may be differences, unless that is too much already: a later sweep finds it.
    pub(super) fn suspect(&mut self, found: impl IntoIterator<Item = Difference>, now: Micros) {
        if self.is_full() {
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
        self.sweep = time;
        self.rest_until = Instant::now();
    }
}
