//! A bound on requests that are worked on: of all, of each caller, and, in other words, of each service. Neither a caller nor a service that
//! is slow takes the slots of the others.

use std::{collections::BTreeMap, sync::Arc};

use chassis::status::{Fault, Reason};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    client::Who,
    shares::{Share, Shares},
};
use crate::metrics::{limit, refused};

/// The slots of an edge, on all of its threads.
#[derive(Debug)]
pub(super) struct Slots {
    most: usize,
    /// Those that calls of every service may take, when it has none of its own left.
    common: Arc<Semaphore>,
    /// Those of each service, by its full name: nobody else takes them. Where there is one service there are none.
    own: BTreeMap<String, Arc<Semaphore>>,
    callers: Arc<Shares<Who>>,
}

/// A slot to work on a request, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _share: Share<Who>,
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    /// So many in all, and for one caller, or half of all; for calls of these services.
    pub(super) fn new<'s>(
        most: usize,
        most_of_caller: Option<usize>,
        services: impl Iterator<Item = &'s str>,
    ) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        let services: Vec<&str> = services.collect();
        // Half of them, in equal parts: a service that stands still may take its own and the other half.
        let each = if services.len() > 1 { most / 2 / services.len() } else { 0 };
        let own = services.iter().map(|service| ((*service).to_owned(), Arc::new(Semaphore::new(each))));
        let common = Arc::new(Semaphore::new(most - each * services.len()));
        // Less than any service may take: a caller who takes all that it may have leaves some of it to others.
        let callers = Shares::new(most_of_caller.unwrap_or(most.div_ceil(2)));
        Self { most, common, own: own.collect(), callers }
    }

    /// A slot for a call of this service. Waiting for one would only make a queue of requests whose clients have gone.
    ///
    /// # Errors
    /// RATE_LIMITED when the caller has as many as may be, or all are taken that the service may have.
    pub(super) fn take(&self, service: &str, who: &Who) -> Result<Slot, Fault> {
        let share = self.callers.take(who.clone()).ok_or_else(|| {
            let most = self.callers.most();
            full(&format!("{} has {most} open requests", who.name()), limit::REQUESTS_PER_CLIENT)
        })?;
        let free = |slots: &Arc<Semaphore>| Arc::clone(slots).try_acquire_owned().ok();
        let permit = self.own.get(service).and_then(free).or_else(|| free(&self.common));
        let permit =
            permit.ok_or_else(|| full("the edge has open requests to this service", limit::REQUESTS))?;
        Ok(Slot { _share: share, _permit: permit })
    }

    /// How many are taken.
    pub(super) fn count(&self) -> usize {
        let free = |slots: &Arc<Semaphore>| slots.available_permits();
        self.most.saturating_sub(free(&self.common) + self.own.values().map(free).sum::<usize>())
    }
}

fn full(what: &str, flag: &'static str) -> Fault {
    refused(flag);
    Fault::new(Reason::RateLimited, format!("{what}, as many as may be ({flag})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str) -> Who {
        Who::Subject(name.into())
    }

    /// As many as there are for this service.
    fn all(slots: &Slots, service: &str, who: &Who) -> Vec<Slot> {
        std::iter::from_fn(|| slots.take(service, who).ok()).collect()
    }

    #[test]
    fn services_that_stand_still_leave_slots_to_each_of_the_others() {
        for (services, slow, fast) in [(2, 12, 4), (3, 12, 2), (4, 10, 2)] {
            let names: Vec<String> = (0..services).map(|number| format!("a.v1.S{number}")).collect();
            let slots = Slots::new(16, Some(16), names.iter().map(String::as_str));
            let (alice, bob) = (caller("alice"), caller("bob"));
            let held = all(&slots, "a.v1.S0", &alice);
            assert_eq!(held.len(), slow, "of {services}");
            for name in &names[1..] {
                assert_eq!(all(&slots, name, &bob).len(), fast, "of {services}");
            }
            assert_eq!(slots.count(), slow);
            drop(held);
            assert_eq!(slots.count(), 0);
        }
    }

    #[test]
    fn one_service_has_all_and_a_caller_half() {
        let slots = Slots::new(7, None, std::iter::once(""));
        let held = all(&slots, "a.v1.S", &caller("alice"));
        let refusal = slots.take("a.v1.S", &caller("alice")).expect_err("a half");
        assert!(refusal.message.contains("4 open requests") && held.len() == 4, "{}", refusal.message);
        let others = all(&slots, "a.v1.S", &caller("bob"));
        let refusal = slots.take("a.v1.S", &caller("carol")).expect_err("all are taken");
        assert!(refusal.message.contains("(--max-requests)") && others.len() == 3, "{}", refusal.message);
        // Few slots are slots all the same.
        for most in [1, 2, 3] {
            let slots = Slots::new(most, None, ["a.v1.A", "a.v1.B"].into_iter());
            assert!(slots.take("a.v1.B", &caller("alice")).is_ok(), "{most}");
        }
    }
}
