//! What a secured mesh stands on: certificates at both ends of every arrow, and an issuer of tokens.

use std::{net::SocketAddr, path::Path};

use anyhow::Result;
use world::{Certificates, Issuer, Postgres, Program, RabbitMq};

use crate::{
    Settings,
    against::mean,
    arrangement::Stage,
    callers::Callers,
    load::{self, Measured, Until},
    report::{Of, Report},
    stored,
};

/// Users of a secured mesh at most: a process remembers the tokens of so many for sure.
const KNOWN: usize = 8_192;

/// Certificates and tokens.
pub(crate) struct Ground {
    certificates: Certificates,
    issuer: Issuer,
}

impl Ground {
    pub(crate) async fn new(binaries: &Path) -> Result<Self> {
        let certificates = Certificates::made_by(Program::at(&binaries.join("ordermesh"))).await?;
        Ok(Self { certificates, issuer: Issuer::start().await? })
    }

    /// A database server and a broker that let in nobody else.
    pub(crate) async fn servers(&self) -> Result<(Postgres, RabbitMq)> {
        let servers = tokio::try_join!(Postgres::start(), RabbitMq::start_for_certified(&self.certificates));
        let (postgres, rabbitmq) = servers?;
        postgres.enable_tls_for_certified(&self.certificates, &["orders", "payments"]).await?;
        Ok((postgres, rabbitmq))
    }

    /// A service that lets in the edge alone.
    pub(crate) fn service(
        &self,
        name: &str,
        program: Program,
        postgres: &Postgres,
        rabbitmq: &RabbitMq,
    ) -> Result<Program> {
        let ca = self.certificates.file("ca.crt");
        let program = self.identified(program, name).env("AMQP_URL", rabbitmq.amqps_url()?);
        Ok(program
            .env("DATABASE_URL", postgres.certified_url(name, &self.certificates))
            .env("AMQP_CA", &ca)
            .env("AMQP_CERT", self.certificates.file(&format!("{name}.crt")))
            .env("AMQP_KEY", self.certificates.file(&format!("{name}.key")))
            .env("TLS_CLIENT_CA", ca)
            .env("TLS_CLIENT_SAN", "spiffe://ordermesh/gateway"))
    }

    pub(crate) fn gateway(&self, program: Program, orders: SocketAddr, payments: SocketAddr) -> Program {
        let url = |service: SocketAddr| format!("https://localhost:{}", service.port());
        self.identified(program, "gateway")
            .env("ORDERS_URL", url(orders))
            .env("PAYMENTS_URL", url(payments))
            .env("UPSTREAM_CA", self.certificates.file("ca.crt"))
            .env("UPSTREAM_CERT", self.certificates.file("gateway.crt"))
            .env("UPSTREAM_KEY", self.certificates.file("gateway.key"))
    }

    pub(crate) async fn callers(&self, edge: SocketAddr, users: usize) -> Result<Callers> {
        Callers::secured(edge, &self.certificates, &self.issuer, users).await
    }

    /// With a certificate of its own, and knowing who says who is calling.
    fn identified(&self, program: Program, name: &str) -> Program {
        let program = program.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let program = program
            .env("TLS_CERT", self.certificates.file(&format!("{name}.crt")))
            .env("TLS_KEY", self.certificates.file(&format!("{name}.key")));
        self.issuer.env().into_iter().fold(program, |program, (name, value)| program.env(name, value))
    }
}

impl Settings {
    /// What tokens, and TLS on every arrow, cost beside `open`, which has neither.
    pub(crate) async fn secured(&self, open: &Stage, report: &mut Report) -> Result<()> {
        let accounts = self.accounts.min(KNOWN);
        let secured = Stage::secured(accounts).await?;
        load::open_accounts(&secured, accounts).await?;
        // Every process has seen every token before anything is counted.
        load::run(&secured, self.clients, accounts, Until::Orders(2 * accounts)).await?;
        stored::clean(&secured).await?;
        let fewer = Self { accounts, ..self.clone() };
        let [with, without] = fewer.in_turns(&secured, open).await?;
        let ratio = |of| mean(&with, of) / mean(&without, of);
        report.figure("orders/s with tokens and TLS", mean(&with, Measured::per_second));
        report.figure(
            "CPU of orders, payments and gateway with tokens and TLS ÷ without",
            ratio(Measured::processor_per_order),
        );
        report.ratio("orders/s with tokens and TLS ÷ without", Of::AtLeast(0.9), ratio(Measured::per_second));
        Ok(())
    }
}
