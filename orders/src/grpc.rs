//! The contract, answered: requests are checked, handed to a command or a query, and the result is put into the wire's words.

pub mod wire;
mod list;
mod watch;
pub mod differences;
pub mod admin;

use std::{sync::Arc, time::Duration};

use auth::Access;
use chassis::{
    clock::{self, Clock},
    status::{Fault, Reason},
    trace,
};
use messaging::origin::Origin;
use ordermesh::{
    orders::v1::{
        CancelOrderRequest, CreateOrderRequest, GetOrderRequest, ListOrderEventsRequest,
        ListOrderEventsResponse, ListOrdersRequest, ListOrdersResponse, Order, OrderEvent, WatchOrderRequest,
        WatchOrdersRequest, orders_service_server::OrdersService,
    },
    rules,
};
use service::{
    fault,
    page::PageTokens,
    request::{Checks, answer, fingerprint, non_empty, origin_in, stream},
};
use storage::{Database, group::GroupCommit};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    commands::{
        cancel_order::{CancelOrder, Cancelling},
        create_order::{CreateOrder, Placing},
    },
    feed::Feed,
    store::{entity::order, orders},
};

/// Serves `ordermesh.orders.v1.OrdersService`.
#[derive(Debug, Clone)]
pub struct Grpc {
    pub(crate) database: Database,
    pub(crate) clock: Arc<dyn Clock>,
    /// ISO 4217: what an empty `currency_code` means.
    pub(crate) default_currency: String,
    /// When an undecided payment is given up, after the order was placed.
    pub(crate) order_ttl: Duration,
    pub(crate) pages: PageTokens,
    pub(crate) create_order: GroupCommit<CreateOrder>,
    pub(crate) cancel_order: CancelOrder,
    pub(crate) feed: Feed,
}

#[tonic::async_trait]
impl OrdersService for Grpc {
    async fn create_order(&self, request: Request<CreateOrderRequest>) -> Result<Response<Order>, Status> {
        let trace = trace::of_call(request.metadata());
        let (access, origin) = (Access::of(request.extensions())?, origin_in(&request, trace.as_ref()));
        let CreateOrderRequest { order, request_id } = request.into_inner();
        let mut order = order.unwrap_or_default();
        access.resolve_user(&mut order.user_id)?;
        let order = self.new_order(order, request_id, origin)?;
        let placed = self.create_order.submit(Placing { order, trace }).await;
        let (order, replayed) = placed.map_err(fault)??;
        Ok(answer(wire::order(&order), replayed))
    }

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Result<Response<Order>, Status> {
        let access = Access::of(request.extensions())?;
        let order = self.order(&request.into_inner().order_id, &access).await?;
        Ok(Response::new(wire::order(&order)))
    }

    async fn cancel_order(&self, request: Request<CancelOrderRequest>) -> Result<Response<Order>, Status> {
        let trace = trace::of_call(request.metadata());
        let access = Access::of(request.extensions())?;
        let CancelOrderRequest { order_id, request_id, etag } = request.into_inner();
        let versions = rules::versions(&etag);
        Checks::default()
            .field("order_id", rules::text(&order_id))
            .field("request_id", rules::request_id(&request_id))
            .field("etag", versions.as_ref().map(drop).map_err(|problem| *problem))
            .finish()?;
        let order_id = order_id.parse().map_err(|_| absent(&order_id))?;
        let (request_id, versions) = (non_empty(request_id), versions.unwrap_or_default());
        let cancelling = Cancelling { order_id, access, request_id, versions, trace };
        let cancelled = self.cancel_order.cancel(cancelling).await;
        let (order, replayed) = cancelled.map_err(fault)??;
        Ok(answer(wire::order(&order), replayed))
    }

    async fn list_order_events(
        &self,
        request: Request<ListOrderEventsRequest>,
    ) -> Result<Response<ListOrderEventsResponse>, Status> {
        let access = Access::of(request.extensions())?;
        let order = self.order(&request.into_inner().order_id, &access).await?;
        let event = |version| OrderEvent { order: Some(wire::order(&version)) };
        Ok(Response::new(ListOrderEventsResponse {
            events: order.versions().into_iter().map(event).collect(),
        }))
    }

    async fn watch_order(
        &self,
        request: Request<WatchOrderRequest>,
    ) -> Result<Response<watch::Events>, Status> {
        let access = Access::of(request.extensions())?;
        let request = request.into_inner();
        let watch = self.feed.watch();
        let order = self.order(&request.order_id, &access).await?;
        let complete = order.status != order::Status::New && order.version <= request.after_version;
        let events = watch::one(self.database.clone(), watch, order, request.after_version);
        Ok(stream(events, complete))
    }

    async fn watch_orders(
        &self,
        request: Request<WatchOrdersRequest>,
    ) -> Result<Response<watch::Events>, Status> {
        let access = Access::of(request.extensions())?;
        let WatchOrdersRequest { mut user_id, status } = request.into_inner();
        access.resolve_user(&mut user_id)?;
        let user = if user_id.is_empty() { Ok(()) } else { rules::user_id(&user_id) };
        let status = wire::status(status);
        Checks::default().field("user_id", user).field("status", status.map(drop)).finish()?;
        let board = watch::Board { user_id: non_empty(user_id), status: status.unwrap_or_default() };
        Ok(Response::new(watch::many(self.database.clone(), &self.feed, board)))
    }

    async fn list_orders(
        &self,
        request: Request<ListOrdersRequest>,
    ) -> Result<Response<ListOrdersResponse>, Status> {
        let access = Access::of(request.extensions())?;
        let mut request = request.into_inner();
        access.resolve_user(&mut request.user_id)?;
        let (selection, size) = list::selection(&request)?;
        // The token goes on with this selection, whatever the size of the pages.
        let query =
            fingerprint(&ListOrdersRequest { page_size: 0, page_token: String::new(), ..request.clone() });
        let sorting = selection.sorting;
        let cursor = self.pages.resume(&query, &request.page_token, |cursor| list::place(sorting, cursor))?;
        let page = orders::page(self.database.read(), &selection, cursor, size + 1).await;
        let mut page = page.map_err(fault)?;
        let next_page_token = self.pages.cut(&query, size, &mut page, |last| list::cursor(sorting, last));
        let orders = page.iter().map(wire::order).collect();
        Ok(Response::new(ListOrdersResponse { orders, next_page_token }))
    }
}

impl Grpc {
    async fn order(&self, order_id: &str, access: &Access) -> Result<order::Model, Fault> {
        Checks::default().field("order_id", rules::text(order_id)).finish()?;
        let id: Uuid = order_id.parse().map_err(|_| absent(order_id))?;
        let found = orders::find(self.database.read(), id, access.owner()).await.map_err(fault)?;
        found.ok_or_else(|| absent(order_id))
    }

    /// The order that is requested, with every field checked.
    fn new_order(&self, input: Order, request_id: String, origin: Origin) -> Result<order::Model, Fault> {
        let default = || self.default_currency.clone();
        let currency_code =
            if input.currency_code.is_empty() { default() } else { input.currency_code.clone() };
        Checks::default()
            .field("order.user_id", rules::user_id(&input.user_id))
            .field("order.amount", rules::amount(input.amount))
            .field("order.currency_code", rules::currency_code(&currency_code))
            .field("order.description", rules::description(&input.description))
            .field("request_id", rules::request_id(&request_id))
            .finish()?;
        let given = Order {
            user_id: input.user_id.clone(),
            amount: input.amount,
            currency_code: input.currency_code,
            description: input.description.clone(),
            ..Order::default()
        };
        let fingerprint = (!request_id.is_empty()).then(|| fingerprint(&given).to_vec());
        let id = self.clock.new_id();
        // The moment inside the id, so that the order of ids is the order of times.
        let now = clock::moment_of(id).unwrap_or_else(|| self.clock.now());
        let ttl = i64::try_from(self.order_ttl.as_micros()).unwrap_or(i64::MAX);
        let mut order = order::Model {
            id,
            user_id: input.user_id,
            amount: input.amount,
            currency_code,
            description: input.description,
            status: order::Status::New,
            cancel_reason: None,
            create_time: now,
            update_time: now,
            expire_time: now.saturating_add(ttl),
            cancel_request_time: None,
            cancel_request_id: None,
            void_due_time: now.saturating_add(ttl),
            ask_due_time: now,
            asked_message_id: None,
            version: 1,
            // Given by the database when the row is written.
            change_number: 0,
            ledger_entry_id: None,
            request_id: non_empty(request_id),
            fingerprint,
            subject: origin.subject,
            token_id: origin.token_id,
            x_request_id: origin.x_request_id,
        };
        order.ask_due_time = order.next_ask(now);
        Ok(order)
    }
}

/// An id that is no UUID is the id of no order, too.
fn absent(order_id: &str) -> Fault {
    Fault::new(Reason::OrderNotFound, format!("there is no order {order_id}"))
}
