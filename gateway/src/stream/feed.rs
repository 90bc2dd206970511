//! A stream on its way to a client, step by step, whatever it is written as.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chassis::status::Fault;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use transcode::{Decoded, Route};
use upstream::too_large;

use super::{feeding::Feeding, framing::Framing, over::Over};
use crate::{
    admit::{Account, Open},
    answer::{
        payload,
        problem::{Problem, Style},
    },
    contract::Served,
};

/// Proxies cut connections on which nothing moves, often after 30 s or 60 s.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A stream on its way to a client. Dropping it, as a disconnect does, drops the call.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) served: Arc<Served>,
    pub(crate) messages: Streaming<Bytes>,
    /// There are no messages, and would be none if it were called again.
    pub(crate) complete: bool,
    /// What the client sends meanwhile.
    pub(crate) feeding: Feeding,
    pub(crate) framing: Framing,
    pub(crate) style: Style,
    /// When it is over, if it has an end.
    pub(crate) over: Option<Over>,
    pub(crate) stopping: CancellationToken,
    /// What its client may make the edge keep.
    pub(crate) account: Arc<Account>,
    /// Its place among the streams.
    pub(crate) _open: Option<Open>,
}

/// What comes next of a stream.
pub(in crate::stream) enum Step {
    Message(Bytes),
    Silence,
    End,
    Failed(Problem),
}

impl Feed {
    /// A message as JSON, if there is room for it.
    pub(in crate::stream) async fn decoded(&mut self, wire: Bytes) -> Result<Decoded, Fault> {
        let decoded = payload::decoded(&self.served.route, wire).await?;
        self.account.check(decoded.json.len())?;
        Ok(decoded)
    }

    /// What comes next.
    pub(in crate::stream) async fn step(&mut self) -> Step {
        let heartbeat = Instant::now() + HEARTBEAT;
        loop {
            return tokio::select! {
                biased;
                () = self.stopping.cancelled() => Step::Failed(Problem::stopping()),
                // Before the messages: a stream that never rests ends in time too.
                fault = Over::wait(&mut self.over) => Step::Failed(fault.into()),
                () = sleep_until(heartbeat) => Step::Silence,
                sent = self.feeding.end() => match sent {
                    Ok(()) => continue,
                    Err(problem) => Step::Failed(problem),
                },
                // `message` keeps what it has read in the stream: another branch loses nothing.
                message = self.messages.message() => received(message, &self.served.route),
            };
        }
    }
}

/// How tonic says that a message is longer than it may be: it has no error of its own for that.
const TOO_LONG: &str = "Error, decoded message length too large";

fn received(message: Result<Option<Bytes>, Status>, route: &Route) -> Step {
    match message {
        Ok(Some(wire)) => Step::Message(wire),
        Ok(None) => Step::End,
        Err(status) if status.code() == Code::OutOfRange && status.message().starts_with(TOO_LONG) => {
            Step::Failed(too_large().into())
        }
        Err(status) => Step::Failed(Problem::from_status(&status, route)),
    }
}
