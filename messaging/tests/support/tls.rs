//! RabbitMQ behind TLS, with a certificate of an authority that only those trust who are given it.

use std::{error::Error, fs, io, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use messaging::broker::{Broker, BrokerError, rabbit::RabbitBroker};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use world::RabbitMq;

use super::given::{confirmed, consumer, mesh, messages, numbers, take};

pub(crate) async fn messages_travel_over_tls_with_a_private_authority() -> Result<()> {
    let server = RabbitMq::start_with_tls().await?;
    let (url, authority) = (server.amqps_url()?, fs::read_to_string(server.ca())?);
    let broker = RabbitBroker::new(&url, mesh("tls", 1))?.with_tls(trusting(&authority)?);
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 10).await?;
    let sent = messages(3);
    confirmed(&broker.publisher().await?.publish(&sent).await)?;
    assert_eq!(numbers(&take(&mut *inflow, 3).await?), [0, 1, 2]);
    let encrypted = server.control(&["-q", "list_connections", "ssl"]).await?;
    ensure!(encrypted.contains("true") && !encrypted.contains("false"), "{encrypted}");

    let stranger = RabbitBroker::new(&url, mesh("tls", 1))?;
    is_refused(&stranger, "UnknownIssuer").await?;
    // The certificate is for the name alone.
    let elsewhere = url.replace("localhost", "127.0.0.1");
    let misled = RabbitBroker::new(&elsewhere, mesh("tls", 1))?.with_tls(trusting(&authority)?);
    is_refused(&misled, "not valid for name").await?;
    Ok(())
}

/// Trusts this authority (PEM), and no other.
fn trusting(authority: &str) -> Result<impl Fn() -> io::Result<Arc<ClientConfig>> + use<>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    Ok(move || Ok(Arc::clone(&config)))
}

/// No connection is made, and the error says why.
async fn is_refused(broker: &RabbitBroker, reason: &str) -> Result<()> {
    let error = broker.publisher().await.err().context("it was trusted")?;
    ensure!(matches!(error, BrokerError::Refused(_)), "{error:?}");
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    ensure!(said.contains(reason), "{said}");
    Ok(())
}
