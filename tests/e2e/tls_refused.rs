//! Who is not let in over TLS, and settings that cannot be.

use std::fs;

use anyhow::{Result, ensure};
use world::{Certificates, EXPIRED, PATIENCE, Program, VALID};

use crate::tls_peers::{Listeners, curl, flags, health, post};

/// The certificate that a client shows, and whose it is.
type Shown<'c> = Option<(&'c Certificates, &'c str)>;

/// A client of one name, whom each listener lets in, and four others.
#[tokio::test]
async fn only_a_listed_certificate_that_is_valid_calls_anything() -> Result<()> {
    let (certificates, others) = (Certificates::make().await?, Certificates::make().await?);
    certificates.issue("expired", "URI:spiffe://ordermesh/client", EXPIRED)?;
    certificates.issue("unlisted", "DNS:client.example,URI:spiffe://ordermesh/clients", VALID)?;
    certificates.issue("bare", "IP:10.1.2.3,email:ops@client.example", VALID)?;
    certificates.issue_for("serverAuth", "server", "URI:spiffe://ordermesh/client", VALID)?;
    certificates.issue_for("anyExtendedKeyUsage", "any", "URI:spiffe://ordermesh/client", VALID)?;
    certificates.issue("by-name", "DNS:Operator.Example", VALID)?;
    certificates.issue("by-address", "IP:10.1.2.4", VALID)?;
    let listed = "spiffe://ordermesh/client,operator.example,10.1.2.4".to_owned();
    let ca = certificates.file("ca.crt");
    let env = [
        ("TLS_CLIENT_CA", ca.clone()),
        ("TLS_CLIENT_SAN", listed.clone()),
        ("ADMIN_TLS_CLIENT_CA", ca),
        ("ADMIN_TLS_CLIENT_SAN", listed),
    ];
    let mesh = Listeners::start(&certificates, &env).await?;
    let peers = Peers { mesh, certificates };
    for (shown, reason, subject) in [
        (None, "no_certificate", ""),
        (Some((&others, "client")), "unknown_authority", "CN=client, client, spiffe://ordermesh/client"),
        (Some((&peers.certificates, "expired")), "expired", "CN=expired, spiffe://ordermesh/client"),
        (Some((&peers.certificates, "server")), "certificate", "CN=server, spiffe://ordermesh/client"),
        (Some((&peers.certificates, "any")), "certificate", "CN=any, spiffe://ordermesh/client"),
        (Some((&peers.certificates, "bare")), "not_listed", "CN=bare, 10.1.2.3, ops@client.example"),
        (
            Some((&peers.certificates, "unlisted")),
            "not_listed",
            "CN=unlisted, client.example, spiffe://ordermesh/clients",
        ),
    ] {
        peers.refused(shown, reason, subject).await?;
    }
    for name in ["by-name", "by-address", "client"] {
        let answered = peers.call(Some((&peers.certificates, name)), name).await?;
        ensure!(answered == [true; 8], "{name}: {answered:?} {}", peers.mesh.process.output());
    }
    Ok(())
}

/// A mesh, and clients of it.
struct Peers {
    mesh: Listeners,
    certificates: Certificates,
}

impl Peers {
    /// Which calls are answered: with three versions of the protocols the edge and then the operator's listener, and both services.
    async fn call(&self, shown: Shown<'_>, user: &str) -> Result<[bool; 8]> {
        let accounts = format!("https://{}/gateway/payments", self.mesh.http);
        let mut answered = Vec::new();
        for version in [&["--http1.1"][..], &["--http2"], &["--tls-max", "1.2"]] {
            let version: Vec<String> = version.iter().map(|word| (*word).to_owned()).collect();
            let flags = [&flags(&self.certificates, shown)[..], &version].concat();
            let opened = post(&flags, &accounts, &format!(r#"{{"userId":"{user}"}}"#)).await?;
            let probe = curl(&flags, &format!("https://{}/livez", self.mesh.admin)).await?;
            answered.extend([opened.status != 0, probe.status != 0]);
        }
        for address in [self.mesh.orders, self.mesh.payments] {
            let said = health(address, &self.certificates, shown).await?;
            ensure!(said == "SERVING" || said.starts_with("UNAVAILABLE"), "{said}");
            answered.push(said == "SERVING");
        }
        let operator = flags(&self.certificates, Some((&self.certificates, "client")));
        let there = curl(&operator, &format!("{accounts}/{user}")).await?;
        ensure!(there.status == if answered.contains(&true) { 200 } else { 404 }, "{there:?}");
        Ok(answered.try_into().expect("eight answers"))
    }

    /// Makes sure that nothing is answered to this client, and that each listener says why, and to whom.
    async fn refused(&self, shown: Shown<'_>, reason: &str, subject: &str) -> Result<()> {
        let answered = self.call(shown, reason).await?;
        ensure!(answered == [false; 8], "{reason}: {answered:?}");
        let operator = flags(&self.certificates, Some((&self.certificates, "client")));
        for (listener, fewest) in
            [("http", 3.0), ("admin", 3.0), ("orders-grpc", 1.0), ("payments-grpc", 1.0)]
        {
            let line = format!(r#"tls_handshake_failures_total{{listener="{listener}",reason="{reason}"}}"#);
            ensure!(self.mesh.metric(&operator, &line).await? >= fewest, "{line}");
            let logged = self.mesh.process.output();
            let lines = logged.lines().filter(|line| {
                line.contains("WARN")
                    && line.contains("does not let it in")
                    && [listener, reason, subject].iter().all(|part| line.contains(part))
            });
            // However often it has tried.
            ensure!(lines.count() == 1, "{listener} {reason} {subject}: {logged}");
        }
        Ok(())
    }
}

/// Without a list, whoever has a certificate of the authority; and the operator's listener wants what its own flags say.
#[tokio::test]
async fn an_authority_alone_lets_all_of_its_clients_in() -> Result<()> {
    let certificates = Certificates::make().await?;
    let mesh = Listeners::start(&certificates, &[("TLS_CLIENT_CA", certificates.file("ca.crt"))]).await?;
    let edge = format!("https://{}/openapi", mesh.http);
    for name in ["client", "broker"] {
        let said = curl(&flags(&certificates, Some((&certificates, name))), &edge).await?;
        ensure!(said.status != 0, "{said:?}");
    }
    let nobody = flags(&certificates, None);
    ensure!(curl(&nobody, &edge).await?.status == 0);
    let probe = curl(&nobody, &format!("https://{}/livez", mesh.admin)).await?;
    ensure!(probe.status == 200, "{probe:?}");
    Ok(())
}

/// A flag with its value.
type Given = (&'static str, String);

#[tokio::test]
async fn every_error_in_the_settings_is_reported_by_its_flag() -> Result<()> {
    let certificates = Certificates::make().await?;
    let at = |name: &str| certificates.file(name);
    fs::write(at("empty.crt"), "no certificate\n")?;
    fs::write(at("torn.crt"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")?;
    let (cert, key) = (("--tls-cert", at("gateway.crt")), ("--tls-key", at("gateway.key")));
    let gone = at("gone.pem");
    let table: Vec<(Vec<Given>, Vec<&str>)> = vec![
        (vec![cert.clone()], vec!["--tls-key: is missing"]),
        (vec![key.clone()], vec!["--tls-cert: is missing"]),
        (vec![("--tls-cert", gone.clone()), key.clone()], vec!["--tls-cert: cannot read", "gone.pem"]),
        (vec![("--tls-cert", at("empty.crt")), key.clone()], vec!["--tls-cert: the file has no certificate"]),
        (vec![("--tls-cert", at("torn.crt")), key.clone()], vec!["--tls-cert: "]),
        (
            vec![cert.clone(), ("--tls-key", at("gateway.crt"))],
            vec!["--tls-key: the file has no private key"],
        ),
        (vec![cert.clone(), ("--tls-key", at("orders.key"))], vec!["--tls-key: is not the key of"]),
        (
            vec![cert.clone(), key.clone(), ("--tls-client-ca", at("empty.crt"))],
            vec!["--tls-client-ca: the file has no certificate"],
        ),
        (vec![("--tls-client-ca", at("ca.crt"))], vec!["--tls-client-ca: is for a listener that speaks TLS"]),
        (
            vec![cert.clone(), key.clone(), ("--tls-client-san", "client".to_owned())],
            vec!["--tls-client-san: says whom"],
        ),
        (
            vec![
                cert.clone(),
                key.clone(),
                ("--admin-tls-client-ca", gone.clone()),
                ("--admin-tls-client-san", "*.example".to_owned()),
                ("--admin-tls-key", gone.clone()),
            ],
            vec![
                "--admin-tls-cert: is missing",
                "--admin-tls-client-ca: cannot read",
                "--admin-tls-client-san: \"*.example\"",
            ],
        ),
    ];
    assert_refused(&table).await
}

#[tokio::test]
async fn whom_nobody_can_be_is_no_client() -> Result<()> {
    let certificates = Certificates::make().await?;
    let at = |name: &str| certificates.file(name);
    let listed = |ca: &str, names: &str| {
        let (cert, key) = (("--tls-cert", at("gateway.crt")), ("--tls-key", at("gateway.key")));
        vec![cert, key, ("--tls-client-ca", at(ca)), ("--tls-client-san", names.to_owned())]
    };
    assert_refused(&[
        (
            listed("orders.crt", "a,,b"),
            vec!["--tls-client-ca: ", "no authority's", "CN=orders", "empty name"],
        ),
        (listed("ca.crt", ""), vec!["--tls-client-san: has an empty name"]),
        (listed("ca.crt", ",,"), vec!["--tls-client-san: has an empty name"]),
        (listed("ca.crt", "DNS:a"), vec!["--tls-client-san: \"DNS:a\"", "write \"a\""]),
        (listed("ca.crt", "a."), vec!["--tls-client-san: \"a.\" is no name of DNS"]),
    ])
    .await
}

/// No process starts with any of these flags, and each names these errors.
async fn assert_refused(table: &[(Vec<Given>, Vec<&str>)]) -> Result<()> {
    for (flags, errors) in table {
        for (name, listen) in [("orders", "--listen"), ("gateway", "--listen"), ("ordermesh", "--http")] {
            let flags = flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]);
            let program = Program::named(name)?.args([listen, "nowhere"]).args(flags);
            let mut process = program.start()?;
            let (status, said) = (process.wait(PATIENCE).await?, process.output());
            ensure!(!status.success() && said.contains(&format!("{listen}: ")), "{name}: {said}");
            for error in errors {
                ensure!(said.contains(error), "{name} without {error:?}: {said}");
            }
            ensure!(!said.contains("PRIVATE KEY"), "{said}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_database_is_not_known_by_a_leaf() -> Result<()> {
    let certificates = Certificates::make().await?;
    let server = "postgres://orders@localhost/orders?sslmode=verify-full&sslrootcert=";
    let url = format!("{server}{}", certificates.file("database.crt"));
    let program = Program::named("orders")?.args(["--listen", "nowhere", "--database-url", url.as_str()]);
    let mut process = program.start()?;
    let (status, said) = (process.wait(PATIENCE).await?, process.output());
    ensure!(!status.success() && said.contains("--database-url: "), "{said}");
    ensure!(said.contains("no authority's") && said.contains("CN=database"), "{said}");
    Ok(())
}
