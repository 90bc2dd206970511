//! Parts of what was received: what commits together, and what is tried instead when that fails.

use std::sync::Arc;

use storage::Failure;

use crate::{broker::Delivery, observe};

/// The payloads of one transaction, in bytes, unless a single one is larger.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Cuts what was received into parts that are not too large, the first on top.
pub(super) fn cut(batch: Vec<Delivery>) -> Vec<Part> {
    let (mut parts, mut part, mut filled) = (Vec::new(), Vec::new(), 0);
    for delivery in batch {
        if let Some(story) = delivery.dead.clone() {
            // It is not tried: it is parked, each alone because it has a story of its own.
            parts.push(Part { deliveries: [delivery].into(), attempts: 1, fault: Some(story) });
            continue;
        }
        let size = match &delivery.message {
            Ok(message) => message.payload.len(),
            Err(junk) => junk.payload.len(),
        };
        if !part.is_empty() && filled + size > BATCH_BYTES {
            parts.push(Part::new(std::mem::take(&mut part)));
            filled = 0;
        }
        filled += size;
        part.push(delivery);
    }
    if !part.is_empty() {
        parts.push(Part::new(part));
    }
    parts.reverse();
    parts
}

/// A run of deliveries that commits together.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) deliveries: Arc<[Delivery]>,
    /// How often its messages have been tried, this time included.
    pub(super) attempts: i32,
    /// Why its only message cannot be handled: it is to be parked.
    pub(super) fault: Option<String>,
}

impl Part {
    fn new(deliveries: Vec<Delivery>) -> Self {
        Self { deliveries: deliveries.into(), attempts: 1, fault: None }
    }

    /// What to try instead of a part that failed, the first on top.
    pub(super) fn divide(self, failure: &Failure) -> Vec<Self> {
        let Self { deliveries, attempts, .. } = self;
        if deliveries.len() == 1 {
            return vec![Self { deliveries, attempts, fault: Some(observe::chain(failure)) }];
        }
        let (first, second) = deliveries.split_at(deliveries.len() / 2);
        [second, first]
            .map(|half| Self { deliveries: half.into(), attempts: attempts + 1, fault: None })
            .into()
    }
}
