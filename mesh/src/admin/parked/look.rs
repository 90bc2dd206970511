//! Looks at parked messages: each, by their causes, and what a redrive would do.

use super::super::{
    answers::Answers,
    kinds,
    passed::Passed,
    service::{Admin, Service},
    show,
    which::Which,
};
use crate::services::Services;
use ordermesh::messaging::v1::{
    ListParkedMessageGroupsRequest, ListParkedMessageGroupsResponse, ListParkedMessagesRequest,
    ParkedMessage, ParkedMessageFilter, ParkedMessageGroup, ParkedMessagePreview, ParkedMessageView,
    PreviewParkedMessagesRequest,
};

/// The largest page.
const PAGE: usize = 1_000;

/// Lists them; whether there are none.
pub(super) async fn list(
    services: &Services,
    service: Option<Service>,
    which: &Which,
    limit: usize,
    as_json: bool,
) -> anyhow::Result<bool> {
    let filter = which.filter()?;
    let answers = Answers::of(service, async |service: Service| {
        pages(&mut Admin::new(service.of(services).await?), &filter, limit).await
    });
    let listed = answers.await.show(
        as_json,
        |messages| show::all_json("messages", messages),
        |listed| {
            let rows = |(service, messages): &(Service, Vec<ParkedMessage>)| {
                messages.iter().map(|message| row(*service, message)).collect::<Vec<_>>()
            };
            let heads =
                ["service", "number", "state", "kind", "key", "parked", "attempts", "repeats", "error"];
            show::table(heads, &listed.iter().flat_map(rows).collect::<Vec<_>>())
        },
    )?;
    Ok(listed.iter().all(|(_, messages)| messages.is_empty()))
}

async fn pages(
    admin: &mut Admin,
    filter: &ParkedMessageFilter,
    limit: usize,
) -> anyhow::Result<Vec<ParkedMessage>> {
    let (mut messages, mut page_token) = (Vec::new(), String::new());
    while messages.len() < limit {
        let request = ListParkedMessagesRequest {
            page_size: i32::try_from((limit - messages.len()).min(PAGE))?,
            page_token,
            filter: Some(filter.clone()),
            view: ParkedMessageView::Basic.into(),
            ..ListParkedMessagesRequest::default()
        };
        let page = admin.list_parked_messages(request).await?.into_inner();
        messages.extend(page.messages);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(messages)
}

fn row(service: Service, message: &ParkedMessage) -> [String; 9] {
    [
        service.name().to_owned(),
        message.sequence.to_string(),
        message.state().as_str_name().to_lowercase(),
        kinds::shown(&message.kind),
        show::or_dash(&message.partition_key),
        show::ago(message.park_time.as_ref()),
        message.attempts.to_string(),
        message.repeats.to_string(),
        show::short(&message.error, 200),
    ]
}

/// Shows the groups; whether there are none.
pub(super) async fn groups(
    services: &Services,
    service: Option<Service>,
    which: &Which,
    limit: i32,
    as_json: bool,
) -> anyhow::Result<bool> {
    let filter = which.filter()?;
    let answers = Answers::of(service, async |service: Service| {
        let mut admin = Admin::new(service.of(services).await?);
        let request = ListParkedMessageGroupsRequest { page_size: limit, filter: Some(filter.clone()) };
        Ok(admin.list_parked_message_groups(request).await?.into_inner())
    });
    let listed = answers.await.show(
        as_json,
        |groups| show::list_of("groups", groups),
        |listed| {
            let rows = |(service, groups): &(Service, ListParkedMessageGroupsResponse)| {
                groups.groups.iter().map(|group| group_row(*service, group)).collect::<Vec<_>>()
            };
            let heads =
                ["service", "messages", "repeats", "cause", "kind", "first", "last", "example", "error"];
            show::table(heads, &listed.iter().flat_map(rows).collect::<Vec<_>>())
        },
    )?;
    Ok(listed.iter().all(|(_, groups)| groups.groups.is_empty()))
}

fn group_row(service: Service, group: &ParkedMessageGroup) -> [String; 9] {
    [
        service.name().to_owned(),
        group.messages.to_string(),
        group.repeats.to_string(),
        group.cause.clone(),
        kinds::shown(&group.kind),
        show::ago(group.first_time.as_ref()),
        show::ago(group.last_time.as_ref()),
        group.example_sequence.to_string(),
        show::short(&group.error, 200),
    ]
}

/// Shows what a redrive would do; whether all would be done.
pub(super) async fn preview(
    services: &Services,
    service: Service,
    which: &Which,
    first: i32,
    as_json: bool,
) -> anyhow::Result<bool> {
    let mut admin = Admin::new(service.of(services).await?);
    let filter = which.filter()?;
    let request = PreviewParkedMessagesRequest { filter: Some(filter.clone()), max_messages: first };
    let preview = admin.preview_parked_messages(request).await?.into_inner();
    let passed = Passed::over(&mut admin, &filter, None).await?;
    let tried = preview.messages.len() as i64;
    if as_json {
        let mut json = show::list_of("messages", &preview)?;
        json["passedOver"] = passed.json();
        show::answer(service, &json)?;
    } else {
        let rows: Vec<_> = preview.messages.iter().map(preview_row).collect();
        let heads = ["number", "verdict", "kind", "key", "rows", "messages", "error"];
        let mut lines = show::table(heads, &rows);
        lines.push(format!(
            "{} would be done, {} parked again, {} held up, {} would wait; {} not tried",
            preview.done, preview.parked_again, preview.held_up, preview.waiting, preview.left
        ));
        lines.extend(passed.words());
        show::lines(&lines)?;
    }
    Ok(preview.done == tried && preview.left == 0)
}

fn preview_row(message: &ParkedMessagePreview) -> [String; 7] {
    let tables = message.changes.iter().map(|change| change.table.as_str());
    let mut tables: Vec<&str> = tables.collect();
    tables.dedup();
    [
        message.sequence.to_string(),
        message.verdict().as_str_name().to_lowercase().replace('_', " "),
        kinds::shown(&message.kind),
        show::or_dash(&message.partition_key),
        show::or_dash(&tables.join(", ")),
        show::or_dash(
            &message.outbox.iter().map(|written| kinds::shown(&written.kind)).collect::<Vec<_>>().join(", "),
        ),
        show::short(&message.error, 200),
    ]
}
