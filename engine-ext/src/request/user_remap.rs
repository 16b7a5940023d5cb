//! `--user-remap UID:GID:SIZE`.

use anyhow::{Result, bail, ensure};
use container::config::UserRemap;

/// The predecessor's text says 65536, and its guide's own example maps 65535.
const SIZE_LIMIT: u32 = 65536;

/// `None` when uid or gid is 0: the option then has no effect, as it is documented.
pub fn parse(text: &str) -> Result<Option<UserRemap>> {
    let parts: Vec<&str> = text.split(':').collect();
    let [uid, gid, size] = parts[..] else {
        bail!("Invalid user remap specification '{text}'. unsupported format");
    };
    let Ok(uid) = uid.parse::<u32>() else {
        bail!("Invalid host uid for '{text}', uid must be unsigned int");
    };
    let Ok(gid) = gid.parse::<u32>() else {
        bail!("Invalid host gid for '{text}', gid must be unsigned int");
    };
    let Ok(size) = size.parse::<u32>() else {
        bail!("Invalid id offset for '{text}', offset must be unsigned int");
    };
    ensure!(
        (1..=SIZE_LIMIT).contains(&size),
        "Invalid id offset for '{text}', offset must be greater than 0 and less than {SIZE_LIMIT}"
    );
    for (word, id) in [("uid", uid), ("gid", gid)] {
        ensure!(
            id.checked_add(size).is_some(),
            "user remap '{text}': {word} {id} and {size} ids after it pass the last id of the \
             host (4294967295)"
        );
    }
    Ok((uid != 0 && gid != 0).then_some(UserRemap { uid, gid, size }))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn what_is_accepted() {
        let remap = |uid, gid, size| Some(UserRemap { uid, gid, size });
        assert_eq!(parse("100000:200000:65535").unwrap(), remap(100_000, 200_000, 65535));
        assert_eq!(parse("1:1:65536").unwrap(), remap(1, 1, 65536));
        assert_eq!(parse("0:1000:100").unwrap(), None);
        assert_eq!(parse("4294901759:1:65536").unwrap(), remap(4_294_901_759, 1, 65536));
    }

    #[test]
    fn what_is_refused() {
        let texts = ["1:2", "a:1:1", "1:-1:1", "1:1:x", "1:1:0", "1:1:65537", "4294967295:1:1"]
            .map(|text| parse(text).unwrap_err().to_string());
        expect![[r#"
            Invalid user remap specification '1:2'. unsupported format
            Invalid host uid for 'a:1:1', uid must be unsigned int
            Invalid host gid for '1:-1:1', gid must be unsigned int
            Invalid id offset for '1:1:x', offset must be unsigned int
            Invalid id offset for '1:1:0', offset must be greater than 0 and less than 65536
            Invalid id offset for '1:1:65537', offset must be greater than 0 and less than 65536
            user remap '4294967295:1:1': uid 4294967295 and 1 ids after it pass the last id of the host (4294967295)"#]]
        .assert_eq(&texts.join("\n"));
    }
}
