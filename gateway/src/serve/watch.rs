//! When a connection is given up: its client asks for nothing, takes nothing of its answers, or takes them too slowly.

use tokio::time::{Duration, Instant};

use crate::admit::activity::{Activity, State};

/// Looks after one connection.
#[derive(Debug)]
pub(super) struct Watch {
    activity: Activity,
    /// How long it may be idle.
    idle: Duration,
    /// When it is to be seen whether anything has happened.
    look: Instant,
    /// When it is cut, after an answer was late.
    cut: Option<Instant>,
}

/// What is to be done about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Fine,
    /// It gets no new requests, and the others on it may end.
    Late,
    /// It is given up.
    Over(&'static str),
}

impl Watch {
    /// A connection that has to ask within `head`, and then may be idle for `idle`.
    pub(super) fn new(activity: Activity, head: Duration, idle: Duration) -> Self {
        // hyper's header timeout begins once it knows the protocol, and ends with HTTP/2, whose pings an idle client answers: a client that
        // does not ask is this one's business.
        Self { activity, idle, look: Instant::now() + head.min(idle), cut: None }
    }

    /// When to look next. An answer that comes until then is not due before.
    pub(super) fn next(&self) -> Instant {
        let due = self.cut.or_else(|| self.activity.until());
        due.map_or(self.look, |due| due.min(self.look))
    }

    /// What is to be done now.
    pub(super) fn look(&mut self) -> Look {
        let now = Instant::now();
        let is_late = self.activity.until().is_some_and(|until| until <= now);
        match self.cut {
            Some(cut) if cut <= now && is_late => {
                return Look::Over("the client takes its answers too slowly");
            }
            Some(cut) if cut <= now => self.cut = None,
            None if is_late => {
                // Others on the same connection may be innocent: behind a proxy it is that of many clients.
                self.cut = Some(now + self.idle);
                return Look::Late;
            }
            _ => {}
        }
        if now < self.look {
            return Look::Fine;
        }
        self.look = now + self.idle;
        match self.activity.since_last() {
            State::Busy => Look::Fine,
            State::Idle => Look::Over("the client asked for nothing"),
            State::Stuck => Look::Over("the client takes nothing of its answers"),
        }
    }
}
