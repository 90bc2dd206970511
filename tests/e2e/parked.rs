//! What an operator does about parked messages, over gRPC: looks at them by their causes, sees what a redrive would do, edits, sends back and
//! discards; and each of it is noted.

use anyhow::{Context as _, Result, ensure};
use ordermesh::{
    audit::v1::{AuditEvent, ListAuditEventsRequest, audit_service_client::AuditServiceClient},
    messaging::v1::{
        DiscardParkedMessagesRequest, EditParkedMessageRequest, GetRedriveRequest,
        ListParkedMessageGroupsRequest, ListParkedMessagesRequest, ListRedrivesRequest, ParkedMessage,
        ParkedMessageFilter, ParkedMessagePreview, ParkedMessageView as View, PreviewParkedMessagesRequest,
        PreviewParkedMessagesResponse, Redrive, StartRedriveRequest, StopRedriveRequest,
        messaging_admin_service_client::MessagingAdminServiceClient, redrive::State,
    },
    orders::v1::OrderPlaced,
    payments::v1::{VoidPayment, payment::Reason},
};
use prost::{Message, Name};
use prost_types::{Struct, Value, value::Kind};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt as _;
use world::{PATIENCE, eventually};

use crate::mesh::{ADMIN_TOKEN, Arrangement, EMBEDDED, Mesh};

#[tokio::test]
async fn an_operators_day_embedded() -> Result<()> {
    an_operators_day(EMBEDDED).await
}

#[tokio::test]
async fn an_operators_day_on_postgres() -> Result<()> {
    an_operators_day(Arrangement { postgres: true, ..EMBEDDED }).await
}

async fn an_operators_day(arrangement: Arrangement) -> Result<()> {
    let mesh = Mesh::start(arrangement).await?;
    mesh.account("alice", 100).await?;
    let id = mesh.order("alice", 30).await?;
    mesh.ended(&id).await?;
    for amount in [31, 32] {
        write(&mesh, &void(&id, amount)).await?;
    }
    // An order that nobody has placed, of no amount; and what is no message.
    let placed = OrderPlaced {
        order_id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
        user_id: "alice".into(),
        amount: 0,
        currency_code: "RUB".into(),
        ..OrderPlaced::default()
    };
    write(&mesh, &placed).await?;
    write_bytes(&mesh, &VoidPayment::full_name(), &[0xff; 3]).await?;
    let operator = Operator::of(&mesh).await?;
    let parked = eventually("four parked messages", PATIENCE, async || {
        let parked = operator.list(ParkedMessageFilter::default(), View::Full).await?;
        ensure!(parked.len() == 4, "{parked:?}");
        Ok(parked)
    })
    .await?;
    let by_payload = |payload: &[u8]| {
        parked.iter().find(|row| row.payload == payload).cloned().context("a parked message")
    };
    let wrong = by_payload(&void(&id, 31).encode_to_vec())?;
    let (zero, garbage) = (by_payload(&placed.encode_to_vec())?, by_payload(&[0xff; 3])?);

    is_seen_by_views(&operator, &wrong, &garbage).await?;
    is_grouped(&operator, &wrong).await?;
    is_previewed_and_edited(&operator, &mesh, &wrong, &zero, &garbage).await?;
    is_sent_back(&operator, &wrong).await?;
    is_discarded(&operator).await?;
    is_noted(&mesh, &operator).await?;
    ensure!(mesh.balance("alice").await? == 70);
    Ok(())
}

async fn is_seen_by_views(operator: &Operator, wrong: &ParkedMessage, garbage: &ParkedMessage) -> Result<()> {
    ensure!(field(&wrong.decoded, "amount") == Some(text("31")), "{wrong:?}");
    ensure!(garbage.decoded.is_none() && !garbage.undecodable.is_empty(), "{garbage:?}");
    let of_key = ParkedMessageFilter { partition_key: "alice".into(), ..sequence(wrong.sequence) };
    for (view, bytes) in [(View::Basic, false), (View::Unspecified, true)] {
        let [seen] = &operator.list(of_key.clone(), view).await?[..] else { anyhow::bail!("one message") };
        ensure!(seen.payload.is_empty() != bytes && seen.decoded.is_none(), "{seen:?}");
    }
    let of_bob = ParkedMessageFilter { partition_key: "bob".into(), ..of_key.clone() };
    let later = ParkedMessageFilter {
        start_time: wrong.park_time.map(|at| prost_types::Timestamp { seconds: at.seconds + 3_600, ..at }),
        ..of_key
    };
    for nothing in [of_bob, later] {
        ensure!(operator.list(nothing, View::Basic).await?.is_empty());
    }
    Ok(())
}

async fn is_grouped(operator: &Operator, wrong: &ParkedMessage) -> Result<()> {
    let mut client = operator.client();
    let groups = client.list_parked_message_groups(with(ListParkedMessageGroupsRequest::default())?).await?;
    let groups = groups.into_inner().groups;
    let sizes: Vec<i64> = groups.iter().map(|group| group.messages).collect();
    ensure!(sizes == [2, 1, 1] && groups[0].cause == wrong.cause, "{groups:#?}");
    ensure!(
        groups[0].error.starts_with("the decision was about # RUB of \"\", and the message is about # "),
        "{groups:#?}"
    );
    let of_cause = ParkedMessageFilter { cause: wrong.cause.clone(), ..Default::default() };
    ensure!(operator.list(of_cause, View::Basic).await?.len() == 2);
    Ok(())
}

async fn is_previewed_and_edited(
    operator: &Operator,
    mesh: &Mesh,
    wrong: &ParkedMessage,
    zero: &ParkedMessage,
    garbage: &ParkedMessage,
) -> Result<()> {
    let all = operator.preview(ParkedMessageFilter::default()).await?;
    ensure!((all.done, all.parked_again, all.left) == (0, 4, 0), "{all:#?}");
    ensure!(
        all.messages.iter().all(|message| message.changes.is_empty() && !message.error.is_empty()),
        "{all:#?}"
    );

    for (seq, member, value, reason) in [
        (wrong.sequence, "colour", text("red"), "INVALID_FIELD"),
        (wrong.sequence, "amount", text("many"), "INVALID_FIELD"),
        (1_000_000, "amount", text("30"), "PARKED_MESSAGE_NOT_FOUND"),
        (garbage.sequence, "amount", text("30"), "PARKED_MESSAGE_NOT_EDITABLE"),
    ] {
        let refused = operator.edit(seq, member, value, "wrong", false).await.err();
        ensure!(refused.as_ref().is_some_and(|status| has(status, reason)), "{member}: {refused:?}");
    }
    let without_reason = operator.edit(wrong.sequence, "amount", text("30"), "", false).await.err();
    ensure!(without_reason.as_ref().is_some_and(|status| has(status, "INVALID_FIELD")), "{without_reason:?}");
    for dry_run in [true, false] {
        let edited = operator.edit(wrong.sequence, "amount", text("30"), "a wrong amount", dry_run).await?;
        ensure!(field(&edited.decoded, "amount") == Some(text("30")), "{edited:?}");
        ensure!(
            edited.original_payload == wrong.payload && edited.original_decoded == wrong.decoded,
            "{edited:?}"
        );
        let stored = operator.list(sequence(wrong.sequence), View::Full).await?;
        ensure!((stored[0].decoded == edited.decoded) != dry_run, "{stored:?}");
    }
    operator.edit(zero.sequence, "amount", Kind::NumberValue(5.0), "for a look", false).await?;

    let preview = operator.preview(ParkedMessageFilter::default()).await?;
    ensure!((preview.done, preview.parked_again) == (2, 2), "{preview:#?}");
    let of = |seq| preview.messages.iter().find(|message| message.sequence == seq).context("a preview");
    let published = |preview: &ParkedMessagePreview, outcome: &str| {
        let payment = preview.outbox.first().map(|message| field(&message.decoded, "payment"));
        let Some(Some(Kind::StructValue(payment))) = payment else { return false };
        field(&Some(payment), "outcome") == Some(text(outcome))
    };
    let decided = of(wrong.sequence)?;
    ensure!(decided.changes.is_empty() && published(decided, "PAID"), "{decided:#?}");
    let paid = of(zero.sequence)?;
    let tables: Vec<&str> = paid.changes.iter().map(|change| change.table.as_str()).collect();
    ensure!(tables == ["accounts", "ledger_entries", "payments"] && published(paid, "PAID"), "{paid:#?}");
    let account = &paid.changes[0];
    let balances = [&account.before, &account.after].map(|row| field(row, "balance"));
    ensure!(
        account.key == "alice" && balances == [Some(Kind::NumberValue(70.0)), Some(Kind::NumberValue(65.0))],
        "{paid:#?}"
    );
    ensure!(mesh.balance("alice").await? == 70, "a preview has moved money");
    ensure!(mesh.count("payments", "SELECT COUNT(*) FROM outbox").await? == 0, "a preview has written");
    Ok(())
}

async fn is_sent_back(operator: &Operator, wrong: &ParkedMessage) -> Result<()> {
    let start = StartRedriveRequest {
        filter: Some(sequence(wrong.sequence)),
        per_second: 10,
        operator: "olga".into(),
        reason: "it was edited".into(),
        ..Default::default()
    };
    let started = operator.client().start_redrive(with(start.clone())?).await?.into_inner();
    ensure!((started.total, started.consumer.as_str()) == (1, "payments"), "{started:?}");
    let redrive_id = started.redrive_id;
    let ended = eventually("the end of the redrive", PATIENCE, async || {
        let redrive =
            operator.client().get_redrive(with(GetRedriveRequest { redrive_id })?).await?.into_inner();
        ensure!(redrive.state() == State::Finished, "{redrive:?}");
        Ok(redrive)
    })
    .await?;
    ensure!((ended.done, ended.failed, ended.left) == (1, 0, 0) && ended.end_time.is_some(), "{ended:?}");
    ensure!(operator.list(sequence(wrong.sequence), View::Basic).await?.is_empty(), "it is still parked");
    // What has ended stays so.
    let stop = StopRedriveRequest { redrive_id, operator: "olga".into(), ..Default::default() };
    ensure!(operator.client().stop_redrive(with(stop)?).await?.into_inner() == ended);
    let missing =
        operator.client().get_redrive(with(GetRedriveRequest { redrive_id: 1_000_000 })?).await.err();
    ensure!(missing.as_ref().is_some_and(|status| has(status, "REDRIVE_NOT_FOUND")), "{missing:?}");
    let quick = StartRedriveRequest { per_second: 1_001, ..start };
    let refused = operator.client().start_redrive(with(quick)?).await.err();
    ensure!(refused.as_ref().is_some_and(|status| has(status, "INVALID_FIELD")), "{refused:?}");
    let listed = operator.client().list_redrives(with(ListRedrivesRequest::default())?).await?.into_inner();
    let listed: Vec<Redrive> = listed.redrives;
    ensure!(listed == [ended], "{listed:?}");
    Ok(())
}

async fn is_discarded(operator: &Operator) -> Result<()> {
    let discard = DiscardParkedMessagesRequest {
        filter: Some(ParkedMessageFilter { consumer: "payments".into(), ..Default::default() }),
        operator: "olga".into(),
        reason: "nobody needs them".into(),
        dry_run: true,
        max_messages: 0,
    };
    for wrong in [
        DiscardParkedMessagesRequest { filter: None, ..discard.clone() },
        DiscardParkedMessagesRequest { filter: None, max_messages: 1, ..discard.clone() },
        DiscardParkedMessagesRequest { max_messages: -1, ..discard.clone() },
        DiscardParkedMessagesRequest { reason: String::new(), ..discard.clone() },
        DiscardParkedMessagesRequest { operator: String::new(), ..discard.clone() },
    ] {
        let refused = operator.client().discard_parked_messages(with(wrong)?).await.err();
        ensure!(refused.as_ref().is_some_and(|status| status.code() == Code::InvalidArgument), "{refused:?}");
    }
    let listed = operator.list(ParkedMessageFilter::default(), View::Basic).await?;
    let mut left: Vec<i64> = listed.iter().map(|message| message.sequence).collect();
    for (dry_run, max_messages, count) in [(true, 0, 3), (true, 2, 2), (false, 2, 2), (false, 0, 1)] {
        let discard = DiscardParkedMessagesRequest { dry_run, max_messages, ..discard.clone() };
        let discarded = operator.client().discard_parked_messages(with(discard)?).await?.into_inner();
        ensure!(discarded.discarded == i64::try_from(count)?, "{discarded:?}");
        // The first ones go first.
        left.drain(..if dry_run { 0 } else { count });
        let listed = operator.list(ParkedMessageFilter::default(), View::Basic).await?;
        ensure!(listed.iter().map(|message| message.sequence).eq(left.iter().copied()), "{listed:?}");
    }
    Ok(())
}

async fn is_noted(mesh: &Mesh, operator: &Operator) -> Result<()> {
    let mut audit = AuditServiceClient::new(operator.channel.clone());
    let events = audit.list_audit_events(with(ListAuditEventsRequest::default())?).await?.into_inner().events;
    let acts: Vec<(&str, &str, i64)> = events
        .iter()
        .filter(|event| event.operator == "olga")
        .map(|AuditEvent { action, reason, affected, .. }| (action.as_str(), reason.as_str(), *affected))
        .collect();
    let expected = [
        ("DISCARD", "nobody needs them", 1),
        ("DISCARD", "nobody needs them", 2),
        ("REDRIVE", "it was edited", 1),
        ("EDIT", "for a look", 1),
        ("EDIT", "a wrong amount", 1),
    ];
    ensure!(acts == expected, "{acts:?}");
    ensure!(events.iter().any(|event| event.filter.contains(r#"{"amount":"30"}"#)), "{events:?}");
    let output: String = mesh.processes.iter().map(world::Process::output).collect();
    ensure!(!output.contains("panicked"), "{output}");
    Ok(())
}

/// An operator of payments.
struct Operator {
    channel: Channel,
}

impl Operator {
    async fn of(mesh: &Mesh) -> Result<Self> {
        Ok(Self { channel: Channel::from_shared(format!("http://{}", mesh.payments))?.connect().await? })
    }

    fn client(&self) -> MessagingAdminServiceClient<Channel> {
        MessagingAdminServiceClient::new(self.channel.clone())
    }

    async fn list(&self, filter: ParkedMessageFilter, view: View) -> Result<Vec<ParkedMessage>> {
        let request =
            ListParkedMessagesRequest { filter: Some(filter), view: view.into(), ..Default::default() };
        Ok(self.client().list_parked_messages(with(request)?).await?.into_inner().messages)
    }

    async fn preview(&self, filter: ParkedMessageFilter) -> Result<PreviewParkedMessagesResponse> {
        let request = PreviewParkedMessagesRequest { filter: Some(filter), max_messages: 0 };
        Ok(self.client().preview_parked_messages(with(request)?).await?.into_inner())
    }

    async fn edit(
        &self,
        sequence: i64,
        member: &str,
        value: Kind,
        reason: &str,
        dry_run: bool,
    ) -> Result<ParkedMessage, Status> {
        let request = EditParkedMessageRequest {
            sequence,
            patch: Some(Struct { fields: [(member.to_owned(), Value { kind: Some(value) })].into() }),
            operator: "olga".into(),
            reason: reason.into(),
            dry_run,
        };
        let request = with(request).map_err(|error| Status::internal(error.to_string()))?;
        Ok(self.client().edit_parked_message(request).await?.into_inner())
    }
}

fn with<T>(message: T) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {ADMIN_TOKEN}").parse()?);
    Ok(request)
}

fn has(status: &Status, reason: &str) -> bool {
    status.get_error_details().error_info().is_some_and(|info| info.reason == reason)
}

fn sequence(sequence: i64) -> ParkedMessageFilter {
    ParkedMessageFilter { sequences: vec![sequence], ..Default::default() }
}

fn text(text: &str) -> Kind {
    Kind::StringValue(text.to_owned())
}

fn field(object: &Option<Struct>, name: &str) -> Option<Kind> {
    object.as_ref()?.fields.get(name)?.kind.clone()
}

fn void(order: &str, amount: i64) -> VoidPayment {
    VoidPayment {
        order_id: order.into(),
        user_id: "alice".into(),
        amount,
        currency_code: "RUB".into(),
        reason: Reason::UserRequested.into(),
    }
}

async fn write<M: Message + Name>(mesh: &Mesh, message: &M) -> Result<()> {
    write_bytes(mesh, &M::full_name(), &message.encode_to_vec()).await
}

/// Writes a message into the outbox of orders behind its back.
async fn write_bytes(mesh: &Mesh, kind: &str, payload: &[u8]) -> Result<()> {
    let digits: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
    let (id, payload) = match mesh.postgres {
        Some(_) => ("gen_random_uuid()", format!("'\\x{digits}'::bytea")),
        None => ("randomblob(16)", format!("X'{digits}'")),
    };
    let sql = format!(
        "INSERT INTO outbox (message_id, kind, partition_key, payload, create_time, state, attempts, next_attempt_time)
         VALUES ({id}, '{kind}', 'alice', {payload}, 0, 0, 0, 0)"
    );
    mesh.tamper("orders", &sql).await
}
