//! The admin services: for who has the token, and never at the edge.

use anyhow::{Context as _, Result, ensure};
use ordermesh::{
    messaging::v1::{
        GetMessagingStatusRequest, ListParkedMessagesRequest, MessagingStatus, PartState,
        RedriveParkedMessagesRequest, messaging_admin_service_client::MessagingAdminServiceClient,
        parked_message::State, part_state::Condition,
    },
    payments::v1::{
        GetReconciliationReportRequest, ListAccountsRequest, VoidPayment, payment::Reason,
        payments_admin_service_client::PaymentsAdminServiceClient, reconciliation_report::Currency,
    },
};
use prost::Message as _;
use tonic::{
    Code, Request,
    transport::{Channel, Endpoint},
};
use world::{PATIENCE, eventually};

use crate::mesh::{ADMIN_TOKEN, Arrangement, EMBEDDED, Mesh};

fn with_token<T>(message: T, token: &str) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    Ok(request)
}

#[tokio::test]
async fn sqlite() -> Result<()> {
    admin_services(EMBEDDED).await
}

#[tokio::test]
async fn postgres() -> Result<()> {
    admin_services(Arrangement { postgres: true, ..EMBEDDED }).await
}

async fn admin_services(arrangement: Arrangement) -> Result<()> {
    let mesh = Mesh::start(arrangement).await?;
    for (user, amount) in [("carol", 5), ("alice", 100), ("bob", 7)] {
        mesh.account(user, amount).await?;
    }
    let id = mesh.order("alice", 30).await?;
    mesh.ended(&id).await?;
    mesh.at_rest().await?;
    let payments = Endpoint::from_shared(format!("http://{}", mesh.payments))?.connect().await?;
    let mut admin = PaymentsAdminServiceClient::new(payments.clone());

    let refused = admin.list_accounts(ListAccountsRequest::default()).await;
    ensure!(refused.is_err_and(|status| status.code() == Code::Unauthenticated));
    let refused = admin.list_accounts(with_token(ListAccountsRequest::default(), "guess")?).await;
    ensure!(refused.is_err_and(|status| status.code() == Code::Unauthenticated));

    let (mut users, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = with_token(ListAccountsRequest { page_size: 2, page_token }, ADMIN_TOKEN)?;
        let page = admin.list_accounts(request).await?.into_inner();
        users.extend(page.accounts.into_iter().map(|account| (account.user_id, account.balance)));
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    let expected =
        [("alice", 70), ("bob", 7), ("carol", 5)].map(|(user, balance)| (user.to_owned(), Some(balance)));
    ensure!(users == expected, "{users:?}");

    let request = with_token(GetReconciliationReportRequest {}, ADMIN_TOKEN)?;
    let report = admin.get_reconciliation_report(request).await?.into_inner();
    let sums = Currency { currency_code: "RUB".into(), accounts: 3, balances: 82, top_ups: 112, debits: 30 };
    ensure!(report.currencies == [sums], "{report:?}");

    let orders = Endpoint::from_shared(format!("http://{}", mesh.orders))?.connect().await?;
    for channel in [orders, payments] {
        let mut messages = MessagingAdminServiceClient::new(channel);
        let status =
            messages.get_messaging_status(with_token(GetMessagingStatusRequest {}, ADMIN_TOKEN)?).await?;
        is_at_rest(status.into_inner())?;
        what_cannot_be_asked(&mut messages).await?;
    }
    let routed = mesh.api.get("/ordermesh.payments.v1.PaymentsAdminService/ListAccounts").await?;
    ensure!(routed.status == 404, "{}", routed.text);
    routed.body["error"].is_object().then_some(()).context("the edge's own answer")
}

/// Nothing waits, and who would do something about it works: with its rate, and the version of the process.
fn is_at_rest(status: MessagingStatus) -> Result<()> {
    let MessagingStatus { relay, consumers, version, build, processes, .. } = status.clone();
    let relay = relay.context("a relay")?;
    ensure!(!relay.lease_holder.is_empty() && relay.lease_left.is_some(), "{relay:?}");
    let works = |state: Option<PartState>| state.is_some_and(|state| state.condition() == Condition::Ok);
    ensure!(works(relay.state) && relay.per_second > 0.0, "{status:?}");
    ensure!(consumers.iter().all(|consumer| works(consumer.state.clone())), "{consumers:?}");
    ensure!(consumers.iter().map(|consumer| consumer.partition).eq(0..1), "{consumers:?}");
    ensure!(version == env!("CARGO_PKG_VERSION"), "{version}");
    ensure!(build == chassis::version::BUILD, "{build}");
    ensure!(processes.len() == 1 && processes[0].answers && processes[0].version == version, "{processes:?}");
    ensure!(processes[0].process_id == relay.lease_holder && processes[0].build == build, "{processes:?}");
    let counts = MessagingStatus {
        relay: None,
        consumers: Vec::new(),
        version: String::new(),
        build: String::new(),
        processes: Vec::new(),
        ..status.clone()
    };
    ensure!(counts == MessagingStatus::default(), "{status:?}");
    Ok(())
}

/// U+0000 in any text is the caller's error, on both databases.
async fn what_cannot_be_asked(messages: &mut MessagingAdminServiceClient<Channel>) -> Result<()> {
    let text = || "a\0b".to_owned();
    let list = ListParkedMessagesRequest::default;
    let redrive = || RedriveParkedMessagesRequest { operator: "olga".into(), ..Default::default() };
    let mut refusals = Vec::new();
    for request in [
        ListParkedMessagesRequest { kind: text(), ..list() },
        ListParkedMessagesRequest { error: text(), ..list() },
        ListParkedMessagesRequest { page_token: text(), ..list() },
    ] {
        refusals.push(messages.list_parked_messages(with_token(request, ADMIN_TOKEN)?).await.err());
    }
    for request in [
        RedriveParkedMessagesRequest { kind: text(), ..redrive() },
        RedriveParkedMessagesRequest { error: text(), ..redrive() },
        RedriveParkedMessagesRequest { operator: text(), ..redrive() },
        RedriveParkedMessagesRequest { sequences: (0..1_001).collect(), ..redrive() },
    ] {
        refusals.push(messages.redrive_parked_messages(with_token(request, ADMIN_TOKEN)?).await.err());
    }
    for refusal in refusals {
        ensure!(refusal.as_ref().is_some_and(|status| status.code() == Code::InvalidArgument), "{refusal:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_message_that_does_not_fit_is_parked_and_sent_back() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    mesh.account("alice", 100).await?;
    let id = mesh.order("alice", 30).await?;
    let paid = mesh.ended(&id).await?;
    // The same order, another amount: whoever wrote this is not to be believed.
    let void = VoidPayment {
        order_id: id.clone(),
        user_id: "alice".into(),
        amount: 31,
        currency_code: "RUB".into(),
        reason: Reason::UserRequested.into(),
    };
    let payload: String = void.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect();
    let sql = "INSERT INTO outbox
        (message_id, kind, partition_key, payload, create_time, state, attempts, next_attempt_time)
        VALUES (randomblob(16), 'ordermesh.payments.v1.VoidPayment', 'alice', X'PAYLOAD', 0, 0, 0, 0)";
    mesh.tamper("orders", &sql.replace("PAYLOAD", &payload)).await?;

    let mut admin = MessagingAdminServiceClient::connect(format!("http://{}", mesh.payments)).await?;
    for attempt in 0..2 {
        let parked = eventually("a parked message", PATIENCE, async || {
            let request = with_token(ListParkedMessagesRequest::default(), ADMIN_TOKEN)?;
            let listed = admin.clone().list_parked_messages(request).await?.into_inner().messages;
            ensure!(listed.len() == 1 && listed[0].state() == State::Parked, "{listed:?}");
            Ok(listed)
        })
        .await?;
        ensure!(parked[0].consumer == "payments" && parked[0].payload == void.encode_to_vec(), "{parked:?}");
        ensure!(parked[0].error.contains("the decision was about"), "{parked:?}");
        // Sent back, it is parked again: nothing about it has changed.
        for dry_run in [true, false] {
            let request =
                RedriveParkedMessagesRequest { operator: "carol".into(), dry_run, ..Default::default() };
            let sent = admin.redrive_parked_messages(with_token(request, ADMIN_TOKEN)?).await?.into_inner();
            ensure!(sent.redriven == 1, "attempt {attempt}: {sent:?}");
        }
    }
    let nobody = with_token(RedriveParkedMessagesRequest::default(), ADMIN_TOKEN)?;
    let refused = admin.redrive_parked_messages(nobody).await;
    ensure!(refused.is_err_and(|status| status.code() == Code::InvalidArgument));
    ensure!(mesh.api.get(&format!("/gateway/orders/{id}")).await?.body == paid, "the order has changed");
    ensure!(mesh.balance("alice").await? == 70);
    Ok(())
}
