use expect_test::expect;
use serde_json::{Value, json};

use super::*;

fn spec(json: Value) -> LinuxCapabilities {
    serde_json::from_value(json).unwrap()
}

fn set(words: &str) -> CapabilitySet {
    words.split_whitespace().map(|word| CapabilitySet::from_name(word).unwrap()).collect()
}

#[test]
fn every_capability_of_the_types_has_a_number() {
    for (name, one) in CapabilitySet::all().iter_names() {
        let list = json!([format!("CAP_{name}")]);
        let read = Capabilities::from_spec(Some(&spec(json!({"bounding": list})))).unwrap();
        assert_eq!(read.bounding, one);
    }
    assert_eq!(CapabilitySet::all().iter_names().count(), 41);
}

#[test]
fn no_capabilities_means_none() {
    let none = Capabilities::from_spec(None).unwrap();
    assert_eq!(none, Capabilities::from_spec(Some(&spec(json!({})))).unwrap());
    assert!(none.bounding.is_empty() && none.permitted.is_empty());
}

#[test]
fn an_unknown_name_is_named() {
    let error = serde_json::from_value::<LinuxCapabilities>(json!({"bounding": ["CAP_FLY"]}));
    assert!(error.unwrap_err().to_string().contains("FLY"));
}

#[test]
fn an_effective_capability_must_be_permitted() {
    let wrong = json!({"effective": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_KILL"]});
    let error = Capabilities::from_spec(Some(&spec(wrong))).unwrap_err().to_string();
    expect!["config.json: process.capabilities.effective: CAP_CHOWN not in permitted; add it there or drop it"]
        .assert_eq(&error);
}

#[test]
fn what_cannot_be_granted_is_left_out() {
    let all = ["CAP_CHOWN", "CAP_KILL", "CAP_SYS_RESOURCE"];
    let wanted = Capabilities::from_spec(Some(&spec(json!({
        "bounding": all, "permitted": all, "effective": all, "inheritable": all, "ambient": all,
    }))))
    .unwrap();
    let host = Grantable { bounding: set("CHOWN KILL"), permitted: set("KILL SYS_RESOURCE") };
    let (granted, missing) = wanted.limited_to(host);
    assert_eq!(granted.bounding, set("CHOWN KILL"));
    assert_eq!(granted.permitted, set("KILL SYS_RESOURCE"));
    assert_eq!(granted.effective, set("KILL SYS_RESOURCE"));
    assert_eq!(granted.inheritable, set("KILL"));
    assert_eq!(granted.ambient, set("KILL"));
    assert_eq!(names(missing), "CAP_CHOWN, CAP_SYS_RESOURCE");
}

#[test]
fn an_ambient_capability_that_is_not_inheritable_is_left_out() {
    let wanted = Capabilities::from_spec(Some(&spec(json!({
        "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"],
    }))))
    .unwrap();
    let everything = Grantable { bounding: set("KILL"), permitted: set("KILL") };
    let (granted, missing) = wanted.limited_to(everything);
    assert!(granted.ambient.is_empty());
    assert_eq!(missing, set("KILL"));
}

#[test]
fn a_user_namespace_grants_whatever_the_kernel_knows() {
    let everything = Grantable::in_user_namespace();
    assert_eq!(everything.bounding, everything.permitted);
    assert!(everything.bounding.contains(set("CHOWN CHECKPOINT_RESTORE SYS_RESOURCE")));
    assert_eq!(everything.bounding.bits() >> 63, 0);
}
