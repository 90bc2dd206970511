//! A certificate that no client can accept: it takes the place of none that is good, and a start with one says so.

use std::{fs, net::SocketAddr};

use anyhow::{Context as _, Result, ensure};
use world::{Certificates, EXPIRED, PATIENCE, Process, Program, Scratch, VALID, eventually};

use crate::tls_peers::{curl, flags, s_client};

const NAMES: &str = "DNS:localhost,IP:127.0.0.1";

/// An edge whose certificate is replaced.
struct Edge {
    process: Process,
    scratch: Scratch,
    http: SocketAddr,
    admin: SocketAddr,
}

impl Edge {
    async fn start(certificates: &Certificates, name: &str) -> Result<Self> {
        let scratch = Scratch::new("flaws")?;
        show(&scratch, certificates, name)?;
        let [cert, key] = ["own.crt", "own.key"].map(|file| scratch.path().join(file).display().to_string());
        let mut process = Program::named("gateway")?
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--tls-cert", &cert, "--tls-key", &key])
            .start()?;
        let (http, admin) = (process.address("http").await?, process.address("admin").await?);
        Ok(Self { process, scratch, http, admin })
    }

    /// Replaces the certificate, and waits until that was taken or refused for so many times.
    async fn replace(
        &self,
        certificates: &Certificates,
        name: &str,
        outcome: &str,
        times: u32,
    ) -> Result<()> {
        show(&self.scratch, certificates, name)?;
        let line = format!(r#"tls_reloads_total{{purpose="public",outcome="{outcome}"}} {times}"#);
        eventually(&line, PATIENCE, async || {
            let said = curl(&["--insecure".to_owned()], &format!("https://{}/metrics", self.admin)).await?;
            ensure!(said.body.lines().any(|found| found == line), "{said:?}");
            anyhow::Ok(())
        })
        .await
    }

    /// Whose certificate it shows.
    async fn shows(&self, name: &str) -> Result<()> {
        let said = s_client(self.http, &[], "").await?;
        let subject = said.lines().find(|line| line.contains("subject=")).context("a certificate")?;
        ensure!(subject.contains(&format!("CN = {name}")), "{subject}");
        Ok(())
    }

    /// Makes sure of a warning with all of these.
    fn warns(&self, parts: &[&str]) -> Result<()> {
        let logged = self.process.output();
        let mut warnings = logged.lines().filter(|line| line.contains("WARN") && line.contains("own.crt"));
        ensure!(warnings.any(|line| parts.iter().all(|part| line.contains(part))), "{parts:?}: {logged}");
        Ok(())
    }
}

fn show(scratch: &Scratch, certificates: &Certificates, name: &str) -> Result<()> {
    for kind in ["crt", "key"] {
        let from = certificates.file(&format!("{name}.{kind}"));
        fs::copy(from, scratch.path().join(format!("own.{kind}")))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_good_certificate_stays_in_use() -> Result<()> {
    let certificates = Certificates::make().await?;
    certificates.issue("expired", NAMES, EXPIRED)?;
    certificates.issue("early", NAMES, ["20900101", "20990101"])?;
    certificates.issue_for("clientAuth", "caller", NAMES, VALID)?;
    certificates.issue_for("anyExtendedKeyUsage", "any", NAMES, VALID)?;
    let edge = Edge::start(&certificates, "gateway").await?;
    for (name, reason, times) in [
        ("expired", "it has expired", 1),
        ("early", "it is not valid yet", 2),
        ("caller", "its extended key usage has no serverAuth", 3),
        ("any", "no serverAuth, for which anyExtendedKeyUsage does not stand", 4),
    ] {
        edge.replace(&certificates, name, "refused", times).await?;
        edge.shows("gateway").await?;
        edge.warns(&[&format!("CN={name}, localhost, 127.0.0.1"), reason, "stays in use"])?;
    }
    edge.replace(&certificates, "orders", "taken", 1).await?;
    edge.shows("orders").await
}

/// Who is to be let in is said by another file, which does not wait for a better certificate.
#[tokio::test]
async fn authorities_beside_it_are_in_force() -> Result<()> {
    let (certificates, others) = (Certificates::make().await?, Certificates::make().await?);
    certificates.issue("expired", NAMES, EXPIRED)?;
    let scratch = Scratch::new("flaws")?;
    show(&scratch, &certificates, "gateway")?;
    let [cert, key, ca] =
        ["own.crt", "own.key", "ca.crt"].map(|file| scratch.path().join(file).display().to_string());
    fs::copy(certificates.file("ca.crt"), &ca)?;
    let mut process = Program::named("gateway")?
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca])
        .start()?;
    let url = format!("https://localhost:{}/openapi.json", process.address("http").await?.port());
    let (before, after) = (
        flags(&certificates, Some((&certificates, "client"))),
        flags(&certificates, Some((&others, "client"))),
    );
    ensure!(curl(&before, &url).await?.status == 200 && curl(&after, &url).await?.status != 200);
    show(&scratch, &certificates, "expired")?;
    fs::copy(others.file("ca.crt"), &ca)?;
    eventually("the clients of the other authority", PATIENCE, async || {
        let said = curl(&after, &url).await?;
        ensure!(said.status == 200, "{said:?}");
        anyhow::Ok(())
    })
    .await?;
    let said = curl(&before, &url).await?;
    ensure!(said.status != 200, "{said:?}");
    Ok(())
}

/// What is in use has expired itself: whatever comes is taken, and said, unless nobody will ever accept it.
#[tokio::test]
async fn one_that_is_no_better_is_replaced() -> Result<()> {
    let certificates = Certificates::make().await?;
    certificates.issue("expired", NAMES, EXPIRED)?;
    certificates.issue("older", NAMES, EXPIRED)?;
    certificates.issue_for("clientAuth", "caller", NAMES, VALID)?;
    let edge = Edge::start(&certificates, "expired").await?;
    edge.warns(&["CN=expired, localhost, 127.0.0.1", "it has expired", "is in use"])?;
    edge.replace(&certificates, "caller", "refused", 1).await?;
    edge.shows("expired").await?;
    edge.replace(&certificates, "older", "taken", 1).await?;
    edge.shows("older").await?;
    edge.replace(&certificates, "gateway", "taken", 2).await?;
    edge.shows("gateway").await
}

/// No time makes it one for what it is shown as: the start says so, by the flag and by whom it is for. With `anyExtendedKeyUsage` some accept
/// it, so it starts with a warning.
#[tokio::test]
async fn one_for_another_use_is_an_error_in_the_settings() -> Result<()> {
    let certificates = Certificates::make().await?;
    let (server, client) = (["--tls-cert", "--tls-key"], ["--upstream-cert", "--upstream-key"]);
    let stands = "for which anyExtendedKeyUsage does not stand with rustls and OpenSSL";
    let any = [format!("no serverAuth, {stands}"), format!("no clientAuth, {stands}")];
    for (number, (usages, flags, starts, reason)) in [
        ("clientAuth", server, false, Some("no serverAuth")),
        ("anyExtendedKeyUsage", server, true, Some(any[0].as_str())),
        ("serverAuth", client, false, Some("no clientAuth")),
        ("anyExtendedKeyUsage", client, true, Some(any[1].as_str())),
        ("anyExtendedKeyUsage,serverAuth", server, true, None),
        ("clientAuth", client, true, None),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("use-{number}");
        certificates.issue_for(usages, &name, NAMES, VALID)?;
        let files = ["crt", "key"].map(|kind| certificates.file(&format!("{name}.{kind}")));
        let given = flags.into_iter().zip(&files).flat_map(|(flag, file)| [flag, file.as_str()]);
        let mut process = Program::named("gateway")?
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(given)
            .start()?;
        if starts {
            process.address("http").await?;
            let said = process.output();
            let warning = said.lines().find(|line| line.contains("WARN") && line.contains(&files[0]));
            let parts = reason.map(|reason| ["a certificate that not all can accept is in use", reason]);
            let is_said = match (warning, parts) {
                (Some(warning), Some(parts)) => parts.iter().all(|part| warning.contains(part)),
                (warning, parts) => warning.is_none() && parts.is_none(),
            };
            ensure!(is_said, "{usages}: {said}");
            continue;
        }
        let (status, said) = (process.wait(PATIENCE).await?, process.output());
        let error =
            format!("{}: {} has a certificate that nobody can accept, of [CN={name}", flags[0], files[0]);
        let is_said = said.contains(&error) && reason.is_some_and(|reason| said.contains(reason));
        ensure!(!status.success() && is_said, "{usages}: {said}");
    }
    Ok(())
}
