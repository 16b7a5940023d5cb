use expect_test::expect;

use super::*;

#[test]
fn an_id_is_64_hex_digits() {
    let id = ContainerId::random().unwrap();
    assert_eq!(id.as_str().parse(), Ok(id.clone()));
    assert_eq!(id.short().len(), 12);
    assert_ne!(ContainerId::random().unwrap(), id);
    expect!["invalid container id \"AB\"; an id is 64 hexadecimal digits"]
        .assert_eq(&"AB".parse::<ContainerId>().unwrap_err().to_string());
    "A".repeat(64).parse::<ContainerId>().unwrap_err();
}

#[test]
fn names_keep_the_predecessors_alphabet() {
    for good in ["web1", "a-b", "0_.", "/web1"] {
        good.parse::<ContainerName>().unwrap();
    }
    assert_eq!("/web1".parse::<ContainerName>().unwrap().as_str(), "web1");
    for bad in ["", "a", "-ab", ".ab", "a b", "a/b", "../etc", "a\n", "//web"] {
        bad.parse::<ContainerName>().unwrap_err();
    }
    expect!["Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed."]
        .assert_eq(&"a b".parse::<ContainerName>().unwrap_err().to_string());
    expect!["invalid container name of 256 characters; use at most 255"]
        .assert_eq(&"a".repeat(256).parse::<ContainerName>().unwrap_err().to_string());
}
