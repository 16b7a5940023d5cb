//! containerd by the Container Runtime Interface, as kubelet drives it: a pod in the node's
//! network, and containers of it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::cri::{
    ContainerConfig, ContainerLinux, ContainerMetadata, ContainerSecurity, CreateContainer, Empty,
    Exec, ExecAnswer, Id, Image, ImageStatus, NamespaceOption, PodConfig, PodLinux, PodMetadata,
    PodSecurity, Resources, RunPod, StatusAnswer, Update,
};
use tests::{Cri, World, wait};

use super::containerd::{Ctr, with_containerd};
use super::program;

const IMAGE: &str = "localhost/image:latest";

/// A pod that is there.
struct Pod<'w> {
    cri: Cri,
    config: PodConfig,
    id: String,
    world: &'w World,
}

/// Both the pod's own container and the others are made of one image, whose program sleeps.
fn with_pod(
    world: &World,
    rootfs: &Path,
    annotations: &[(&str, &str)],
    story: impl FnOnce(&Pod<'_>) -> Result<()>,
) -> Result<()> {
    // For its streaming server.
    world.tool("ip").args(["link", "set", "lo", "up"]).ok()?;
    let runtime = "plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.isula";
    let plugins = format!(
        "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = {IMAGE:?}\n\
         stream_server_address = \"127.0.0.1\"\nrestrict_oom_score_adj = true\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd]\ndefault_runtime_name = \"isula\"\n\
         [{runtime}]\nruntime_type = \"io.containerd.runc.v2\"\npod_annotations = [\"org.isula.*\"]\n\
         [{runtime}.options]\nBinaryName = {:?}\nSystemdCgroup = false\n",
        program()?
    );
    with_containerd(world, &plugins, |ctr| {
        import(world, ctr, rootfs)?;
        let cri = Cri::new(world.path("containerd.sock"));
        let image = ImageStatus { image: Some(Image { name: IMAGE.into() }) };
        wait::until("the image is known", Duration::from_secs(60), || {
            let answer: Result<ImageStatus> = cri.call("ImageService/ImageStatus", &image);
            Ok(answer.ok().filter(|answer| answer.image.is_some()).map(drop))
        })?;
        let network = NamespaceOption { network: 2, pid: 1 };
        let config = PodConfig {
            metadata: Some(PodMetadata {
                name: "pod".into(),
                uid: world.name().into(),
                namespace: "default".into(),
            }),
            log_directory: world.new_directory("logs")?.to_string_lossy().into_owned(),
            annotations: annotations.iter().map(|&(k, v)| (k.into(), v.into())).collect(),
            linux: Some(PodLinux {
                cgroup_parent: format!("/{}", world.name()),
                security: Some(PodSecurity { namespaces: Some(network) }),
            }),
        };
        let run = RunPod { config: Some(config.clone()), handler: "isula".into() };
        let Id { id, .. } = cri.call("RuntimeService/RunPodSandbox", &run)?;
        let pod = Pod { cri, config, id: id.clone(), world };
        story(&pod)?;
        let id = Id { id, timeout: 0 };
        pod.cri.call::<Empty>("RuntimeService/StopPodSandbox", &id)?;
        pod.cri.call::<Empty>("RuntimeService/RemovePodSandbox", &id)?;
        Ok(())
    })
}

/// An archive as `docker save` writes it, of one layer.
fn import(world: &World, ctr: &Ctr<'_>, rootfs: &Path) -> Result<()> {
    let dir = world.new_directory("image")?;
    let layer = dir.join("layer.tar");
    world.tool("tar").arg("-C").arg(rootfs).arg("-cf").arg(&layer).arg(".").ok()?;
    let sum = world.tool("sha256sum").arg(&layer).ok()?;
    let sum = sum.stdout.split(' ').next().context("a sum")?;
    let config = json!({ "architecture": "amd64", "os": "linux",
        "config": { "Cmd": ["sleep", "1000000"], "Env": ["PATH=/usr/bin:/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{sum}")] } });
    fs::write(dir.join("config.json"), config.to_string())?;
    let manifest =
        json!([{ "Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"] }]);
    fs::write(dir.join("manifest.json"), manifest.to_string())?;
    let archive = world.path("image.tar");
    let files = ["manifest.json", "config.json", "layer.tar"];
    world.tool("tar").arg("-C").arg(&dir).arg("-cf").arg(&archive).args(files).ok()?;
    fs::remove_dir_all(&dir)?;
    let import = ctr(&["--namespace", "k8s.io", "images", "import"]).arg(&archive);
    import.limit(Duration::from_secs(120)).ok()?;
    fs::remove_file(&archive)?;
    Ok(())
}

impl Pod<'_> {
    /// Created and started.
    fn start(&self, attempt: u32, command: &[&str]) -> Result<String> {
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: "main".into(), attempt }),
            image: Some(Image { name: IMAGE.into() }),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            log_path: format!("main-{attempt}.log"),
            tty: false,
            linux: Some(ContainerLinux {
                resources: Some(Resources { cpu_shares: 256, memory_limit: 512 << 20 }),
                security: Some(ContainerSecurity {
                    namespaces: Some(NamespaceOption { network: 2, pid: 1 }),
                }),
            }),
        };
        let create = CreateContainer {
            pod: self.id.clone(),
            config: Some(config),
            pod_config: Some(self.config.clone()),
        };
        let Id { id, .. } = self.cri.call("RuntimeService/CreateContainer", &create)?;
        self.cri.call::<Empty>("RuntimeService/StartContainer", &self.of(&id, 0))?;
        Ok(id)
    }

    fn of(&self, id: &str, timeout: i64) -> Id {
        Id { id: id.to_owned(), timeout }
    }

    fn exec(&self, id: &str, command: &[&str]) -> Result<ExecAnswer> {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        let exec = Exec { id: id.to_owned(), command, timeout: 30 };
        self.cri.call("RuntimeService/ExecSync", &exec)
    }

    fn state(&self, id: &str) -> Result<(i32, i32)> {
        let answer: StatusAnswer =
            self.cri.call("RuntimeService/ContainerStatus", &self.of(id, 0))?;
        let status = answer.status.context("a status")?;
        Ok((status.state, status.exit_code))
    }

    fn until_exited(&self, id: &str) -> Result<i32> {
        wait::until("it has exited", Duration::from_secs(30), || {
            let (state, code) = self.state(id)?;
            Ok((state == 2).then_some(code))
        })
    }

    fn stop(&self, id: &str, timeout: i64) -> Result<()> {
        self.cri.call::<Empty>("RuntimeService/StopContainer", &self.of(id, timeout)).map(drop)
    }

    fn remove(&self, id: &str) -> Result<()> {
        self.cri.call::<Empty>("RuntimeService/RemoveContainer", &self.of(id, 0)).map(drop)
    }

    fn log(&self, attempt: u32) -> Result<String> {
        let path = Path::new(&self.config.log_directory).join(format!("main-{attempt}.log"));
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    /// What can be asked of a container that runs.
    fn verbs(&self, id: &str) -> Result<()> {
        let answer = self.exec(id, &["sh", "-c", "echo in; echo err >&2; exit 5"])?;
        ensure!(answer.exit_code == 5 && answer.stdout == b"in\n", "{answer:?}");
        ensure!(answer.stderr == b"err\n", "{answer:?}");
        let linux = Some(Resources { cpu_shares: 512, memory_limit: 256 << 20 });
        let update = Update { id: id.to_owned(), linux };
        self.cri.call::<Empty>("RuntimeService/UpdateContainerResources", &update)?;
        let limit = tests::leaks::hierarchies().iter().find_map(|top| {
            let dir = top.join(self.world.name()).join(id);
            let files = ["memory.limit_in_bytes", "memory.max"];
            files.iter().find_map(|file| fs::read_to_string(dir.join(file)).ok())
        });
        ensure!(limit.as_deref() == Some("268435456\n"), "the limit is {limit:?}");
        ensure!(self.state(id)?.0 == 1, "it does not run");
        Ok(())
    }
}

pub(super) fn daily(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    with_pod(world, &rootfs, &[], |pod| {
        let id = pod.start(0, &["sh", "-c", "echo said; exit 7"])?;
        ensure!(pod.until_exited(&id)? == 7);
        ensure!(pod.log(0)?.trim_end().ends_with(" stdout F said"), "{}", pod.log(0)?);
        pod.remove(&id)?;
        for attempt in 1..=10 {
            let id = pod.start(attempt, &["sleep", "1000"])?;
            if attempt == 1 {
                pod.verbs(&id)?;
            }
            pod.stop(&id, 0)?;
            ensure!(pod.until_exited(&id)? == 137);
            pod.remove(&id)?;
        }
        Ok(())
    })
}

/// The annotation is the pod's; its own container, which sleeps, is none by `auto`.
pub(super) fn boots(world: &World) -> Result<()> {
    let rootfs = tests::rootfs::debian().context("no Debian rootfs")?;
    let annotations = [("org.isula.system-container", "auto")];
    with_pod(world, &rootfs, &annotations, |pod| {
        for attempt in 0..=10 {
            let id = pod.start(attempt, &["/sbin/init"])?;
            if attempt == 0 || attempt == 10 {
                wait::until("systemd is running", Duration::from_secs(60), || {
                    let answer = pod.exec(&id, &["systemctl", "is-system-running"])?;
                    Ok((answer.stdout == b"running\n").then_some(()))
                })?;
            }
            if attempt == 0 {
                pod.verbs(&id)?;
            }
            // In order: killed, it would be 137.
            pod.stop(&id, 20)?;
            let code = pod.until_exited(&id)?;
            ensure!(attempt != 0 || code != 137, "it was killed");
            pod.remove(&id)?;
        }
        Ok(())
    })
}
