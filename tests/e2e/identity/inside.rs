//! The services in the test's own process, by rules that a test chooses.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use auth::{AuthConfig, Rules, Verifier, Who};
use chassis::{
    clock::SystemClock,
    lifecycle::Lifecycle,
    tls::{ClientTls, TlsConfig},
};
use messaging::parked::Park;
use orders::Orders;
use payments::Payments;
use service::{
    Foundation, Service,
    settings::{BrokerConfig, MeshConfig},
    wiring,
};
use shipping::Shipping;
use storage::{Database, DatabaseUrl, Limits};
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint};

/// Orders, payments and shipping on an in-process broker. Dropping it ends them.
pub(crate) struct Inside {
    pub(crate) orders: Channel,
    pub(crate) payments: Channel,
    pub(crate) shipping: Channel,
    _life: Lifecycle,
}

/// The rules of all contracts.
pub(crate) fn rules() -> Result<Rules> {
    Ok(Rules::of(Shipping::DESCRIPTOR_SETS)?)
}

impl Inside {
    /// Starts them with their databases in this folder.
    pub(crate) async fn start(folder: &Path, issuer: &Verifier, rules: &Rules) -> Result<Self> {
        let mesh = MeshConfig {
            broker: BrokerConfig {
                urls: Vec::new(),
                tls: ClientTls::default(),
                partitions: 1,
                park: Park::default(),
            },
            default_currency: "RUB".to_owned(),
            admin_token: None,
            auth: AuthConfig::default(),
            tls: TlsConfig::default(),
        };
        let broker = mesh.broker.broker()?;
        let foundation = async |name: &str| {
            let url = DatabaseUrl::file(&folder.join(format!("{name}.db")));
            let database = Database::connect(&url, Limits::default()).await?;
            let (broker, clock) = (Arc::clone(&broker), SystemClock::shared());
            let who = Who::Issuer(issuer.clone());
            anyhow::Ok(Foundation { database, broker, clock, mesh: mesh.clone(), who })
        };
        let mut life = Lifecycle::new();
        let (order_ttl, payments) = (std::time::Duration::from_secs(600), Default::default());
        let orders = Orders { order_ttl, payments, reconciliation: None, decisions: None };
        let orders = wiring::build_by(rules.clone(), orders, foundation("orders").await?).await?;
        let payments = wiring::build_by(rules.clone(), Payments, foundation("payments").await?).await?;
        let shipping = wiring::build_by(rules.clone(), Shipping, foundation("shipping").await?).await?;
        let mut channels = Vec::new();
        for service in [orders, payments, shipping] {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let url = format!("http://{}", listener.local_addr()?);
            service.spawn(listener, &mut life);
            channels.push(Endpoint::from_shared(url)?.connect().await?);
        }
        let [orders, payments, shipping] =
            <[Channel; 3]>::try_from(channels).map_err(|_| anyhow::anyhow!("three"))?;
        Ok(Self { orders, payments, shipping, _life: life })
    }

    /// The service of this name.
    pub(crate) fn service(&self, name: &str) -> &Channel {
        match name {
            "orders" => &self.orders,
            "payments" => &self.payments,
            _ => &self.shipping,
        }
    }
}
