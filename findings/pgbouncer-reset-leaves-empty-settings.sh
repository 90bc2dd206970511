#!/usr/bin/env bash
# PgBouncer 1.18 before PostgreSQL 15: a client finds '' in a setting of its own that no client has set, since another one once had it.
#
# Guess: current_setting('app.tenant', true) is NULL for a client that has set nothing: in session mode PgBouncer sends DISCARD ALL between two
#        clients, and in transaction mode SET LOCAL ends with its transaction.
# Seen:  it is NULL for the first client of a connection, and '' for each that comes after one that has set it, in both modes, also after a
#        rollback: PostgreSQL forgets the value of a custom setting, and not that there is one; DISCARD ALL, RESET ALL and RESET of its name
#        change nothing, and only the end of the server's connection does.
# When:  2026-11-30, Debian 12, psycopg 3.3.9.
# Why:   policies of row level security read such a setting: `= current_setting('app.tenant', true)::uuid` is no row for the first client and
#        an error ("invalid input syntax for type uuid") for the next, `IS NULL` stops meaning "nobody". It shows behind a pool only, and there
#        after a while. Read it as nullif(current_setting('app.tenant', true), '').
# Needs: postgresql-15, pgbouncer (started privately, on free ports), python3 with venv, PyPI.
set -euo pipefail
work=$(mktemp -d)
chmod 755 "$work"
servers=()
stop() {
  [ ${#servers[@]} = 0 ] || kill -INT "${servers[@]}" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap stop EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install psycopg==3.3.9 psycopg-binary==3.3.9
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# Neither of the two runs as root.
as() { if [ "$(id -u)" = 0 ]; then exec setpriv --reuid postgres --regid postgres --clear-groups "$@"; else exec "$@"; fi; }
postgres=$(port) transaction=$(port) session=$(port)
bin=/usr/lib/postgresql/15/bin
[ -x "$bin/postgres" ] || { echo "postgresql-15 is not installed" >&2; exit 2; }
mkdir data pooler
[ "$(id -u)" != 0 ] || chown postgres data pooler
(as "$bin/initdb" --pgdata data --username postgres --auth trust --encoding UTF8 --locale C --no-sync > /dev/null)
(as "$bin/postgres" -D data -p "$postgres" -h 127.0.0.1 -k "" -F > "$work/postgres.log" 2>&1) &
servers+=($!)
for mode in transaction session; do
  cat > "$mode.ini" <<INI
[databases]
* = host=127.0.0.1 port=$postgres user=postgres dbname=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${!mode}
unix_socket_dir =
auth_type = any
pool_mode = $mode
default_pool_size = 1
INI
  (as /usr/sbin/pgbouncer "$mode.ini" > "$work/$mode.log" 2>&1) &
  servers+=($!)
done
/usr/sbin/pgbouncer --version | sed -n 1p
cat > clients.py <<'PY'
import sys, time
import psycopg

def connect(port):
    """A new client; the servers are just starting."""
    until = time.monotonic() + 30
    while True:
        try:
            return psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres", autocommit=True, prepare_threshold=None)
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)

def client(port, *statements):
    with connect(port) as connection:
        for statement in statements:
            connection.execute(statement)
        return connection.execute("SELECT pg_backend_pid(), current_setting('app.tenant', true)").fetchone()

postgres, transaction, session = sys.argv[1:]
connect(postgres).close()
seen = {}
for mode, port, sets in (
    ("transaction", transaction, ["BEGIN", "SET LOCAL app.tenant = 'a'", "ROLLBACK"]),
    ("session", session, ["SET app.tenant = 'a'"]),
):
    first, setter, next_one = client(port), client(port, *sets), client(port)
    assert first[0] == setter[0] == next_one[0], "not the same connection to the server"
    resets = client(port, "RESET app.tenant", "RESET ALL", "DISCARD ALL")
    seen[mode] = [first[1], setter[1], next_one[1], resets[1]]
    print(mode, "mode: the first client, the one that sets it, the next, one that resets:", *map(repr, seen[mode]))
with connect(session) as connection:
    try:
        connection.execute("SELECT current_setting('app.tenant', true)::uuid")
        cast = "taken"
    except psycopg.errors.InvalidTextRepresentation as refusal:
        cast = "refused"
        print("as a uuid:", str(refusal).splitlines()[0])
assert seen == {"transaction": [None, "", "", ""], "session": [None, "a", "", ""]} and cast == "refused", seen
PY
venv/bin/python clients.py "$postgres" "$transaction" "$session" || { tail -n 3 ./*.log >&2; exit 1; }
