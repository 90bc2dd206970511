//! Receiving in memory: deliveries stay with their inflow until acknowledged, and return to the queue when it is dropped.

use std::{collections::VecDeque, sync::Arc};

use async_trait::async_trait;

use super::queue::{Permit, Queue, Queued};
use crate::broker::{BrokerError, Delivery, Inflow};

pub(super) struct MemoryInflow {
    queue: Arc<Queue>,
    prefetch: usize,
    permit: Option<Permit>,
    /// Delivered and not acknowledged, with their tags, the oldest first.
    unacked: VecDeque<(u64, Queued)>,
    last_tag: u64,
    cancelled: bool,
}

impl MemoryInflow {
    pub(super) fn new(queue: Arc<Queue>, prefetch: u16) -> Self {
        let permit = queue.try_permit();
        Self {
            queue,
            prefetch: usize::from(prefetch.max(1)),
            permit,
            unacked: VecDeque::new(),
            last_tag: 0,
            cancelled: false,
        }
    }

    fn deliver(&mut self, queued: Queued) -> Delivery {
        self.last_tag += 1;
        let delivery = Delivery {
            tag: self.last_tag,
            redelivered: queued.redelivered,
            dead: None,
            message: Ok(queued.message.envelope.clone()),
        };
        self.unacked.push_back((self.last_tag, queued));
        delivery
    }
}

#[async_trait]
impl Inflow for MemoryInflow {
    async fn receive(&mut self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        if self.cancelled {
            return Ok(Vec::new());
        }
        if self.permit.is_none() {
            let permit =
                self.queue.permit().await.map_err(|closed| BrokerError::Connection(Box::new(closed)))?;
            self.permit = Some(permit);
        }
        let free = self.prefetch - self.unacked.len();
        if free == 0 {
            // Only an acknowledgement frees any of it, and it cannot come while the caller waits here.
            std::future::pending::<()>().await;
        }
        let taken = self.queue.take(max.clamp(1, free)).await;
        Ok(taken.into_iter().map(|queued| self.deliver(queued)).collect())
    }

    async fn cancel(&mut self) -> Result<(), BrokerError> {
        self.cancelled = true;
        Ok(())
    }

    async fn ack_through(&mut self, tag: u64) -> Result<(), BrokerError> {
        while let Some((_, queued)) = self.unacked.pop_front_if(|(oldest, _)| *oldest <= tag) {
            queued.message.acknowledge();
        }
        Ok(())
    }

    async fn ack(&mut self, tags: &[u64]) -> Result<(), BrokerError> {
        self.unacked.retain(|(tag, queued)| {
            let acknowledged = tags.contains(tag);
            if acknowledged {
                queued.message.acknowledge();
            }
            !acknowledged
        });
        Ok(())
    }
}

impl Drop for MemoryInflow {
    fn drop(&mut self) {
        // Before the permit passes on with the fields: the next consumer must find these first.
        self.queue.put_back(self.unacked.drain(..).map(|(_, queued)| queued));
    }
}
