//! The report of a run, for people and for programs.

use crate::campaign::Settings;
use crate::faults::Events;
use crate::ledger::{Kind, Ledger, Outcome, Violation};
use serde_json::{Value, json};

const VIOLATIONS: [(Violation, &str, &str); 5] = [
    (Violation::Lost, "lost", "reported as done, but missing"),
    (Violation::Twice, "twice", "performed more than once"),
    (Violation::RefusedAndDone, "refused and done", "reported as refused, but performed"),
    (Violation::Unanswered, "untold", "neither answered nor given up"),
    (Violation::Wrong, "wrong", "an impossible state, reply or exit status"),
];

const OUTCOMES: [(Outcome, &str); 3] =
    [(Outcome::Done, "done"), (Outcome::Unknown, "unknown"), (Outcome::Refused, "refused")];

/// Why no clock jumped.
const NO_CLOCK: &str = "libfaketime is not installed; Debian's package is faketime";

/// Whether no violation was found.
pub fn is_clean(ledger: &Ledger) -> bool {
    VIOLATIONS.iter().all(|(violation, ..)| ledger.violations(*violation) == 0)
}

/// In the format of the lists of figures.
pub fn figures(settings: &Settings, ledger: &Ledger, events: &Events) -> Vec<Value> {
    let figure = |name: String, value: u64, target: Option<u64>, note: &str| {
        let met = target.map(|target| value <= target);
        json!({ "name": name, "value": value, "unit": "count", "target": target, "met": met, "note": note })
    };
    let mut figures = Vec::new();
    let chaos = if settings.redis { "chaos over Redis" } else { "chaos" };
    for (violation, name, note) in VIOLATIONS {
        figures.push(figure(
            format!("{chaos} {name}"),
            ledger.violations(violation),
            Some(0),
            note,
        ));
    }
    for (kind, what) in [(Kind::Call, "calls"), (Kind::Append, "operations")] {
        for (outcome, name) in OUTCOMES {
            let note = if outcome == Outcome::Done {
                format!("seed {}", settings.seed)
            } else {
                String::new()
            };
            figures.push(figure(
                format!("{chaos} {what} {name}"),
                ledger.count(kind, outcome),
                None,
                &note,
            ));
        }
    }
    let disk = match (settings.redis, events.no_disk) {
        (false, true) => "skipped: mounting a small disk requires root",
        _ => "",
    };
    let clock = if events.no_clock { NO_CLOCK } else { "" };
    let happened = [
        ("kill -9", events.kills, ""),
        ("SIGTERM", events.terminations, ""),
        ("full disks", events.full, disk),
        ("relays that started late", events.late, "their disk was full"),
        ("kill -9 of Redis", events.redis_kills, ""),
        ("pauses of Redis", events.redis_pauses, ""),
        ("cuts of connections to Redis", events.redis_cuts, ""),
        ("clock jumps", events.jumps, clock),
        ("connections", events.connections, ""),
    ];
    figures.extend(
        happened.map(|(name, value, note)| figure(format!("{chaos} {name}"), value, None, note)),
    );
    for (fault, count) in &events.network {
        figures.push(figure(format!("{chaos} network {fault:?}"), *count, None, ""));
    }
    figures
}

/// Prints the report for people.
pub fn print(settings: &Settings, ledger: &Ledger, events: &Events) {
    println!("seed {}, {:.1} s", settings.seed, events.took.as_secs_f64());
    for (kind, what) in [(Kind::Call, "calls"), (Kind::Append, "operations")] {
        let counts =
            OUTCOMES.map(|(outcome, name)| format!("{} {name}", ledger.count(kind, outcome)));
        println!("{what}: {}", counts.join(", "));
    }
    println!(
        "faults: {} kill -9, {} SIGTERM, {} full disks, {} clock jumps; Redis: {} kill -9, {} pauses, {} cuts; network {:?} in {} connections",
        events.kills,
        events.terminations,
        events.full,
        events.jumps,
        events.redis_kills,
        events.redis_pauses,
        events.redis_cuts,
        events.network,
        events.connections
    );
    if events.no_clock {
        println!("skipped: clock jumps ({NO_CLOCK})");
    }
    if events.no_disk && !settings.redis {
        println!("skipped: full disks (mounting a small disk requires root)");
    }
    for (violation, name, note) in VIOLATIONS {
        println!("{:>6}  {name}: {note}", ledger.violations(violation));
    }
    for line in ledger.descriptions() {
        println!("  {line}");
    }
    if !is_clean(ledger) {
        println!(
            "to repeat: cargo xtask chaos {}--seed {} --calls {} --operations {} \
             (how faults coincide depends on the machine's load)",
            if settings.redis { "--redis " } else { "" },
            settings.seed,
            settings.calls,
            settings.operations
        );
    }
}
