//! A busybox rootfs, bundles over it, and containers run from them.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use linux::process::ExitStatus;
use runtime::{CreateRequest, Created, Error, Result, Runtime, Stdio};
use serde_json::{Value, json};

/// The programs of busybox that the cases use.
const APPLETS: &str = "awk cat chmod chown dd echo env false grep head hostname id ip kill ln ls \
    mkdir mknod mount nc od ps pwd readlink rm sed sh sleep stat sync sysctl tail test touch tr \
    true tty umount uname wc";

/// One state root, and what runs below it.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
}

/// A bundle to be written.
pub(crate) struct Bundle {
    pub(crate) id: String,
    pub(crate) directory: PathBuf,
    pub(crate) spec: Value,
}

/// How a container ended and what it said on both streams.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) text: String,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { runtime: Runtime::new("/mnt/state") }
    }

    /// Creates, starts, waits and deletes.
    pub(crate) fn run(&self, bundle: &Bundle) -> Result<Ended> {
        let output = output_file();
        let created = self.create_into(bundle, &output)?;
        let started = self.runtime.start(&bundle.id);
        let status = created.pidfd.wait().unwrap();
        let text = read_all(output);
        self.runtime.delete(&bundle.id, false)?;
        started?;
        Ok(Ended { status, text })
    }

    /// What a shell script says that runs in a container and must succeed.
    pub(crate) fn says(&self, bundle: &Bundle) -> String {
        let ended = self.run(bundle).unwrap_or_else(|error| panic!("{}", error.flatten()));
        assert_eq!(ended.status, ExitStatus::Exited(0), "{}", ended.text);
        ended.text
    }

    /// The whole chain of the error that running it ends with.
    pub(crate) fn refuses(&self, bundle: &Bundle) -> String {
        let error = self.run(bundle).expect_err("it must be refused");
        self.assert_nothing_left(bundle);
        error.flatten()
    }

    pub(crate) fn create(&self, bundle: &Bundle) -> Result<Created> {
        self.create_into(bundle, &output_file())
    }

    pub(crate) fn create_into(&self, bundle: &Bundle, output: &File) -> Result<Created> {
        bundle.write();
        let null = File::open("/dev/null").unwrap();
        let mut request = CreateRequest::new(&bundle.id, &bundle.directory);
        request.stdio =
            Stdio::Use { stdin: null.as_fd(), stdout: output.as_fd(), stderr: output.as_fd() };
        self.runtime.create(request)
    }

    pub(crate) fn start(&self, bundle: &Bundle) -> Created {
        let created = self.create(bundle).unwrap_or_else(|error| panic!("{}", error.flatten()));
        self.runtime.start(&bundle.id).unwrap_or_else(|error| panic!("{}", error.flatten()));
        created
    }

    pub(crate) fn assert_nothing_left(&self, bundle: &Bundle) {
        assert!(matches!(self.runtime.state(&bundle.id), Err(Error::NotFound { .. })));
        assert!(!self.runtime.root().join(&bundle.id).exists());
        for hierarchy in linux::cgroup::Layout::detect().unwrap().hierarchies() {
            let cgroup = hierarchy.mount_point.join(bundle.cgroup());
            assert!(!cgroup.exists(), "{} is left", cgroup.display());
        }
        assert!(linux::process::children(linux::process::Pid::current()).unwrap().is_empty());
    }
}

impl Bundle {
    /// A container of its own namespaces that runs the shell script `script`.
    pub(crate) fn script(id: &str, script: &str) -> Self {
        let mut bundle = Self::new(id);
        bundle.spec["process"]["args"] = json!(["sh", "-c", script]);
        bundle
    }

    pub(crate) fn new(id: &str) -> Self {
        let directory = PathBuf::from("/mnt").join(id);
        make_rootfs(&directory.join("rootfs"));
        let prefix = std::env::var(crate::CGROUPS).unwrap();
        let spec = json!({
            "ociVersion": "1.2.0",
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "args": ["true"],
                "env": ["PATH=/bin"],
                "cwd": "/",
            },
            "root": { "path": "rootfs" },
            "mounts": [
                mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
                mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
                mount("/dev/pts", "devpts",
                    &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
                mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            ],
            "linux": {
                "cgroupsPath": format!("/{prefix}-{id}"),
                "namespaces": [
                    { "type": "pid" }, { "type": "mount" }, { "type": "ipc" },
                    { "type": "uts" }, { "type": "network" }, { "type": "cgroup" },
                ],
            },
        });
        let mut bundle = Self { id: id.into(), directory, spec };
        bundle.capabilities(&ALL_NEEDED);
        bundle
    }

    pub(crate) fn capabilities(&mut self, names: &[&str]) {
        let names: Vec<String> = names.iter().map(|name| format!("CAP_{name}")).collect();
        self.spec["process"]["capabilities"] = json!({
            "bounding": names, "effective": names, "permitted": names,
        });
    }

    pub(crate) fn add_mount(&mut self, mount: Value) {
        self.spec["mounts"].as_array_mut().unwrap().push(mount);
    }

    /// Maps the container's ids to the host's from 100000 on.
    pub(crate) fn user_namespace(&mut self) {
        self.namespaces().push(json!({ "type": "user" }));
        let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        self.spec["linux"]["uidMappings"] = map.clone();
        self.spec["linux"]["gidMappings"] = map;
    }

    pub(crate) fn namespaces(&mut self) -> &mut Vec<Value> {
        self.spec["linux"]["namespaces"].as_array_mut().unwrap()
    }

    /// Gives a namespace by path, or takes it from the host.
    pub(crate) fn namespace(&mut self, kind: &str, path: Option<&str>) {
        self.namespaces().retain(|namespace| namespace["type"] != kind);
        if let Some(path) = path {
            self.namespaces().push(json!({ "type": kind, "path": path }));
        }
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.directory.join("rootfs")
    }

    pub(crate) fn cgroup(&self) -> String {
        let path = self.spec["linux"]["cgroupsPath"].as_str().unwrap();
        path.trim_start_matches('/').to_owned()
    }

    pub(crate) fn write(&self) {
        let text = serde_json::to_vec_pretty(&self.spec).unwrap();
        fs::write(self.directory.join("config.json"), text).unwrap();
    }
}

/// Docker's default set, and what makes mounts inside.
const ALL_NEEDED: [&str; 15] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
    "SYS_ADMIN",
];

pub(crate) fn mount(destination: &str, kind: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": kind, "options": options })
}

pub(crate) fn bind(source: impl AsRef<Path>, destination: &str, options: &[&str]) -> Value {
    let mut options = options.to_vec();
    options.push("bind");
    json!({
        "destination": destination, "type": "none",
        "source": source.as_ref(), "options": options,
    })
}

fn make_rootfs(rootfs: &Path) {
    let bin = rootfs.join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
    for applet in APPLETS.split_whitespace() {
        std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
    }
    for directory in ["proc", "sys", "dev", "etc", "tmp"] {
        fs::create_dir(rootfs.join(directory)).unwrap();
    }
}

pub(crate) fn output_file() -> File {
    let memory = rustix::fs::memfd_create("output", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    File::from(memory)
}

pub(crate) fn read_all(mut file: File) -> String {
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

/// Polls until `fact` holds.
pub(crate) fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !fact() {
        assert!(std::time::Instant::now() < deadline, "{what}: not within 20 s");
        let pause = rustix::event::Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
        let _ = rustix::event::poll(&mut [], Some(&pause));
    }
}
