//! Who did it: what operators have done, and what a service adds of its own rows, as one list.

use chassis::clock::{moment_of, timestamp};
use ordermesh::audit::v1::{
    AuditEvent, ListAuditEventsRequest, ListAuditEventsResponse, audit_service_server::AuditService,
};
use sea_orm::{
    ConnectionTrait as _, DbBackend, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, QueryTrait as _, Statement, entity::prelude::*, sea_query::SimpleExpr,
};
use storage::Database;
use tonic::{Request, Response, Status};

use crate::{
    fault,
    filter::{self, Comparison},
    list::{begun, equal},
    page::{self, PageTokens},
    request::{Checks, fingerprint},
};

/// An event. It is no table, but what [`Audit`] selects.
#[sea_orm::model]
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_events")]
struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    id: Uuid,
    action: String,
    subject: Option<String>,
    token_id: Option<String>,
    trace_id: Option<String>,
    request_id: Option<String>,
    user_id: Option<String>,
    order_id: Option<Uuid>,
    amount: Option<i64>,
    x_request_id: Option<String>,
    operator: Option<String>,
    filter: Option<String>,
    affected: Option<i64>,
    reason: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}

/// The columns of a movement of money: what [`Audit::movements`] selects.
const MOVEMENT: &str =
    "id, action, subject, token_id, trace_id, request_id, user_id, order_id, amount, x_request_id";

/// What operators have done, with the columns of movements before its own. A row has no id but its number, so it gets one: a UUIDv7 of its
/// time and its number.
const ACTIONS: &str = "SELECT {id} AS id, UPPER(action) AS action, subject, token_id, trace_id, {text} AS request_id, \
     {text} AS user_id, {uuid} AS order_id, {int} AS amount, x_request_id, operator, filter, affected, reason \
     FROM operator_actions";

/// Serves `ordermesh.audit.v1.AuditService`.
#[derive(Debug, Clone)]
pub struct Audit {
    /// Where it is stored.
    pub database: Database,
    /// The tokens of its list.
    pub pages: PageTokens,
    /// Selects the service's movements of money, if it has any: `id` (a UUIDv7), `action`, `subject`, `token_id`, `trace_id`, `request_id`,
    /// `user_id`, `order_id`, `amount` and `x_request_id`.
    pub movements: Option<&'static str>,
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn list_audit_events(
        &self,
        request: Request<ListAuditEventsRequest>,
    ) -> Result<Response<ListAuditEventsResponse>, Status> {
        let request = request.into_inner();
        let mut checks = Checks::default();
        let size = page::size(request.page_size, &mut checks);
        checks.finish()?;
        let conditions = filter::conditions(&request.filter, condition)?;
        let query = fingerprint(&ListAuditEventsRequest {
            page_size: 0,
            page_token: String::new(),
            filter: request.filter,
        });
        let id = |cursor: &[u8]| Uuid::from_slice(cursor).ok();
        let before = self.pages.resume(&query, &request.page_token, id)?;
        let mut page = self.page(conditions, before, size + 1).await.map_err(fault)?;
        let next_page_token = self.pages.cut(&query, size, &mut page, |last| last.id.into_bytes());
        let events = page.into_iter().map(event).collect();
        Ok(Response::new(ListAuditEventsResponse { events, next_page_token }))
    }
}

impl Audit {
    async fn page(
        &self,
        conditions: Vec<SimpleExpr>,
        before: Option<Uuid>,
        limit: u64,
    ) -> Result<Vec<Model>, DbErr> {
        // Not every comparison has an index: one that reads everything may take its time.
        let connection = self.database.reports();
        let backend = connection.get_database_backend();
        let before = before.map(|id| Column::Id.lt(id));
        let list = conditions.into_iter().chain(before).fold(Entity::find(), |list, met| list.filter(met));
        let list = list.order_by_desc(Column::Id).limit(limit).build(backend);
        let sql = format!("WITH audit_events AS ({}) {}", self.events(backend), list.sql);
        let list = Statement { sql, ..list };
        Entity::find().from_raw_sql(list).all(connection).await
    }

    /// Selects every event.
    fn events(&self, backend: DbBackend) -> String {
        let (id, uuid) = match backend {
            DbBackend::Postgres => (
                "CAST(lpad(to_hex(act_time / 1000), 12, '0') || '70008' || lpad(to_hex(seq), 15, '0') AS uuid)",
                "uuid",
            ),
            _ => ("unhex(printf('%012x70008%015x', act_time / 1000, seq))", "blob"),
        };
        let [text, uuid, int] = ["text", uuid, "bigint"].map(|kind| format!("CAST(NULL AS {kind})"));
        let actions = [("{id}", id), ("{text}", &text), ("{uuid}", &uuid), ("{int}", &int)];
        let actions = actions.into_iter().fold(ACTIONS.to_owned(), |sql, (word, is)| sql.replace(word, is));
        let movements = self.movements.map(|movements| {
            format!(
                " UNION ALL SELECT {MOVEMENT}, {text}, {text}, {int}, {text} FROM ({movements}) AS movements"
            )
        });
        actions + &movements.unwrap_or_default()
    }
}

/// What a comparison says, or what is wrong with it.
fn condition(comparison: &Comparison) -> Result<SimpleExpr, String> {
    let Comparison { field, operator, value } = comparison;
    let column = match field.as_str() {
        "time" => return Ok(begun(Column::Id, *operator, comparison.moment()?)),
        "order_id" => {
            let id = comparison.present().map(|id| id.parse::<Uuid>()).transpose();
            let id = id.map_err(|_| format!("{value:?} is no id of an order"))?;
            return Ok(equal(Column::OrderId, comparison.by_equality()?, id));
        }
        "action" if value.chars().any(|letter| letter.is_lowercase()) => {
            return Err(format!("{value:?} is no action: they are in capitals, such as TOP_UP or REDRIVE"));
        }
        "action" => Column::Action,
        "subject" => Column::Subject,
        "token_id" => Column::TokenId,
        "trace_id" => Column::TraceId,
        "x_request_id" => Column::XRequestId,
        "user_id" => Column::UserId,
        _ => return Err(format!("{field} cannot be filtered by")),
    };
    Ok(equal(column, comparison.by_equality()?, comparison.present()))
}

fn event(event: Model) -> AuditEvent {
    AuditEvent {
        id: event.id.to_string(),
        time: moment_of(event.id).map(timestamp),
        action: event.action,
        subject: event.subject.unwrap_or_default(),
        token_id: event.token_id.unwrap_or_default(),
        trace_id: event.trace_id.unwrap_or_default(),
        request_id: event.request_id.unwrap_or_default(),
        user_id: event.user_id.unwrap_or_default(),
        order_id: event.order_id.map(|id| id.to_string()).unwrap_or_default(),
        amount: event.amount.unwrap_or_default(),
        operator: event.operator.unwrap_or_default(),
        filter: event.filter.unwrap_or_default(),
        affected: event.affected.unwrap_or_default(),
        reason: event.reason.unwrap_or_default(),
        x_request_id: event.x_request_id.unwrap_or_default(),
    }
}
