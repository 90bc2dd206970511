//! The order of a key past what is parked: what has to wait behind it, or for the end of a pause.

use std::collections::HashSet;

use sea_orm::DbErr;
use storage::Transaction;
use uuid::Uuid;

use super::{handler::Verdict, subscribed::Subscribed};
use crate::{
    envelope::Envelope,
    observe,
    parked::{self, Ahead, Park},
};

/// The messages of a batch that were not had before.
pub(super) struct InOrder<'m> {
    /// To be handled.
    pub(super) go: Vec<&'m Envelope>,
    /// To be parked until what is ahead of them has gone, each with what that is.
    pub(super) wait: Vec<(&'m Envelope, String)>,
    /// Something is parked that others have to wait behind.
    pub(super) behind_any: bool,
}

impl<'m> InOrder<'m> {
    /// Without a look: all of them go.
    pub(super) fn go(messages: Vec<&'m Envelope>) -> Self {
        Self { go: messages, wait: Vec::new(), behind_any: false }
    }
}

impl Subscribed {
    /// Reads whether anything is parked that others have to wait behind.
    pub(super) async fn look_ahead(&self) -> Result<(), DbErr> {
        let before = self.knowledge.before();
        if !parked::any_ahead(self.database.read(), &self.subscription.consumer, self.park).await? {
            self.knowledge.none_since(before);
        } else {
            // Another process may have parked it, which has had it of the broker's dead letters.
            self.knowledge.found();
        }
        Ok(())
    }

    /// A partition has become this process's: another one may have parked something of it until now. Returns whether it may go on: that one
    /// may have left it because it is paused, which this process has not read yet.
    pub(super) async fn takes_over(&self, number: Option<u16>) -> bool {
        let consumer = &self.subscription.consumer;
        self.knowledge.found();
        if let Err(error) = self.look_ahead().await {
            // Until it can be read, every attempt looks.
            observe::storage_failed(consumer, &error.into());
        }
        let Some(number) = number else { return true };
        if let Err(error) = self.pauses.read_now(&self.database).await {
            observe::storage_failed(consumer, &error.into());
        }
        self.pauses.of_partition(consumer, number).is_none()
    }

    /// Divides the messages of a batch that are `new` among all of it, which are in the order in which they came. `looks` unless nothing can
    /// be ahead of them.
    pub(super) async fn in_order<'m>(
        &self,
        transaction: &Transaction,
        all: &[&'m Envelope],
        new: &[&'m Envelope],
        looks: bool,
    ) -> Result<InOrder<'m>, DbErr> {
        let mut ahead = if looks {
            parked::ahead(transaction, &self.subscription.consumer, self.park, all).await?
        } else {
            Ahead::none(self.park)
        };
        let mut in_order = InOrder { behind_any: !ahead.is_empty(), ..InOrder::go(Vec::new()) };
        let mut new: HashSet<Uuid> = new.iter().map(|message| message.id).collect();
        for message in all {
            if !self.knows(message) {
                // It is held for a version that knows its kind.
                if self.park == Park::Key {
                    ahead.add(message);
                }
            } else if !new.remove(&message.id) {
            } else if let Some(reason) = self.waits(message, &ahead) {
                ahead.add(message);
                in_order.wait.push((message, reason));
            } else {
                in_order.go.push(message);
            }
        }
        Ok(in_order)
    }

    fn waits(&self, message: &Envelope, ahead: &Ahead) -> Option<String> {
        if let Some(paused) = self.pause_of(&message.kind, &message.key) {
            return Some(paused.reason);
        }
        ahead.is_of(message).then(|| parked::BEHIND.to_owned())
    }

    /// With [`Park::Key`] nothing may be handled together with a message of its key that is to be parked and came before it: an error cuts
    /// the batch into halves.
    pub(super) fn overtakes(&self, messages: &[&Envelope], verdicts: &[Verdict]) -> Result<(), DbErr> {
        if self.park == Park::Message {
            return Ok(());
        }
        let mut ahead = Ahead::none(self.park);
        for (message, verdict) in messages.iter().zip(verdicts) {
            if ahead.is_of(message) {
                return Err(DbErr::Custom(
                    "a message is to be parked, and others of its key came behind it".to_owned(),
                ));
            }
            if matches!(verdict, Verdict::Park(_)) {
                ahead.add(message);
            }
        }
        Ok(())
    }
}
