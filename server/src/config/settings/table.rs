//! Every setting. `docs/operating.md` has the same rows; a test compares the two.

use super::APPS;
use super::value::{Field, Setting};
use crate::store::MAX_FILE_BYTES;
use faasm_bridge::wire::{MAX_FRAME_BYTES, MAX_OPEN_REQUESTS, MAX_PAYLOAD_BYTES};
use std::ops::RangeInclusive;

/// Smallest limit of a frame, bytes: enough for a handshake with a token.
const MIN_FRAME_BYTES: usize = 64 * 1024;

const MIB: usize = 1024 * 1024;

/// Upper bound of settings that are counts.
const MANY: usize = 1_000_000;

/// Range of time limits, seconds.
const WAIT: RangeInclusive<f64> = 0.01..=86_400.0;

/// All settings, in display order.
pub const TABLE: &[Setting] = &[
    Setting {
        key: "listen",
        about: "Address to listen on; port 0 selects a free port",
        field: Field::Address(|s| &mut s.listen),
    },
    Setting {
        key: "data",
        about: "Folder for functions and state; created if missing",
        field: Field::Path(|s| &mut s.data),
    },
    Setting {
        key: "web",
        about: "Folder of web pages to serve",
        field: Field::Path(|s| &mut s.web),
    },
    Setting {
        key: "allow_origins",
        about: "Other sites whose pages may use the relay, as https://example.org",
        field: Field::List(|s| &mut s.allow_origins),
    },
    Setting {
        key: "allow_hosts",
        about: "Host names by which clients reach the relay, with or without a port",
        field: Field::List(|s| &mut s.allow_hosts),
    },
    Setting {
        key: "insecure",
        about: "Listen on other interfaces than loopback without tokens: everyone who can reach the relay can use it",
        field: Field::Switch(|s| &mut s.insecure),
    },
    Setting {
        key: "store.redis",
        about: "Redis for functions, state and sessions, which several relays can share, as redis://HOST:6379",
        field: Field::Redis(|s| &mut s.store.redis),
    },
    Setting {
        key: "store.redis_password_file",
        about: "File with the password of Redis",
        field: Field::Path(|s| &mut s.store.redis_password_file),
    },
    Setting {
        key: "state.lock_lease",
        about: "Lease of a cluster-wide lock: how long a lock outlives its holder",
        field: Field::Time(0.1..=3600.0, |s| &mut s.state.lock_lease),
    },
    Setting {
        key: "state.tier_kept",
        about: "How long state that functions wrote but did not push stays in memory after the user's last run",
        field: Field::Time(0.0..=86_400.0, |s| &mut s.state.tier_kept),
    },
    Setting {
        key: "budget.relay_bytes",
        about: "Memory for the data of all users, bytes; 0 is 60 % of the process's memory limit",
        field: Field::Number(0..=usize::MAX / 2, |s| &mut s.budget.relay_bytes),
    },
    Setting {
        key: "budget.user_bytes",
        about: "Part of budget.relay_bytes that one user may occupy, bytes; 0 is 25 %",
        field: Field::Number(0..=usize::MAX / 2, |s| &mut s.budget.user_bytes),
    },
    Setting {
        key: "budget.user_disk_bytes",
        about: "Disk space of one user for functions, state values and lists, bytes; 0 is unlimited",
        field: Field::Number(0..=usize::MAX / 2, |s| &mut s.budget.user_disk_bytes),
    },
    Setting {
        key: "tokens.secret_file",
        about: "Secret that signs tokens with HS256",
        field: Field::Path(|s| &mut s.tokens.secret_file),
    },
    Setting {
        key: "tokens.public_key_file",
        about: "Public key as PEM, for EdDSA, ES256 or RS256",
        field: Field::Path(|s| &mut s.tokens.public_key_file),
    },
    Setting {
        key: "tokens.jwks_file",
        about: "JSON Web Key Set; tokens name their key by kid",
        field: Field::Path(|s| &mut s.tokens.jwks_file),
    },
    Setting {
        key: "tokens.audience",
        about: "Required audience (aud) of tokens",
        field: Field::Text(|s| &mut s.tokens.audience),
    },
    Setting {
        key: "tokens.issuer",
        about: "Required issuer (iss) of tokens",
        field: Field::Text(|s| &mut s.tokens.issuer),
    },
    Setting {
        key: "tls.certificate_file",
        about: "Certificate chain as PEM, leaf first",
        field: Field::Path(|s| &mut s.tls.certificate_file),
    },
    Setting {
        key: "tls.key_file",
        about: "Private key of the certificate as PEM",
        field: Field::Path(|s| &mut s.tls.key_file),
    },
    Setting {
        key: "limits.connections",
        about: "Open connections; further ones wait",
        field: Field::Number(1..=MANY, |s| &mut s.limits.connections),
    },
    Setting {
        key: "limits.connections_per_address",
        about: "Open connections from one address; further ones are closed",
        field: Field::Number(1..=MANY, |s| &mut s.limits.connections_per_address),
    },
    Setting {
        key: "limits.handshakes_per_address",
        about: "Sessions that one address starts or resumes per second; 0 is unlimited",
        field: Field::Number(0..=MANY, |s| &mut s.limits.handshakes_per_address),
    },
    Setting {
        key: "limits.header_bytes",
        about: "Size of a request's headers, bytes",
        field: Field::Number(8 * 1024..=MIB, |s| &mut s.limits.header_bytes),
    },
    Setting {
        key: "limits.header_time",
        about: "Time limit for receiving a request's headers, and for a TLS handshake",
        field: Field::Time(WAIT, |s| &mut s.limits.header_time),
    },
    Setting {
        key: "limits.body_pause",
        about: "Time limit for the next byte of a request body",
        field: Field::Time(WAIT, |s| &mut s.limits.body_pause),
    },
    Setting {
        key: "limits.body_time",
        about: "Time limit for receiving a body, plus one second for every body_rate bytes",
        field: Field::Time(WAIT, |s| &mut s.limits.body_time),
    },
    Setting {
        key: "limits.body_rate",
        about: "Bytes of a body that extend its time limit by one second",
        field: Field::Number(1..=1024 * MIB, |s| &mut s.limits.body_rate),
    },
    Setting {
        key: "limits.write_pause",
        about: "Time limit for a peer to accept the next byte of pending data",
        field: Field::Time(WAIT, |s| &mut s.limits.write_pause),
    },
    Setting {
        key: "limits.frame_bytes",
        about: "Size of a frame from a page, bytes",
        field: Field::Number(MIN_FRAME_BYTES..=MAX_FRAME_BYTES, |s| &mut s.limits.frame_bytes),
    },
    Setting {
        key: "limits.input_bytes",
        about: "Size of a call's input, bytes",
        field: Field::Number(0..=MAX_PAYLOAD_BYTES, |s| &mut s.limits.input_bytes),
    },
    Setting {
        key: "limits.output_bytes",
        about: "Size of a call's output to a page, bytes",
        field: Field::Number(0..=MAX_PAYLOAD_BYTES, |s| &mut s.limits.output_bytes),
    },
    Setting {
        key: "limits.state_value_bytes",
        about: "Size of a state value, bytes",
        field: Field::Number(0..=1024 * MIB, |s| &mut s.state_value_bytes),
    },
    Setting {
        key: "limits.file_bytes",
        about: "Size of an uploaded shared file, bytes",
        field: Field::Number(0..=MAX_FILE_BYTES, |s| &mut s.limits.file_bytes),
    },
    Setting {
        key: "limits.sessions",
        about: "Sessions, with and without a connection",
        field: Field::Number(1..=MANY, |s| &mut s.limits.sessions),
    },
    Setting {
        key: "limits.sessions_per_user",
        about: "Sessions of one user, with and without a connection",
        field: Field::Number(1..=MANY, |s| &mut s.limits.sessions_per_user),
    },
    Setting {
        key: "limits.requests_per_session",
        about: "Open requests of one session",
        field: Field::Number(1..=MAX_OPEN_REQUESTS, |s| &mut s.limits.requests_per_session),
    },
    Setting {
        key: "limits.running_per_session",
        about: "Concurrent calls of one session, and as many other concurrent requests; further ones wait",
        field: Field::Number(1..=MANY, |s| &mut s.limits.running_per_session),
    },
    Setting {
        key: "limits.calls_per_second",
        about: "Calls that one user starts per second; 0 is unlimited",
        field: Field::Number(0..=MANY, |s| &mut s.limits.calls_per_second),
    },
    Setting {
        key: "limits.calls_per_user",
        about: "Concurrent calls of one user; further ones wait",
        field: Field::Number(1..=MANY, |s| &mut s.limits.calls_per_user),
    },
    Setting {
        key: "guests.call_time",
        about: "Time limit of a call tree",
        field: Field::Time(WAIT, |s| &mut s.guests.call_time),
    },
    Setting {
        key: "guests.memory_bytes",
        about: "Memory of one instance, bytes",
        field: Field::Number(64 * 1024..=4096 * MIB, |s| &mut s.guests.memory_bytes),
    },
    Setting {
        key: "guests.table_elements",
        about: "Elements of one table",
        field: Field::Number(0..=100 * MANY, |s| &mut s.guests.table_elements),
    },
    Setting {
        key: "guests.instances",
        about: "Concurrent instances; calls that need another one fail",
        field: Field::Number(1..=MANY, |s| &mut s.guests.instances),
    },
    Setting {
        key: "guests.instances_per_user",
        about: "Concurrent instances of one user; 0 is three quarters of guests.instances",
        field: Field::Number(0..=MANY, |s| &mut s.guests.instances_per_user),
    },
    Setting {
        key: "guests.chain_depth",
        about: "Maximum depth of chained calls",
        field: Field::Number(0..=1024, |s| &mut s.guests.chain_depth),
    },
    Setting {
        key: "guests.chained_calls",
        about: "Concurrent chained calls in one call tree",
        field: Field::Number(0..=MANY, |s| &mut s.guests.chained_calls),
    },
    Setting {
        key: "builds.at_once",
        about: "Concurrent builds (check and compile) of functions; each user has at most one",
        field: Field::Number(1..=1024, |s| &mut s.builds.at_once),
    },
    Setting {
        key: "builds.queue",
        about: "Queued builds, of one user an eighth; further uploads are rejected",
        field: Field::Number(1..=MANY, |s| &mut s.builds.queue),
    },
    Setting {
        key: "builds.time",
        about: "Time limit for compiling one function, or for checking and guarding it for a Faasm cluster",
        field: Field::Time(0.1..=86_400.0, |s| &mut s.builds.time),
    },
    Setting {
        key: "builds.memory_bytes",
        about: "Address space of the build process, bytes",
        field: Field::Number(256 * MIB..=1024 * 1024 * MIB, |s| &mut s.builds.memory),
    },
    Setting {
        key: "cluster.planner",
        about: "Planner of a Faasm cluster, as http://planner:8080; if unset, functions run in the relay's embedded cluster",
        field: Field::Text(|s| &mut s.cluster.planner),
    },
    Setting {
        key: "cluster.upload",
        about: "Upload server of the Faasm cluster, as http://upload:8002",
        field: Field::Text(|s| &mut s.cluster.upload),
    },
    Setting {
        key: "cluster.trusted",
        about: "Users whose functions go to the Faasm cluster unguarded, without the checks that protect its workers; * is all users",
        field: Field::List(|s| &mut s.cluster.trusted),
    },
    Setting {
        key: "cluster.only_stored",
        about: "Reject calls of functions that no relay uploaded; a worker exits if it has to run a missing function",
        field: Field::Switch(|s| &mut s.cluster.only_stored),
    },
    Setting {
        key: "cluster.queue_time",
        about: "Time limit for the cluster to accept a call; it may be full, or a planner or worker may not answer",
        field: Field::Time(WAIT, |s| &mut s.cluster.queue_time),
    },
    Setting {
        key: "cluster.queue",
        about: "Calls that wait for the cluster to accept them; further ones are rejected",
        field: Field::Number(0..=MANY, |s| &mut s.cluster.queue),
    },
    Setting {
        key: "cluster.request_time",
        about: "Time limit of a request to the planner, and of the search for the result of a call that may have started",
        field: Field::Time(WAIT, |s| &mut s.cluster.request_time),
    },
    Setting {
        key: "cluster.connections",
        about: "Connections to the planner, and to the upload server, each",
        field: Field::Number(2..=MANY, |s| &mut s.cluster.connections),
    },
    Setting {
        key: "cluster.polls",
        about: "Connections to the planner that poll for results",
        field: Field::Number(1..=MANY, |s| &mut s.cluster.polls),
    },
    Setting {
        key: "cluster.poll_pause",
        about: "Longest interval between two polls of one app",
        field: Field::Time(0.001..=60.0, |s| &mut s.cluster.poll_pause),
    },
    Setting {
        key: "cluster.record_graph",
        about: "Make the cluster record which calls a call chains",
        field: Field::Switch(|s| &mut s.cluster.record_graph),
    },
    Setting {
        key: "cluster.app",
        about: "Scope of an app, whose calls share executors: all calls of a page, or those of one run",
        field: Field::Choice(&APPS, |s| &mut s.cluster.app),
    },
    Setting {
        key: "cluster.hosts_fresh",
        about: "Maximum age of the workers' health data when a call starts",
        field: Field::Time(0.0..=5.0, |s| &mut s.cluster.hosts_fresh),
    },
    Setting {
        key: "cluster.heartbeat",
        about: "Longest interval between two heartbeats of a worker; while a heartbeat is overdue, calls wait",
        field: Field::Time(0.1..=60.0, |s| &mut s.cluster.heartbeat),
    },
    Setting {
        key: "cluster.worker_port",
        about: "Port of each worker to probe: if it has answered before, it has to answer; 0 disables the probe",
        field: Field::Number(0..=65_535, |s| &mut s.cluster.worker_port),
    },
    Setting {
        key: "timings.handshake",
        about: "Time limit for the first frame of a WebSocket",
        field: Field::Time(WAIT, |s| &mut s.timings.handshake),
    },
    Setting {
        key: "timings.ping",
        about: "Interval between two pings to a page",
        field: Field::Time(WAIT, |s| &mut s.timings.ping),
    },
    Setting {
        key: "timings.silence",
        about: "Time without data from a page after which its connection is closed",
        field: Field::Time(WAIT, |s| &mut s.timings.silence),
    },
    Setting {
        key: "timings.session_kept",
        about: "How long a session without a connection is kept",
        field: Field::Time(0.0..=86_400.0, |s| &mut s.timings.session_kept),
    },
    Setting {
        key: "timings.drain",
        about: "Time limit for running calls after the relay is asked to stop",
        field: Field::Time(0.0..=86_400.0, |s| &mut s.timings.drain),
    },
    Setting {
        key: "timings.grace",
        about: "Time limit for open connections after timings.drain",
        field: Field::Time(0.0..=86_400.0, |s| &mut s.timings.grace),
    },
];
