//! The settings of the broker between services.

use std::{io, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use chassis::{
    secret::{self, SecretString, SecretUrl},
    settings::{Checked, ConfigErrors},
    tls::{ClientTls, client_tls},
};
use messaging::{
    broker::{Broker, memory::MemoryBroker, rabbit::RabbitBroker},
    parked::Park,
    topology::{Subscription, Topology},
};
use ordermesh::topology::CONSUMERS;

/// The broker, and how many queues it has for a consumer.
#[derive(Debug, Clone, clap::Args)]
pub struct BrokerSettings {
    /// `amqp://USER:PASSWORD@HOST:PORT/VHOST`, or amqps; one for each node of a cluster, with commas between [default: guest on 127.0.0.1]
    #[arg(long, env = "AMQP_URL", value_name = "URL")]
    pub amqp_url: Option<SecretString>,
    /// A file with the URL of the broker, instead of --amqp-url
    #[arg(long, env = "AMQP_URL_FILE", value_name = "FILE")]
    pub amqp_url_file: Option<PathBuf>,
    /// The certificates (PEM) of the authorities that an `amqps://` broker may have its own from, instead of those that browsers trust
    #[arg(long, env = "AMQP_CA", value_name = "FILE")]
    pub amqp_ca: Option<PathBuf>,
    /// The certificate (PEM) that an `amqps://` broker is shown
    #[arg(long, env = "AMQP_CERT", value_name = "FILE")]
    pub amqp_cert: Option<PathBuf>,
    /// The key of --amqp-cert (PEM)
    #[arg(long, env = "AMQP_KEY", value_name = "FILE")]
    pub amqp_key: Option<PathBuf>,
    /// Queues per consumer; the same in every process of the mesh. Fewer are refused while messages wait in the queues beyond
    #[arg(long, env = "PARTITIONS", default_value = "1")]
    pub partitions: Checked<u16>,
    /// What waits behind a message that is parked: nothing (message), or what comes later of its key (key); the same in every process of a
    /// service
    #[arg(long, env = "PARK", default_value = "message", value_name = "message|key")]
    pub park: Checked<Park>,
}

/// The settings of the broker without errors.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// The nodes of RabbitMQ; none for the in-process broker.
    pub urls: Vec<SecretUrl>,
    /// Whom an `amqps` URL trusts, and what the broker is shown.
    pub tls: ClientTls,
    /// Queues per consumer, at least 1.
    pub partitions: u16,
    /// What waits behind a message that is parked.
    pub park: Park,
}

impl BrokerSettings {
    /// The settings, or `None` after errors were noted. Must be called inside of a tokio runtime.
    pub fn check(self, errors: &mut ConfigErrors) -> Option<BrokerConfig> {
        let before = errors.count();
        let url = secret::take(self.amqp_url, self.amqp_url_file, "--amqp-url", errors);
        let urls = url.and_then(|urls| {
            let parsed = SecretUrl::parse_all(&urls, &["amqp", "amqps"]);
            parsed.map_err(|error| errors.note("--amqp-url", error)).ok()
        });
        let identity = [("--amqp-cert", self.amqp_cert), ("--amqp-key", self.amqp_key)];
        let tls = client_tls("amqp", ("--amqp-ca", self.amqp_ca), identity, errors);
        let partitions = self.partitions.take("--partitions", errors);
        errors.require(partitions != Some(0), "--partitions", "must be at least 1");
        let park = self.park.take("--park", errors);
        let urls = urls.unwrap_or_default();
        let config = BrokerConfig { urls, tls: tls?, partitions: partitions?, park: park? };
        (errors.count() == before).then_some(config)
    }
}

impl BrokerConfig {
    /// Where it is, as it may be shown; `None` in this process.
    #[must_use]
    pub fn shown(&self) -> Option<String> {
        let urls: Vec<String> = self.urls.iter().map(ToString::to_string).collect();
        (!urls.is_empty()).then(|| urls.join(", "))
    }

    /// The broker between the services; it is connected to when it is used.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn broker(&self) -> anyhow::Result<Arc<dyn Broker>> {
        let consumers = CONSUMERS.iter().map(|consumer| Subscription::new(consumer.name, consumer.kinds));
        let topology = Topology::new(ordermesh::EVENTS_EXCHANGE, self.partitions, consumers);
        if self.urls.is_empty() {
            return Ok(Arc::new(MemoryBroker::new(topology)));
        }
        let urls: Vec<&str> = self.urls.iter().map(SecretUrl::expose).collect();
        let broker = RabbitBroker::cluster(&urls, topology).context("--amqp-url")?;
        let tls = self.tls.clone();
        Ok(Arc::new(broker.with_tls(move || tls.config().map_err(io::Error::other))))
    }
}
