//! Users and groups by the files of a rootfs: never by the host's.

use anyhow::{Result, bail};
use linux::root::Root;
use rustix::io::Errno;

use crate::host::Identity;

const FILE_MAX: usize = 10 << 20;

/// What `NAME|UID[:GROUP|GID]` and further groups mean inside.
pub fn resolve(root: &Root, user: &str, group_add: &[String]) -> Result<Identity> {
    let needs_files = !group_add.is_empty() || !user.is_empty();
    if !needs_files {
        return Ok(Identity::default());
    }
    let passwd = read(root, "etc/passwd")?;
    let group = read(root, "etc/group")?;
    lookup(&passwd, &group, user, group_add)
}

fn read(root: &Root, path: &str) -> Result<String> {
    match root.read_file(path, FILE_MAX) {
        Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Err(error) if error.is(Errno::NOENT) => Ok(String::new()),
        Err(error) => Err(error.into()),
    }
}

/// The same over the text of the two files (pure).
pub fn lookup(passwd: &str, group: &str, user: &str, group_add: &[String]) -> Result<Identity> {
    let (user, own_group) = user.split_once(':').map_or((user, None), |(u, g)| (u, Some(g)));
    let user = if user.is_empty() { "0" } else { user };
    let entry = passwd.lines().map(fields).find(|entry| named(entry, user));
    let mut identity = Identity::default();
    match (&entry, user.parse::<u32>()) {
        (Some(entry), _) => {
            identity.uid = number(entry, 2);
            identity.gid = number(entry, 3);
            identity.home = entry.get(5).map(|&home| home.to_owned());
        }
        (None, Ok(uid)) => identity.uid = uid,
        (None, Err(_)) => bail!("user {user:?} is not in the rootfs's etc/passwd"),
    }
    match own_group {
        Some(name) => identity.gid = gid(group, name)?,
        None => {
            // As login(1) does it: the groups that list the user's name.
            if let Some(&name) = entry.as_ref().and_then(|entry| entry.first()) {
                identity.groups = memberships(group, name);
            }
        }
    }
    for name in group_add {
        identity.groups.push(gid(group, name)?);
    }
    identity.groups.sort_unstable();
    identity.groups.dedup();
    Ok(identity)
}

fn fields(line: &str) -> Vec<&str> {
    line.split(':').collect()
}

/// By name, else by number.
fn named(entry: &[&str], wanted: &str) -> bool {
    entry.first() == Some(&wanted) || (entry.len() > 2 && entry[2] == wanted)
}

fn number(entry: &[&str], index: usize) -> u32 {
    entry.get(index).and_then(|field| field.parse().ok()).unwrap_or(0)
}

fn gid(group: &str, name: &str) -> Result<u32> {
    if let Some(entry) = group.lines().map(fields).find(|entry| entry.first() == Some(&name)) {
        return Ok(number(&entry, 2));
    }
    let Ok(gid) = name.parse() else { bail!("group {name:?} is not in the rootfs's etc/group") };
    Ok(gid)
}

fn memberships(group: &str, user: &str) -> Vec<u32> {
    let lists_user = |entry: &Vec<&str>| {
        entry.get(3).is_some_and(|members| members.split(',').any(|member| member == user))
    };
    group.lines().map(fields).filter(lists_user).map(|entry| number(&entry, 2)).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/var/www:/bin/false\n";
    const GROUP: &str = "root:x:0:\nweb:x:33:\nadm:x:4:web,root\ndisk:x:6:\n";

    fn check(user: &str, group_add: &[&str]) -> Result<(u32, u32, Vec<u32>)> {
        let group_add: Vec<String> = group_add.iter().map(|&name| name.to_owned()).collect();
        let identity = lookup(PASSWD, GROUP, user, &group_add)?;
        Ok((identity.uid, identity.gid, identity.groups))
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(check("web", &[]).unwrap(), (33, 33, vec![4]));
        assert_eq!(check("33", &[]).unwrap(), (33, 33, vec![4]));
        assert_eq!(check("web:disk", &[]).unwrap(), (33, 6, vec![]));
        assert_eq!(check("1000", &[]).unwrap(), (1000, 0, vec![]));
        assert_eq!(check("1000:7", &["disk", "44"]).unwrap(), (1000, 7, vec![6, 44]));
        assert_eq!(check("", &[]).unwrap(), (0, 0, vec![4]));
    }

    #[test]
    fn who_is_not_there() {
        expect![[r#"user "mail" is not in the rootfs's etc/passwd"#]]
            .assert_eq(&check("mail", &[]).unwrap_err().to_string());
        expect![[r#"group "mail" is not in the rootfs's etc/group"#]]
            .assert_eq(&check("web", &["mail"]).unwrap_err().to_string());
    }
}
