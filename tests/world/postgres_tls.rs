//! TLS for a PostgreSQL server of a test, with a certificate of its own.

use std::fs;

use anyhow::{Result, ensure};
use sea_orm::{ConnectionTrait as _, Statement};

use crate::{Certificates, PATIENCE, Postgres, child::guarded, eventually, installed, postgres_template};

impl Postgres {
    /// Lets the running server accept TLS; what connects with `sslmode=require` gets it.
    ///
    /// # Errors
    /// When openssl is not installed, or the server refuses the certificate.
    pub async fn enable_tls(&self) -> Result<()> {
        let mut openssl = guarded(&installed::find("openssl", &[])?, self.user())?;
        openssl
            .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-keyout", "server.key", "-out", "server.crt"])
            .current_dir(self.data());
        let made = openssl.output()?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        self.turn_tls_on().await
    }

    /// Lets the running server accept TLS with the certificate `database` of this authority, and lets in each of these roles, which are made,
    /// only with a certificate of it for the role's name.
    ///
    /// # Errors
    /// When the server refuses the files.
    pub async fn enable_tls_for_certified(&self, certificates: &Certificates, roles: &[&str]) -> Result<()> {
        for (from, to) in
            [("database.crt", "server.crt"), ("database.key", "server.key"), ("ca.crt", "root.crt")]
        {
            let to = self.data().join(to);
            fs::copy(certificates.file(from), &to)?;
            if let Some(user) = self.user() {
                postgres_template::give(&to, user)?;
            }
        }
        let mut rules = "local all postgres trust\nhost all postgres 127.0.0.1/32 trust\n".to_owned();
        let admin = self.admin().await?;
        for role in roles {
            admin.execute_unprepared(&format!("CREATE ROLE {role} LOGIN")).await?;
            admin.execute_unprepared(&format!("CREATE DATABASE {role} OWNER {role}")).await?;
            rules += &format!("hostssl {role} {role} 127.0.0.1/32 cert\n");
        }
        fs::write(self.data().join("pg_hba.conf"), rules)?;
        admin.execute_unprepared("ALTER SYSTEM SET ssl_ca_file = 'root.crt'").await?;
        admin.close().await?;
        self.turn_tls_on().await
    }

    /// The URL of a role's database, whose certificate is shown, at a server whose own is verified.
    #[must_use]
    pub fn certified_url(&self, role: &str, certificates: &Certificates) -> String {
        let [ca, cert, key] =
            ["ca.crt", &format!("{role}.crt"), &format!("{role}.key")].map(|name| certificates.file(name));
        format!(
            "postgres://{role}@localhost:{}/{role}?sslmode=verify-full&sslrootcert={ca}&sslcert={cert}&sslkey={key}",
            self.port_number()
        )
    }

    async fn turn_tls_on(&self) -> Result<()> {
        let admin = self.admin().await?;
        admin.execute_unprepared("ALTER SYSTEM SET ssl = on").await?;
        admin.execute_unprepared("SELECT pg_reload_conf()").await?;
        admin.close().await?;
        eventually("TLS", PATIENCE, async || {
            let asked = self.admin().await?;
            let row =
                asked.query_one_raw(Statement::from_string(asked.get_database_backend(), "SHOW ssl")).await?;
            asked.close().await?;
            let ssl: Option<String> = row.map(|row| row.try_get_by_index(0)).transpose()?;
            ensure!(ssl.as_deref() == Some("on"), "ssl is {ssl:?}");
            anyhow::Ok(())
        })
        .await
    }
}
