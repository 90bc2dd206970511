//! PgBouncer of Debian in front of a server, and what a server notes of the sessions behind it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result};
use world::{PATIENCE, Port, Process, Program, Scratch, eventually};

/// What PgBouncer is configured with to take what drivers start sessions with. It drops that in silence.
pub(crate) const IGNORED: &str = "ignore_startup_parameters = extra_float_digits,options\n";

/// PgBouncer of Debian in front of a server.
pub(crate) struct Pooler {
    // Dropped in this order.
    process: Process,
    port: Port,
    _scratch: Scratch,
}

impl Pooler {
    /// In this mode, in front of the server of a database, and with further lines in its configuration.
    pub(crate) async fn start(mode: &str, direct: &str, more: &str) -> Result<Self> {
        let (port, scratch) = (Port::reserve()?, Scratch::new("pgbouncer")?);
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755))?;
        let (users, ini) = (scratch.path().join("users"), scratch.path().join("pgbouncer.ini"));
        fs::write(&users, "\"postgres\" \"\"\n")?;
        let (_, place) = direct.split_once('@').context("a URL")?;
        let (host, server_port) =
            place.split('/').next().and_then(|it| it.split_once(':')).context("a port")?;
        let (users, number) = (users.display(), port.number());
        let text = format!(
            "[databases]\n* = host={host} port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {number}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {users}\npool_mode = {mode}\ndefault_pool_size = 40\n{more}"
        );
        fs::write(&ini, text)?;
        let mut arguments = vec![ini.display().to_string()];
        if nix::unistd::Uid::effective().is_root() {
            // It refuses to run as root.
            arguments.extend(["-u".to_owned(), "postgres".to_owned()]);
        }
        let process = Program::at(Path::new("/usr/sbin/pgbouncer")).args(arguments).start()?;
        let pooler = Self { process, port, _scratch: scratch };
        eventually("PgBouncer", PATIENCE, async || {
            std::net::TcpStream::connect(("127.0.0.1", number))?;
            anyhow::Ok(())
        })
        .await
        .with_context(|| pooler.process.output())?;
        Ok(pooler)
    }

    /// The same database through it.
    pub(crate) fn url(&self, direct: &str) -> Result<String> {
        let (_, database) = direct.rsplit_once('/').context("a database")?;
        Ok(format!("postgres://postgres@127.0.0.1:{}/{database}", self.port.number()))
    }
}

/// What a session has at the moment at which an order is written.
pub(crate) const NOTE: &str = "CREATE TABLE noted (settings TEXT);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
        INSERT INTO noted VALUES (concat_ws('' '', current_setting(''synchronous_commit''),
            current_setting(''transaction_isolation''), current_setting(''statement_timeout'')));
        RETURN NEW;
    END';
    CREATE TRIGGER note AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION note()";
