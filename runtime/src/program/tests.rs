use super::*;

#[test]
fn a_home_is_the_sixth_field_of_the_user() {
    let text =
        "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:7:7::/srv/web:\nodd:x:8:8::relative:\n";
    assert_eq!(passwd_home(text, 7).as_deref(), Some("/srv/web"));
    assert_eq!(passwd_home("root:x:0:0:root:/root:/bin/sh\n", 1), None);
    assert_eq!(passwd_home(text, 8), None);
}

#[test]
fn a_broken_line_hides_no_later_one() {
    assert_eq!(passwd_home("broken\n\nweb:x:7:7::/srv/web:\n", 7).as_deref(), Some("/srv/web"));
}

#[test]
fn the_last_value_of_a_variable_counts() {
    let env = ["PATH=/a", "PATHS=/b", "PATH=/c"].map(str::to_owned);
    assert_eq!(search_path(&env), "/c");
    assert_eq!(search_path(&[]), DEFAULT_PATH);
}
