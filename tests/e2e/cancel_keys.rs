//! The idempotency keys of cancellations: each that was answered with success is answered the same for ever, however many an order has.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use ordermesh::orders::v1::{CancelOrderRequest, GetOrderRequest, Order, order};
use ordermesh::payments::v1::{Account, CreateAccountRequest};
use tonic::{Code, Status};
use world::{PATIENCE, Postgres, RabbitMq, Scratch, eventually};

use crate::alone::{self, Orders, number, place};

#[tokio::test]
async fn sqlite() -> Result<()> {
    let scratch = Scratch::new("keys")?;
    let url = |service: &str| format!("sqlite:{}", scratch.path().join(service).display());
    keys(&url("orders.db"), &url("payments.db")).await
}

#[tokio::test]
async fn postgres() -> Result<()> {
    let postgres = Postgres::start().await?;
    keys(&postgres.fresh_database().await?, &postgres.fresh_database().await?).await
}

async fn keys(orders_url: &str, payments_url: &str) -> Result<()> {
    let rabbitmq = RabbitMq::shared().await?;
    let mut orders = alone::program("orders", orders_url, &rabbitmq.amqp_url())?.start()?;
    let mut client = alone::orders(&mut orders).await?;
    let id = place(&mut client, "alice").await?;
    let (first, replayed) = cancel(&client, &id, "k1").await?;
    ensure!(!replayed && first.version == 2 && first.cancel_request_time.is_some(), "{first:?}");
    for key in ["k2", "k3", ""] {
        ensure!(cancel(&client, &id, key).await? == (first.clone(), false), "{key:?}");
    }
    let keyless = place(&mut client, "alice").await?;
    let (unkeyed, _) = cancel(&client, &keyless, "").await?;
    ensure!(cancel(&client, &keyless, "k4").await? == (unkeyed.clone(), false));
    let other = place(&mut client, "alice").await?;
    replays(&client, &id, &first, &other).await?;
    races(&mut client).await?;
    let remembered = number(orders_url, "SELECT COUNT(*) FROM cancellation_keys").await?;

    // All of it again once the orders have ended.
    let mut payments = alone::program("payments", payments_url, &rabbitmq.amqp_url())?.start()?;
    for id in [&id, &keyless] {
        ended(&client, id).await?;
    }
    replays(&client, &id, &first, &other).await?;
    ensure!(cancel(&client, &keyless, "k4").await? == (unkeyed, true));
    failures_leave_nothing(&client, &id).await?;
    let now = number(orders_url, "SELECT COUNT(*) FROM cancellation_keys").await?;
    ensure!(now == remembered, "{remembered} keys became {now}");

    // An account is opened by one call: another key finds it there, and is not remembered.
    let mut payments = alone::payments(&mut payments).await?;
    let mut open = async |key: &str, currency_code: &str| {
        let account =
            Account { user_id: "bob".into(), currency_code: currency_code.into(), ..Account::default() };
        let request = CreateAccountRequest { account: Some(account), request_id: key.into() };
        payments.create_account(request).await
    };
    let account = open("a1", "EUR").await?.into_inner();
    ensure!(open("a1", "EUR").await?.into_inner() == account);
    for (key, currency_code, code) in [
        ("a1", "USD", Code::FailedPrecondition),
        ("a2", "EUR", Code::AlreadyExists),
        ("a2", "EUR", Code::AlreadyExists),
        ("", "EUR", Code::AlreadyExists),
    ] {
        let refused = open(key, currency_code).await;
        ensure!(refused.as_ref().is_err_and(|status| status.code() == code), "{key}: {refused:?}");
    }
    Ok(())
}

/// Every key of the order is answered as it was, and refused for another order.
async fn replays(client: &Orders, id: &str, first: &Order, other: &str) -> Result<()> {
    for key in ["k1", "k2", "k3"] {
        let again = cancel(client, id, key).await.with_context(|| key.to_owned())?;
        ensure!(again == (first.clone(), true), "{key}: {again:?}");
        let refused = cancel(client, other, key).await;
        ensure!(
            refused.is_err_and(|status| status.code() == Code::FailedPrecondition
                && status.message().contains("idempotency key")),
            "{key} cancels another order"
        );
    }
    Ok(())
}

/// One key for several orders at once: one of them has it.
async fn races(client: &mut Orders) -> Result<()> {
    for round in 0..20 {
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(place(client, "carol").await?);
        }
        if round % 2 == 0 {
            // The order has another key already, so this one is a further key of it.
            cancel(client, &ids[0], &format!("early-{round}")).await?;
        }
        let key = format!("race-{round}");
        let raced: Vec<_> = join_all(ids.iter().map(|id| cancel(client, id, &key))).await;
        let won: Vec<&String> =
            ids.iter().zip(&raced).filter(|(_, raced)| raced.is_ok()).map(|(id, _)| id).collect();
        ensure!(won.len() == 1, "{raced:?}");
        for lost in raced.iter().filter_map(|raced| raced.as_ref().err()) {
            ensure!(lost.code() == Code::FailedPrecondition, "{lost:?}");
        }
        ensure!(cancel(client, won[0], &key).await?.1, "not remembered");
    }
    Ok(())
}

/// A call that fails is not remembered: its key is free for another one.
async fn failures_leave_nothing(client: &Orders, ended: &str) -> Result<()> {
    for id in [ended, "0197b0c4-0000-7000-8000-000000000000", "nothing"] {
        cancel(client, id, "free").await.expect_err("there is nothing to cancel");
    }
    Ok(())
}

async fn cancel(client: &Orders, id: &str, key: &str) -> Result<(Order, bool), Status> {
    let request = CancelOrderRequest {
        order_id: id.to_owned(),
        request_id: key.to_owned(),
        ..CancelOrderRequest::default()
    };
    let answer = client.clone().cancel_order(request).await?;
    let replayed = answer.metadata().get("idempotency-replayed").is_some_and(|value| value == "true");
    Ok((answer.into_inner(), replayed))
}

async fn ended(client: &Orders, id: &str) -> Result<()> {
    eventually("the end of the order", 3 * PATIENCE, async || {
        let order = client.clone().get_order(GetOrderRequest { order_id: id.to_owned() }).await?.into_inner();
        ensure!(order.status() != order::Status::New, "{order:?}");
        Ok(())
    })
    .await
}
