#!/usr/bin/env bash
# PgBouncer 1.18, pool_mode = transaction: without named statements a client gets the answer of another client's statement, and no error.
#
# Guess: it is the names of prepared statements that do not go with a pool of transactions ("already exists", "does not exist"); a driver that
#        uses the unnamed one (pg8000 does, sqlx by statement_cache_capacity(0) and persistent(false)) is safe there.
# Seen:  of two clients that each make single statements with a parameter, every sixth answer is that of the other one's statement: such a driver
#        sends Parse and Sync, waits, and sends Bind after that. To the pooler these are two transactions, and in between another client parses its
#        own over the same name, the empty one. Between BEGIN and COMMIT no answer is wrong.
# When:  2026-11-30, Debian 12, PostgreSQL 15, pg8000 1.31.6. sqlx-postgres 0.9.0 does the same by its source (connection/executor.rs: `prepare`
#        ends in a Sync and a wait); asyncpg 0.32.0 with statement_cache_size=0 sends a Flush there, and got 1,000 right answers of 1,000.
# Why:   a test with one client never shows it, and an INSERT would go into the table of somebody else's. Each single statement needs a transaction
#        around it, or named statements and PgBouncer 1.21 or later (max_prepared_statements), which knows whose they are.
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
venv/bin/pip --quiet --disable-pip-version-check install pg8000==1.31.6
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# Neither of the two runs as root.
as() { if [ "$(id -u)" = 0 ]; then exec setpriv --reuid postgres --regid postgres --clear-groups "$@"; else exec "$@"; fi; }
postgres=$(port) pooler=$(port)
bin=/usr/lib/postgresql/15/bin
[ -x "$bin/postgres" ] || { echo "postgresql-15 is not installed" >&2; exit 2; }
mkdir data
[ "$(id -u)" != 0 ] || chown postgres data
(as "$bin/initdb" --pgdata data --username postgres --auth trust --encoding UTF8 --locale C --no-sync > /dev/null)
(as "$bin/postgres" -D data -p "$postgres" -h 127.0.0.1 -k "" -F > "$work/postgres.log" 2>&1) &
servers+=($!)
cat > pooler.ini <<INI
[databases]
* = host=127.0.0.1 port=$postgres user=postgres dbname=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $pooler
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 1
INI
(as /usr/sbin/pgbouncer pooler.ini > "$work/pooler.log" 2>&1) &
servers+=($!)
/usr/sbin/pgbouncer --version | sed -n 1p
cat > clients.py <<'PY'
import sys, threading, time
import pg8000.native
from pg8000.exceptions import DatabaseError, InterfaceError

ROUNDS = 500

def connect(port):
    """A new client; the servers are just starting."""
    until = time.monotonic() + 30
    while True:
        try:
            return pg8000.native.Connection("postgres", host="127.0.0.1", port=port, database="postgres")
        except (OSError, DatabaseError, InterfaceError):
            if time.monotonic() > until:
                raise
            time.sleep(0.1)

def client(port, name, in_transactions, seen):
    """Which answers it gets: its own, those of somebody else, or none."""
    connection = connect(port)
    for number in range(ROUNDS):
        if in_transactions:
            connection.run("BEGIN")
        try:
            [[answer]] = connection.run(f"SELECT '{name} ' || (:number)::text", number=str(number))
            seen.append("right" if answer == f"{name} {number}" else "wrong")
        except DatabaseError as error:
            seen.append(error.args[0]["C"])
        if in_transactions:
            connection.run("COMMIT")
    connection.close()

postgres, pooler, *_ = map(int, sys.argv[1:])
connect(postgres).close()
for in_transactions in (False, True):
    seen = []
    clients = [threading.Thread(target=client, args=(pooler, name, in_transactions, seen)) for name in ("alice", "bob")]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    kinds = {kind: seen.count(kind) for kind in sorted(set(seen))}
    print("in transactions:" if in_transactions else "single statements:", kinds)
    assert len(seen) == 2 * ROUNDS and ("wrong" in kinds) != in_transactions, "not so any more"
PY
venv/bin/python clients.py "$postgres" "$pooler" || { tail -n 3 ./*.log >&2; exit 1; }
