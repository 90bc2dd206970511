//! TLS for a PostgreSQL server of a test, with a certificate of its own.

use anyhow::{Result, ensure};
use sea_orm::{ConnectionTrait as _, Statement};

use crate::{PATIENCE, Postgres, child::guarded, eventually, installed};

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
