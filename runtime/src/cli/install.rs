//! install: what makes an engine know this runtime, printed or written where the engine looks.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use ui::{Exit, Report};

use super::print;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    Podman,
    Docker,
    Containerd,
    Crio,
    Kubernetes,
}

#[derive(Debug, Args)]
pub(super) struct InstallArgs {
    /// Whom to tell
    #[arg(value_name = "ENGINE")]
    engine: Engine,
    /// Write it where the engine looks, or to this file
    ///
    /// Without it the text is printed. A file that exists is not touched: merge it by hand.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    #[expect(clippy::option_option, reason = "given or not, with a value or without")]
    write: Option<Option<PathBuf>>,
    /// The runtime's program
    #[arg(long, value_name = "FILE", default_value = "/usr/local/bin/isula-runtime")]
    program: PathBuf,
}

pub(super) fn install(args: &InstallArgs) -> Report {
    ensure!(args.program.is_absolute(), "--program {}: use its path", args.program.display());
    let (place, text) = snippet(args.engine, &args.program);
    let Some(write) = &args.write else {
        print(&text)?;
        return Ok(Exit::DONE);
    };
    let path = match (write, place) {
        (Some(path), _) => path.as_path(),
        (None, Some(place)) => Path::new(place),
        (None, None) => {
            anyhow::bail!("nobody reads this from a file of its own; give --write=FILE")
        }
    };
    write_new(path, &text)?;
    print(&format!("{}\n", path.display()))?;
    Ok(Exit::DONE)
}

fn write_new(path: &Path, text: &str) -> Result<()> {
    ensure!(!path.exists(), "{} exists; merge by hand: run this without --write", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    }
    linux::file::write_lasting(path, text, 0o644)?;
    Ok(())
}

/// Where the engine reads it, if from a file of ours, and what it reads.
fn snippet(engine: Engine, program: &Path) -> (Option<&'static str>, String) {
    let program = program.display();
    match engine {
        // podman asks only the runtimes of this list for JSON records (containers.conf(5)).
        Engine::Podman => (
            Some("/etc/containers/containers.conf.d/isula.conf"),
            format!(
                "[engine]\nruntime_supports_json = [\"crun\", \"runc\", \"kata\", \"runsc\", \
                 \"krun\", \"isula\"]\n\n[engine.runtimes]\nisula = [\"{program}\"]\n"
            ),
        ),
        // docker 20.10 passes no annotations: the second name stands for one.
        Engine::Docker => (
            Some("/etc/docker/daemon.json"),
            format!(
                "{{\n  \"runtimes\": {{\n    \"isula\": {{ \"path\": \"{program}\" }},\n    \
                 \"isula-sys\": {{ \"path\": \"{program}\", \"runtimeArgs\": \
                 [\"--system-container\"] }}\n  }}\n}}\n"
            ),
        ),
        Engine::Containerd => (
            None,
            format!(
                "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.isula]\n  \
                 runtime_type = \"io.containerd.runc.v2\"\n  pod_annotations = [\"org.isula.*\"]\n  \
                 container_annotations = [\"org.isula.*\"]\n  \
                 [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.isula.options]\n    \
                 BinaryName = \"{program}\"\n    SystemdCgroup = false\n"
            ),
        ),
        Engine::Crio => (
            Some("/etc/crio/crio.conf.d/50-isula.conf"),
            format!(
                "[crio.runtime.runtimes.isula]\nruntime_path = \"{program}\"\nruntime_type = \
                 \"oci\"\nruntime_root = \"/run/isula-runtime\"\nallowed_annotations = \
                 [\"org.isula.system-container\", \"org.isula.stop-signal\"]\n"
            ),
        ),
        Engine::Kubernetes => (
            None,
            "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata:\n  name: isula\nhandler: \
             isula\n"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/isula.conf");
        write_new(&path, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        let error = write_new(&path, "newer").unwrap_err().to_string();
        assert!(error.ends_with("isula.conf exists; merge by hand: run this without --write"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn dockers_is_json() {
        let (_, text) = snippet(Engine::Docker, Path::new("/usr/bin/isula-runtime"));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["runtimes"]["isula-sys"]["runtimeArgs"][0], "--system-container");
    }
}
