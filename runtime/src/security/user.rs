//! Names of users and groups, looked up in the container's own `/etc/passwd` and `/etc/group`.
//!
//! The files belong to the guest: they are read through the root's descriptor, regular files of
//! bounded size only, and parsed without any library of the host or the guest. A word is a number
//! or a name, never half of each: what looks like a number but is none is refused, not guessed.

use linux::Errno;
use linux::root::Root;

use crate::error::During as _;
use crate::{Error, Result};

/// The largest file read; a line for each of 65536 users fits.
const LARGEST: usize = 8 << 20;
/// `(uid_t) -1` means "leave as it is" to setresuid(2).
const NOBODY_AT_ALL: u32 = u32::MAX;

/// Who a process in the container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Further groups, without repetition.
    pub additional_gids: Vec<u32>,
    /// The user's name, if the container knows one.
    pub name: Option<String>,
    /// The user's home directory, if the container knows one.
    pub home: Option<String>,
}

/// Finds who `user` is: `[user][:group]`, each a name or a number. Nothing at all is root.
///
/// Without a group, a known user has the group and the further groups of the container's files, an
/// unknown number has group 0. With one, the group is that alone. `extra` groups come on top.
///
/// # Errors
/// `user` or a group is malformed or unknown, or a file cannot be read.
pub fn find(root: &Root, user: &str, extra: &[String]) -> Result<Identity> {
    let passwd = read(root, "/etc/passwd")?;
    let group = read(root, "/etc/group")?;
    find_in(&passwd, &group, user, extra)
}

fn read(root: &Root, path: &str) -> Result<Vec<u8>> {
    match root.read_file(path, LARGEST) {
        Ok(text) => Ok(text),
        Err(error) if error.is(Errno::NOENT) || error.is(Errno::NOTDIR) => Ok(Vec::new()),
        Err(error) => Err(error).step(|| "look up the user in the container".into()),
    }
}

fn find_in(passwd: &[u8], group: &[u8], user: &str, extra: &[String]) -> Result<Identity> {
    let (user_word, group_word) = match user.split_once(':') {
        Some((user_word, group_word)) => (user_word, Some(group_word)),
        None => (user, None),
    };
    if group_word.is_some_and(|word| word.is_empty() || word.contains(':')) {
        return Err(refuse("user", user, "want USER, USER:GROUP or :GROUP"));
    }
    let word = if user_word.is_empty() { Word::Number(0) } else { Word::parse("user", user_word)? };
    let entry = users(passwd).find(|entry| word.is(entry.name, entry.uid));
    let uid = match (&word, &entry) {
        (_, Some(entry)) => entry.uid,
        (Word::Number(uid), None) => *uid,
        (Word::Name(name), None) => {
            return Err(refuse("user", name, "not in the container's /etc/passwd"));
        }
    };

    let mut additional_gids = Vec::new();
    let gid = match group_word {
        Some(word) => find_group(group, word)?,
        None => {
            if let Some(entry) = &entry {
                additional_gids
                    .extend(groups(group).filter(|g| g.has(entry.name)).map(|group| group.gid));
            }
            entry.as_ref().map_or(0, |entry| entry.gid)
        }
    };
    for word in extra {
        additional_gids.push(find_group(group, word)?);
    }
    let mut seen = Vec::new();
    additional_gids.retain(|gid| !seen.contains(gid) && (seen.push(*gid), true).1);

    let text = |bytes: &[u8]| str::from_utf8(bytes).ok().map(str::to_owned);
    Ok(Identity {
        uid,
        gid,
        additional_gids,
        name: entry.as_ref().and_then(|entry| text(entry.name)),
        home: entry
            .as_ref()
            .and_then(|entry| text(entry.home))
            .filter(|home| home.starts_with('/')),
    })
}

fn find_group(group: &[u8], word: &str) -> Result<u32> {
    let word = Word::parse("group", word)?;
    match (groups(group).find(|group| word.is(group.name, group.gid)), word) {
        (Some(group), _) => Ok(group.gid),
        (None, Word::Number(gid)) => Ok(gid),
        (None, Word::Name(name)) => Err(refuse("group", name, "not in the container's /etc/group")),
    }
}

/// A number or a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word<'a> {
    Number(u32),
    Name(&'a str),
}

impl<'a> Word<'a> {
    /// A word of digits alone is a number, and written as one writes numbers. A name is portable
    /// (POSIX 3.437) plus `$` at its end and `@` and `\` within, as directory services make them.
    fn parse(kind: &'static str, word: &'a str) -> Result<Self> {
        if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) {
            if word.len() > 1 && word.starts_with('0') {
                return Err(refuse(kind, word, "a number has no leading zeros"));
            }
            return match word.parse::<u32>() {
                Ok(number) if number != NOBODY_AT_ALL => Ok(Self::Number(number)),
                _ => Err(refuse(kind, word, "the largest id is 4294967294")),
            };
        }
        let bytes = word.strip_suffix('$').unwrap_or(word).bytes();
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@\\".contains(&byte);
        let first = word.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !first || word.len() > 256 || !bytes.clone().all(inside) {
            return Err(refuse(kind, word, "neither a number nor a name"));
        }
        Ok(Self::Name(word))
    }

    fn is(&self, name: &[u8], id: u32) -> bool {
        match self {
            Self::Number(number) => *number == id,
            Self::Name(wanted) => wanted.as_bytes() == name,
        }
    }
}

/// A line of passwd(5): `name:password:uid:gid:comment:home:shell`.
#[derive(Debug)]
struct UserEntry<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

/// A line of group(5): `name:password:gid:member,member`.
#[derive(Debug)]
struct GroupEntry<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

impl GroupEntry<'_> {
    fn has(&self, user: &[u8]) -> bool {
        self.members.split(|&byte| byte == b',').any(|member| member == user)
    }
}

/// The well-formed lines; another is skipped, as the C library does.
fn users(passwd: &[u8]) -> impl Iterator<Item = UserEntry<'_>> {
    lines(passwd).filter_map(|mut fields| {
        let name = fields.next()?;
        let uid = id(fields.nth(1)?)?;
        let gid = id(fields.next()?)?;
        let home = fields.nth(1)?;
        fields.next()?;
        (!name.is_empty() && fields.next().is_none()).then_some(UserEntry { name, uid, gid, home })
    })
}

fn groups(group: &[u8]) -> impl Iterator<Item = GroupEntry<'_>> {
    lines(group).filter_map(|mut fields| {
        let name = fields.next()?;
        let gid = id(fields.nth(1)?)?;
        let members = fields.next()?;
        (!name.is_empty() && fields.next().is_none()).then_some(GroupEntry { name, gid, members })
    })
}

fn lines(text: &[u8]) -> impl Iterator<Item = impl Iterator<Item = &[u8]>> {
    text.split(|&byte| byte == b'\n').map(|line| line.split(|&byte| byte == b':'))
}

fn id(field: &[u8]) -> Option<u32> {
    if field.is_empty() || !field.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(field).ok()?.parse().ok().filter(|&id| id != NOBODY_AT_ALL)
}

fn refuse(member: &'static str, word: &str, reason: &str) -> Error {
    Error::Usage(format!("{member} {word:?}: {reason}"))
}

#[cfg(test)]
mod tests;
