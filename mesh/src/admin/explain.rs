//! `ordermesh admin explain`: the whole way of one order.

use ordermesh::orders::v1::{
    ExplainOrderRequest, Order, OrderExplanation, Station, Stuck,
    orders_admin_service_client::OrdersAdminServiceClient, stuck::Cause,
};

use super::{service::Service, show};
use crate::services::Services;

/// Shows the way of an order, and whether it is fine.
///
/// # Errors
/// When orders cannot be asked, or has no such order.
pub(super) async fn run(services: &Services, order_id: String, json: bool) -> anyhow::Result<bool> {
    let mut admin = OrdersAdminServiceClient::new(services.orders().await?);
    let explained = admin.explain_order(ExplainOrderRequest { order_id }).await?.into_inner();
    if json {
        show::answer(Service::Orders, &show::json_of(&explained)?)?;
    } else {
        show::lines(&lines(&explained))?;
    }
    let cause = explained.stuck.as_ref().map(Stuck::cause);
    Ok(matches!(cause, None | Some(Cause::UnderWay)))
}

fn lines(explained: &OrderExplanation) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(order) = &explained.order {
        let Order { id, user_id, amount, currency_code, .. } = order;
        let status = order.status().as_str_name();
        lines.push(format!("order {id} of {user_id}: {amount} {currency_code}, {status}"));
    }
    let rows: Vec<_> = explained.stations.iter().map(row).collect();
    lines.extend(show::table(["station", "", "time", "age", "message", "trace", "note"], &rows));
    if !explained.payments_error.is_empty() {
        lines.push(format!("payments could not be asked: {}", explained.payments_error));
    }
    lines.extend(explained.stuck.as_ref().map(stuck));
    lines
}

fn row(station: &Station) -> [String; 7] {
    let state = station.state().as_str_name().to_lowercase();
    [
        station.name().as_str_name().to_lowercase().replace('_', " "),
        state,
        show::moment(station.time.as_ref()),
        show::span(station.age.as_ref()),
        show::or_dash(&station.message_id),
        show::or_dash(&station.trace_id),
        show::short(&station.note, 100),
    ]
}

fn stuck(stuck: &Stuck) -> String {
    let estimate = stuck.estimate.as_ref().map(|time| format!("; about {}", show::span(Some(time))));
    let again = stuck.next_attempt_time.as_ref().map(|time| format!("; next attempt {time}"));
    let (cause, sentence) = (stuck.cause().as_str_name(), &stuck.sentence);
    format!("{cause}: {sentence}{}{}", estimate.unwrap_or_default(), again.unwrap_or_default())
}
