use expect_test::expect;

use super::*;

#[test]
fn restart_policies() {
    for text in ["no", "always", "on-failure", "on-failure:3", "unless-stopped", "on-reboot"] {
        assert_eq!(text.parse::<RestartPolicy>().unwrap().to_string(), text);
    }
    assert_eq!("on-failure:0".parse(), Ok(RestartPolicy::OnFailure(0)));
}

#[test]
fn refused_restart_policies() {
    let texts = ["never", "on-failure:x", "on-failure:-1", "always:3", "on-failure:1:2"]
        .map(|text| text.parse::<RestartPolicy>().unwrap_err().to_string());
    expect![[r#"
        Invalid restart policy 'never'; use no, always, on-failure[:N], unless-stopped or on-reboot
        Maximum retry count must be an integer
        Maximum retry count cannot be negative
        Maximum retry count cannot be used with restart policy 'always'
        Invalid restart policy format"#]]
    .assert_eq(&texts.join("\n"));
}
