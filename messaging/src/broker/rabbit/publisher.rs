//! Publishing to RabbitMQ: a whole window is sent, then every confirm is awaited.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{future::maybe_done, poll};
use lapin::{
    Channel, Confirmation, ErrorKind,
    options::BasicPublishOptions,
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::ShortString,
};
use storage::failpoint;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{cloudevents, connection::Link, progress::Progress};
use crate::{
    broker::{Outcome, Publisher},
    envelope::Envelope,
    topology::Topology,
};

/// RabbitMQ closes the channel for anything larger, which would make the outcome of the whole window unknown. The limit
/// is `max_message_size` of RabbitMQ 4 as it is delivered, in bytes.
const MAX_PAYLOAD: usize = 16 * 1024 * 1024;

/// Room in the frame of the headers for their names and everything of fixed length, in bytes.
const FIXED_HEADERS: usize = 1024;

pub(super) struct RabbitPublisher {
    // Dropped before the link, which waits for the close.
    channel: Channel,
    link: Link,
    topology: Topology,
    confirm_timeout: Duration,
    /// Routing keys that a queue was bound for when they were last used.
    routed: HashSet<String>,
    /// The broker has refused a message on this channel. A channel of RabbitMQ keeps the node that led a queue when it first published to it:
    /// one that was opened between the death of that node and the election of another refuses all that comes for that queue until the
    /// node is back, though another one leads it.
    refused: bool,
}

/// Why there is no answer of the broker for a message.
enum Unanswered {
    /// It cannot be sent, now or later.
    Unsendable(String),
    Lost(lapin::Error),
}

/// What came of sending a message; `None` when no answer came in time.
type Answer = Option<Result<Confirmation, Unanswered>>;

/// Why the broker closed the channel because of one message.
struct Objection {
    reason: String,
    /// It objects to every message of that routing key.
    to_route: bool,
}

impl Objection {
    fn of(answer: &Answer) -> Option<Self> {
        let Some(Err(Unanswered::Lost(error))) = answer else { return None };
        let ErrorKind::ProtocolError(protocol) = error.kind() else { return None };
        let to_route = match protocol.kind() {
            // The exchange was deleted: it is declared with the next connection.
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) | AMQPErrorKind::Hard(_) => return None,
            AMQPErrorKind::Soft(soft) => matches!(soft, AMQPSoftError::ACCESSREFUSED),
        };
        Some(Self { reason: error.to_string(), to_route })
    }
}

impl RabbitPublisher {
    pub(super) fn new(link: Link, channel: Channel, topology: Topology, confirm_timeout: Duration) -> Self {
        Self { channel, link, topology, confirm_timeout, routed: HashSet::new(), refused: false }
    }

    /// Publishes these. When the broker closes the channel, one of them is at fault, and it does not say which: what is left goes in
    /// halves, on another channel each, until that one stands alone. The others do not wait for it.
    async fn deliver(
        &mut self,
        messages: &[&Envelope],
        routes: &[&str],
        closed: &mut HashMap<String, String>,
        deadline: Instant,
    ) -> Vec<Outcome> {
        let mut outcomes = vec![Outcome::Unknown("it was not published".to_owned()); messages.len()];
        // A stack of parts that are still to be published, the first on top.
        let mut parts: Vec<Vec<usize>> = vec![(0..messages.len()).collect()];
        while let Some(mut part) = parts.pop() {
            part.retain(|at| match closed.get(routes[*at]) {
                Some(reason) => {
                    outcomes[*at] = Outcome::Refused(reason.clone());
                    false
                }
                None => true,
            });
            let sent = part.iter().map(|at| (messages[*at], routes[*at]));
            let (sent, along): (Vec<&Envelope>, Vec<&str>) = sent.unzip();
            let answers = self.burst(&sent, &along, deadline).await;
            self.refused |= answers.iter().any(is_refusal);
            let objection = answers.iter().find_map(Objection::of);
            for (at, outcome) in part.iter().zip(self::outcomes(&sent, answers.into_iter())) {
                outcomes[*at] = outcome;
            }
            let Some(Objection { reason, to_route }) = objection else { continue };
            part.retain(|at| matches!(outcomes[*at], Outcome::Unknown(_)));
            match timeout_at(deadline, self.link.confirming_channel()).await {
                Ok(Ok(channel)) => self.channel = channel,
                // The connection is lost as well: nothing is known of what is left.
                Ok(Err(_)) | Err(_) => break,
            }
            if let [at] = part[..] {
                outcomes[at] = Outcome::Refused(reason.clone());
                if to_route {
                    closed.insert(routes[at].to_owned(), reason);
                }
            } else {
                let behind = part.split_off(part.len() / 2);
                parts.extend([behind, part]);
            }
        }
        outcomes
    }

    /// Goes on with another channel after a refusal. Nothing is on its way on the one before.
    async fn leave_refusing_channel(&mut self, deadline: Instant) {
        if !self.refused {
            return;
        }
        // Without one the connection is lost, which what is published next finds out.
        if let Ok(Ok(channel)) = timeout_at(deadline, self.link.confirming_channel()).await {
            self.channel = channel;
            self.refused = false;
        }
    }

    /// Publishes these as one burst and awaits their confirms until `deadline`.
    async fn burst(&self, messages: &[&Envelope], routes: &[&str], deadline: Instant) -> Vec<Answer> {
        let sending = messages.iter().zip(routes).map(|(envelope, route)| self.send(envelope, route));
        let mut answers: Vec<_> = sending.map(|sending| Box::pin(maybe_done(sending))).collect();
        // Everything is sent before anything is awaited, in order and as one burst. A wait per message for the socket
        // costs several times what the message itself does.
        for answer in &mut answers {
            let _sent = poll!(answer.as_mut());
        }
        failpoint::at("publisher.sent");
        if failpoint::planted("confirms_not_awaited") {
            return messages.iter().map(|_| Some(Ok(Confirmation::Ack(None)))).collect();
        }
        let all = async {
            for answer in &mut answers {
                answer.as_mut().await;
            }
        };
        let timed_out = timeout_at(deadline, all).await.is_err();
        if timed_out {
            // Those behind the first one that is missing have not been looked at.
            for answer in &mut answers {
                let _answered = poll!(answer.as_mut());
            }
        }
        answers.iter_mut().map(|answer| answer.as_mut().take_output()).collect()
    }

    /// Sends one message, in its first poll, and awaits the confirm.
    async fn send(&self, envelope: &Envelope, route: &str) -> Result<Confirmation, Unanswered> {
        self.check_size(envelope).map_err(Unanswered::Unsendable)?;
        let properties = cloudevents::properties(envelope).map_err(Unanswered::Unsendable)?;
        let routing_key =
            ShortString::try_new(route).map_err(|error| Unanswered::Unsendable(error.to_string()))?;
        let exchange = self.topology.exchange.as_str().into();
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let sent = self.channel.basic_publish(exchange, routing_key, options, &envelope.payload, properties);
        sent.await.map_err(Unanswered::Lost)?.await.map_err(Unanswered::Lost)
    }

    fn check_size(&self, envelope: &Envelope) -> Result<(), String> {
        if envelope.payload.len() > MAX_PAYLOAD {
            return Err(format!("the payload exceeds {MAX_PAYLOAD} bytes"));
        }
        // All headers travel in one frame. The kind is there twice.
        let optional = [&envelope.traceparent, &envelope.tracestate, &envelope.subject].into_iter().flatten();
        let optional: usize = optional.map(String::len).sum();
        // As JSON, which may escape each byte.
        let token_id = 6 * envelope.token_id.as_ref().map_or(0, String::len);
        let headers =
            envelope.key.len() + envelope.source.len() + 2 * envelope.kind.len() + optional + token_id;
        let frame_max = self.link.frame_max();
        if frame_max > 0 && headers + FIXED_HEADERS > frame_max {
            return Err(format!("the headers exceed a frame of {frame_max} bytes"));
        }
        Ok(())
    }
}

#[async_trait]
impl Publisher for RabbitPublisher {
    async fn publish(&mut self, window: &[Envelope]) -> Vec<Outcome> {
        let deadline = Instant::now() + self.confirm_timeout;
        self.leave_refusing_channel(deadline).await;
        let route = |envelope: &Envelope| self.topology.routing_key(&envelope.kind, &envelope.key);
        let routes: Vec<String> = window.iter().map(route).collect();
        let mut progress = Progress::new(&routes);
        // Routing keys that the broker does not let this user publish to, and its words.
        let mut closed = HashMap::new();
        while !progress.waiting.is_empty() {
            let next = progress.next(&self.routed);
            let (messages, along): (Vec<&Envelope>, Vec<&str>) =
                next.iter().map(|at| (&window[*at], routes[*at].as_str())).unzip();
            let outcomes = self.deliver(&messages, &along, &mut closed, deadline).await;
            progress.settle(&next, outcomes, &mut self.routed);
        }
        progress.outcomes
    }
}

const fn is_refusal(answer: &Answer) -> bool {
    matches!(answer, Some(Ok(Confirmation::Nack(_))))
}

fn outcomes(window: &[&Envelope], answers: impl Iterator<Item = Answer>) -> Vec<Outcome> {
    let mut returned: HashSet<Uuid> = HashSet::new();
    let mut outcomes: Vec<Outcome> = answers.map(|answer| outcome(answer, &mut returned)).collect();
    // The client attaches a returned message to whichever confirm it sees next, which need not be its own.
    for (outcome, envelope) in outcomes.iter_mut().zip(window) {
        if *outcome == Outcome::Confirmed && returned.contains(&envelope.id) {
            *outcome = Outcome::Unroutable;
        }
    }
    outcomes
}

fn outcome(answer: Answer, returned: &mut HashSet<Uuid>) -> Outcome {
    let answer = match answer {
        Some(Ok(confirmation)) => confirmation,
        Some(Err(Unanswered::Unsendable(reason))) => return Outcome::Refused(reason),
        Some(Err(Unanswered::Lost(error))) => return Outcome::Unknown(error.to_string()),
        None => return Outcome::Unknown("the broker did not confirm it in time".to_owned()),
    };
    let outcome = match answer {
        Confirmation::Ack(_) => Outcome::Confirmed,
        Confirmation::Nack(_) => Outcome::Refused("the broker did not take it (basic.nack)".to_owned()),
        Confirmation::NotRequested => Outcome::Unknown("the channel does not confirm".to_owned()),
    };
    let message = answer.take_message();
    returned.extend(message.and_then(|message| cloudevents::id(&message.delivery.properties)));
    outcome
}

#[cfg(test)]
mod tests {
    use lapin::message::{BasicReturnMessage, Delivery};

    use super::*;

    fn envelope(number: u128) -> Envelope {
        Envelope {
            id: Uuid::from_u128(number),
            kind: "test.v1.Happened".into(),
            key: "alice".into(),
            source: "/test".into(),
            payload: "payload".into(),
            traceparent: None,
            tracestate: None,
            subject: None,
            token_id: None,
            create_time: 0,
        }
    }

    fn returned(envelope: &Envelope) -> Result<BasicReturnMessage, String> {
        let mut delivery = Delivery::mock(0, "mesh".into(), "key".into(), false, envelope.payload.to_vec());
        delivery.properties = cloudevents::properties(envelope)?;
        Ok(BasicReturnMessage { delivery, reply_code: 312, reply_text: "NO_ROUTE".into() })
    }

    #[test]
    fn a_return_counts_for_its_own_message_whichever_confirm_carries_it() -> Result<(), String> {
        let window = [envelope(1), envelope(2), envelope(3), envelope(4)];
        let answers = [
            Some(Ok(Confirmation::Ack(Some(returned(&window[2])?)))),
            Some(Ok(Confirmation::Nack(Some(returned(&window[0])?)))),
            Some(Ok(Confirmation::Ack(None))),
            None,
        ];
        let outcomes = outcomes(&window.each_ref(), answers.into_iter());
        assert_eq!(outcomes[0], Outcome::Unroutable);
        assert!(matches!(outcomes[1], Outcome::Refused(_)));
        assert_eq!(outcomes[2], Outcome::Unroutable);
        assert!(matches!(outcomes[3], Outcome::Unknown(_)));
        Ok(())
    }
}
