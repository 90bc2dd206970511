//! How a client calls: by gRPC, at services or at an edge, or by JSON over HTTP at an edge.

use std::{sync::LazyLock, time::Duration};

use anyhow::{Context as _, Result};
use ordermesh::{
    orders::v1::{CancelOrderRequest, CreateOrderRequest, ListOrdersRequest, Order},
    payments::v1::{
        Account, CreateAccountRequest, LedgerEntry, ListLedgerEntriesRequest, TopUpAccountRequest,
    },
};
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use tonic::{
    Code, Response, Status,
    transport::{Channel, Endpoint},
};
use world::{Api, PATIENCE, eventually};

use super::{AMOUNT, Answer, Given, What};
use crate::alone::{Orders, Payments};

const CONNECT: Duration = Duration::from_secs(1);
const PAGE: i32 = 1_000;

/// Clients of both services.
#[derive(Debug, Clone)]
pub(crate) struct Grpc {
    pub(crate) orders: Orders,
    pub(crate) payments: Payments,
}

/// Where a client calls, and how.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a run has eight of them")]
pub(crate) enum Way {
    Grpc(Grpc),
    Http(Api),
}

impl Way {
    pub(super) async fn make(&self, user: &str, key: &str, what: &What) -> Result<Given, Status> {
        match self {
            Self::Grpc(calls) => calls.clone().make(user, key, what).await,
            Self::Http(api) => over_http(api, user, key, what).await,
        }
    }
}

impl Grpc {
    /// Clients of services at these URLs, which connect when they are used.
    pub(crate) fn at(orders: &str, payments: &str) -> Result<Self> {
        Ok(Self { orders: Orders::new(channel(orders)?), payments: Payments::new(channel(payments)?) })
    }

    async fn make(&mut self, user: &str, key: &str, what: &What) -> Result<Given, Status> {
        let (user_id, request_id) = (user.to_owned(), key.to_owned());
        match what {
            What::Open => {
                let account = Some(Account { user_id, ..Account::default() });
                let answer =
                    self.payments.create_account(CreateAccountRequest { account, request_id }).await?;
                Ok(answered(answer, Answer::Account))
            }
            What::TopUp { amount } => {
                let request =
                    TopUpAccountRequest { user_id, amount: *amount, request_id, ..Default::default() };
                let answer = self.payments.top_up_account(request).await?;
                Ok(answered(answer, |topped_up| Answer::ToppedUp(Box::new(topped_up))))
            }
            What::Place => {
                let order = Some(Order { user_id, amount: AMOUNT, ..Order::default() });
                let answer = self.orders.create_order(CreateOrderRequest { order, request_id }).await?;
                Ok(answered(answer, |order| Answer::Order(Box::new(order))))
            }
            What::Cancel { order_id } => {
                let order_id = order_id.clone();
                let request = CancelOrderRequest { order_id, request_id, ..CancelOrderRequest::default() };
                let answer = self.orders.cancel_order(request).await?;
                Ok(answered(answer, |order| Answer::Order(Box::new(order))))
            }
        }
    }

    /// All orders of a user.
    pub(super) async fn all_orders(&self, user: &str) -> Result<Vec<Order>> {
        all_pages("a page of orders", async |page_token: String| {
            let user_id = user.to_owned();
            let list = ListOrdersRequest { user_id, page_size: PAGE, page_token, ..Default::default() };
            let page = self.orders.clone().list_orders(list).await?.into_inner();
            Ok::<_, Status>((page.orders, page.next_page_token))
        })
        .await
    }

    /// All of a user's ledger.
    pub(super) async fn all_entries(&self, user: &str) -> Result<Vec<LedgerEntry>> {
        all_pages("a page of the ledger", async |page_token: String| {
            let user_id = user.to_owned();
            let list =
                ListLedgerEntriesRequest { user_id, page_size: PAGE, page_token, ..Default::default() };
            let page = self.payments.clone().list_ledger_entries(list).await?.into_inner();
            Ok::<_, Status>((page.entries, page.next_page_token))
        })
        .await
    }
}

/// Everything in a list: a call makes of the token of a page what is on it, and the token of the next one.
async fn all_pages<T>(
    what: &str,
    call: impl AsyncFn(String) -> Result<(Vec<T>, String), Status>,
) -> Result<Vec<T>> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = eventually(what, PATIENCE, async || call(page_token.clone()).await);
        let (items, next) = page.await?;
        all.extend(items);
        if next.is_empty() {
            return Ok(all);
        }
        page_token = next;
    }
}

fn channel(url: &str) -> Result<Channel> {
    Ok(Endpoint::from_shared(url.to_owned())?.connect_timeout(CONNECT).connect_lazy())
}

fn answered<T>(answer: Response<T>, of: impl FnOnce(T) -> Answer) -> Given {
    let replayed = answer.metadata().get("idempotency-replayed").is_some_and(|value| value == "true");
    (of(answer.into_inner()), replayed)
}

async fn over_http(api: &Api, user: &str, key: &str, what: &What) -> Result<Given, Status> {
    let (path, body) = match what {
        What::Open => ("/gateway/payments".to_owned(), json!({ "userId": user })),
        What::TopUp { amount } => (format!("/gateway/payments/{user}/top-up"), json!({ "amount": amount })),
        What::Place => ("/gateway/orders".to_owned(), json!({ "userId": user, "amount": AMOUNT })),
        What::Cancel { order_id } => (format!("/gateway/orders/{order_id}:cancel"), json!({})),
    };
    let answer = api.post_with_key(&path, key, &body).await;
    let answer = answer.map_err(|error| Status::unavailable(format!("{error:#}")))?;
    if answer.status != 200 {
        return Err(refusal(&answer));
    }
    let read = match what {
        What::Open => read(&answer.body).map(Answer::Account),
        What::TopUp { .. } => read(&answer.body).map(|topped_up| Answer::ToppedUp(Box::new(topped_up))),
        What::Place | What::Cancel { .. } => read(&answer.body).map(|order| Answer::Order(Box::new(order))),
    };
    let read = read.map_err(|error| Status::data_loss(format!("{error:#} in {}", answer.text)))?;
    Ok((read, answer.header("idempotency-replayed") == Some("true")))
}

/// What an error of the edge says, as gRPC would say it.
fn refusal(answer: &world::Answer) -> Status {
    let code = match answer.body["error"]["status"].as_str().unwrap_or_default() {
        "UNAVAILABLE" => Code::Unavailable,
        "UNKNOWN" => Code::Unknown,
        "DEADLINE_EXCEEDED" => Code::DeadlineExceeded,
        "ABORTED" => Code::Aborted,
        "CANCELLED" => Code::Cancelled,
        "RESOURCE_EXHAUSTED" => Code::ResourceExhausted,
        "FAILED_PRECONDITION" => Code::FailedPrecondition,
        "NOT_FOUND" => Code::NotFound,
        _ => Code::Internal,
    };
    Status::new(code, format!("{} {}", answer.status, answer.text))
}

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(ordermesh::DESCRIPTOR_SET).expect("the contracts"));

/// A message out of its JSON.
fn read<M: Message + Name + Default>(body: &Value) -> Result<M> {
    let descriptor = POOL.get_message_by_name(&M::full_name()).context("a message of the contracts")?;
    Ok(DynamicMessage::deserialize(descriptor, body)?.transcode_to()?)
}
