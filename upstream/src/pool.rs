//! The endpoints of a service, and which of them is called: those that answer, in turn.
//!
//! An endpoint that fails is left out at once, while there are others. It is let in again once it answers a probe, so never at
//! the cost of a request. Where every endpoint has failed again and again, calls fail at once. One that takes calls and answers none is
//! left out too.

mod member;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use chassis::tls::Distrust;
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

pub(crate) use self::member::{Member, Waiting};
use crate::error::{TransportError, distrust, no_endpoint};

pub(crate) type Members = Arc<[Arc<Member>]>;

/// Where a service is. Dropping it ends the search for its addresses.
#[derive(Debug)]
pub(crate) struct Pool {
    /// `None` until the names were looked up for the first time.
    members: watch::Receiver<Option<Members>>,
    turn: AtomicUsize,
    /// Asks for another look at the names.
    look: Arc<Notify>,
    _search: Option<AbortOnDropHandle<()>>,
}

/// The endpoint that a request was sent to last, so that a repetition goes to another one.
#[derive(Debug, Default)]
pub struct Tried(AtomicU64);

impl Pool {
    /// A pool of what is there now, and of what the search finds from then on.
    pub(crate) fn new(
        members: watch::Receiver<Option<Members>>,
        look: Arc<Notify>,
        search: Option<AbortOnDropHandle<()>>,
    ) -> Self {
        Self { members, turn: AtomicUsize::default(), look, _search: search }
    }

    /// The endpoints that are known now, and whether each is called.
    pub(crate) fn endpoints(&self) -> Vec<(SocketAddr, bool)> {
        let members = self.members.borrow();
        members.iter().flat_map(|members| members.iter()).map(|member| member.seen()).collect()
    }

    /// The endpoints with TLS, and whose certificate is why one cannot be called, if so.
    pub(crate) fn distrusted(&self) -> Vec<(SocketAddr, Option<Distrust>)> {
        let members = self.members.borrow();
        let members = members.iter().flat_map(|members| members.iter());
        members.filter_map(|member| Some((member.address(), member.distrust()?))).collect()
    }

    /// Those that are called, once the names were looked up.
    pub(crate) async fn called(&self) -> Vec<Arc<Member>> {
        let mut members = self.members.clone();
        // The search ends with the pool only.
        let known = members.wait_for(Option::is_some).await;
        let members = known.ok().and_then(|members| members.clone()).unwrap_or_default();
        members.iter().filter(|member| member.is_in()).cloned().collect()
    }

    /// The endpoint for one call.
    ///
    /// # Errors
    /// UNAVAILABLE, when there is none that is worth a call.
    pub(crate) async fn pick(&self, tried: &Tried) -> Result<Arc<Member>, Status> {
        let known = self.choose(tried);
        let chosen = match known {
            Some(chosen) => chosen,
            None => {
                let mut members = self.members.clone();
                // The search ends with the pool only.
                let _ended = members.wait_for(Option::is_some).await;
                self.choose(tried).flatten()
            }
        };
        let Some(member) = chosen else {
            self.look.notify_one();
            return Err(no_endpoint());
        };
        tried.0.store(member.id, Relaxed);
        Ok(member)
    }

    /// Takes note of how a call went. Only what the connection or the endpoint did counts, never what is wrong with a request.
    pub(crate) fn note<T>(&self, waiting: Waiting<'_>, outcome: &Result<T, Status>) {
        let failed = outcome.as_ref().err();
        match failed.and_then(TransportError::of) {
            Some(error @ (TransportError::NotSent | TransportError::OutcomeUnknown)) => {
                self.look.notify_one();
                let is_unsent = error == TransportError::NotSent;
                waiting.failed(is_unsent, failed.filter(|_| is_unsent).and_then(|status| distrust(status)));
            }
            Some(TransportError::Request | TransportError::Body) => waiting.ended(),
            _ => waiting.answered(),
        }
    }

    /// `None` while no name was looked up, `Some(None)` when there is nobody to call.
    fn choose(&self, tried: &Tried) -> Option<Option<Arc<Member>>> {
        let members = self.members.borrow();
        let members = members.as_deref()?;
        let turn = self.turn.fetch_add(1, Relaxed);
        let fresh = |member: &Arc<Member>| member.id != tried.0.load(Relaxed);
        // Usually there is one, and nothing to choose.
        if let [only] = members {
            return Some((only.is_in() || only.is_worth_a_try()).then(|| Arc::clone(only)));
        }
        let usable = Member::is_usable;
        let chosen = nth(members, turn, |member| usable(member) && fresh(member))
            .or_else(|| nth(members, turn, usable))
            .or_else(|| nth(members, turn, |member| member.is_worth_a_try() && fresh(member)))
            .or_else(|| nth(members, turn, |member| member.is_worth_a_try()));
        Some(chosen.cloned())
    }
}

/// The member of those that `fits` chooses whose turn it is.
fn nth(members: &[Arc<Member>], turn: usize, fits: impl Fn(&Arc<Member>) -> bool) -> Option<&Arc<Member>> {
    let fitting = || members.iter().filter(|member| fits(member));
    let count = fitting().count();
    if count == 0 { None } else { fitting().nth(turn % count) }
}
