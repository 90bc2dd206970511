//! How far the publishing of a window has come, and what of it may go next.
//!
//! A queue may be bound while a window is on its way: messages that the broker took before come back, and those behind them
//! arrive. So the first message of each routing key goes ahead alone, until one has found a queue; when none is bound, those
//! behind it wait with it, and the order of a key is kept.

use std::collections::HashSet;

use crate::broker::Outcome;

pub(super) struct Progress<'w> {
    routes: &'w [String],
    /// Positions in the window that have no outcome yet, in its order.
    pub(super) waiting: Vec<usize>,
    /// Those of the waiting are not to be read.
    pub(super) outcomes: Vec<Outcome>,
}

impl<'w> Progress<'w> {
    /// A window whose messages have these routing keys.
    pub(super) fn new(routes: &'w [String]) -> Self {
        let outcomes = vec![Outcome::Unroutable; routes.len()];
        Self { routes, waiting: (0..routes.len()).collect(), outcomes }
    }

    /// What may be published now: everything when all routing keys are known to be routed; otherwise one message of each
    /// that is not. At least one, when any waits.
    pub(super) fn next(&self, routed: &HashSet<String>) -> Vec<usize> {
        let mut first: HashSet<&str> = HashSet::new();
        let waiting = self.waiting.iter().copied();
        let ahead: Vec<usize> = waiting
            .filter(|at| !routed.contains(&self.routes[*at]) && first.insert(&self.routes[*at]))
            .collect();
        if ahead.is_empty() { self.waiting.clone() } else { ahead }
    }

    /// Takes down what became of those that [`Progress::next`] has named.
    pub(super) fn settle(&mut self, sent: &[usize], outcomes: Vec<Outcome>, routed: &mut HashSet<String>) {
        let (mut unrouted, mut lost) = (HashSet::new(), None);
        for (at, outcome) in sent.iter().zip(outcomes) {
            let route = &self.routes[*at];
            match &outcome {
                Outcome::Confirmed if !routed.contains(route) => drop(routed.insert(route.clone())),
                Outcome::Unroutable => drop(unrouted.insert(route.as_str())),
                Outcome::Unknown(reason) => lost = Some(reason.clone()),
                // One that was refused says nothing about the way of the others.
                Outcome::Confirmed | Outcome::Refused(_) | Outcome::Postponed => {}
            }
            self.outcomes[*at] = outcome;
        }
        for route in &unrouted {
            routed.remove(*route);
        }
        if sent.len() == self.waiting.len() {
            return self.waiting.clear();
        }
        let sent: HashSet<usize> = sent.iter().copied().collect();
        self.waiting.retain(|at| !sent.contains(at) && !unrouted.contains(self.routes[*at].as_str()));
        if let Some(reason) = lost {
            for at in std::mem::take(&mut self.waiting) {
                self.outcomes[at] = Outcome::Unknown(reason.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(
        routes: &[&str],
        routed: &mut HashSet<String>,
        answer: impl Fn(usize) -> Outcome,
    ) -> (Vec<Vec<usize>>, Vec<Outcome>) {
        let routes: Vec<String> = routes.iter().map(ToString::to_string).collect();
        let (mut progress, mut bursts) = (Progress::new(&routes), Vec::new());
        while !progress.waiting.is_empty() {
            let next = progress.next(routed);
            let outcomes = next.iter().map(|at| answer(*at)).collect();
            progress.settle(&next, outcomes, routed);
            bursts.push(next);
        }
        (bursts, progress.outcomes)
    }

    #[test]
    fn one_of_each_route_goes_ahead_until_it_is_routed() {
        let mut routed = HashSet::new();
        let (bursts, outcomes) = publish(&["a", "a", "b", "a", "b"], &mut routed, |_| Outcome::Confirmed);
        assert_eq!(bursts, [vec![0, 2], vec![1, 3, 4]]);
        assert_eq!(outcomes, vec![Outcome::Confirmed; 5]);
        let (bursts, _) = publish(&["a", "b", "a"], &mut routed, |_| Outcome::Confirmed);
        assert_eq!(bursts, [vec![0, 1, 2]], "both are known to be routed");
    }

    #[test]
    fn those_behind_an_unroutable_one_wait_with_it() {
        let mut routed = HashSet::new();
        let unbound = |at: usize| if at == 0 { Outcome::Unroutable } else { Outcome::Confirmed };
        let (bursts, outcomes) = publish(&["a", "b", "a", "b", "a"], &mut routed, unbound);
        assert_eq!(bursts, [vec![0, 1], vec![3]]);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Unroutable).count(), 3);
        assert!(!routed.contains("a") && routed.contains("b"));
        let (bursts, _) = publish(&["b", "b"], &mut routed, |_| Outcome::Unroutable);
        assert_eq!(bursts, [vec![0, 1]]);
        assert!(routed.is_empty(), "its queue is gone");
    }

    #[test]
    fn a_refusal_says_nothing_of_the_way_and_a_loss_ends_all() {
        let mut routed = HashSet::new();
        let answer = |at: usize| match at {
            0 => Outcome::Refused("too large".to_owned()),
            1 => Outcome::Unknown("lost".to_owned()),
            _ => Outcome::Confirmed,
        };
        let (bursts, outcomes) = publish(&["a", "a", "a"], &mut routed, answer);
        assert_eq!(bursts, [vec![0], vec![1]]);
        assert_eq!(outcomes[2], Outcome::Unknown("lost".to_owned()));
    }
}
