//! When a call is over, whatever would still come: its client does not wait any longer, or the token that let it in does so no longer.

use std::{
    fmt,
    future::pending,
    task::{Context, Poll},
};

use auth::Validity;
use chassis::status::Fault;
use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::time::{Instant, sleep_until};

use crate::request::deadline::deadline_exceeded;

/// The end of a call that is waited for from its beginning.
pub(crate) struct Over(BoxFuture<'static, Fault>);

impl Over {
    /// Whichever comes first: what its client has said, and the end of its token.
    pub(crate) fn first(deadline: Option<Instant>, validity: Option<Validity>) -> Option<Self> {
        if deadline.is_none() && validity.is_none() {
            return None;
        }
        let late = async move {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
            deadline_exceeded()
        };
        let ended = async move {
            match validity {
                Some(validity) => Fault::from(validity.ended().await),
                None => pending().await,
            }
        };
        let first = async move {
            tokio::select! {
                fault = late => fault,
                fault = ended => fault,
            }
        };
        Some(Self(first.boxed()))
    }

    /// Waits for it, or for ever, and says why it is over. Who stops waiting may wait again.
    pub(crate) async fn wait(over: &mut Option<Self>) -> Fault {
        match over {
            Some(over) => (&mut over.0).await,
            None => pending().await,
        }
    }

    /// The same.
    pub(crate) fn poll(over: &mut Option<Self>, context: &mut Context<'_>) -> Poll<Fault> {
        over.as_mut().map_or(Poll::Pending, |over| over.0.as_mut().poll(context))
    }
}

impl fmt::Debug for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Over")
    }
}
