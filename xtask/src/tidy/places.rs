//! What may be done in some places only. Each row is an invariant of docs/architecture.md.

use std::path::Path;

/// Words of code that stand for an act, and where the act has its place.
struct Rule {
    what: &'static str,
    /// Paths (or beginnings of them) that the rule is about; empty: all crates of the product.
    about: &'static [&'static str],
    words: &'static [&'static str],
    allowed: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule {
        what: "input or output in a module that only computes",
        about: &[
            "engine-ext/src/request/",
            "engine-ext/src/spec/",
            "linux/src/cgroup/program.rs",
            "lxcfs/src/view/",
        ],
        words: &["std::fs", "fs::read", "fs::write", "linux::file::", "Command::new", "env::var"],
        allowed: &[],
    },
    Rule {
        what: "another program is run",
        about: &[],
        words: &["Command::new"],
        allowed: &[
            "engine-ext/src/prepare/publish.rs",    // nft
            "engine-ext/src/shim/client.rs",        // our own shim
            "hooks/src/modules.rs",                 // modprobe
            "lxcfs/src/holder.rs",                  // our own worker
            "runtime/src/external.rs",              // a foreign OCI runtime
            "syscontainer-tools/src/nic/bridge.rs", // ovs-vsctl
        ],
    },
    Rule {
        what: "a thread is started",
        about: &[],
        words: &["thread::spawn", "thread::scope", "thread::Builder"],
        allowed: &[
            "linux/src/ns.rs",
            "lxcfs/src/",
            "syscontainer-tools/src/deadline.rs", // ends a command that a container blocks
        ],
    },
    Rule {
        what: "Serialize outside the owner of a format",
        about: &[],
        words: &["Serialize,", "Serialize)", "Serialize}"],
        allowed: &[
            "container/src/",
            "engine-ext/src/cli/",
            "engine-ext/src/shim/protocol.rs",
            "lxcfs/src/attached.rs",
            "lxcfs/src/control.rs",
            "lxcfs/src/orders.rs",
            "lxcfs/src/toolkit/run.rs", // what --json prints
            "runtime/src/",
            "syscontainer-tools/src/cli/",
            "syscontainer-tools/src/nic/registry.rs",
            "syscontainer-tools/src/record.rs",
            "syscontainer-tools/src/record/element.rs", // the same, as text
            "syscontainer-tools/src/record/entry.rs",
        ],
    },
];

/// Rust files of the product, as opposed to tests and this program.
fn is_product(path: &str) -> bool {
    !path.starts_with("tests/") && !path.starts_with("xtask/") && path.contains("/src/")
}

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.ends_with("/testing.rs")
}

/// Whether the rules for the product's own code hold there.
pub(super) fn is_ruled(path: &Path) -> bool {
    let path = path.to_string_lossy();
    is_product(&path) && !is_test(&path)
}

pub(super) fn check(path: &Path, text: &str) -> Vec<String> {
    if !is_ruled(path) {
        return Vec::new();
    }
    let path = path.to_string_lossy();
    let mut found = Vec::new();
    for rule in RULES {
        let starts = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
        if !(rule.about.is_empty() || starts(rule.about)) || starts(rule.allowed) {
            continue;
        }
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]");
        for (number, line) in lines.enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if rule.words.iter().any(|word| contains_word(code, word)) {
                found.push(format!("{path}:{}: {}", number + 1, rule.what));
            }
        }
    }
    found
}

/// Whether `word` stands in `line` and is not the end of a longer name.
fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(Path::new(path), text)
    }

    #[test]
    fn computing_modules_do_no_io() {
        let found = findings("engine-ext/src/spec/mounts.rs", "let a = 1;\nstd::fs::read(a);\n");
        assert_eq!(
            found,
            ["engine-ext/src/spec/mounts.rs:2: input or output in a module that only computes"]
        );
        assert!(findings("engine-ext/src/prepare/facts.rs", "std::fs::read(a);\n").is_empty());
    }

    #[test]
    fn programs_are_run_in_listed_places() {
        let text = "Command::new(\"ip\");\n#[cfg(test)]\nmod tests { Command::new(\"x\"); }\n";
        let found = findings("container/src/store.rs", text);
        assert_eq!(found, ["container/src/store.rs:1: another program is run"]);
        assert!(findings("container/src/store/tests.rs", text).is_empty());
        assert!(findings("engine-ext/src/shim/client.rs", text).is_empty());
    }

    #[test]
    fn the_runtime_has_one_thread() {
        let found = findings("runtime/src/create.rs", "std::thread::spawn(f);\n");
        assert_eq!(found, ["runtime/src/create.rs:1: a thread is started"]);
    }

    #[test]
    fn formats_have_owners() {
        let found = findings("engine-ext/src/lifecycle/stop.rs", "#[derive(Debug, Serialize)]\n");
        assert_eq!(
            found,
            ["engine-ext/src/lifecycle/stop.rs:1: Serialize outside the owner of a format"]
        );
        assert!(findings("engine-ext/src/lifecycle/stop.rs", "derive(Deserialize)\n").is_empty());
    }
}
