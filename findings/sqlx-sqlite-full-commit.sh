#!/usr/bin/env bash
# sqlx 0.9.0 (libsqlite3-sys 0.37.0): two transactions on a full disk, and nothing is stored any more.
#
# Guess: a commit that fails with SQLITE_FULL fails that transaction. Once there is space again, the next transactions of the
#        same pool are stored, or fail.
# Seen:  SQLite ends the transaction when COMMIT fails for a full disk; the ROLLBACK that follows has nothing to end and fails too. sqlx
#        counts the depth of transactions itself and lowers the count only on success, so it still counts one, and the next begin() is a
#        SAVEPOINT. Its RELEASE does what COMMIT does, unless it fails for the full disk as well: then the transaction stays open, and
#        each later one is a savepoint inside of it. Begin, insert and commit all answer Ok, the pool reads its own rows, and another
#        connection, or the next process, finds none of them.
# When:  2026-11-28, Linux, tmpfs.
# Why:   a service with one writing connection goes on answering "stored" after a disk was full for a moment, and loses all of it
#        when it ends. A connection whose COMMIT or ROLLBACK failed must not go back to the pool.
# Needs: cargo and a C compiler; root, or user namespaces for a file system of its own.
set -euo pipefail
if [ "$(id -u)" -ne 0 ] && [ -z "${INSIDE:-}" ]; then INSIDE=1 exec unshare --user --map-root-user --mount "$0"; fi
work=$(mktemp -d)
trap 'umount "$work/disk" 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir -p "$work/disk" "$work/program/src"
mount -t tmpfs -o size=4m tmpfs "$work/disk"
cd "$work/program"
cat > Cargo.toml <<'TOML'
[package]
name = "full"
version = "0.0.0"
edition = "2024"
[dependencies]
sqlx = { version = "=0.9.0", default-features = false, features = ["runtime-tokio", "sqlite"] }
libsqlite3-sys = { version = "=0.37.0", features = ["bundled"] }
tokio = { version = "1", features = ["rt", "macros"] }
TOML
cat > src/main.rs <<'RUST'
use sqlx::{ConnectOptions, Row, SqlitePool, sqlite::{SqliteConnectOptions, SqlitePoolOptions}};
use std::{fs, path::Path};

async fn store(pool: &SqlitePool, id: i64, bytes: i64) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query("INSERT INTO notes VALUES (?, zeroblob(?))").bind(id).bind(bytes).execute(&mut *transaction).await?;
    transaction.commit().await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let disk = std::env::args().nth(1).ok_or("a folder")?;
    let file = SqliteConnectOptions::new().filename(Path::new(&disk).join("notes.db"))
        .create_if_missing(true).pragma("journal_mode", "WAL").pragma("synchronous", "FULL");
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(file.clone()).await?;
    sqlx::query("CREATE TABLE notes (id INTEGER PRIMARY KEY, body BLOB)").execute(&pool).await?;
    store(&pool, 1, 10).await?;

    // The rest of the disk, but for too few pages.
    let filler = Path::new(&disk).join("filler");
    let mut size = 4 << 20;
    while fs::write(&filler, vec![0; size]).is_err() { size -= 4096; }
    let first = store(&pool, 2, 200_000).await;
    let second = store(&pool, 2, 200_000).await;
    println!("on a full disk: {first:?}, {second:?}");
    fs::remove_file(&filler)?;

    let mut acknowledged = 0;
    for id in 3..103 { if store(&pool, id, 10).await.is_ok() { acknowledged += 1; } }
    let count = "SELECT COUNT(*) FROM notes WHERE id > 2";
    let own: i64 = sqlx::query(count).fetch_one(&pool).await?.get(0);
    let mut other = file.read_only(true).connect().await?;
    let others: i64 = sqlx::query(count).fetch_one(&mut other).await?.get(0);
    println!("with space again: {acknowledged} of 100 commits were Ok; their pool reads {own}, another connection {others}");
    if first.is_err() && second.is_err() && acknowledged == 100 && others == 0 { Ok(()) } else { Err("it is not so any more".into()) }
}
RUST
CARGO_TARGET_DIR="$work/target" cargo run --quiet -- "$work/disk"
