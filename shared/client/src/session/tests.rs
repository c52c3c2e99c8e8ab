use model::Timestamp;
use protocol::frame::Ready;
use protocol::http::client::ProblemBody;

use super::*;

const LONG: Option<Duration> = Some(Duration::from_secs(60));

fn target(node: &str) -> Target {
    let node_id = node.parse().unwrap();
    Target { node_id, url: format!("ws://{node}/"), ticket: "t".into() }
}

fn assignment(delay_ms: u64, alternates: &[&str]) -> Assignment {
    Assignment {
        target: target("N1"),
        alternates: alternates.iter().map(|node| target(node)).collect(),
        delay: Duration::from_millis(delay_ms),
    }
}

fn ready(cursor: &str) -> ServerFrame {
    ServerFrame::Ready(Ready {
        connection_id: "S1".parse().unwrap(),
        node_id: "N1".parse().unwrap(),
        workspace_id: "demo".parse().unwrap(),
        user_id: "bob".parse().unwrap(),
        cursor: cursor.into(),
        resumed: false,
        accepts: Vec::new(),
        tick: limits::TICK,
        server_time: Timestamp::from_unix_ms(0),
        invisible: false,
    })
}

fn live() -> Session {
    let mut session = Session::new(None, Backoff::seeded(1));
    session.on_assigned(assignment(0, &["N2"]));
    session.on_frame(&ready("c1"));
    session
}

fn closed(code: u16) -> Disconnect {
    Disconnect { code, reason: String::new() }
}

fn refused(code: ErrorCode) -> ApiError {
    let problem = serde_json::json!({ "code": code.as_str(), "retry_after_ms": 4_000 });
    let problem: ProblemBody = serde_json::from_value(problem).unwrap();
    ApiError::Refused { status: code.status(), problem: Box::new(problem) }
}

/// A step as a short text: what to do, at once or after a wait.
fn short(step: &Step) -> String {
    match step {
        Step::Connect { wait, failed, fresh_token } => {
            let wait = if wait.is_zero() { "" } else { "wait, " };
            let token = if *fresh_token { "fresh token, " } else { "" };
            let failed = failed.as_ref().map(|node| format!("?failed={node}")).unwrap_or_default();
            format!("{wait}{token}/connect{failed}")
        }
        Step::Dial { wait, target } => format!("{} ms, dial {}", wait.as_millis(), target.node_id),
    }
}

/// The next step as a short text, or why the client stops.
fn next(step: Result<Step, StopReason>) -> String {
    step.map_or_else(|reason| format!("stop: {reason}"), |step| short(&step))
}

#[test]
fn every_close_code_leads_to_the_step_that_the_protocol_names() {
    let elsewhere = "/connect?failed=N1";
    let cases = [
        (closed(1001), elsewhere),
        (closed(1011), elsewhere),
        (closed(1012), elsewhere),
        (Disconnect::abnormal(), elsewhere),
        (closed(3999), elsewhere),
        (closed(4401), "fresh token, /connect"),
        (closed(4408), "/connect"),
        (closed(1013), "wait, /connect"),
        (closed(4411), elsewhere),
        (closed(4429), "wait, /connect"),
        (closed(4508), "/connect"),
        (closed(1000), "stop: the node closed the socket: 1000 (closed)"),
        (closed(1002), "stop: the node closed the socket: 1002 (protocol_error)"),
        (closed(1003), "stop: the node closed the socket: 1003 (binary_frame)"),
        (closed(1007), "stop: the node closed the socket: 1007 (bad_utf8)"),
        (closed(1009), "stop: the node closed the socket: 1009 (frame_too_big)"),
        (closed(4400), "stop: the node closed the socket: 4400 (bad_frame)"),
        (closed(4403), "stop: the node closed the socket: 4403 (revoked)"),
        (closed(4409), "stop: the node closed the socket: 4409 (too_many_sockets)"),
    ];
    for (disconnect, expected) in &cases {
        assert_eq!(next(live().on_disconnect(disconnect, LONG)), *expected, "{disconnect:?}");
    }
    let covered = |code: &CloseCode| cases.iter().any(|(case, _)| case.code == code.number());
    assert!(CloseCode::ALL.iter().all(covered), "a close code has no case");
}

#[test]
fn a_cursor_moves_with_its_frames_and_outlives_the_socket() {
    let mut session = live();
    assert_eq!(session.cursor(), Some("c1"));
    let tick = ServerFrame::Tick {
        cursor: "c2".into(),
        server_time: Timestamp::from_unix_ms(0),
        fresh: false,
        every: None,
    };
    session.on_frame(&tick);
    session.on_frame(&ServerFrame::Resync { reason: "hole".into(), delay_ms: 5, channels: None });
    session.on_frame(&ServerFrame::Unknown { cursor: None });
    assert_eq!(session.cursor(), Some("c2"));
    session.on_frame(&ServerFrame::Unknown { cursor: Some("c3".into()) });
    session.on_disconnect(&Disconnect::abnormal(), LONG).unwrap();
    assert_eq!(session.cursor(), Some("c3"));
    assert_eq!(Disconnect::abnormal().code, 1006);
}

#[test]
fn an_unreachable_node_is_reported_at_once_and_later_with_backoff() {
    let mut session = Session::new(None, Backoff::seeded(1));
    assert_eq!(short(&session.start()), "/connect");
    assert_eq!(short(&session.on_assigned(assignment(70, &[]))), "70 ms, dial N1");
    assert_eq!(short(&session.on_unreachable()), "/connect?failed=N1");
    session.on_assigned(assignment(0, &[]));
    assert_eq!(short(&session.on_unreachable()), "wait, /connect?failed=N1");
}

#[test]
fn the_second_node_is_dialed_if_connect_fails() {
    let mut session = Session::new(None, Backoff::seeded(1));
    session.on_assigned(assignment(0, &["N2"]));
    session.on_unreachable();
    assert_eq!(next(session.on_connect_failed(refused(ErrorCode::Unavailable))), "0 ms, dial N2");
    session.on_unreachable();
    let step = session.on_connect_failed(refused(ErrorCode::NoCapacity));
    assert_eq!(next(step), "wait, /connect?failed=N2");
    // If a `/connect` fails, the next one carries the same report and token renewal.
    let mut session = live();
    session.on_disconnect(&closed(4401), LONG).unwrap();
    let step = session.on_connect_failed(refused(ErrorCode::Unavailable)).unwrap();
    assert_eq!(short(&step), "wait, fresh token, /connect");
    assert!(matches!(step, Step::Connect { wait, .. } if wait >= Duration::from_secs(4)));
}

#[test]
fn a_final_refusal_of_connect_stops_the_client() {
    for code in [ErrorCode::Forbidden, ErrorCode::InvalidToken, ErrorCode::InvalidField] {
        assert!(next(live().on_connect_failed(refused(code))).starts_with("stop: refused with"));
    }
    let mut session = live();
    for _ in 0..FRESH_TOKENS_MAX {
        let step = next(session.on_connect_failed(refused(ErrorCode::TokenExpired)));
        assert_eq!(step, "wait, fresh token, /connect");
    }
    session.on_connect_failed(refused(ErrorCode::TokenExpired)).unwrap_err();
}

#[test]
fn sockets_that_end_right_after_ready_are_retried_with_backoff() {
    let mut session = live();
    let short_lived = Some(Duration::from_millis(3));
    assert_eq!(next(session.on_disconnect(&closed(1011), short_lived)), "/connect?failed=N1");
    assert_eq!(next(session.on_disconnect(&closed(1011), None)), "wait, /connect?failed=N1");
    assert_eq!(next(session.on_disconnect(&closed(1011), LONG)), "/connect?failed=N1");
}

#[test]
fn a_busy_node_says_how_long_to_wait_and_is_not_reported() {
    let waits = |reason: &str| {
        let reason = reason.to_owned();
        let step = live().on_disconnect(&Disconnect { code: 1013, reason }, LONG).unwrap();
        assert_eq!(short(&step), "wait, /connect");
        let Step::Connect { wait, .. } = step else { panic!("{step:?}") };
        wait
    };
    let (first, _) = limits::CLIENT_BACKOFF;
    let asked = waits("delay_ms=7000");
    assert!(asked > Duration::from_secs(7) && asked <= Duration::from_millis(10_500), "{asked:?}");
    // A bad or absent reason waits as long as after 4429.
    for reason in ["", "busy", "delay_ms=soon", "delay_ms=-1"] {
        assert!(waits(reason) >= first && waits(reason) <= first * 2, "{reason}");
    }
    assert!(waits("delay_ms=99999999999") <= limits::CLIENT_WAIT_MAX * 3 / 2);
    // Only close code 1013 can ask for a wait.
    let reason = "delay_ms=7000".to_owned();
    let step = live().on_disconnect(&Disconnect { code: 1012, reason }, LONG);
    assert_eq!(next(step), "/connect?failed=N1");
}
