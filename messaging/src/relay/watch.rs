//! The slow look at the outbox: for those who read the gauges, for what no wake-up came for, and to clean it.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use storage::Outage;

use super::Relay;
use crate::{observe, outbox, retry};

/// The safety net under the wake-ups: rows of a process that died between its commit and its call wait this long at most.
const POLL: Duration = Duration::from_secs(2);
/// Rows that die before the relay cleans up after itself. Each look at the outbox passes by all of them, a hundred in a few
/// microseconds, before it comes to those that live; and the server looks once a minute only, when half a million may have died.
const DEAD: u64 = 1_000;

impl Relay {
    /// Looks at the outbox now and then, for ever.
    pub(super) async fn watch(&self) {
        let mut outage = Outage::default();
        loop {
            match outbox::backlog(self.database.read()).await {
                Ok(backlog) => {
                    observe::storage("outbox", &mut outage, Ok(()));
                    observe::backlog(&self.source, &backlog, retry::now());
                    if !backlog.is_empty() {
                        self.waiting.notify_one();
                    }
                }
                Err(error) => observe::storage("outbox", &mut outage, Err(&error.into())),
            }
            if self.dead.load(Relaxed) >= DEAD {
                self.dead.store(0, Relaxed);
                if let Err(error) = outbox::clean(self.database.reports()).await {
                    observe::storage_failed("outbox", &error.into());
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
