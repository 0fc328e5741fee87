//! Tests: which calls an app accepts, and which are lost.

use super::*;

#[test]
fn an_app_takes_so_many_calls_or_so_many_bytes_and_at_least_one() {
    let small = App::new(1, "ada", 0);
    assert_eq!((0..200).filter(|_| small.takes(10)).count(), MAX_CALLS);
    let half = App::new(2, "ada", 0);
    assert_eq!((0..200).filter(|_| half.takes(MAX_BYTES / 2)).count(), 2);
    let large = App::new(3, "ada", 0);
    assert!(large.takes(10 * MAX_BYTES) && !large.takes(0));
    let talkative = App::new(4, "ada", 0);
    assert!(talkative.takes(0));
    lock(&talkative.state).longest_answer = MAX_BYTES + 1;
    assert!(!talkative.takes(0), "its outputs are part of every status response");
}

/// Registers waiters for calls that started at these times.
fn waiting(app: &App, calls: &[(i32, Option<Instant>)]) -> Vec<oneshot::Receiver<CallEnd>> {
    let wait = |(id, started): &(i32, Option<Instant>)| {
        let (sender, receiver) = oneshot::channel();
        lock(&app.state).waiting.insert(*id, Waiting { sender, started: *started });
        receiver
    };
    calls.iter().map(wait).collect()
}

fn result(id: i32) -> Ended<'static> {
    let (user, function) = ("ada".into(), "f".into());
    Ended { id, user, function, return_value: 0, output_data: "".into() }
}

#[test]
fn calls_are_lost_where_they_had_started_before_and_have_no_result() {
    let asked = Instant::now();
    let (before, after) = (asked - Duration::from_secs(1), asked + Duration::from_secs(1));
    let (app, counts) = (App::new(1, "ada", 0), FaasmCounts::default());
    let calls = [(1, Some(before)), (2, Some(before)), (3, Some(after)), (4, None)];
    let mut receivers = waiting(&app, &calls);
    let why = "worker 10.77.0.3 is gone".to_owned();
    let over = Over { at: asked, why, is_gone: true };
    assert!(app.takes(0));
    assert!(app.deliver(&[result(2)], Some(&over), &counts));
    let Ok(CallEnd::Lost(why)) = receivers[0].try_recv() else { panic!("it had started") };
    assert!(why.contains("10.77.0.3"));
    assert!(matches!(receivers[1].try_recv(), Ok(CallEnd::Ended(_))), "its result was delivered");
    assert!(receivers[2].try_recv().is_err(), "it may be on another worker");
    assert!(receivers[3].try_recv().is_err(), "it may not have started");
    assert_eq!(counts.lost.get(), 1);
    assert!(!app.takes(0), "the app stays in flight forever");
}

#[test]
fn results_of_another_user_or_nobody_change_nothing() {
    let (app, counts) = (App::new(1, "eve", 0), FaasmCounts::default());
    let mut receivers = waiting(&app, &[(1, None)]);
    assert!(!app.deliver(&[result(1), result(7)], None, &counts));
    assert!(receivers[0].try_recv().is_err());
    assert!(app.takes(0));
    app.give_up("more than 3 bytes");
    assert!(matches!(receivers[0].try_recv(), Ok(CallEnd::Lost(_))));
    assert!(!app.takes(0), "its status responses are too long for further calls, too");
}

#[test]
fn an_app_is_left_when_a_worker_has_left() {
    let app = App::new(1, "ada", 3);
    assert!(app.is_open(3) && !app.is_open(4));
    app.close();
    assert!(!app.is_open(3));
}
