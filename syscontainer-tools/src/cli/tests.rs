use super::*;

#[test]
fn the_grammar_has_no_contradiction() {
    command().debug_assert();
}

#[test]
fn options_stand_anywhere_with_one_dash_or_two() {
    let parse = |line: &str| {
        let arguments = words(line.split(' ').map(OsString::from));
        let matches = command().try_get_matches_from(arguments).unwrap();
        format!("{:?}", Cli::from_arg_matches(&matches).unwrap())
    };
    let plain = parse("isulad-tools --debug list-device --pretty --sub-partition web");
    for other in [
        "isulad-tools list-device web -pretty --sub-partition --debug",
        "isulad-tools -debug list-device -p web --sub-partition=true",
        "isulad-tools list-device --pretty web -D -sub-partition --qos=false",
    ] {
        assert_eq!(parse(other), plain, "{other}");
    }
    let add = parse("isulad-tools add-device --force web /dev/x --update-config-only");
    assert!(add.contains(r#"devices: ["/dev/x"]"#) && add.contains("update_config_only: true"));
}
