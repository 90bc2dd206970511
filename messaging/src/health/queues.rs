//! What the broker says of the queues of the mesh.

use std::{collections::BTreeMap, time::Instant};

use super::Health;
use crate::{broker::Depth, observe};

/// What the broker said last of the queues of the mesh.
#[derive(Debug, Default)]
pub(super) enum Queues {
    /// Nothing yet.
    #[default]
    Unknown,
    /// The broker within a process has none: what is not acknowledged is in the outbox.
    Absent,
    Seen {
        asked: Instant,
        depths: BTreeMap<String, Depth>,
    },
}

impl Health {
    /// What the broker said last of the queue with this name; `None` where nobody has asked one.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<Depth> {
        match &self.states().queues {
            Queues::Seen { depths, .. } => depths.get(name).copied(),
            Queues::Unknown | Queues::Absent => None,
        }
    }

    /// Whether all of these queues were empty when the broker was asked, which must have been after that moment: what it said before
    /// tells nothing of what has come since. A queue that is missing holds nothing.
    #[must_use]
    pub fn are_empty(&self, queues: impl IntoIterator<Item = String>, since: Instant) -> bool {
        match &self.states().queues {
            Queues::Unknown => false,
            Queues::Absent => true,
            Queues::Seen { asked, depths } => {
                let is_empty = |queue: &String| depths.get(queue).is_none_or(|depth| depth.messages == 0);
                *asked > since && queues.into_iter().all(|queue| is_empty(&queue))
            }
        }
    }

    /// Sets what the queues of the mesh hold, of which the broker was asked from that moment on.
    pub(crate) fn set_queues(&self, asked: Instant, depths: BTreeMap<String, Depth>) {
        observe::queues(&depths);
        self.states().queues = Queues::Seen { asked, depths };
    }

    /// There are no queues.
    pub(crate) fn set_no_queues(&self) {
        self.states().queues = Queues::Absent;
    }
}
