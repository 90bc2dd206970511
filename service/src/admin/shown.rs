//! A parked message as a view shows it.

use chassis::clock::timestamp;
use messaging::parked::{Model, State, UNREADABLE};
use ordermesh::messaging::v1::{self as pb, ParkedMessageView};
use prost_types::Struct;

use super::{payload::Payloads, structs::to_struct};

/// A message without its payload.
pub(crate) fn brief(parked: Model) -> pb::ParkedMessage {
    message(parked, ParkedMessageView::Basic, &Payloads::default())
}

/// A message as a view shows it.
pub(super) fn message(parked: Model, view: ParkedMessageView, payloads: &Payloads) -> pb::ParkedMessage {
    let state = match parked.state {
        State::Parked => pb::parked_message::State::Parked,
        State::Held => pb::parked_message::State::Held,
        State::Redriven => pb::parked_message::State::Redriven,
        State::Waiting => pb::parked_message::State::Waiting,
    };
    let is_full = view == ParkedMessageView::Full;
    let decode = |payload: &[u8]| decoded(payloads, &parked.kind, payload);
    let (decoded, undecodable) = if is_full { decode(&parked.payload) } else { Default::default() };
    let original = parked.original_payload.as_deref().filter(|_| is_full);
    let (original_decoded, _) = original.map(decode).unwrap_or_default();
    let bytes = view != ParkedMessageView::Basic;
    let is_decoded = parked.message_id.is_some();
    // A version before has left empty what it could not read.
    let legible = |text: String| if is_decoded || !text.is_empty() { text } else { UNREADABLE.to_owned() };
    pb::ParkedMessage {
        sequence: parked.seq,
        consumer: parked.consumer,
        state: state.into(),
        message_id: parked.message_id.map(|id| id.to_string()).unwrap_or_default(),
        kind: legible(parked.kind),
        partition_key: legible(parked.partition_key),
        payload: if bytes { parked.payload } else { Vec::new() },
        headers: parked.headers.filter(|_| bytes).unwrap_or_default(),
        error: parked.error,
        attempts: parked.attempts,
        park_time: Some(timestamp(parked.park_time)),
        cause: parked.cause.unwrap_or_default(),
        decoded,
        undecodable,
        original_payload: parked.original_payload.filter(|_| bytes).unwrap_or_default(),
        original_decoded,
        redrive_id: parked.redrive_job.unwrap_or_default(),
        repeats: parked.repeats,
        last_repeat_time: parked.last_repeat_time.map(timestamp),
    }
}

/// A payload as ProtoJSON, or why it cannot be decoded.
pub(super) fn decoded(payloads: &Payloads, kind: &str, payload: &[u8]) -> (Option<Struct>, String) {
    match payloads.decode(kind, payload) {
        Ok(json) => (to_struct(&json), String::new()),
        Err(problem) => (None, problem),
    }
}
