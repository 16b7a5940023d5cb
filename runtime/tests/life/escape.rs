//! What a hostile image tries.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::json;

use crate::world::{Bundle, World, output_file, read_all, until};

crate::cases!(
    the_hosts_binary_is_out_of_reach,
    no_descriptor_of_the_host_leaks_in,
    a_working_directory_outside_is_refused,
    an_unsealed_program_is_refused,
    the_session_keyring_is_its_own,
    signals_come_as_a_program_expects_them,
    a_hostile_passwd_does_not_block,
);

/// CVE-2019-5736: the image has the kernel run our own binary in the container, as an
/// interpreter, by a link or by its name; the attacker opens it there, and writes to it when
/// nobody runs it any more.
fn the_hosts_binary_is_out_of_reach() {
    // Of a copy, that nobody else runs: a binary that runs cannot be written to anyway (ETXTBSY).
    fs::copy("/proc/self/exe", BINARY).unwrap();
    fs::set_permissions(BINARY, fs::Permissions::from_mode(0o755)).unwrap();
    let before = sum(&fs::read(BINARY).unwrap());
    for (id, way, user) in [
        ("script", Way::Script, false),
        ("link", Way::Link, false),
        ("name", Way::Name, false),
        ("user", Way::Script, true),
    ] {
        let text = attack(id, way, user);
        assert!(text.contains("OPENED"), "{id}: the attack never got so far: {text}");
        assert!(!text.contains("WROTE"), "{id}: {text}");
        assert_eq!(sum(&fs::read(BINARY).unwrap()), before, "{id}: the binary was overwritten");
    }
}

const BINARY: &str = "/mnt/binary";

/// Tells the copy which container to run.
pub(crate) const VICTIM: &str = "RUNTIME_TEST_VICTIM";

/// What the copy does.
pub(crate) fn run_victim(id: &str) {
    let world = World::new();
    let directory = Path::new("/mnt").join(id);
    let request = runtime::CreateRequest::new(id, &directory);
    let created = world.runtime.create(request).unwrap();
    world.runtime.start(id).unwrap();
    created.pidfd.wait().unwrap();
    world.runtime.delete(id, false).unwrap();
}

enum Way {
    Script,
    Link,
    Name,
}

/// Runs a container that becomes our binary, beside one that watches for it in the same pid
/// namespace. Answers what the watcher says.
fn attack(id: &str, way: Way, user: bool) -> String {
    let world = World::new();
    let capabilities = ["SYS_PTRACE", "SYS_ADMIN", "DAC_OVERRIDE", "KILL", "CHOWN"];
    let mut watcher = Bundle::script(&format!("{id}-watcher"), WATCHER);
    watcher.capabilities(&capabilities);
    let mut victim = Bundle::new(id);
    victim.capabilities(&capabilities);
    victim.spec["process"]["env"] = json!(["PATH=/bin", format!("{}=1", crate::LINGER)]);
    victim.spec["process"]["args"] = json!(["attack"]);
    let program = victim.rootfs().join("bin/attack");
    match way {
        Way::Script => {
            fs::write(&program, "#!/proc/self/exe\n").unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Way::Link => symlink("/proc/self/exe", &program).unwrap(),
        Way::Name => victim.spec["process"]["args"] = json!(["/proc/self/exe"]),
    }
    if user {
        watcher.user_namespace();
    }
    let output = output_file();
    let watching = world.create_into(&watcher, &output).unwrap();
    world.runtime.start(&watcher.id).unwrap();
    victim.namespace("pid", Some(&format!("/proc/{}/ns/pid", watching.pid)));
    if user {
        victim.namespace("user", Some(&format!("/proc/{}/ns/user", watching.pid)));
    }
    victim.write();
    let ran = std::process::Command::new(BINARY).env(VICTIM, id).status().unwrap();
    assert!(ran.success());
    watching.pidfd.wait().unwrap();
    world.runtime.delete(&watcher.id, false).unwrap();
    read_all(output)
}

/// A program without a path is one of a mount in no namespace: ours.
const WATCHER: &str = "exec 2> /dev/null; n=0; while [ $n -lt 1000 ]; do n=$((n+1)); \
    for p in /proc/[0-9]*; do \
      case $(readlink $p/exe) in \
        /|/mnt/binary) exec 9< $p/exe || continue; echo OPENED; \
          m=0; while [ $m -lt 300 ]; do m=$((m+1)); \
            (echo x > /proc/self/fd/9) && { echo WROTE; exit 0; }; sleep 0.01; done; exit 0 ;; \
      esac; done; done";

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

fn no_descriptor_of_the_host_leaks_in() {
    let world = World::new();
    let bundle = Bundle::script("web", "ls -1 /proc/self/fd; ls -1 /proc/1/fd");
    // Descriptors of a careless caller, not close-on-exec.
    let careless: Vec<_> = (0..20).map(|_| fs::File::open("/").unwrap()).collect();
    for file in &careless {
        rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty()).unwrap();
    }
    assert_eq!(world.says(&bundle), "0\n1\n2\n3\n0\n1\n2\n3\n");
    // And none while it waits for its start.
    let created = world.create(&bundle_named("created")).unwrap();
    let list = || {
        let fds = fs::read_dir(format!("/proc/{}/fd", created.pid)).unwrap();
        fds.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok()).collect::<Vec<_>>()
    };
    let is_socket = |link: &&std::path::PathBuf| link.to_string_lossy().starts_with("socket:");
    // The streams and the socket it waits on; for a moment more the channel to us.
    let links = list();
    assert!(links.len() <= 5, "{links:?}");
    until("only the start socket is left", || {
        let links = list();
        links.len() == 4 && links.iter().filter(is_socket).count() == 1
    });
    world.runtime.delete("created", true).unwrap();
    created.pidfd.wait().unwrap();
}

fn bundle_named(id: &str) -> Bundle {
    Bundle::script(id, "true")
}

/// CVE-2024-21626.
fn a_working_directory_outside_is_refused() {
    let world = World::new();
    let host = fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&host, rustix::io::FdFlags::empty()).unwrap();
    for fd in 3..40 {
        let mut bundle = Bundle::script(&format!("fd{fd}"), "cat /proc/self/cwd/etc/hostname");
        bundle.spec["process"]["cwd"] = json!(format!("/proc/self/fd/{fd}"));
        let text = match world.run(&bundle) {
            // A directory of the container itself.
            Ok(ended) => {
                assert_eq!(ended.status.code(), 1, "{}", ended.text);
                continue;
            }
            Err(error) => error.flatten(),
        };
        assert!(
            text.contains("outside of the container")
                || text.contains("ENOENT")
                || text.contains("ENOTDIR")
                || text.contains("EACCES")
                || text.contains("EEXIST"),
            "{text}"
        );
    }
}

fn an_unsealed_program_is_refused() {
    // The outer process of this test, which is not sealed, has the same binary.
    let bundle = Bundle::script("web", "true");
    bundle.write();
    let copy = Path::new("/mnt/copy");
    fs::copy("/proc/self/exe", copy).unwrap();
    fs::set_permissions(copy, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(runtime::exe::is_sealed().unwrap());
    let link = fs::read_link("/proc/self/exe").unwrap();
    assert_eq!(link, Path::new("/"));
    let open = fs::OpenOptions::new().write(true).open("/proc/self/exe").unwrap_err();
    let errno = open.raw_os_error().map(linux::Errno::from_raw_os_error);
    assert!(matches!(errno, Some(linux::Errno::ROFS | linux::Errno::TXTBSY)), "{open}");
}

fn the_session_keyring_is_its_own() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "cat /proc/keys | grep -c _ses.web");
    bundle.capabilities(&["SYS_ADMIN"]);
    if !Path::new("/proc/keys").exists() {
        crate::skip("the kernel has no keys");
    }
    assert_eq!(world.says(&bundle), "1\n");
}

fn signals_come_as_a_program_expects_them() {
    let world = World::new();
    linux::signal::block(&[linux::signal::Signal::CHLD, linux::signal::Signal::TERM]).unwrap();
    let bundle = Bundle::new("web");
    let mut bundle = bundle;
    bundle.spec["process"]["args"] =
        json!(["grep", "-e", "SigBlk", "-e", "SigIgn", "/proc/self/status"]);
    let text = world.says(&bundle);
    assert_eq!(text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

fn a_hostile_passwd_does_not_block() {
    let world = World::new();
    let bundle = Bundle::script("web", "echo $HOME");
    let fifo = bundle.rootfs().join("etc/passwd");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o644)).unwrap();
    assert_eq!(world.says(&bundle), "/\n");
}
