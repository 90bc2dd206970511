//! A bound on requests that are worked on: of all, of each caller, and of each service. Neither a caller nor a service that is slow takes the
//! slots of the others.

use std::sync::Arc;

use chassis::status::{Fault, Reason};

use super::{
    client::Who,
    shares::{Share, Shares},
};
use crate::metrics::{limit, refused};

/// A service may have so many slots for each one that is free. So there is always a free one for those that have few: a service that stands
/// still takes three quarters of all, another one three quarters of what it has left, and so on, however many there are.
const FOR_EACH_FREE: usize = 3;

/// The slots of an edge, on all of its threads.
#[derive(Debug)]
pub(super) struct Slots {
    most: usize,
    most_of_caller: usize,
    callers: Arc<Shares<Who>>,
    /// By their full names.
    services: Arc<Shares<Arc<str>>>,
}

/// A slot to work on a request, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _of_caller: Share<Who>,
    _of_service: Share<Arc<str>>,
}

impl Slots {
    /// So many in all, and for one caller, or half of all.
    pub(super) fn new(most: usize, most_of_caller: Option<usize>) -> Self {
        // Less than any service may take: a caller who takes all that it may have leaves some of it to others.
        let most_of_caller = most_of_caller.unwrap_or(most.div_ceil(2));
        Self { most, most_of_caller, callers: Shares::none(), services: Shares::none() }
    }

    /// A slot for a call of this service. Waiting for one would only make a queue of requests whose clients have gone.
    ///
    /// # Errors
    /// RATE_LIMITED when the caller has as many as may be, or the service.
    pub(super) fn take(&self, service: &str, who: &Who) -> Result<Slot, Fault> {
        let Self { most, most_of_caller, .. } = *self;
        let of_caller = self.callers.take(who.clone(), |own, _| own < most_of_caller).ok_or_else(|| {
            full(&format!("{} has {most_of_caller} open requests", who.name()), limit::REQUESTS_PER_CLIENT)
        })?;
        let of_service = self
            .services
            .take(service.into(), |own, all| own < most.saturating_sub(all).saturating_mul(FOR_EACH_FREE))
            .ok_or_else(|| full("the edge has open requests to this service", limit::REQUESTS))?;
        Ok(Slot { _of_caller: of_caller, _of_service: of_service })
    }

    /// How many are taken.
    pub(super) fn count(&self) -> usize {
        self.services.count()
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
        let slots = Slots::new(4_096, Some(4_096));
        let held = [3_072, 768, 192, 48, 12].map(|most| {
            let held = all(&slots, &format!("a.v1.S{most}"), &caller("alice"));
            assert_eq!(held.len(), most);
            held
        });
        // The first one has no slot back before all of them have some.
        assert!(slots.take("a.v1.S3072", &caller("bob")).is_err());
        assert!(slots.take("a.v1.Another", &caller("bob")).is_ok());
        assert_eq!(slots.count(), 4_092);
        drop(held);
        assert_eq!(slots.count(), 0);
    }

    #[test]
    fn one_service_has_three_quarters_and_a_caller_half() {
        let slots = Slots::new(8, None);
        let held = all(&slots, "a.v1.S", &caller("alice"));
        let refusal = slots.take("a.v1.S", &caller("alice")).expect_err("a half");
        assert!(refusal.message.contains("4 open requests") && held.len() == 4, "{}", refusal.message);
        let others = all(&slots, "a.v1.S", &caller("bob"));
        let refusal = slots.take("a.v1.S", &caller("carol")).expect_err("all that it may have are taken");
        assert!(refusal.message.contains("(--max-requests)") && others.len() == 2, "{}", refusal.message);
        // Few slots are slots all the same.
        for most in [1, 2, 3] {
            let slots = Slots::new(most, None);
            assert!(slots.take("a.v1.B", &caller("alice")).is_ok(), "{most}");
        }
    }
}
