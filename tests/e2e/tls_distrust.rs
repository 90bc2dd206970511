//! An edge that does not believe its services, or that they do not let in: it serves, says whose certificate it is, and goes on by itself.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use world::{Answer, Api, Certificates, PATIENCE, Process, Program, Scratch, eventually};

use crate::{scrape::Scrape, tls_peers::Listeners};

const PART: &str = "certificates.ordermesh.payments.v1.PaymentsService";

/// An edge without TLS of its own, whose certificates towards services are replaced.
struct Edge {
    scratch: Scratch,
    process: Process,
    api: Api,
    admin: Api,
}

impl Edge {
    /// It trusts one authority, and shows the certificate of the other with this name.
    async fn start(
        services: &Listeners,
        trusted: &Certificates,
        shown: (&Certificates, &str),
    ) -> Result<Self> {
        let scratch = Scratch::new("distrust")?;
        show(&scratch, trusted, shown)?;
        let at = |name: &str| scratch.path().join(name).display().to_string();
        let url = |address| format!("https://{address}");
        let mut process = Program::named("gateway")?
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--orders-url", &url(services.orders), "--payments-url", &url(services.payments)])
            .env("UPSTREAM_CA", at("ca.crt"))
            .env("UPSTREAM_CERT", at("own.crt"))
            .env("UPSTREAM_KEY", at("own.key"))
            .start()?;
        let (http, admin) = (process.address("http").await?, process.address("admin").await?);
        let api = |address| Api::new(format!("http://{address}"));
        Ok(Self { api: api(http)?, admin: api(admin)?, scratch, process })
    }

    async fn account(&self, user: &str) -> Result<Answer> {
        self.api.post("/gateway/payments", &json!({"userId": user})).await
    }

    /// Waits until the part has this state, which makes nobody unready, and its metric says the same.
    async fn part_is(&self, state: &str, reason: &str, number: f64) -> Result<()> {
        eventually(state, PATIENCE, async || {
            let ready = self.admin.get("/readyz").await?;
            ensure!(ready.status == 200, "{}", ready.text);
            let shown = |of: &str| ready.body[of][PART].as_str().map(str::to_owned);
            ensure!(shown("states").as_deref() == Some(state), "{}", ready.text);
            ensure!(shown("parts").is_some_and(|said| said.contains(reason)), "{}", ready.text);
            let scrape = Scrape::of(&self.admin).await?;
            ensure!(scrape.number("ordermesh_part_state", &[("part", PART)])? == number);
            anyhow::Ok(())
        })
        .await
    }

    async fn failures(&self, reason: &str) -> Result<f64> {
        Scrape::of(&self.admin).await?.number("gateway_upstream_tls_failures_total", &[("reason", reason)])
    }

    /// The errors of its log about the endpoint of payments.
    fn errors(&self) -> Vec<String> {
        let logged = self.process.output();
        let is_one = |line: &&str| line.contains("ERROR") && line.contains("PaymentsService");
        logged.lines().filter(is_one).map(str::to_owned).collect()
    }
}

fn show(scratch: &Scratch, trusted: &Certificates, (shown, name): (&Certificates, &str)) -> Result<()> {
    fs::copy(trusted.file("ca.crt"), scratch.path().join("ca.crt"))?;
    for kind in ["crt", "key"] {
        fs::copy(shown.file(&format!("{name}.{kind}")), scratch.path().join(format!("own.{kind}")))?;
    }
    Ok(())
}

#[tokio::test]
async fn an_edge_says_whose_certificate_keeps_it_from_a_service() -> Result<()> {
    let (certificates, others) = (Certificates::make().await?, Certificates::make().await?);
    let listed = [
        ("TLS_CLIENT_CA", certificates.file("ca.crt")),
        ("TLS_CLIENT_SAN", "spiffe://ordermesh/gateway".to_owned()),
    ];
    let services = Listeners::start(&certificates, &listed).await?;
    let good = (&certificates, "gateway");
    let refused = "does not accept the certificate";
    for (user, trusted, shown, cause, reason) in [
        ("alice", &others, good, "unknown_authority", "of no authority that is trusted here"),
        ("bob", &certificates, (&certificates, "client"), "by_server", refused),
        ("carol", &certificates, (&others, "gateway"), "by_server", refused),
    ] {
        let edge = Edge::start(&services, trusted, shown).await?;
        edge.part_is("ok", "ready", 0.0).await?;
        ensure!(edge.failures(cause).await? == 0.0 && edge.errors().is_empty());
        for _ in 0..3 {
            let said = edge.account(user).await?;
            ensure!(said.status == 503 && said.text.contains("UPSTREAM_UNAVAILABLE"), "{}", said.text);
        }
        edge.part_is("degraded", &format!("{}: ", services.payments), 1.0).await?;
        edge.part_is("degraded", reason, 1.0).await?;
        ensure!(edge.failures(cause).await? >= 1.0, "{cause}");
        let errors = edge.errors();
        let [error] = &errors[..] else { anyhow::bail!("not one error of {cause}: {errors:?}") };
        ensure!(error.contains(cause) && error.contains(&services.payments.to_string()), "{error}");
        // Nobody has to call for it to be noticed that it is mended.
        show(&edge.scratch, &certificates, good)?;
        edge.part_is("ok", "ready", 0.0).await?;
        let opened = edge.account(user).await?;
        ensure!(opened.status == 200, "{}", opened.text);
        ensure!(edge.errors().len() == 1, "{:?}", edge.errors());
    }
    Ok(())
}

/// Where there is no TLS, there is no certificate to say anything of.
#[tokio::test]
async fn services_without_tls_have_no_part_for_certificates() -> Result<()> {
    let mut edge = Program::named("gateway")?
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(["--orders-url", "http://127.0.0.1:1", "--payments-url", "https://127.0.0.1:1"])
        .start()?;
    edge.address("http").await?;
    let admin = Api::new(format!("http://{}", edge.address("admin").await?))?;
    eventually("the part of payments", PATIENCE, async || {
        let ready = admin.get("/readyz").await?;
        let states = ready.body["states"].as_object().cloned().unwrap_or_default();
        let parts: Vec<(&String, &Value)> =
            states.iter().filter(|(part, _)| part.starts_with("certificates")).collect();
        ensure!(parts.len() == 1 && states[PART] == "ok", "{}", ready.text);
        anyhow::Ok(())
    })
    .await
}
