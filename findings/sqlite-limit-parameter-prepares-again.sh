#!/usr/bin/env bash
# SQLite 3.51.3 (PyPI apsw 3.51.3.0): a prepared statement with LIMIT ? is prepared again at each execution.
#
# Guess: a statement that a cache keeps is compiled once, however often it runs and whatever is bound to it.
# Seen:  the value of LIMIT ? is part of the plan, so binding it expires the statement, also with the same value: an execution takes
#        2 to 3 times as long as with LIMIT 1 (a lookup by the primary key). With SQLITE_DBCONFIG_ENABLE_QPSG on, where plans do not
#        depend on bound values, both take the same time.
# When:  2026-11-29. https://www.sqlite.org/queryplanner-ng.html#qpstab
# Why:   query builders bind the number of LIMIT, that of find-one among them, so that their drivers' caches of statements save nothing;
#        an INSERT or UPDATE that is compiled with all its CHECKs and indexes costs far more than the lookup here.
# Needs: python3 with venv.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/python"
"$work/python/bin/pip" --quiet --disable-pip-version-check install apsw==3.51.3.0
"$work/python/bin/python" - <<'PYTHON'
import statistics, sys, time
import apsw

LITERAL, BOUND = ("SELECT v FROM t WHERE id = ? LIMIT 1", (5,)), ("SELECT v FROM t WHERE id = ? LIMIT ?", (5, 1))

def seconds(connection, query):
    began = time.perf_counter()
    for _ in range(20_000):
        connection.execute(*query).fetchall()
    return time.perf_counter() - began

def ratio(stable_plans):
    """LIMIT ? beside LIMIT 1: the median of nine interleaved rounds."""
    connection = apsw.Connection(":memory:")
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, int(stable_plans))
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v INT); INSERT INTO t VALUES (5, 5)")
    return statistics.median(seconds(connection, BOUND) / seconds(connection, LITERAL) for _ in range(9))

usual, stable = ratio(False), ratio(True)
print(f"SQLite {apsw.sqlite_lib_version()}: LIMIT ? takes {usual:.2f} of the time of LIMIT 1, and {stable:.2f} with stable plans")
sys.exit(not (usual > 1.4 and usual > 1.3 * stable))
PYTHON
