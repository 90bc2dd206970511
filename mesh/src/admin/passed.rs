//! What a redrive passes over: messages that its filter means and that it cannot take, by what keeps them.

use ordermesh::messaging::v1::{
    ListParkedMessagesRequest, ParkedMessage, ParkedMessageFilter, ParkedMessageView,
    messaging_admin_service_client::MessagingAdminServiceClient, parked_message::State,
};
use serde_json::{Value, json};

use crate::services::Caller;

/// The largest page.
const PAGE: i32 = 1_000;
/// Messages that are looked at: an operator waits for it.
const LOOKED_AT: usize = 20_000;

/// How many messages are passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// Another redrive has them.
    taken: i64,
    /// Of these, those that are still parked: RedriveParkedMessages would take them, and a redrive does not.
    pub(super) untried: i64,
    held: i64,
    waiting: i64,
    /// They were sent back, and have not been handled.
    sent: i64,
    undecodable: i64,
    /// There are more messages than were looked at.
    is_cut: bool,
}

impl Passed {
    /// What the redrive with this number passes over, or the next one.
    ///
    /// # Errors
    /// When the service cannot be asked.
    pub(super) async fn over(
        admin: &mut MessagingAdminServiceClient<Caller>,
        filter: &ParkedMessageFilter,
        redrive: Option<i64>,
    ) -> anyhow::Result<Self> {
        let (mut passed, mut looked_at, mut page_token) = (Self::default(), 0, String::new());
        loop {
            let request = ListParkedMessagesRequest {
                page_size: PAGE,
                page_token,
                filter: Some(filter.clone()),
                view: ParkedMessageView::Basic.into(),
                ..ListParkedMessagesRequest::default()
            };
            let page = admin.list_parked_messages(request).await?.into_inner();
            page.messages.iter().for_each(|message| passed.count(message, redrive));
            looked_at += page.messages.len();
            page_token = page.next_page_token;
            passed.is_cut = !page_token.is_empty() && looked_at >= LOOKED_AT;
            if page_token.is_empty() || passed.is_cut {
                return Ok(passed);
            }
        }
    }

    fn count(&mut self, message: &ParkedMessage, redrive: Option<i64>) {
        let is_of_another = message.redrive_id != 0 && Some(message.redrive_id) != redrive;
        self.untried += i64::from(is_of_another && message.state() == State::Parked);
        let by = match message.state() {
            _ if is_of_another => &mut self.taken,
            State::Held => &mut self.held,
            State::Waiting => &mut self.waiting,
            State::Redriven if message.redrive_id == 0 => &mut self.sent,
            State::Parked if message.message_id.is_empty() => &mut self.undecodable,
            State::Unspecified | State::Redriven | State::Parked => return,
        };
        *by += 1;
    }

    /// How many they are.
    pub(super) fn all(&self) -> i64 {
        self.taken + self.held + self.waiting + self.sent + self.undecodable
    }

    /// For a person; empty when there are none.
    pub(super) fn words(&self) -> Vec<String> {
        let each = [
            (self.taken, "another redrive has (ordermesh admin jobs list)"),
            (self.undecodable, "cannot be decoded: they can only be discarded"),
            (self.held, "are held until a version knows their kind, and leave by themselves then"),
            (
                self.waiting,
                "wait for the end of a pause, or behind another message, and leave by themselves then",
            ),
            (self.sent, "were sent back already"),
        ];
        let each =
            each.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("  {count} {what}"));
        let each: Vec<String> = each.collect();
        if each.is_empty() {
            return each;
        }
        let cut = if self.is_cut { format!(" among the first {LOOKED_AT}") } else { String::new() };
        [format!("{} messages are passed over{cut}:", self.all())].into_iter().chain(each).collect()
    }

    /// For a program.
    pub(super) fn json(&self) -> Value {
        json!({
            "ofAnotherRedrive": self.taken,
            "held": self.held,
            "waiting": self.waiting,
            "sentBack": self.sent,
            "undecodable": self.undecodable,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_counted_by_what_keeps_it() {
        let message = |state: State, redrive_id: i64, message_id: &str| ParkedMessage {
            state: state.into(),
            redrive_id,
            message_id: message_id.to_owned(),
            ..ParkedMessage::default()
        };
        let mut passed = Passed::default();
        for message in [
            message(State::Parked, 6, "a"),
            message(State::Parked, 7, "a"),
            message(State::Redriven, 7, "a"),
            message(State::Parked, 0, "a"),
            message(State::Parked, 0, ""),
            message(State::Held, 0, "a"),
            message(State::Waiting, 0, "a"),
            message(State::Redriven, 0, "a"),
        ] {
            passed.count(&message, Some(7));
        }
        let each =
            Passed { taken: 1, untried: 1, held: 1, waiting: 1, sent: 1, undecodable: 1, is_cut: false };
        assert_eq!(passed, each);
        assert_eq!(
            passed.words()[..2],
            [
                "5 messages are passed over:".to_owned(),
                "  1 another redrive has (ordermesh admin jobs list)".to_owned()
            ]
        );
        assert!(Passed::default().words().is_empty());
    }
}
