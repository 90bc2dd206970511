//! How far reconciliation is, for who asks in this process; and what it reports.

pub(super) mod observe;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chassis::clock::Micros;

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
pub struct Shared(Arc<Mutex<Status>>);

impl Shared {
    /// Of a process that never compares, and why.
    #[must_use]
    pub fn never(why: &str) -> Self {
        let shared = Self::default();
        why.clone_into(&mut shared.lock().error);
        shared
    }

    /// How far it is.
    #[must_use]
    pub fn read(&self) -> Status {
        self.lock().clone()
    }

    /// A round is over.
    pub(super) fn compared(&self, memory: &Memory) {
        let mut status = self.lock();
        if !status.error.is_empty() {
            tracing::info!("orders and payments are compared");
        }
        let (compared, sweep) = (Some(memory.tail), Some(memory.sweep));
        *status = Status { comparing: true, compared, sweep, swept: memory.swept, error: String::new() };
        drop(status);
        observe::compared_until(memory.tail);
    }

    /// Nothing can be compared; the same is said once.
    pub(super) fn failed(&self, problem: &str) {
        let mut status = self.lock();
        if status.error != problem {
            tracing::warn!(error = problem, "cannot compare orders with payments: trying again");
            problem.clone_into(&mut status.error);
        }
    }

    /// Another process compares, or none.
    pub(super) fn stands_by(&self, why: String) {
        *self.lock() = Status { error: why, ..Status::default() };
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
