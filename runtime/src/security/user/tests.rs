use std::os::unix::fs::symlink;

use expect_test::{Expect, expect};

use super::*;

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh
# a comment
web:x:1000:1000:,,,:/home/web:/bin/sh
broken:x:12
minus:x:-5:0::/:/bin/sh
wide:x:99999999999:0::/:/bin/sh
4000:x:4001:4001::/home/4000:/bin/sh
nohome:x:1001:1001::relative:/bin/sh
svc$:x:1002:1002::/srv:/bin/sh
late:x:1000:7::/late:/bin/sh
";
const GROUP: &[u8] = b"root:x:0:
adm:x:4:web,other
web:x:1000:
disk:x:6:root,web
web2:x:4:web
tail:x:9:nohome,webber";

fn check(user: &str, extra: &[&str], expect: Expect) {
    let extra: Vec<String> = extra.iter().map(|&word| word.to_owned()).collect();
    let answer = match find_in(PASSWD, GROUP, user, &extra) {
        Ok(who) => format!(
            "{}:{} {:?} {} {}",
            who.uid,
            who.gid,
            who.additional_gids,
            who.name.as_deref().unwrap_or("-"),
            who.home.as_deref().unwrap_or("-")
        ),
        Err(error) => error.to_string(),
    };
    expect.assert_eq(&answer);
}

#[test]
fn users_and_groups() {
    check("", &[], expect!["0:0 [6] root /root"]);
    check("web", &[], expect!["1000:1000 [4, 6] web /home/web"]);
    check("1000", &[], expect!["1000:1000 [4, 6] web /home/web"]);
    check("web:adm", &[], expect!["1000:4 [] web /home/web"]);
    check("web:77", &[], expect!["1000:77 [] web /home/web"]);
    check(":adm", &[], expect!["0:4 [] root /root"]);
    check("5000", &[], expect!["5000:0 [] - -"]);
    check("5000:5001", &[], expect!["5000:5001 [] - -"]);
    check("nohome", &[], expect!["1001:1001 [9] nohome -"]);
    check("svc$", &[], expect!["1002:1002 [] svc$ /srv"]);
    check("web", &["tail", "4", "8"], expect!["1000:1000 [4, 6, 9, 8] web /home/web"]);
    check("4294967294", &[], expect!["4294967294:0 [] - -"]);
}

#[test]
fn a_word_of_digits_is_a_number_even_if_somebody_is_called_so() {
    check("4000", &[], expect!["4000:0 [] - -"]);
}

#[test]
fn words_that_are_refused() {
    check("nobody", &[], expect![[r#"user "nobody": not in the container's /etc/passwd"#]]);
    check("web:staff", &[], expect![[r#"group "staff": not in the container's /etc/group"#]]);
    check("broken", &[], expect![[r#"user "broken": not in the container's /etc/passwd"#]]);
    check("minus", &[], expect![[r#"user "minus": not in the container's /etc/passwd"#]]);
    check("wide", &[], expect![[r#"user "wide": not in the container's /etc/passwd"#]]);
    check("web:", &[], expect![[r#"user "web:": want USER, USER:GROUP or :GROUP"#]]);
    check("web:adm:x", &[], expect![[r#"user "web:adm:x": want USER, USER:GROUP or :GROUP"#]]);
    check("-1", &[], expect![[r#"user "-1": neither a number nor a name"#]]);
    check("+1", &[], expect![[r#"user "+1": neither a number nor a name"#]]);
    check(" 1", &[], expect![[r#"user " 1": neither a number nor a name"#]]);
    check("1 ", &[], expect![[r#"user "1 ": neither a number nor a name"#]]);
    check("0x10", &[], expect![[r#"user "0x10": not in the container's /etc/passwd"#]]);
    check("01", &[], expect![[r#"user "01": a number has no leading zeros"#]]);
    check("00", &[], expect![[r#"user "00": a number has no leading zeros"#]]);
    check("4294967295", &[], expect![[r#"user "4294967295": the largest id is 4294967294"#]]);
    check(
        "99999999999999999999",
        &[],
        expect![[r#"user "99999999999999999999": the largest id is 4294967294"#]],
    );
    check("web\nroot", &[], expect![[r#"user "web\nroot": neither a number nor a name"#]]);
    check("../root", &[], expect![[r#"user "../root": neither a number nor a name"#]]);
    check("web", &[""], expect![[r#"group "": neither a number nor a name"#]]);
}

proptest::proptest! {
    /// Whatever is typed: an id that is not root's comes from a number or from the files.
    #[test]
    fn nothing_becomes_root_by_accident(word in "\\PC{0,12}") {
        if let Ok(who) = find_in(PASSWD, GROUP, &word, &[]) && who.uid == 0 {
            let user = word.split(':').next().unwrap_or_default();
            assert!(matches!(user, "" | "0" | "root"), "{word:?}");
        }
    }
}

fn root_with(make: impl FnOnce(&std::path::Path)) -> Result<Identity> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("etc")).unwrap();
    make(&directory.path().join("etc"));
    find(&Root::open(directory.path()).unwrap(), "web", &[])
}

#[test]
fn files_are_the_container_s_own() {
    let who = root_with(|etc| {
        std::fs::write(etc.join("real"), PASSWD).unwrap();
        // Inside the container, this is its own /etc/real.
        symlink("/etc/real", etc.join("passwd")).unwrap();
    });
    assert_eq!(who.unwrap().uid, 1000);
    let missing = root_with(|_| {}).unwrap_err().to_string();
    expect![[r#"user "web": not in the container's /etc/passwd"#]].assert_eq(&missing);
}

#[test]
fn a_file_that_would_block_or_fill_memory_is_refused() {
    let fifo = root_with(|etc| {
        let kind = rustix::fs::FileType::Fifo;
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, etc.join("passwd"), kind, mode, 0).unwrap();
    });
    assert!(fifo.is_err());
    let large = root_with(|etc| {
        let file = std::fs::File::create(etc.join("passwd")).unwrap();
        file.set_len(9 << 20).unwrap();
    });
    assert!(large.is_err());
}
