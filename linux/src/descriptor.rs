//! Descriptors whose owner is out of reach, inside a type of another crate.

use std::os::fd::AsFd;

use crate::{Context, Result};

/// Makes `target` stand for the file of `with`; what it stood for is closed. Its owner keeps it.
pub fn replace(target: impl AsFd, with: impl AsFd) -> Result<()> {
    crate::fault::check("dup3")
        .and_then(|()| crate::raw::descriptor::replace(target.as_fd(), with.as_fd()))
        .during(|| "put another file under a descriptor".to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    #[test]
    fn the_owner_writes_to_the_other_file() {
        let (mut lost, first) = std::io::pipe().unwrap();
        let (mut found, second) = std::io::pipe().unwrap();
        let mut owner = first;
        super::replace(&owner, &second).unwrap();
        drop(second);
        owner.write_all(b"here").unwrap();
        drop(owner);
        let mut text = String::new();
        found.read_to_string(&mut text).unwrap();
        assert_eq!(text, "here");
        assert_eq!(lost.read(&mut [0; 8]).unwrap(), 0);
    }
}
