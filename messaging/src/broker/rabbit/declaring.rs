//! Declares one thing after another, and where the user may not, takes what somebody else has declared.

use std::collections::BTreeSet;

use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{FieldTable, ShortString},
};

use super::{
    connection::Link,
    names::short,
    passive,
    refusal::{is_denied, refused_or_lost},
};
use crate::broker::BrokerError;

/// What has to be on the broker, and is durable.
pub(super) enum Thing {
    Exchange(ExchangeKind),
    /// With its arguments.
    Queue(FieldTable),
}

/// A channel to declare on.
pub(super) struct Declaring {
    // Dropped before the link, which waits for the close.
    /// Confirming, and another one after the broker has closed it.
    channel: Channel,
    link: Link,
    /// The names of what the user may not declare: it is taken as it is. Nobody can look at its arguments without the permission to declare
    /// it.
    denied: BTreeSet<String>,
}

impl Declaring {
    /// Begins on a channel of its own.
    pub(super) async fn over(link: Link) -> Result<Self, BrokerError> {
        Ok(Self { channel: link.confirming_channel().await?, link, denied: BTreeSet::new() })
    }

    /// The connection, and the channel as it is now.
    pub(super) fn into_parts(self) -> (Link, Channel) {
        (self.link, self.channel)
    }

    /// Tries again what was denied: it may be allowed by now.
    pub(super) fn forget_denied(&mut self) {
        self.denied.clear();
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Another channel, because the broker has closed this one.
    pub(super) async fn reopen(&mut self) -> Result<(), BrokerError> {
        self.channel = self.link.confirming_channel().await?;
        Ok(())
    }

    /// Declares it, or finds it there if the user may not declare it.
    pub(super) async fn declare(&mut self, name: &str, thing: &Thing) -> Result<(), BrokerError> {
        if !self.denied.contains(name) {
            match self.actively(short(name)?, thing).await {
                Err(error) if is_denied(&error) => {}
                declared => return declared.map_err(refused_or_lost),
            }
            self.denied.insert(name.to_owned());
            self.reopen().await?;
        }
        if self.is_there(name, thing).await? {
            return Ok(());
        }
        self.reopen().await?;
        // It may be allowed by now; otherwise the broker says why not.
        self.actively(short(name)?, thing).await.map_err(refused_or_lost)
    }

    /// Binds a queue, for which nobody needs the permission to declare it.
    pub(super) async fn bind(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
    ) -> Result<(), BrokerError> {
        let bound = self.channel.queue_bind(
            short(queue)?,
            short(exchange)?,
            short(routing_key)?,
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound.await.map_err(refused_or_lost)
    }

    async fn actively(&self, name: ShortString, thing: &Thing) -> lapin::Result<()> {
        match thing {
            Thing::Exchange(kind) => {
                let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
                self.channel.exchange_declare(name, kind.clone(), options, FieldTable::default()).await
            }
            Thing::Queue(arguments) => {
                let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
                self.channel.queue_declare(name, options, arguments.clone()).await.map(drop)
            }
        }
    }

    async fn is_there(&self, name: &str, thing: &Thing) -> Result<bool, BrokerError> {
        Ok(match thing {
            Thing::Exchange(_) => passive::exchange(&self.channel, name).await?.is_some(),
            Thing::Queue(_) => passive::queue(&self.channel, name).await?.is_some(),
        })
    }
}
