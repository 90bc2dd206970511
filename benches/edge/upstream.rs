//! A service that answers at once, and always the same: what is measured is the edge in front of it.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use futures_util::{StreamExt as _, stream};
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use ordermesh::orders::v1::{
    CreateOrderRequest, GetOrderRequest, ListOrdersRequest, ListOrdersResponse, Order, OrderEvent,
    WatchOrderRequest,
    orders_service_server::{OrdersService, OrdersServiceServer},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::IntervalStream;
use tonic::{Request, Response, Status, async_trait, codegen::BoxStream};

use crate::secured::Secured;

/// Starts it on a port of its own, with TLS if it is secured.
///
/// # Errors
/// No port is free.
pub(crate) async fn start(secured: Option<&Secured>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let acceptor = secured.map(Secured::acceptor).transpose()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, acceptor.clone()));
        }
    });
    Ok(address)
}

async fn connection(stream: TcpStream, acceptor: Option<TlsAcceptor>) -> Result<()> {
    stream.set_nodelay(true)?;
    let server = http2::Builder::new(TokioExecutor::new());
    let service = TowerToHyperService::new(OrdersServiceServer::new(Canned));
    match acceptor {
        None => server.serve_connection(TokioIo::new(stream), service).await?,
        Some(acceptor) => {
            server.serve_connection(TokioIo::new(acceptor.accept(stream).await?), service).await?
        }
    }
    Ok(())
}

/// The order whose watchers receive its first version, and nothing more.
pub(crate) const IDLE: &str = "01890a5d-ac96-774b-bcce-000000000001";

/// The order that has a version every tenth of a second, up to the last.
pub(crate) const BUSY: &str = "01890a5d-ac96-774b-bcce-000000000002";
pub(crate) const EVENTS: usize = 100;

struct Canned;

fn event(version: i64) -> OrderEvent {
    OrderEvent { order: Some(Order { version, ..order(2) }) }
}

fn order(number: u32) -> Order {
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 123_456_000 });
    Order {
        id: format!("01890a5d-ac96-774b-bcce-{number:012x}"),
        user_id: "alice".to_owned(),
        amount: 1_999,
        currency_code: "EUR".to_owned(),
        description: "two tickets, row 7; \"aisle\"".to_owned(),
        status: 2,
        create_time: at(1_700_000_000),
        update_time: at(1_700_000_001),
        expire_time: at(1_700_000_900),
        version: 2,
        ledger_entry_id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
        ..Order::default()
    }
}

#[async_trait]
impl OrdersService for Canned {
    async fn create_order(&self, request: Request<CreateOrderRequest>) -> Result<Response<Order>, Status> {
        let given = request.into_inner().order.unwrap_or_default();
        Ok(Response::new(Order { amount: given.amount, description: given.description, ..order(1) }))
    }

    async fn get_order(&self, _: Request<GetOrderRequest>) -> Result<Response<Order>, Status> {
        Ok(Response::new(order(1)))
    }

    async fn list_orders(
        &self,
        request: Request<ListOrdersRequest>,
    ) -> Result<Response<ListOrdersResponse>, Status> {
        let size = request.into_inner().page_size.unsigned_abs();
        let orders = (0..size).map(order).collect();
        Ok(Response::new(ListOrdersResponse { orders, next_page_token: "more".to_owned() }))
    }

    async fn watch_order(
        &self,
        request: Request<WatchOrderRequest>,
    ) -> Result<Response<BoxStream<OrderEvent>>, Status> {
        if request.get_ref().order_id == IDLE {
            let first = stream::iter([Ok(event(1))]);
            return Ok(Response::new(Box::pin(first.chain(stream::pending()))));
        }
        let ticks = IntervalStream::new(tokio::time::interval(Duration::from_millis(100)));
        let versions = ticks.take(EVENTS).enumerate().map(|(past, _)| Ok(event(past as i64 + 1)));
        Ok(Response::new(Box::pin(versions)))
    }
}
