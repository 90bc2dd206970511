//! One look at each service: what waits there, what is paused, which redrives run, and which orders differ. Of a service that does not answer,
//! and of a question that it does not answer, why.

use std::time::Duration;

use futures_util::future::join_all;
use ordermesh::{
    messaging::v1::{
        GetMessagingStatusRequest, ListPausesRequest, ListRedrivesRequest, MessagingStatus, Pause, Redrive,
        messaging_admin_service_client::MessagingAdminServiceClient,
        pauses_service_client::PausesServiceClient, redrive::State,
    },
    orders::v1::{GetReconciliationRequest, orders_admin_service_client::OrdersAdminServiceClient},
};
use tokio::time::{Instant, timeout_at};

use super::service::Service;
use crate::services::{Caller, Services, late};

/// How long a service may take to answer: the other one is shown by then.
const PATIENCE: Duration = Duration::from_secs(3);
/// Of the redrives of a service, so many of the newest are looked through for those that run.
const REDRIVES: i32 = 50;

/// What a service has said, or why it has not, question by question: one of a version before does not know all of them, and one may wait for
/// what others hold.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: anyhow::Result<MessagingStatus>,
    pub(super) pauses: anyhow::Result<Vec<Pause>>,
    /// Those that run.
    pub(super) redrives: anyhow::Result<Vec<Redrive>>,
    /// Orders that orders and payments have stored otherwise, as orders says.
    pub(super) differences: anyhow::Result<i64>,
}

impl Said {
    /// The questions that it has not answered, and why.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = (&'static str, &anyhow::Error)> {
        let all = [
            ("status", self.status.as_ref().err()),
            ("pauses", self.pauses.as_ref().err()),
            ("redrives", self.redrives.as_ref().err()),
            ("differences", self.differences.as_ref().err()),
        ];
        all.into_iter().filter_map(|(question, error)| Some((question, error?)))
    }
}

/// A service, and what it has said or why it has said nothing.
pub(super) type Asked = (Service, anyhow::Result<Said>);

/// What waits at a service, by its name, where it has said so.
pub(super) fn status((service, said): &Asked) -> Option<(&'static str, &MessagingStatus)> {
    Some((service.name(), said.as_ref().ok()?.status.as_ref().ok()?))
}

/// Looks at all of them at the same time.
pub(super) async fn look(services: &Services) -> Vec<Asked> {
    let all = Service::ALL.map(|service| async move { (service, ask(services, service).await) });
    join_all(all).await
}

async fn ask(services: &Services, service: Service) -> anyhow::Result<Said> {
    let (url, until) = (service.url(services), Instant::now() + PATIENCE);
    let caller = in_time(until, url, service.of(services)).await?;
    let (status, pauses, redrives, differences) = tokio::join!(
        in_time(until, url, status_of(caller.clone())),
        in_time(until, url, pauses(caller.clone())),
        in_time(until, url, redrives(caller.clone())),
        in_time(until, url, differences(service, caller)),
    );
    match (status, pauses, redrives) {
        // One reason is enough of a service that answers nothing. Nobody asks payments for differences.
        (Err(error), Err(_), Err(_)) if differences.is_err() || service == Service::Payments => Err(error),
        (status, pauses, redrives) => Ok(Said { status, pauses, redrives, differences }),
    }
}

async fn in_time<T>(
    until: Instant,
    url: &str,
    answer: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let silent = |_elapsed| Err(anyhow::Error::msg(late(url, PATIENCE)));
    timeout_at(until, answer).await.unwrap_or_else(silent)
}

async fn status_of(caller: Caller) -> anyhow::Result<MessagingStatus> {
    let mut admin = MessagingAdminServiceClient::new(caller);
    Ok(admin.get_messaging_status(GetMessagingStatusRequest {}).await?.into_inner())
}

async fn pauses(caller: Caller) -> anyhow::Result<Vec<Pause>> {
    let mut paused = PausesServiceClient::new(caller);
    Ok(paused.list_pauses(ListPausesRequest {}).await?.into_inner().pauses)
}

async fn redrives(caller: Caller) -> anyhow::Result<Vec<Redrive>> {
    let mut admin = MessagingAdminServiceClient::new(caller);
    let newest = ListRedrivesRequest { page_size: REDRIVES, ..ListRedrivesRequest::default() };
    let mut redrives = admin.list_redrives(newest).await?.into_inner().redrives;
    redrives.retain(|redrive| redrive.state() == State::Running);
    Ok(redrives)
}

async fn differences(service: Service, caller: Caller) -> anyhow::Result<i64> {
    match service {
        Service::Orders => {
            let one = GetReconciliationRequest { page_size: 1, ..GetReconciliationRequest::default() };
            Ok(OrdersAdminServiceClient::new(caller).get_reconciliation(one).await?.into_inner().total)
        }
        Service::Payments => Ok(0),
    }
}
