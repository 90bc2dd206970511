//! Services behind TLS.

use chassis::tls::ClientTls;
use gateway::Config;
use http::StatusCode;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;
use tonic::{
    service::Routes,
    transport::{Identity, Server, ServerTlsConfig},
};

use crate::{
    upstream::{Upstream, echo},
    world::{World, json, reason, shapes},
};

/// A service whose certificate is for this name, and the authority that has signed it.
async fn service(name: &str) -> (Upstream, String) {
    let (own, key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&own).expect("a certificate");
    let issuer = Issuer::new(params, own);
    let params = CertificateParams::new([name.to_owned()]).expect("a name");
    let cert = params.signed_by(&key, &issuer).expect("a certificate");
    let identity = Identity::from_pem(cert.pem(), key.serialize_pem());
    let server =
        Server::builder().tls_config(ServerTlsConfig::new().identity(identity)).expect("a certificate");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    (Upstream::start_with(server, Routes::default(), listener, async |call| echo(&call)), authority.pem())
}

/// An edge that trusts this authority.
async fn world(upstream: &Upstream, trusted: Option<String>) -> World {
    let url = format!("https://{}", upstream.address);
    let upstream_tls = trusted.map(|pem| ClientTls::trusting(pem.as_bytes()).expect("an authority"));
    World::with(Config { upstream_tls: upstream_tls.unwrap_or_default(), ..shapes(&url) }).await
}

#[tokio::test]
async fn a_service_is_called_over_tls() {
    let (upstream, certificate) = service("127.0.0.1").await;
    let world = world(&upstream, Some(certificate)).await;
    json(world.get("/v1/shapes?text=a").await, StatusCode::OK).await;
    assert_eq!(upstream.calls().len(), 1);
}

#[tokio::test]
async fn a_service_that_cannot_be_trusted_is_not_called() {
    let (upstream, _) = service("127.0.0.1").await;
    let (other, certificate) = service("elsewhere.example").await;
    for (upstream, trusted) in
        [(&upstream, None), (&upstream, Some(certificate.clone())), (&other, Some(certificate))]
    {
        let world = world(upstream, trusted).await;
        let error = json(world.get("/v1/shapes?text=a").await, StatusCode::SERVICE_UNAVAILABLE).await;
        assert_eq!(reason(&error), "UPSTREAM_UNAVAILABLE");
        assert!(upstream.calls().is_empty());
    }
}
