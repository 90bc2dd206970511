//! Publishing in memory: copies go into the queues, and the publisher waits for their acknowledgements.

use std::{future::pending, sync::Arc, time::Duration};

use async_trait::async_trait;
use storage::failpoint;
use tokio::{sync::watch, time::timeout};

use super::{
    exchange::Exchange,
    flight::{Flight, Message},
    queue::Queue,
};
use crate::{
    broker::{Outcome, Publisher},
    envelope::Envelope,
};

pub(super) struct MemoryPublisher {
    exchange: Arc<Exchange>,
    confirm_timeout: Duration,
    resumed: watch::Receiver<()>,
}

impl MemoryPublisher {
    pub(super) fn new(exchange: Arc<Exchange>, confirm_timeout: Duration) -> Self {
        let resumed = exchange.resumed();
        Self { exchange, confirm_timeout, resumed }
    }
}

#[async_trait]
impl Publisher for MemoryPublisher {
    async fn publish(&mut self, window: &[Envelope]) -> Vec<Outcome> {
        let window = Window::launch(&self.exchange, window);
        failpoint::at("publisher.sent");
        if failpoint::planted("confirms_not_awaited") {
            return vec![Outcome::Confirmed; window.messages.len()];
        }
        // Running out of time is no error: the outcomes say what was not acknowledged.
        let _ = timeout(self.confirm_timeout, window.acknowledged()).await;
        window.outcomes()
    }

    async fn resumed(&mut self) {
        // The exchange has the sender: it cannot be gone.
        if self.resumed.changed().await.is_err() {
            pending::<()>().await;
        }
    }
}

/// A window in flight. Dropped, also when the publisher itself is, it takes back what no consumer has seen.
struct Window {
    flight: Arc<Flight>,
    /// One per envelope; none for what has no queue.
    messages: Vec<Option<Arc<Message>>>,
    queues: Vec<Arc<Queue>>,
    /// Queues that have given back one of its messages, and with it all behind that one: their order is kept.
    held: Vec<Arc<Queue>>,
}

impl Window {
    fn launch(exchange: &Exchange, envelopes: &[Envelope]) -> Self {
        let mut window = Self {
            flight: Arc::default(),
            messages: Vec::with_capacity(envelopes.len()),
            queues: Vec::new(),
            held: Vec::new(),
        };
        for envelope in envelopes {
            let message = window.send(envelope, exchange.route(envelope));
            window.messages.push(message);
        }
        window.queues.iter().for_each(|queue| queue.wake());
        window
    }

    fn send(&mut self, envelope: &Envelope, queues: Vec<Arc<Queue>>) -> Option<Arc<Message>> {
        if queues.is_empty() {
            return None;
        }
        let message = Arc::new(Message::new(envelope.clone(), Arc::clone(&self.flight), queues.len()));
        for queue in queues {
            let is_of = |others: &[Arc<Queue>]| others.iter().any(|other| Arc::ptr_eq(other, &queue));
            if is_of(&self.held) {
                message.give_back();
                continue;
            }
            if !queue.push(&message) {
                self.held.push(queue);
                continue;
            }
            if !is_of(&self.queues) {
                self.queues.push(queue);
            }
        }
        Some(message)
    }

    async fn acknowledged(&self) {
        for message in self.messages.iter().flatten() {
            message.settled().await;
        }
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let outcome = |message: &Option<Arc<Message>>| match message {
            None => Outcome::Unroutable,
            Some(message) if !message.is_settled() => {
                Outcome::Unknown("no consumer acknowledged it in time".to_owned())
            }
            Some(message) if message.is_given_back() => Outcome::Postponed,
            Some(_) => Outcome::Confirmed,
        };
        self.messages.iter().map(outcome).collect()
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.flight.abandon();
        if self.messages.iter().flatten().any(|message| !message.is_settled()) {
            self.queues.iter().for_each(|queue| queue.withdraw_abandoned());
        }
    }
}
