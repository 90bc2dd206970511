//! Which parked messages a command is about, and who acts.

use anyhow::Context as _;
use ordermesh::messaging::v1::{ParkedMessageFilter, parked_message};
use prost_types::Timestamp;

use super::kinds;

/// Which parked messages are meant: those that meet every condition that is given.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Which {
    /// Only of this kind, as tables show it or in full, such as `OrderPlaced` or `ordermesh.orders.v1.OrderPlaced`
    #[arg(long, default_value = "", hide_default_value = true)]
    kind: String,
    /// Only with this text in their error
    #[arg(long, default_value = "", hide_default_value = true)]
    error: String,
    /// Only of this partition key, which is a user's id
    #[arg(long, default_value = "", hide_default_value = true)]
    key: String,
    /// Only of this group: a cause as `parked groups` shows it
    #[arg(long, default_value = "", hide_default_value = true)]
    cause: String,
    /// Only in this state
    #[arg(long)]
    state: Option<State>,
    /// Only those that were parked at this time or later, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those that were parked before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only those with these numbers
    #[arg(long = "sequence", value_name = "NUMBERS", value_delimiter = ',')]
    sequences: Vec<i64>,
}

/// What is to become of a parked message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum State {
    /// It waits for an operator.
    Parked,
    /// It waits for a version that knows its kind.
    Held,
    /// It was sent back.
    Redriven,
    /// It waits behind another one, or for the end of a pause.
    Waiting,
}

/// Who acts, and why.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Who {
    /// Who does it; it is noted beside the subject of the token
    #[arg(long, env = "USER")]
    pub(super) operator: String,
    /// Why; it is noted too
    #[arg(long)]
    pub(super) reason: String,
}

impl Which {
    /// As the admin API has it.
    ///
    /// # Errors
    /// When a time is none, or no kind has the name.
    pub(super) fn filter(&self) -> anyhow::Result<ParkedMessageFilter> {
        let state = self.state.map(|state| match state {
            State::Parked => parked_message::State::Parked,
            State::Held => parked_message::State::Held,
            State::Redriven => parked_message::State::Redriven,
            State::Waiting => parked_message::State::Waiting,
        });
        Ok(ParkedMessageFilter {
            sequences: self.sequences.clone(),
            kind: kinds::named(&self.kind)?,
            error: self.error.clone(),
            partition_key: self.key.clone(),
            state: state.unwrap_or_default().into(),
            start_time: time(self.since.as_deref())?,
            end_time: time(self.until.as_deref())?,
            cause: self.cause.clone(),
            ..ParkedMessageFilter::default()
        })
    }
}

fn time(text: Option<&str>) -> anyhow::Result<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    text.parse().map(Some).with_context(|| format!("{text:?} is no time such as 2026-01-31T12:00:00Z"))
}
