//! Rules about one source file: where `unsafe` may stand, who may print, what comments hold.

use std::path::Path;

use super::lexer::{Kind, pieces};
use super::places;

/// How often `unsafe` stands in `linux/src/raw/`. A change of this number is a visible one.
const UNSAFE: usize = 45;

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) findings: Vec<String>,
    pub(super) unsafes: usize,
}

pub(super) fn check(path: &Path, text: &str) -> Source {
    let mut source = Source::default();
    let in_raw = path.starts_with("linux/src/raw") || path == Path::new("linux/src/raw.rs");
    let shown = path.display();
    // A file's own tests come last.
    let tests = text.lines().position(|line| line == "#[cfg(test)]").unwrap_or(usize::MAX);
    for (kind, first, piece) in pieces(text) {
        for (offset, line) in piece.split('\n').enumerate() {
            let number = first + offset;
            let mut find = |what: &str| source.findings.push(format!("{shown}:{number}: {what}"));
            match kind {
                Kind::Comment if !line.is_ascii() => find("a comment that is not ASCII"),
                Kind::Code => {
                    let words = words(line);
                    let count = words.iter().filter(|word| **word == "unsafe").count();
                    if count > 0 && !in_raw {
                        find("unsafe outside linux/src/raw/");
                    }
                    let print = words.iter().find(|word| PRINTS.contains(word));
                    if let Some(print) = print.filter(|_| number <= tests && !may_print(path)) {
                        find(&format!("{print} outside ui/ and cli/"));
                    }
                    source.unsafes += count;
                }
                _ => {}
            }
        }
    }
    source
}

/// The count over all files against the one that is written down.
pub(super) fn check_unsafes(count: usize) -> Option<String> {
    (count != UNSAFE).then(|| {
        format!("linux/src/raw/: {count} times unsafe; xtask/src/tidy/sources.rs says {UNSAFE}")
    })
}

const PRINTS: &[&str] = &["print!", "println!", "eprint!", "eprintln!", "dbg!"];

fn may_print(path: &Path) -> bool {
    !places::is_ruled(path)
        || path.starts_with("ui/src")
        || path.components().any(|part| part.as_os_str() == "cli" || part.as_os_str() == "cli.rs")
}

/// Names in a line of code, a macro's with its exclamation mark.
fn words(line: &str) -> Vec<&str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '!').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(Path::new(path), text).findings
    }

    #[test]
    fn unsafe_has_its_one_place_and_is_counted() {
        let text = "// unsafe is fine here\nlet a = \"unsafe\";\nunsafe { call() }\n";
        let found = findings("container/src/id.rs", text);
        assert_eq!(found, ["container/src/id.rs:3: unsafe outside linux/src/raw/"]);
        let raw = check(Path::new("linux/src/raw/ioctl.rs"), text);
        assert!(raw.findings.is_empty());
        assert_eq!(raw.unsafes, 1);
        assert_eq!(check_unsafes(UNSAFE), None);
        assert!(check_unsafes(UNSAFE + 1).unwrap().contains("times unsafe"));
    }

    #[test]
    fn attributes_about_unsafe_code_are_not_unsafe_code() {
        assert!(findings("tests/src/lib.rs", "#![forbid(unsafe_code)]\n").is_empty());
    }

    #[test]
    fn a_library_does_not_print() {
        let found = findings("runtime/src/create.rs", "fn f() {\n    println!(\"x\");\n}\n");
        assert_eq!(found, ["runtime/src/create.rs:2: println! outside ui/ and cli/"]);
        assert!(findings("runtime/src/cli/ps.rs", "println!();").is_empty());
        assert!(findings("runtime/src/a.rs", "blueprint!(); writeln!(out);").is_empty());
    }

    #[test]
    fn comments_are_ascii() {
        let found = findings("ui/src/log.rs", "let a = \"\u{e9}\"; // caf\u{e9}\n");
        assert_eq!(found, ["ui/src/log.rs:1: a comment that is not ASCII"]);
    }
}
