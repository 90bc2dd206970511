//! The services that an operator asks, and how each is reached.

use ordermesh::messaging::v1::messaging_admin_service_client::MessagingAdminServiceClient;

use crate::services::{Caller, Services};

/// Calls about the messages of a service.
pub(super) type Admin = MessagingAdminServiceClient<Caller>;

/// One of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Service {
    /// Orders.
    Orders,
    /// Payments.
    Payments,
}

impl Service {
    pub(super) const ALL: [Self; 2] = [Self::Orders, Self::Payments];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Payments => "payments",
        }
    }

    pub(super) fn url(self, services: &Services) -> &str {
        match self {
            Self::Orders => services.orders_url(),
            Self::Payments => services.payments_url(),
        }
    }

    pub(super) async fn of(self, services: &Services) -> anyhow::Result<Caller> {
        match self {
            Self::Orders => services.orders().await,
            Self::Payments => services.payments().await,
        }
    }
}

/// This one, or all.
pub(super) fn chosen(service: Option<Service>) -> Vec<Service> {
    service.map_or_else(|| Service::ALL.to_vec(), |service| vec![service])
}
