use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

fn check(template: &str, expected: Expect) {
    let value = json!({
        "Id": "abc", "State": {"Pid": 7, "Running": true, "Status": "running"}, "Names": ["a", "b"],
    });
    let text = Template::parse(template).and_then(|template| template.render(&value));
    expected.assert_eq(&text.unwrap_or_else(|error| error.to_string()));
}

#[test]
fn fields_and_json() {
    check("{{.Id}}", expect!["abc"]);
    check("{{json .Id}}|{{json .State.Pid}}", expect![[r#""abc"|7"#]]);
    check("{{ .State.Status }}\\t{{.Names}}", expect![[r#"running	["a","b"]"#]]);
    check("{{json .State}}", expect![[r#"{"Pid":7,"Running":true,"Status":"running"}"#]]);
    check("{{upper .State.Status}} {{len .Names}}", expect!["RUNNING 2"]);
    check("plain", expect!["plain"]);
}

#[test]
fn what_it_does_not_know_it_says() {
    check(
        "{{.State.pid}}",
        expect![[r#"template: there is no field ".State.pid"; there are Pid, Running, Status"#]],
    );
    check("{{.Id", expect![[r#"template: no "}}" after "{{.Id""#]]);
    check(
        "{{range .Names}}",
        expect![[
            r#"template: "{{range .Names}}" is not understood; use {{.Field}} or {{json .Field}}"#
        ]],
    );
    check(
        "{{.Id | json}}",
        expect![[
            r#"template: "{{.Id | json}}" is not understood; use {{.Field}} or {{json .Field}}"#
        ]],
    );
}
