//! What a redrive would do, by doing it: see [`Operated::preview`](messaging::consumer::Operated::preview).

use std::{collections::BTreeMap, time::Duration};

use chassis::status::Fault;
use messaging::{
    consumer::{Operated, Outcome, Preview},
    parked::{self, Filter},
};
use ordermesh::messaging::v1::{
    OutboxPreview, ParkedMessagePreview, PreviewParkedMessagesRequest, PreviewParkedMessagesResponse,
    RowChange, parked_message_preview::Verdict,
};
use serde_json::Value;
use storage::rehearsal::Change;

use super::{MessagingAdmin, Payloads, selection, shown::decoded, structs::to_struct};
use crate::{fault, request::Checks};

/// Messages of one call, unless it says so, and at most.
const MESSAGES: u64 = 100;
const MOST_MESSAGES: u64 = 1_000;
/// For so long rows may be held: less than the 5 s for which others wait.
const HOLD: Duration = Duration::from_secs(4);

impl MessagingAdmin {
    pub(super) async fn preview(
        &self,
        request: PreviewParkedMessagesRequest,
    ) -> Result<PreviewParkedMessagesResponse, Fault> {
        let mut checks = Checks::default();
        let filter = selection::filter(request.filter, "filter.", &mut checks);
        let most = selection::first(request.max_messages.into(), &mut checks);
        checks.finish()?;
        let most = most.unwrap_or(MESSAGES).min(MOST_MESSAGES);
        let (first, all) = parked::previewable(&self.database, &filter, most).await.map_err(fault)?;
        let mut by_consumer: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (consumer, seq) in first {
            by_consumer.entry(consumer).or_default().push(seq);
        }
        let mut messages = Vec::new();
        for (consumer, seqs) in by_consumer {
            match self.consumers.iter().find(|operated| operated.name() == consumer) {
                Some(consumer) => messages.extend(self.of_consumer(consumer, seqs).await?),
                None => messages.extend(self.of_nobody(seqs).await?),
            }
        }
        messages.sort_by_key(|message| message.sequence);
        let count = |verdict| messages.iter().filter(|message| message.verdict() == verdict).count() as i64;
        let left = all.saturating_sub(messages.len() as u64);
        Ok(PreviewParkedMessagesResponse {
            done: count(Verdict::Done),
            parked_again: count(Verdict::ParkedAgain),
            held_up: count(Verdict::HeldUp),
            waiting: count(Verdict::Waiting),
            left: i64::try_from(left).unwrap_or(i64::MAX),
            messages,
        })
    }

    async fn of_consumer(
        &self,
        consumer: &Operated,
        seqs: Vec<i64>,
    ) -> Result<Vec<ParkedMessagePreview>, Fault> {
        let previews = consumer.preview(seqs, HOLD).await.map_err(fault)?;
        Ok(previews.into_iter().map(|preview| message(preview, &self.payloads)).collect())
    }

    /// Messages of a consumer that does not run here.
    async fn of_nobody(&self, seqs: Vec<i64>) -> Result<Vec<ParkedMessagePreview>, Fault> {
        let filter = Filter { seqs, ..Filter::default() };
        let rows = parked::list(self.database.read(), &filter, 0, MOST_MESSAGES).await.map_err(fault)?;
        let nobody = |row| {
            let error = "the consumer does not run in this process".to_owned();
            ParkedMessagePreview { error, ..about(row, Verdict::NoConsumer) }
        };
        Ok(rows.into_iter().map(nobody).collect())
    }
}

fn about(row: parked::Model, verdict: Verdict) -> ParkedMessagePreview {
    ParkedMessagePreview {
        sequence: row.seq,
        consumer: row.consumer,
        message_id: row.message_id.map(|id| id.to_string()).unwrap_or_default(),
        kind: row.kind,
        partition_key: row.partition_key,
        verdict: verdict.into(),
        ..ParkedMessagePreview::default()
    }
}

fn message(preview: Preview, payloads: &Payloads) -> ParkedMessagePreview {
    let (verdict, error) = match preview.outcome {
        Outcome::Done => (Verdict::Done, String::new()),
        Outcome::Parked(error) => (Verdict::ParkedAgain, error),
        Outcome::Held(error) => (Verdict::HeldUp, error),
        Outcome::Waits(error) => (Verdict::Waiting, error),
    };
    ParkedMessagePreview {
        error,
        changes: preview.changes.into_iter().map(change).collect(),
        outbox: preview.outbox.iter().map(|row| written(row, payloads)).collect(),
        ..about(preview.message, verdict)
    }
}

fn change(change: Change) -> RowChange {
    RowChange {
        table: change.table,
        key: change.key,
        before: change.before.as_ref().and_then(to_struct),
        after: change.after.as_ref().and_then(to_struct),
    }
}

/// A message, from its row of the outbox.
fn written(row: &Change, payloads: &Payloads) -> OutboxPreview {
    let column = |name: &str| row.after.as_ref().and_then(|row| row.get(name)).and_then(Value::as_str);
    let text = |name| column(name).unwrap_or_default().to_owned();
    let kind = text("kind");
    let payload = column("payload").and_then(bytes);
    let (decoded, undecodable) = match payload {
        Some(payload) => decoded(payloads, &kind, &payload),
        None => (None, "the row has no payload".to_owned()),
    };
    OutboxPreview { partition_key: text("partition_key"), kind, decoded, undecodable }
}

/// Bytes from their hexadecimal digits, as rows of a rehearsal have them: sixteen look like a UUID.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.trim_start_matches("\\x").bytes().filter(|digit| *digit != b'-').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}
