//! Every setting. `docs/operating.md` has the same rows; a test compares the two.

use super::APPS;
use super::value::{Field, Setting};
use crate::store::MAX_FILE_BYTES;
use faasm_bridge::wire::{MAX_FRAME_BYTES, MAX_OPEN_REQUESTS, MAX_PAYLOAD_BYTES};
use std::ops::RangeInclusive;

/// Smallest bound of a frame, bytes: room for a handshake with a token.
const MIN_FRAME_BYTES: usize = 64 * 1024;

const MIB: usize = 1024 * 1024;

/// Most of anything that is counted.
const MANY: usize = 1_000_000;

/// Of a wait, seconds.
const WAIT: RangeInclusive<f64> = 0.01..=86_400.0;

/// All of them, in the order in which they are shown.
pub const TABLE: &[Setting] = &[
    Setting {
        key: "listen",
        about: "Where to listen; port 0 takes a free one",
        field: Field::Address(|s| &mut s.listen),
    },
    Setting {
        key: "data",
        about: "Folder for functions and state; made if it is not there",
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
        about: "Names the relay is reached by, with or without a port",
        field: Field::List(|s| &mut s.allow_hosts),
    },
    Setting {
        key: "insecure",
        about: "Listen beyond this machine without tokens, for everybody who can reach it",
        field: Field::Switch(|s| &mut s.insecure),
    },
    Setting {
        key: "store.redis",
        about: "Redis that keeps functions, state and sessions, also for other relays, as redis://HOST:6379",
        field: Field::Redis(|s| &mut s.store.redis),
    },
    Setting {
        key: "store.redis_password_file",
        about: "File with its password",
        field: Field::Path(|s| &mut s.store.redis_password_file),
    },
    Setting {
        key: "state.lock_lease",
        about: "That a lock across the cluster is held without being renewed: how long it outlives its holder",
        field: Field::Time(0.1..=3600.0, |s| &mut s.state.lock_lease),
    },
    Setting {
        key: "state.tier_kept",
        about: "That state which functions wrote and did not push is kept in memory, after the user's last run",
        field: Field::Time(0.0..=86_400.0, |s| &mut s.state.tier_kept),
    },
    Setting {
        key: "budget.relay_bytes",
        about: "Memory that users make the relay hold, bytes; 0 is 60 % of what the process may use",
        field: Field::Number(0..=usize::MAX / 2, |s| &mut s.budget.relay_bytes),
    },
    Setting {
        key: "budget.user_bytes",
        about: "Of this, for one user; 0 is 25 % of it",
        field: Field::Number(0..=usize::MAX / 2, |s| &mut s.budget.user_bytes),
    },
    Setting {
        key: "budget.user_disk_bytes",
        about: "What one user keeps on disk: functions, state values, lists, bytes; 0 is any number",
        field: Field::Number(0..=usize::MAX / 2, |s| &mut s.budget.user_disk_bytes),
    },
    Setting {
        key: "tokens.secret_file",
        about: "Secret that tokens are signed with by HS256",
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
        about: "What aud has to name",
        field: Field::Text(|s| &mut s.tokens.audience),
    },
    Setting {
        key: "tokens.issuer",
        about: "What iss has to be",
        field: Field::Text(|s| &mut s.tokens.issuer),
    },
    Setting {
        key: "tls.certificate_file",
        about: "Certificate as PEM, with those of its issuers after it",
        field: Field::Path(|s| &mut s.tls.certificate_file),
    },
    Setting {
        key: "tls.key_file",
        about: "Its private key as PEM",
        field: Field::Path(|s| &mut s.tls.key_file),
    },
    Setting {
        key: "limits.connections",
        about: "Connections at once; more of them wait",
        field: Field::Number(1..=MANY, |s| &mut s.limits.connections),
    },
    Setting {
        key: "limits.connections_per_address",
        about: "Of these, from one address; more of them are closed",
        field: Field::Number(1..=MANY, |s| &mut s.limits.connections_per_address),
    },
    Setting {
        key: "limits.handshakes_per_address",
        about: "Sessions that one address begins or resumes in a second; 0 is any number",
        field: Field::Number(0..=MANY, |s| &mut s.limits.handshakes_per_address),
    },
    Setting {
        key: "limits.header_bytes",
        about: "Bytes of a request's head",
        field: Field::Number(8 * 1024..=MIB, |s| &mut s.limits.header_bytes),
    },
    Setting {
        key: "limits.header_time",
        about: "For a request's head to arrive, and for a TLS handshake",
        field: Field::Time(WAIT, |s| &mut s.limits.header_time),
    },
    Setting {
        key: "limits.body_pause",
        about: "Without any byte of a body that is to arrive",
        field: Field::Time(WAIT, |s| &mut s.limits.body_pause),
    },
    Setting {
        key: "limits.body_time",
        about: "For a body to arrive, and one second more for each body_rate bytes of it",
        field: Field::Time(WAIT, |s| &mut s.limits.body_time),
    },
    Setting {
        key: "limits.body_rate",
        about: "Bytes of a body that give it another second",
        field: Field::Number(1..=1024 * MIB, |s| &mut s.limits.body_rate),
    },
    Setting {
        key: "limits.write_pause",
        about: "Without any byte taken by a peer that has something to take",
        field: Field::Time(WAIT, |s| &mut s.limits.write_pause),
    },
    Setting {
        key: "limits.frame_bytes",
        about: "Bytes of a frame from a page",
        field: Field::Number(MIN_FRAME_BYTES..=MAX_FRAME_BYTES, |s| &mut s.limits.frame_bytes),
    },
    Setting {
        key: "limits.input_bytes",
        about: "Bytes of a call's input",
        field: Field::Number(0..=MAX_PAYLOAD_BYTES, |s| &mut s.limits.input_bytes),
    },
    Setting {
        key: "limits.output_bytes",
        about: "Bytes of a call's output, to a page",
        field: Field::Number(0..=MAX_PAYLOAD_BYTES, |s| &mut s.limits.output_bytes),
    },
    Setting {
        key: "limits.state_value_bytes",
        about: "Bytes of a state value",
        field: Field::Number(0..=1024 * MIB, |s| &mut s.state_value_bytes),
    },
    Setting {
        key: "limits.file_bytes",
        about: "Bytes of a shared file that is uploaded",
        field: Field::Number(0..=MAX_FILE_BYTES, |s| &mut s.limits.file_bytes),
    },
    Setting {
        key: "limits.sessions",
        about: "Sessions, with and without a connection",
        field: Field::Number(1..=MANY, |s| &mut s.limits.sessions),
    },
    Setting {
        key: "limits.sessions_per_user",
        about: "Of these, of one user",
        field: Field::Number(1..=MANY, |s| &mut s.limits.sessions_per_user),
    },
    Setting {
        key: "limits.requests_per_session",
        about: "Requests of one session that are open",
        field: Field::Number(1..=MAX_OPEN_REQUESTS, |s| &mut s.limits.requests_per_session),
    },
    Setting {
        key: "limits.running_per_session",
        about: "Of these, calls performed at once, and as many others; more of them wait",
        field: Field::Number(1..=MANY, |s| &mut s.limits.running_per_session),
    },
    Setting {
        key: "limits.calls_per_second",
        about: "Calls one user begins in a second; 0 is any number",
        field: Field::Number(0..=MANY, |s| &mut s.limits.calls_per_second),
    },
    Setting {
        key: "limits.calls_per_user",
        about: "Calls of one user running at once; more of them wait",
        field: Field::Number(1..=MANY, |s| &mut s.limits.calls_per_user),
    },
    Setting {
        key: "guests.call_time",
        about: "For any one call, with all that descends from it",
        field: Field::Time(WAIT, |s| &mut s.guests.call_time),
    },
    Setting {
        key: "guests.memory_bytes",
        about: "Memory of any one instance, bytes",
        field: Field::Number(64 * 1024..=4096 * MIB, |s| &mut s.guests.memory_bytes),
    },
    Setting {
        key: "guests.table_elements",
        about: "Elements of any one table",
        field: Field::Number(0..=100 * MANY, |s| &mut s.guests.table_elements),
    },
    Setting {
        key: "guests.instances",
        about: "Instances at once; calls beyond them fail",
        field: Field::Number(1..=MANY, |s| &mut s.guests.instances),
    },
    Setting {
        key: "guests.instances_per_user",
        about: "Instances of one user at once; 0 is three quarters of guests.instances",
        field: Field::Number(0..=MANY, |s| &mut s.guests.instances_per_user),
    },
    Setting {
        key: "guests.chain_depth",
        about: "How deep calls may chain",
        field: Field::Number(0..=1024, |s| &mut s.guests.chain_depth),
    },
    Setting {
        key: "guests.chained_calls",
        about: "Chained calls that descend from one call and run at once",
        field: Field::Number(0..=MANY, |s| &mut s.guests.chained_calls),
    },
    Setting {
        key: "builds.at_once",
        about: "Functions that are checked and compiled at once; of one user it is one",
        field: Field::Number(1..=1024, |s| &mut s.builds.at_once),
    },
    Setting {
        key: "builds.queue",
        about: "Functions that wait for that, of one user an eighth; more of them are refused",
        field: Field::Number(1..=MANY, |s| &mut s.builds.queue),
    },
    Setting {
        key: "builds.time",
        about: "For compiling one function, or checking and guarding it for a Faasm cluster",
        field: Field::Time(0.1..=86_400.0, |s| &mut s.builds.time),
    },
    Setting {
        key: "builds.memory_bytes",
        about: "Address space of the process that does so, bytes",
        field: Field::Number(256 * MIB..=1024 * 1024 * MIB, |s| &mut s.builds.memory),
    },
    Setting {
        key: "cluster.planner",
        about: "Planner of a Faasm cluster, as http://planner:8080; without it functions run here",
        field: Field::Text(|s| &mut s.cluster.planner),
    },
    Setting {
        key: "cluster.upload",
        about: "Upload server of that cluster, as http://upload:8002",
        field: Field::Text(|s| &mut s.cluster.upload),
    },
    Setting {
        key: "cluster.trusted",
        about: "Users whose functions go to that cluster as they are, without checks that keep its workers alive; * is everybody",
        field: Field::List(|s| &mut s.cluster.trusted),
    },
    Setting {
        key: "cluster.only_stored",
        about: "Refuse calls of functions that no relay uploaded; a worker ends where it is to run one that is not there",
        field: Field::Switch(|s| &mut s.cluster.only_stored),
    },
    Setting {
        key: "cluster.queue_time",
        about: "For a call to be taken by the cluster, which may be full, or have a planner or worker that does not answer",
        field: Field::Time(WAIT, |s| &mut s.cluster.queue_time),
    },
    Setting {
        key: "cluster.queue",
        about: "Calls that wait for that; more of them are refused",
        field: Field::Number(0..=MANY, |s| &mut s.cluster.queue),
    },
    Setting {
        key: "cluster.request_time",
        about: "For any one request to the planner, and for looking up a call that may have started",
        field: Field::Time(WAIT, |s| &mut s.cluster.request_time),
    },
    Setting {
        key: "cluster.connections",
        about: "Connections to the planner, and as many to the upload server",
        field: Field::Number(2..=MANY, |s| &mut s.cluster.connections),
    },
    Setting {
        key: "cluster.polls",
        about: "Of these, for asking what became of calls",
        field: Field::Number(1..=MANY, |s| &mut s.cluster.polls),
    },
    Setting {
        key: "cluster.poll_pause",
        about: "Longest pause between two questions about the calls of one app",
        field: Field::Time(0.001..=60.0, |s| &mut s.cluster.poll_pause),
    },
    Setting {
        key: "cluster.record_graph",
        about: "Have the cluster record which calls a call chains",
        field: Field::Switch(|s| &mut s.cluster.record_graph),
    },
    Setting {
        key: "cluster.app",
        about: "Calls that are one app and share its executors: those of a page, or of each run of it",
        field: Field::Choice(&APPS, |s| &mut s.cluster.app),
    },
    Setting {
        key: "cluster.hosts_fresh",
        about: "How old what is known of the workers may be when a call starts",
        field: Field::Time(0.0..=5.0, |s| &mut s.cluster.hosts_fresh),
    },
    Setting {
        key: "cluster.heartbeat",
        about: "Longest time between two heartbeats of a worker; while one is later, calls wait",
        field: Field::Time(0.1..=60.0, |s| &mut s.cluster.heartbeat),
    },
    Setting {
        key: "cluster.worker_port",
        about: "Port of each worker that has to answer, if it has before; 0 tries none",
        field: Field::Number(0..=65_535, |s| &mut s.cluster.worker_port),
    },
    Setting {
        key: "timings.handshake",
        about: "For the first frame of a WebSocket",
        field: Field::Time(WAIT, |s| &mut s.timings.handshake),
    },
    Setting {
        key: "timings.ping",
        about: "Between two signs of life to a page",
        field: Field::Time(WAIT, |s| &mut s.timings.ping),
    },
    Setting {
        key: "timings.silence",
        about: "Without a sign of life from a page, until its connection is given up",
        field: Field::Time(WAIT, |s| &mut s.timings.silence),
    },
    Setting {
        key: "timings.session_kept",
        about: "That a session without a connection is kept",
        field: Field::Time(0.0..=86_400.0, |s| &mut s.timings.session_kept),
    },
    Setting {
        key: "timings.drain",
        about: "For what is running, once the relay is told to stop",
        field: Field::Time(0.0..=86_400.0, |s| &mut s.timings.drain),
    },
    Setting {
        key: "timings.grace",
        about: "For open connections, after that",
        field: Field::Time(0.0..=86_400.0, |s| &mut s.timings.grace),
    },
];
