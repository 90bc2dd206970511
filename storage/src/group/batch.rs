//! One kind of write, and the replies to it.

use futures_util::future::BoxFuture;
use sea_orm::{DbBackend, DbErr};
use tokio::sync::oneshot;

use crate::{executor::Executor, failpoint, failure::Failure};

/// One kind of write, applied to many requests in a transaction.
pub trait Batch: Send + Sync + 'static {
    /// A request.
    type Request: Send + Sync + 'static;
    /// The reply once the transaction is committed: a refusal of the domain is a reply, not an error.
    type Reply: Send + 'static;

    /// What is made of requests before they are applied, once, however often that is tried.
    type Prepared: Send + Sync + 'static;

    /// Makes it.
    ///
    /// # Errors
    /// For what cannot be applied; nothing was begun then.
    fn prepare(&self, backend: DbBackend, requests: &[Self::Request]) -> Result<Self::Prepared, DbErr>;

    /// Whether all that is changed is changed by a single statement, so that no transaction is needed around it.
    fn is_one_statement(&self, prepared: &Self::Prepared) -> bool {
        let _in_general_not = prepared;
        false
    }

    /// Applies all requests and returns a reply for each, in their order. An error rolls all of it back.
    fn apply<'t>(
        &'t self,
        executor: Executor<'t>,
        requests: &'t [Self::Request],
        prepared: &'t Self::Prepared,
    ) -> BoxFuture<'t, Result<Vec<Self::Reply>, DbErr>>;

    /// Called after each commit, before the callers get their replies.
    fn committed(&self) {}
}

/// Where the reply to a request goes; closed once its caller has gone.
pub(super) type Reply<B> = oneshot::Sender<Result<<B as Batch>::Reply, Failure>>;

/// Whether nobody waits for the reply any more: what was called for must not take effect then.
pub(super) fn is_given_up<R>(reply: &oneshot::Sender<R>) -> bool {
    reply.is_closed() && !failpoint::planted("deadline_ignored")
}
