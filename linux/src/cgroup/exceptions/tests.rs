use expect_test::expect;
use proptest::prelude::*;

use super::*;

fn rule(
    allow: bool,
    kind: Kind,
    major: Option<u32>,
    minor: Option<u32>,
    access: &str,
) -> DeviceRule {
    DeviceRule { allow, kind, major, minor, access: access.parse().unwrap() }
}

/// Decides as devcgroup_check_permission() does.
fn kernel(state: &Exceptions, kind: Kind, major: u32, minor: u32, wanted: Access) -> bool {
    let device = (kind, Some(major), Some(minor));
    let mut matching = state.list.iter().filter(|(key, _)| covers(**key, device));
    match state.default_allow {
        false => matching.any(|(_, access)| access.and(wanted) == wanted),
        true => !matching.any(|(_, access)| !access.and(wanted).is_empty()),
    }
}

#[test]
fn baseline_becomes_its_own_lines() {
    let mut rules = vec![DeviceRule::everything(false)];
    rules.extend(DeviceRules::baseline());
    let state = Exceptions::from_rules(&DeviceRules::new(rules)).unwrap();
    assert!(!state.default_allow);
    expect![[r#"
        b *:* m
        c *:* m
        c 1:3 rwm
        c 1:5 rwm
        c 1:7 rwm
        c 1:8 rwm
        c 1:9 rwm
        c 5:0 rwm
        c 5:2 rwm
        c 136:* rwm"#]]
    .assert_eq(&state.lines_beyond(&Exceptions::default()).join("\n"));
    let text = "b *:* m\nc *:* m\nc 1:3 rwm\nc 1:5 rwm\nc 1:7 rwm\nc 1:8 rwm\nc 1:9 rwm\n\
                c 5:0 rwm\nc 5:2 rwm\nc 136:* rwm\n";
    assert_eq!(Exceptions::from_list(text), Some(state));
}

#[test]
fn a_later_denial_takes_back_what_it_covers() {
    let state = Exceptions::from_rules(&DeviceRules::new(vec![
        rule(true, Kind::Char, Some(10), Some(229), "rwm"),
        rule(false, Kind::Char, Some(10), None, "w"),
    ]));
    let lines = state.unwrap().lines_beyond(&Exceptions::default());
    assert_eq!(lines, ["c 10:229 rm"]);
}

#[test]
fn a_hole_in_a_wildcard_is_refused_by_name() {
    let hole = |access| {
        Exceptions::from_rules(&DeviceRules::new(vec![
            rule(true, Kind::Char, Some(10), None, access),
            rule(false, Kind::Char, Some(10), Some(229), "rwm"),
        ]))
    };
    expect![[r#"device rule "deny c 10:229 rwm" within "c 10:* rw": operation not supported (EOPNOTSUPP); cgroup v1 cannot except a part of a wildcard; list the devices one by one"#]]
    .assert_eq(&hole("rw").unwrap_err().to_string());
    assert!(hole("m").is_ok(), "the node may be made but not opened");
}

#[test]
fn the_list_of_an_unrestricted_cgroup() {
    let state = Exceptions::from_list("a *:* rwm\n").unwrap();
    assert!(state.default_allow);
    assert_eq!(Exceptions::from_list("x 1:2 r\n"), None);
}

proptest! {
    #[test]
    fn decides_as_the_rules_do_or_is_refused(rules in super::super::program::tests::rules()) {
        let Ok(state) = Exceptions::from_rules(&rules) else { return Ok(()) };
        for kind in [Kind::Block, Kind::Char] {
            for major in [0, 1, 2, u32::MAX] {
                for minor in [0, 1, 3, u32::MAX] {
                    // The kernel asks for mknod alone or for an open.
                    for bits in ["r", "w", "rw"] {
                        let wanted: Access = bits.parse().unwrap();
                        let expected = rules.granted(kind, major, minor, wanted) == wanted;
                        let answer = kernel(&state, kind, major, minor, wanted);
                        prop_assert_eq!(answer, expected, "{:?} {}:{} {}", kind, major, minor, bits);
                    }
                    let mknod = rules.granted(kind, major, minor, Access::MKNOD);
                    let answer = kernel(&state, kind, major, minor, Access::MKNOD);
                    prop_assert!(answer || mknod.is_empty());
                }
            }
        }
    }
}
