use super::*;

#[test]
fn the_grammar_has_no_contradiction() {
    command().debug_assert();
    for verb in verbs::ALL {
        verb.alone(Cli::command()).debug_assert();
    }
}

#[test]
fn options_stand_anywhere_with_one_dash_or_two() {
    let parse = |line: &str| {
        let arguments: Vec<_> = words(line.split(' ').map(OsString::from)).collect();
        let (verb, matches) = parse(&arguments).unwrap();
        let global = Global::from_arg_matches(&matches).unwrap();
        let arguments = match verb.name {
            "list-device" => format!("{:?}", device::ListDeviceArgs::from_arg_matches(&matches)),
            _ => format!("{:?}", device::AddDeviceArgs::from_arg_matches(&matches)),
        };
        format!("{global:?} {arguments}")
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

/// One command's grammar answers as all of them do.
#[test]
fn a_word_that_is_no_command_is_none() {
    let outcome = |line: &str, parse: fn(&[OsString]) -> Result<_, clap::Error>| {
        let words: Vec<_> = line.split(' ').map(OsString::from).collect();
        match parse(&words) {
            Ok((verb, matches)) => {
                let verb: &Verb = verb;
                let global = Global::from_arg_matches(&matches).unwrap();
                let named = matches.get_one::<String>("container");
                format!("{} {global:?} {named:?}", verb.name)
            }
            Err(error) => error.to_string(),
        }
    };
    for line in [
        "isulad-tools",
        "isulad-tools --version",
        "isulad-tools --help",
        "isulad-tools add-nic --help",
        "isulad-tools list-nic add-nic",
        "isulad-tools --log add-nic list-nic web",
        "isulad-tools --log add-nic",
        "isulad-tools --log add-nic lits-nic web",
        "isulad-tools --log list-nic web",
        "isulad-tools --log list-nic web other",
        "isulad-tools --log list-nic list-nic web",
        "isulad-tools list-nic list-nic",
        "isulad-tools list-nic -- list-nic",
        "isulad-tools -- list-nic web",
        "isulad-tools list-nic web --json --timeout 5",
        "isulad-tools list-nic web extra",
        "isulad-tools list-nic --log",
        "isulad-tools nothing",
    ] {
        assert_eq!(outcome(line, parse), outcome(line, parse_by_all), "{line}");
    }
}
