//! The tables of messaging, for a service to put into its own migrations.

use storage::schema::{AppendOnly, NeverReplaced, Statements};

const TABLES: &[&str] = &[
    "CREATE TABLE outbox (
        seq {serial},
        message_id {uuid} NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        partition_key TEXT NOT NULL,
        payload {bytes} NOT NULL,
        traceparent TEXT,
        create_time {int} NOT NULL,
        state {code} NOT NULL CHECK (state IN (0, 1)),
        attempts INTEGER NOT NULL CHECK (attempts >= 0),
        next_attempt_time {int} NOT NULL,
        last_error TEXT
    ) {strict}",
    // Rows leave in this order; those never tried have the time 0.
    "CREATE INDEX outbox_due ON outbox (next_attempt_time, seq)",
    // What can hold back later rows of its key; usually nothing.
    "CREATE INDEX outbox_tried ON outbox (partition_key, seq) WHERE next_attempt_time > 0",
    "CREATE TABLE inbox (
        message_id {uuid} NOT NULL,
        consumer TEXT NOT NULL,
        receive_time {int} NOT NULL,
        PRIMARY KEY (message_id, consumer)
    ) {strict}",
    // Rows are forgotten in this order.
    "CREATE INDEX inbox_age ON inbox (receive_time)",
    "CREATE TABLE parked (
        seq {serial},
        consumer TEXT NOT NULL,
        state {code} NOT NULL CHECK (state IN (0, 1, 2)),
        message_id {uuid},
        kind TEXT NOT NULL,
        source TEXT NOT NULL,
        partition_key TEXT NOT NULL,
        payload {bytes} NOT NULL,
        traceparent TEXT,
        headers TEXT,
        create_time {int},
        error TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        park_time {int} NOT NULL,
        UNIQUE (consumer, message_id)
    ) {strict}",
    // What goes back to its consumer; usually nothing.
    "CREATE INDEX parked_leaving ON parked (consumer, seq) WHERE state > 0",
    "CREATE TABLE operator_actions (
        seq {serial},
        operator TEXT NOT NULL,
        action TEXT NOT NULL,
        filter TEXT NOT NULL,
        affected {int} NOT NULL,
        act_time {int} NOT NULL
    ) {strict}",
    storage::lease::TABLE,
];

/// Every row of the outbox dies young, so it is all dead rows between two vacuums. PostgreSQL would wait for a fifth of the table
/// to die, and rest while it cleans: here a vacuum begins with so many dead rows and does not rest.
const VACUUM_OUTBOX: &str = "ALTER TABLE outbox SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000)";

/// What counts attempts at a parked message that comes back, before each; and what finds others of the same key.
const REDRIVES: &[&str] = &[
    "ALTER TABLE parked ADD COLUMN redrives INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE parked ADD COLUMN redrive_time {int}",
    "CREATE INDEX parked_by_key ON parked (consumer, partition_key)",
];

/// The rest of the trace context. Versions that do not know the columns leave them empty.
const TRACESTATE: &[&str] =
    &["ALTER TABLE outbox ADD COLUMN tracestate TEXT", "ALTER TABLE parked ADD COLUMN tracestate TEXT"];

/// Who has caused a message, and who has acted as an operator. Versions that do not know the columns leave them empty.
const ORIGINS: &[&str] = &[
    "ALTER TABLE outbox ADD COLUMN subject TEXT",
    "ALTER TABLE outbox ADD COLUMN token_id TEXT",
    "ALTER TABLE parked ADD COLUMN subject TEXT",
    "ALTER TABLE parked ADD COLUMN token_id TEXT",
    "ALTER TABLE operator_actions ADD COLUMN subject TEXT",
    "ALTER TABLE operator_actions ADD COLUMN token_id TEXT",
    "ALTER TABLE operator_actions ADD COLUMN trace_id TEXT",
];

/// What operators do about parked messages: the group of each by its error, the payload before it was edited, who is to try it again and
/// how far that has come, and why somebody acted.
const OPERATIONS: &[&str] = &[
    "ALTER TABLE parked ADD COLUMN cause TEXT",
    "ALTER TABLE parked ADD COLUMN original_payload {bytes}",
    "ALTER TABLE parked ADD COLUMN redrive_job {int}",
    "CREATE INDEX parked_by_cause ON parked (cause, seq)",
    "CREATE INDEX parked_by_job ON parked (redrive_job, seq) WHERE redrive_job IS NOT NULL",
    "ALTER TABLE operator_actions ADD COLUMN reason TEXT",
    "CREATE TABLE redrive_jobs (
        id {serial},
        consumer TEXT NOT NULL,
        state {code} NOT NULL CHECK (state IN (0, 1, 2)),
        total {int} NOT NULL,
        done {int} NOT NULL,
        failed {int} NOT NULL,
        released {int} NOT NULL,
        per_second INTEGER NOT NULL CHECK (per_second >= 0),
        start_time {int} NOT NULL,
        end_time {int},
        operator TEXT NOT NULL,
        reason TEXT NOT NULL,
        filter TEXT NOT NULL,
        CHECK ((state = 0) = (end_time IS NULL))
    ) {strict}",
    "CREATE INDEX redrive_jobs_running ON redrive_jobs (consumer, id) WHERE state = 0",
];

/// What operators have stopped for a time. Without a consumer, a kind or a partition a pause is of all of them.
const PAUSES: &[&str] = &["CREATE TABLE pauses (
        seq {serial},
        part {code} NOT NULL CHECK (part IN (0, 1)),
        consumer TEXT,
        kind TEXT,
        partition_number INTEGER CHECK (partition_number >= 0),
        reason TEXT NOT NULL CHECK (length(reason) > 0),
        operator TEXT NOT NULL CHECK (length(operator) > 0),
        subject TEXT,
        token_id TEXT,
        pause_time {int} NOT NULL,
        -- A relay has no parts.
        CHECK (part = 0 OR (consumer IS NULL AND kind IS NULL AND partition_number IS NULL))
    ) {strict}"];

/// SQLite cannot change a constraint: another column takes the place of the one that has it.
const WAITING_ON_SQLITE: &[&str] = &[
    "DROP INDEX parked_leaving",
    "ALTER TABLE parked ADD COLUMN next_state INTEGER NOT NULL DEFAULT 0 CHECK (next_state IN (0, 1, 2, 3))",
    "UPDATE parked SET next_state = state",
    "ALTER TABLE parked DROP COLUMN state",
    "ALTER TABLE parked RENAME COLUMN next_state TO state",
    "CREATE INDEX parked_leaving ON parked (consumer, seq) WHERE state > 0",
];

const WAITING_ON_POSTGRES: &[&str] = &[
    "ALTER TABLE parked DROP CONSTRAINT parked_state_check",
    "ALTER TABLE parked ADD CONSTRAINT parked_state_check CHECK (state IN (0, 1, 2, 3))",
];

/// Why a redrive has left messages, the requests for pauses by their keys, and who is next of a key, however many there are of it.
const OPERATORS_DAY: &[&str] = &[
    "ALTER TABLE redrive_jobs ADD COLUMN left_reason TEXT",
    "CREATE TABLE pause_requests (
        request_id TEXT PRIMARY KEY,
        fingerprint {bytes} NOT NULL,
        pause {int} NOT NULL,
        subject TEXT,
        token_id TEXT,
        pause_time {int} NOT NULL
    ) {strict}",
    "CREATE INDEX parked_by_key_in_order ON parked (consumer, partition_key, seq)",
    "DROP INDEX parked_by_key",
];

/// The call by which an operator has acted. Versions that do not know the column leave it empty.
const CALLS: &[&str] = &["ALTER TABLE operator_actions ADD COLUMN x_request_id TEXT"];

/// Which processes run, on PostgreSQL: each is a row while it does.
const PROCESSES: &[&str] = &["CREATE TABLE processes (
        id TEXT PRIMARY KEY,
        version TEXT NOT NULL,
        build TEXT NOT NULL,
        host TEXT NOT NULL,
        start_time {int} NOT NULL,
        seen_time {int} NOT NULL
    ) {strict}"];

/// What a process says of its parts to the others, as JSON. Versions that do not know the column leave it empty.
const REPORTS: &[&str] = &["ALTER TABLE processes ADD COLUMN report TEXT"];

/// How many requests repeat a parked one, and when the last of them came. Versions that do not know the columns leave them as they are.
const REPEATS: &[&str] = &[
    "ALTER TABLE parked ADD COLUMN repeats {int} NOT NULL DEFAULT 0",
    "ALTER TABLE parked ADD COLUMN last_repeat_time {int}",
];

/// Makes the tables `outbox`, `inbox`, `parked`, `operator_actions` and `leases`.
pub const MESSAGING_TABLES: Statements =
    Statements::new("m0001_messaging", TABLES).on_postgres(&[VACUUM_OUTBOX]);

/// Adds to the table `parked` what [`MESSAGING_TABLES`] has left out. To come behind it.
pub const COUNTED_REDRIVES: Statements = Statements::new("m0002_messaging_counted_redrives", REDRIVES);

/// Adds `tracestate` to the tables `outbox` and `parked`. To come behind [`COUNTED_REDRIVES`].
pub const WHOLE_TRACE_CONTEXTS: Statements = Statements::new("m0003_messaging_tracestate", TRACESTATE);

/// Adds who has caused a message to the tables `outbox` and `parked`, and who has acted to `operator_actions`. To come behind
/// [`WHOLE_TRACE_CONTEXTS`].
pub const KEPT_ORIGINS: Statements = Statements::new("m0004_messaging_origins", ORIGINS);

/// Keeps what operators did: `operator_actions` is only added to. To come behind [`KEPT_ORIGINS`].
pub const KEPT_ACTIONS: AppendOnly =
    AppendOnly::new("m0005_messaging_append_only_actions", &["operator_actions"]);

/// Adds what operators do about parked messages to `parked` and `operator_actions`, and the table `redrive_jobs`. To come behind
/// [`KEPT_ACTIONS`].
pub const PARKED_OPERATIONS: Statements = Statements::new("m0006_messaging_parked_operations", OPERATIONS);

/// Makes the table `pauses`. To come behind [`PARKED_OPERATIONS`].
pub const KEPT_PAUSES: Statements = Statements::new("m0007_messaging_pauses", PAUSES);

/// Lets messages in the table `parked` wait behind others of their keys. To come behind [`KEPT_PAUSES`].
pub const KEPT_ORDER: Statements = Statements::new("m0008_messaging_waiting", &[])
    .on_sqlite(WAITING_ON_SQLITE)
    .on_postgres(WAITING_ON_POSTGRES);

/// Adds to `redrive_jobs` why messages were left, and the table `pause_requests`. To come behind [`KEPT_ORDER`].
pub const KEPT_REQUESTS: Statements = Statements::new("m0009_messaging_kept_requests", OPERATORS_DAY);

/// Adds the id of the call by which somebody has acted to `operator_actions`. To come behind [`KEPT_REQUESTS`].
pub const KEPT_CALLS: Statements = Statements::new("m0010_messaging_kept_calls", CALLS);

/// Makes the table `processes`. To come behind [`KEPT_CALLS`].
pub const KEPT_PROCESSES: Statements = Statements::new("m0011_messaging_processes", PROCESSES);

/// Keeps the rows of `operator_actions` from being replaced. To come behind [`KEPT_PROCESSES`].
pub const KEPT_WHOLE: NeverReplaced =
    NeverReplaced::new("m0012_messaging_actions_never_replaced", &["operator_actions"]);

/// Adds what each process says of its parts to the table `processes`. To come behind [`KEPT_WHOLE`].
pub const KEPT_REPORTS: Statements = Statements::new("m0013_messaging_reports", REPORTS);

/// Adds to the table `parked` what counts requests that repeat a parked one. To come behind [`KEPT_REPORTS`].
pub const COUNTED_REPEATS: Statements = Statements::new("m0014_messaging_counted_repeats", REPEATS);
