//! TLS for a RabbitMQ broker of a test, with a certificate authority of its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{Certificates, Port, RabbitMq, Scratch, certificates::openssl};

/// What a certificate says that is no authority, and good for one name.
const SERVER: &str =
    "basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n";

impl RabbitMq {
    /// A fresh broker that listens for TLS as well, as `localhost` with a certificate of [`RabbitMq::ca`].
    ///
    /// # Errors
    /// As [`RabbitMq::start`]; when openssl is not installed.
    pub async fn start_with_tls() -> Result<Self> {
        let scratch = Scratch::new("rabbitmq")?;
        let amqps = Port::reserve()?;
        certify(scratch.path())?;
        let at = |file: &str| scratch.path().join(file).display().to_string();
        let settings = format!(
            "listeners.ssl.1 = {}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n\
             ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n",
            amqps.address(),
            at("ca.crt"),
            at("server.crt"),
            at("server.key"),
        );
        Self::start_on(scratch, Some(amqps), &settings).await
    }

    /// A fresh broker whose clients have to have certificates of this authority, as it has one (`broker`).
    ///
    /// # Errors
    /// As [`RabbitMq::start`].
    pub async fn start_for_certified(certificates: &Certificates) -> Result<Self> {
        let amqps = Port::reserve()?;
        let settings = format!(
            "listeners.ssl.1 = {}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n\
             ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n",
            amqps.address(),
            certificates.file("ca.crt"),
            certificates.file("broker.crt"),
            certificates.file("broker.key"),
        );
        Self::start_on(Scratch::new("rabbitmq")?, Some(amqps), &settings).await
    }

    /// The broker's URL for TLS.
    ///
    /// # Errors
    /// When it was started without.
    pub fn amqps_url(&self) -> Result<String> {
        let port = self.amqps_port().context("a broker with TLS")?;
        Ok(format!("amqps://guest:guest@localhost:{}/%2f", port.number()))
    }

    /// The file with the certificate of its authority, in PEM.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder().join("ca.crt")
    }
}

/// Makes an authority, and a server's certificate of it.
fn certify(folder: &Path) -> Result<()> {
    fs::write(folder.join("server.ext"), SERVER)?;
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let authority = [
        "req",
        "-x509",
        "-days",
        "2",
        "-subj",
        "/CN=Authority of a test",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
    ];
    let request = ["req", "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"];
    let server = [
        "x509",
        "-req",
        "-in",
        "server.csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "server.ext",
        "-out",
        "server.crt",
    ];
    openssl(folder, &[&authority[..], &key].concat())?;
    openssl(folder, &[&request[..], &key].concat())?;
    openssl(folder, &server)
}
