use expect_test::expect;
use proptest::prelude::*;

use super::*;

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

#[test]
fn requests_have_the_documented_form() {
    let attach = Attach { stdin: true, stdout: true, stderr: false, replay: true, lossless: false };
    expect![[
        r#"{"attach":{"stdin":true,"stdout":true,"stderr":false,"replay":true,"lossless":false}}"#
    ]]
    .assert_eq(&json(&Request::Attach(attach)));
    expect![[r#"{"stop":{"signal":null,"timeout_ms":-1,"force":false}}"#]]
        .assert_eq(&json(&Request::Stop(Stop { timeout_ms: -1, ..Stop::default() })));
    expect![[r#"{"kill":{"signal":"KILL"}}"#]]
        .assert_eq(&json(&Request::Kill(Kill { signal: "KILL".into() })));
    expect![[r#"{"resize":{"rows":24,"cols":80}}"#]]
        .assert_eq(&json(&Request::Resize(Size { rows: 24, cols: 80 })));
    expect![[r#"{"wait":{}}"#]].assert_eq(&json(&Request::Wait {}));
    expect![[r#"{"state":{}}"#]].assert_eq(&json(&Request::State {}));
}

#[test]
fn optional_parts_of_requests_may_be_left_out() {
    let stop: Request = serde_json::from_str(r#"{"stop":{"timeout_ms":10000}}"#).unwrap();
    assert_eq!(stop, Request::Stop(Stop { signal: None, timeout_ms: 10_000, force: false }));
}

#[test]
fn an_unknown_request_or_field_is_refused_by_name() {
    let unknown = serde_json::from_str::<Request>(r#"{"explode":{}}"#).unwrap_err().to_string();
    assert!(unknown.contains("unknown variant `explode`"), "{unknown}");
    let field = serde_json::from_str::<Request>(r#"{"stop":{"timeout_ms":1,"gently":true}}"#)
        .unwrap_err()
        .to_string();
    assert!(field.contains("unknown field `gently`"), "{field}");
}

#[test]
fn replies_and_ready_lines_have_the_documented_form() {
    expect![[r#"{"done":{}}"#]].assert_eq(&json(&Reply::Done {}));
    expect![[r#"{"exit":{"code":137}}"#]].assert_eq(&json(&Reply::Exit { code: 137 }));
    for (line, ready) in [
        (r#"{"pid":42}"#, Ready::Started { pid: 42 }),
        (r#"{"error":"no","exit_code":127}"#, Ready::Failed { error: "no".into(), exit_code: 127 }),
        (r#"{"ready":true}"#, Ready::Ready { ready: true }),
        (r#"{"exited":3}"#, Ready::Exited { exited: 3 }),
    ] {
        assert_eq!(json(&ready), line);
        assert_eq!(serde_json::from_str::<Ready>(line).unwrap(), ready);
    }
}

#[test]
fn a_malformed_packet_says_what_is_wrong() {
    expect!["empty packet"].assert_eq(&parse(&[]).unwrap_err().to_string());
    expect!["packet of unknown kind 200"].assert_eq(&parse(&[200, 1]).unwrap_err().to_string());
    expect!["packet longer than 32769 bytes"]
        .assert_eq(&parse(&vec![0; PACKET_MAX + 1]).unwrap_err().to_string());
}

proptest! {
    #[test]
    fn a_packet_is_read_back_as_it_was_made(
        byte in 0u8..=9,
        payload in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let kind = Kind::from_byte(byte).unwrap();
        let packet = kind.packet(&payload);
        prop_assert_eq!(parse(&packet).unwrap(), (kind, &payload[..]));
    }

    #[test]
    fn no_packet_makes_the_parser_panic(packet in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse(&packet);
        let _ = serde_json::from_slice::<Request>(&packet);
    }
}
