//! What a client has sent of a message on a WebSocket that is not whole yet: it counts as a body does, from its first byte.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use chassis::status::Fault;
use tokio::sync::Notify;

use super::budget::{Account, Permit};

/// What a frame of control has beside its payload (RFC 6455, section 5.2): two bytes, and a mask of four.
const CONTROL_HEAD: usize = 6;

/// What one connection has read and not understood yet. Nothing counts before [`Unread::begin`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Unread(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Whether anything counts: connections without a WebSocket look at nothing else.
    counts: AtomicBool,
    state: Mutex<State>,
    refused: Notify,
}

#[derive(Debug, Default)]
struct State {
    permit: Option<Permit>,
    refusal: Option<Fault>,
}

impl Unread {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts from now on what the client of this account sends.
    pub(crate) fn begin(&self, account: &Arc<Account>) {
        self.state().permit = Some(account.nothing());
        self.0.counts.store(true, Relaxed);
    }

    /// Whether so many bytes that have come are kept. When there is no room for them, none are from then on.
    pub(crate) fn keeps(&self, bytes: usize) -> bool {
        if !self.0.counts.load(Relaxed) {
            return true;
        }
        let State { permit, refusal } = &mut *self.state();
        let Some(permit) = permit else { return true };
        if refusal.is_none()
            && let Err(fault) = permit.grow(bytes)
        {
            *refusal = Some(fault);
            self.0.refused.notify_one();
        }
        refusal.is_none()
    }

    /// Waits until something was not kept, and says why.
    pub(crate) async fn refusal(&self) -> Fault {
        loop {
            let refused = self.0.refused.notified();
            if let Some(fault) = self.state().refusal.clone() {
                return fault;
            }
            refused.await;
        }
    }

    /// The message is whole: what it takes counts until the permit is dropped.
    pub(crate) fn take(&self) -> Option<Permit> {
        self.state().permit.as_mut().map(|permit| permit.split(usize::MAX))
    }

    /// No more of what comes is kept, nor counted.
    pub(crate) fn end(&self) {
        self.state().permit = None;
    }

    /// A frame of control was read, with so much payload: it is no part of a message.
    pub(crate) fn control(&self, payload: usize) {
        if let Some(permit) = &mut self.state().permit {
            permit.shrink(payload + CONTROL_HEAD);
        }
    }
}
