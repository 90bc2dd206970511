//! Lists of parked messages, and of the groups that they form.

use chassis::{clock::timestamp, status::Fault};
use messaging::parked::{self, Group};
use ordermesh::messaging::v1::{
    self as pb, ListParkedMessageGroupsRequest, ListParkedMessageGroupsResponse, ListParkedMessagesRequest,
    ListParkedMessagesResponse, ParkedMessageView,
};

use super::{MessagingAdmin, selection, shown::message};
use crate::{
    fault, page,
    request::{Checks, fingerprint},
};

impl MessagingAdmin {
    pub(super) async fn list(
        &self,
        request: ListParkedMessagesRequest,
    ) -> Result<ListParkedMessagesResponse, Fault> {
        let mut checks = Checks::default();
        let size = page::size(request.page_size, &mut checks);
        let view = ParkedMessageView::try_from(request.view).map_err(|_| "is no view");
        checks.field("view", view.map(drop));
        let filter = selection::filter(request.filter.clone(), "filter.", &mut checks);
        let filter = selection::narrowed(filter, &request.kind, &request.error, &mut checks);
        checks.finish()?;
        let query = query(&request);
        let after = |seq: &[u8]| Some(i64::from_be_bytes(seq.try_into().ok()?));
        let after = self.pages.resume(&query, &request.page_token, after)?.unwrap_or(0);
        if filter.cause.is_some() {
            parked::complete_causes(&self.database).await.map_err(fault)?;
        }
        let listed = parked::list(self.database.read(), &filter, after, size + 1).await;
        let mut listed = listed.map_err(fault)?;
        let next_page_token = self.pages.cut(&query, size, &mut listed, |last| last.seq.to_be_bytes());
        let view = view.unwrap_or_default();
        let messages = listed.into_iter().map(|row| message(row, view, &self.payloads)).collect();
        Ok(ListParkedMessagesResponse { messages, next_page_token })
    }

    pub(super) async fn groups(
        &self,
        request: ListParkedMessageGroupsRequest,
    ) -> Result<ListParkedMessageGroupsResponse, Fault> {
        let mut checks = Checks::default();
        let size = page::size(request.page_size, &mut checks);
        let filter = selection::filter(request.filter, "filter.", &mut checks);
        checks.finish()?;
        let groups = parked::groups(&self.database, &filter, size + 1).await.map_err(fault)?;
        let truncated = groups.len() as u64 > size;
        let most = usize::try_from(size).unwrap_or(usize::MAX);
        Ok(ListParkedMessageGroupsResponse {
            groups: groups.into_iter().take(most).map(group).collect(),
            truncated,
        })
    }
}

/// What a page token belongs to. Without what is new in the request it is that of earlier versions, which may make the next page.
fn query(request: &ListParkedMessagesRequest) -> Vec<u8> {
    let ListParkedMessagesRequest { kind, error, .. } = request;
    if request.filter.is_none() && request.view == 0 {
        // The lengths keep text from moving between the two.
        return format!("ListParkedMessages {} {kind} {error}", kind.len()).into_bytes();
    }
    let same = ListParkedMessagesRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    [&b"ListParkedMessages by "[..], &fingerprint(&same)].concat()
}

fn group(group: Group) -> pb::ParkedMessageGroup {
    pb::ParkedMessageGroup {
        cause: group.cause,
        consumer: group.consumer,
        kind: group.kind,
        error: parked::common(&group.error),
        messages: group.messages,
        first_time: Some(timestamp(group.first_time)),
        last_time: Some(timestamp(group.last_time)),
        example_sequence: group.example,
        example_error: group.error,
        repeats: group.repeats,
    }
}
