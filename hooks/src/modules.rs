//! `KERNEL_MODULES=a,b` in the container's environment: modules of the host that it needs.
//!
//! A module is code in everybody's kernel, and the environment is the container's user's: only what
//! the administrator has listed is loaded, and nothing is ever unloaded.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use container::Spec;

/// What a container may ask for, unless told otherwise.
pub(crate) const ALLOW_LIST: &str = "/etc/isulad-tools/modules.allow";

const VARIABLE: &str = "KERNEL_MODULES=";

/// A module's name in the kernel is an array of this size (MODULE_NAME_LEN), its zero included.
const NAME_MAX: usize = 55;

/// Loads what `spec` asks for and is not there, in one call.
pub(crate) fn load(spec: &Spec, allow_list: &Path) -> Result<()> {
    let names = asked_for(&spec.process.env)?;
    if names.is_empty() {
        return Ok(());
    }
    let allowed = match linux::file::read_to_string(allow_list) {
        Err(error) if error.is(linux::Errno::NOENT) => String::new(),
        text => text?,
    };
    check(&names, &allowed, allow_list)?;
    let missing: Vec<&str> = names.into_iter().filter(|name| !is_loaded(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    // A hook may have no environment, and where nothing says so programs of root's are not looked for
    // (execvp(3)).
    let output = Command::new("modprobe")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .arg("-a")
        .arg("--")
        .args(&missing)
        .stdin(Stdio::null())
        .output()
        .context("load kernel modules: start modprobe")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "load kernel modules {}: modprobe: {}: {}",
        missing.join(", "),
        output.status,
        words.trim()
    );
    tracing::info!(modules = missing.join(","), "kernel modules loaded");
    Ok(())
}

/// The names in the first variable of that name.
fn asked_for(env: &[String]) -> Result<Vec<&str>> {
    let value = env.iter().find_map(|variable| variable.strip_prefix(VARIABLE));
    let names: Vec<&str> =
        value.unwrap_or_default().split(',').filter(|name| !name.is_empty()).collect();
    for name in &names {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !starts_well || !name.chars().all(plain) || name.len() > NAME_MAX {
            bail!(
                "Failed to modprobe modules by module name is incorrect:{name}; a name is letters, \
                 digits, _ and -, and begins with a letter or digit"
            );
        }
    }
    Ok(names)
}

/// modprobe(8) takes `-` and `_` for the same.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn check(names: &[&str], allowed: &str, allow_list: &Path) -> Result<()> {
    let words = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    let allowed: Vec<String> = allowed.lines().map(words).map(|name| canonical(&name)).collect();
    match names.iter().find(|name| !allowed.contains(&canonical(name))) {
        Some(name) => bail!(
            "kernel module {name} is not allowed; if containers may load it, add a line with its \
             name to {}",
            allow_list.display()
        ),
        None => Ok(()),
    }
}

/// Also what is built in, if it has parameters or a version: others modprobe knows about.
fn is_loaded(name: &str) -> bool {
    Path::new("/sys/module").join(canonical(name)).exists()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn load_of(env: &str, allowed: &str, expected: &Expect) {
        let env = [String::from("MY_KERNEL_MODULES=x"), env.to_owned(), "KERNEL_MODULES=z".into()];
        let text = match asked_for(&env)
            .and_then(|names| check(&names, allowed, Path::new(ALLOW_LIST)).map(|()| names))
        {
            Ok(names) => format!("{names:?}"),
            Err(error) => ui::report::chain(&error),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn only_listed_modules_with_plain_names() {
        let list = "ip_vs # load balancing\nnf-nat\n\n# nothing\n";
        load_of("KERNEL_MODULES=ip_vs,,nf_nat", list, &expect![[r#"["ip_vs", "nf_nat"]"#]]);
        load_of("KERNEL_MODULES=", list, &expect!["[]"]);
        load_of(
            "KERNEL_MODULES=ip_vs,dm-mod",
            list,
            &expect![
                "kernel module dm-mod is not allowed; if containers may load it, add a line with its name to /etc/isulad-tools/modules.allow"
            ],
        );
        for bad in ["-r,ip_vs", "a;b", "a b", "../x", "_x"] {
            let error = asked_for(&[format!("KERNEL_MODULES={bad}")]).unwrap_err().to_string();
            assert!(error.contains("module name is incorrect"), "{bad}: {error}");
        }
        expect!["Failed to modprobe modules by module name is incorrect:-r; a name is letters, digits, _ and -, and begins with a letter or digit"]
            .assert_eq(&asked_for(&["KERNEL_MODULES=-r,ip_vs".into()]).unwrap_err().to_string());
    }

    #[test]
    fn an_empty_list_allows_none() {
        load_of(
            "KERNEL_MODULES=loop",
            "",
            &expect![
                "kernel module loop is not allowed; if containers may load it, add a line with its name to /etc/isulad-tools/modules.allow"
            ],
        );
    }
}
