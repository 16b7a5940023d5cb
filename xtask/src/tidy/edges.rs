//! Who imports whom. docs/architecture.md draws this table.

use std::collections::BTreeSet;

use serde_json::Value;

/// Each crate and those of ours that it may depend on.
const EDGES: &[(&str, &[&str])] = &[
    ("linux", &[]),
    ("ui", &[]),
    ("container", &["linux"]),
    ("runtime", &["linux", "container", "ui"]),
    ("engine-ext", &["linux", "container", "runtime", "ui"]),
    ("syscontainer-tools", &["linux", "container", "ui"]),
    ("lxcfs", &["linux", "ui"]),
    ("hooks", &["linux", "container", "syscontainer-tools", "lxcfs", "ui"]),
    ("tests", &["linux", "container"]),
    ("xtask", &["runtime", "engine-ext", "syscontainer-tools", "lxcfs", "hooks"]),
];

/// Async runtimes: nowhere in the product; the tests are a client of engines that speak HTTP/2.
const ASYNC: &[&str] = &["async-std", "smol", "tokio"];

/// Edges in cargo's metadata that are not in the table.
pub(super) fn check(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let name = |package: &Value| package["name"].as_str().unwrap_or_default().to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let mut found = Vec::new();
    for package in packages {
        let importer = name(package);
        let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == importer) else {
            found.push(format!("{importer}: a crate that xtask/src/tidy/edges.rs does not know"));
            continue;
        };
        let dependencies = package["dependencies"].as_array().map(Vec::as_slice);
        for dependency in dependencies.unwrap_or_default() {
            let imported = name(dependency);
            if ASYNC.contains(&imported.as_str()) && importer != "tests" {
                found.push(format!("{importer}: may not import the async runtime {imported}"));
            }
            if ours.contains(&imported) && !allowed.contains(&imported.as_str()) {
                found.push(format!("{importer}: may not import {imported}"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn an_edge_upwards_and_an_unknown_crate_are_found() {
        let metadata = json!({ "packages": [
            { "name": "linux", "dependencies": [{ "name": "container" }, { "name": "rustix" }] },
            { "name": "container", "dependencies": [{ "name": "linux" }, { "name": "tokio" }] },
            { "name": "util", "dependencies": [] },
        ]});
        let expected = [
            "linux: may not import container",
            "container: may not import the async runtime tokio",
            "util: a crate that xtask/src/tidy/edges.rs does not know",
        ];
        assert_eq!(super::check(&metadata), expected);
    }
}
