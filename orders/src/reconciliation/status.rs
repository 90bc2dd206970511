//! How far reconciliation is, for who asks in this process; and what it reports.

pub(super) mod observe;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chassis::clock::Micros;
use storage::Outage;

use super::memory::Memory;

/// How far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether this process compares.
    pub comparing: bool,
    /// Orders that were placed before this time and not before `sweep` are compared.
    pub compared: Option<Micros>,
    /// How far back it is.
    pub sweep: Option<Micros>,
    /// When it last came to the first order.
    pub swept: Option<Micros>,
    /// Why nothing is compared; empty when something is.
    pub error: String,
}

/// How far it is, shared by who compares and who answers. The lock is held for a copy.
#[derive(Debug, Clone, Default)]
pub struct Shared(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    status: Status,
    /// Nothing can be compared, by this process.
    outage: Outage,
}

impl Shared {
    /// Of a process that never compares, and why.
    #[must_use]
    pub fn never(why: &str) -> Self {
        let shared = Self::default();
        why.clone_into(&mut shared.lock().status.error);
        shared
    }

    /// How far it is.
    #[must_use]
    pub fn read(&self) -> Status {
        self.lock().status.clone()
    }

    /// A round is over.
    pub(super) fn compared(&self, memory: &Memory) {
        let mut state = self.lock();
        if state.outage.ends() {
            tracing::info!("orders and payments are compared again");
        }
        let (compared, sweep) = (Some(memory.tail), Some(memory.compared_from()));
        state.status = Status { comparing: true, compared, sweep, swept: memory.swept, error: String::new() };
        drop(state);
        observe::compared_until(memory.tail);
    }

    /// Nothing can be compared.
    pub(super) fn failed(&self, problem: &str) {
        let mut state = self.lock();
        problem.clone_into(&mut state.status.error);
        if state.outage.fails() {
            tracing::warn!(error = problem, "cannot compare orders with payments: trying again");
        }
    }

    /// Another process compares.
    pub(super) fn stands_by(&self) {
        let mut state = self.lock();
        if state.outage.ends() {
            tracing::info!("another process compares orders with payments");
        }
        state.status = Status { error: "another process of orders compares".to_owned(), ..Status::default() };
    }

    /// This process compares no more, or not for now.
    pub(super) fn stops(&self) {
        self.lock().status = Status::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
