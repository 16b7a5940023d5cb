//! create, start, state, kill, delete.

use std::os::fd::{AsFd as _, AsRawFd as _};

use expect_test::expect;
use linux::process::ExitStatus;
use linux::signal::Signal;
use runtime::{CreateRequest, Error, Status};
use serde_json::json;

use crate::world::{Bundle, World, output_file, read_all, until};

crate::cases!(
    a_container_lives_and_leaves_nothing,
    exit_codes_and_signals_come_back,
    states_follow_each_other,
    a_created_container_can_be_deleted,
    delete_with_force_is_idempotent,
    a_running_container_is_deleted_only_by_force,
    kill_reaches_init_or_everything,
    a_container_that_is_gone_says_so,
    processes_without_a_pid_namespace_are_killed_with_it,
    an_id_is_taken_once,
    ids_are_names_of_files,
    a_program_that_cannot_be_run_is_told_by_its_kind,
    a_pid_file_is_written,
    environment_directory_and_home,
    a_user_may_open_its_own_streams,
    the_list_shows_every_container,
    descriptors_are_passed_on_where_asked,
);

fn a_container_lives_and_leaves_nothing() {
    let world = World::new();
    let bundle = Bundle::script("web", "echo $$; hostname; pwd");
    assert_eq!(world.says(&bundle).lines().next(), Some("1"));
    world.assert_nothing_left(&bundle);
}

fn exit_codes_and_signals_come_back() {
    let world = World::new();
    let ended = world.run(&Bundle::script("seven", "exit 7")).unwrap();
    assert_eq!(ended.status, ExitStatus::Exited(7));
    let bundle = Bundle::script("killed", "sleep 1000");
    let created = world.start(&bundle);
    world.runtime.kill("killed", Signal::KILL, false).unwrap();
    let status = created.pidfd.wait().unwrap();
    assert_eq!(status, ExitStatus::Killed { signal: 9, core: false });
    world.runtime.delete("killed", false).unwrap();
}

fn states_follow_each_other() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "sleep 1000");
    bundle.spec["annotations"] = json!({ "some.key": "value" });
    let created = world.create(&bundle).unwrap();
    let state = world.runtime.state("web").unwrap();
    assert_eq!(state.status, Status::Created);
    assert_eq!(state.pid, created.pid.get());
    assert_eq!(state.bundle, bundle.directory);
    assert_eq!(state.rootfs, bundle.rootfs());
    assert_eq!(state.annotations["some.key"], "value");
    world.runtime.start("web").unwrap();
    assert_eq!(world.runtime.state("web").unwrap().status, Status::Running);
    let error = world.runtime.start("web").unwrap_err();
    expect![[r#"container "web" is running; only a created container can be started"#]]
        .assert_eq(&error.flatten());
    world.runtime.kill("web", Signal::KILL, false).unwrap();
    created.pidfd.exits_within(None).unwrap();
    let state = world.runtime.state("web").unwrap();
    assert_eq!((state.status, state.pid), (Status::Stopped, 0));
    created.pidfd.wait().unwrap();
    world.runtime.delete("web", false).unwrap();
    world.assert_nothing_left(&bundle);
}

fn a_created_container_can_be_deleted() {
    let world = World::new();
    let bundle = Bundle::script("web", "true");
    let created = world.create(&bundle).unwrap();
    world.runtime.delete("web", false).unwrap();
    created.pidfd.wait().unwrap();
    world.assert_nothing_left(&bundle);
}

fn delete_with_force_is_idempotent() {
    let world = World::new();
    world.runtime.delete("never", true).unwrap();
    let error = world.runtime.delete("never", false).unwrap_err();
    expect![[r#"container "never" does not exist"#]].assert_eq(&error.flatten());
}

fn a_running_container_is_deleted_only_by_force() {
    let world = World::new();
    let bundle = Bundle::script("web", "sleep 1000 & sleep 1000");
    let created = world.start(&bundle);
    let error = world.runtime.delete("web", false).unwrap_err();
    expect![[r#"container "web" is running; stop it first, or force its removal"#]]
        .assert_eq(&error.flatten());
    world.runtime.delete("web", true).unwrap();
    created.pidfd.wait().unwrap();
    world.assert_nothing_left(&bundle);
}

fn kill_reaches_init_or_everything() {
    let world = World::new();
    // Init waits for the other: its end is that of its pid namespace.
    let script = "trap 'while ! [ -e /other ]; do sleep 0.01; done; echo init; exit 3' USR1; \
         sh -c \"trap 'echo other; touch /other' USR1; echo up; sleep 1000 & wait; \
         sleep 1000 & wait\" & while :; do wait; done";
    let output = output_file();
    let bundle = Bundle::script("web", script);
    let created = world.create_into(&bundle, &output).unwrap();
    world.runtime.start("web").unwrap();
    let text = || read_all(output.try_clone().unwrap());
    until("the second shell is up", || text().contains("up"));
    world.runtime.kill("web", Signal::USR1, true).unwrap();
    assert_eq!(created.pidfd.wait().unwrap(), ExitStatus::Exited(3));
    let text = text();
    assert!(text.contains("init") && text.contains("other"), "{text}");
    world.runtime.delete("web", false).unwrap();
}

fn a_container_that_is_gone_says_so() {
    let world = World::new();
    let bundle = Bundle::script("web", "true");
    let created = world.start(&bundle);
    created.pidfd.wait().unwrap();
    let error = world.runtime.kill("web", Signal::TERM, false).unwrap_err();
    expect![[r#"container not running: "web" is stopped"#]].assert_eq(&error.flatten());
    let error = world.runtime.start("web").unwrap_err();
    expect![[r#"container not running: "web" is stopped"#]].assert_eq(&error.flatten());
    let error = world.runtime.kill("other", Signal::TERM, false).unwrap_err();
    expect![[r#"container "other" does not exist"#]].assert_eq(&error.flatten());
    world.runtime.delete("web", false).unwrap();
}

fn processes_without_a_pid_namespace_are_killed_with_it() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "sleep 1000 & echo $!");
    bundle.namespace("pid", None);
    let output = output_file();
    let created = world.create_into(&bundle, &output).unwrap();
    world.runtime.start("web").unwrap();
    created.pidfd.wait().unwrap();
    let pid: i32 = read_all(output).trim().parse().unwrap();
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    world.runtime.delete("web", false).unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(state().is_empty() || state().contains(") Z "), "{}", state());
}

fn an_id_is_taken_once() {
    let world = World::new();
    let bundle = Bundle::script("web", "sleep 1000");
    let created = world.create(&bundle).unwrap();
    let error = world.create(&bundle).unwrap_err();
    expect![[r#"container "web" exists; delete it or choose another id"#]]
        .assert_eq(&error.flatten());
    // The first is unharmed.
    world.runtime.start("web").unwrap();
    world.runtime.delete("web", true).unwrap();
    created.pidfd.wait().unwrap();
}

fn ids_are_names_of_files() {
    let world = World::new();
    let bundle = Bundle::script("web", "true");
    bundle.write();
    for id in ["", ".", "..", "../web", "a/b", ".hidden", "a b", "\u{e4}"] {
        let error = world.runtime.create(CreateRequest::new(id, &bundle.directory)).unwrap_err();
        assert!(matches!(error, Error::Usage(_)), "{id:?}: {error:?}");
    }
    let error = world.runtime.state("../web").unwrap_err();
    expect![[r#"container id "../web": use letters, digits and _+.-, not starting with a dot"#]]
        .assert_eq(&error.flatten());
}

fn a_program_that_cannot_be_run_is_told_by_its_kind() {
    use std::io::ErrorKind;
    let world = World::new();
    let refused = |args: serde_json::Value| {
        let mut bundle = Bundle::new(&format!("t{}", args.to_string().len()));
        std::fs::write(bundle.rootfs().join("etc/text"), "no program").unwrap();
        std::fs::write(bundle.rootfs().join("bin/lost"), "#!/nowhere\n").unwrap();
        let lost = bundle.rootfs().join("bin/lost");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(lost, mode).unwrap();
        bundle.spec["process"]["args"] = args;
        let error = world.run(&bundle).unwrap_err();
        (error.kind(), error.flatten())
    };
    let (kind, text) = refused(json!(["nosuch"]));
    assert_eq!(kind, ErrorKind::NotFound);
    expect![[r#"run "nosuch": executable file not found in $PATH"#]].assert_eq(&text);
    let (kind, text) = refused(json!(["/bin/nosuch"]));
    assert_eq!(kind, ErrorKind::NotFound);
    expect![[r#"run "/bin/nosuch": no such file or directory (ENOENT)"#]].assert_eq(&text);
    let (kind, text) = refused(json!(["/etc/text"]));
    assert_eq!(kind, ErrorKind::PermissionDenied);
    expect![[r#"run "/etc/text": permission denied (EACCES)"#]].assert_eq(&text);
    let (kind, text) = refused(json!(["/etc", "directory"]));
    assert_eq!(kind, ErrorKind::PermissionDenied);
    expect![[r#"run "/etc": permission denied (EACCES)"#]].assert_eq(&text);
    let (kind, text) = refused(json!(["lost", "interpreter"]));
    assert_eq!(kind, ErrorKind::NotFound);
    expect![[r#"exec /bin/lost: no such file or directory (ENOENT); its interpreter or dynamic loader is missing"#]]
        .assert_eq(&text);
}

fn a_pid_file_is_written() {
    let world = World::new();
    let bundle = Bundle::script("web", "true");
    bundle.write();
    let path = std::path::Path::new("/mnt/init.pid");
    let mut request = CreateRequest::new("web", &bundle.directory);
    request.pid_file = Some(path);
    let created = world.runtime.create(request).unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), created.pid.to_string());
    world.runtime.delete("web", true).unwrap();
    created.pidfd.wait().unwrap();
}

fn environment_directory_and_home() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "echo $A; echo $HOME; pwd; stat -c %a /new/deep");
    std::fs::write(
        bundle.rootfs().join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nweb:x:7:7::/srv/web:/bin/sh\n",
    )
    .unwrap();
    bundle.spec["process"]["env"] = json!(["PATH=/bin", "A=1", "A=2"]);
    bundle.spec["process"]["cwd"] = json!("/new/deep");
    bundle.spec["process"]["user"] = json!({ "uid": 7, "gid": 7 });
    expect![[r#"
        2
        /srv/web
        /new/deep
        755
    "#]]
    .assert_eq(&world.says(&bundle));
}

fn a_user_may_open_its_own_streams() {
    let world = World::new();
    let mut bundle = Bundle::script("web", "echo again > /dev/stdout");
    bundle.spec["process"]["user"] = json!({ "uid": 7, "gid": 7 });
    bundle.write();
    let (output, input) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    let mut request = CreateRequest::new("web", &bundle.directory);
    request.stdio =
        runtime::Stdio::Use { stdin: null.as_fd(), stdout: input.as_fd(), stderr: input.as_fd() };
    let created = world.runtime.create(request).unwrap();
    world.runtime.start("web").unwrap();
    drop(input);
    assert_eq!(created.pidfd.wait().unwrap(), ExitStatus::Exited(0));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::fs::File::from(output), &mut text).unwrap();
    assert_eq!(text, "again\n");
    world.runtime.delete("web", false).unwrap();
}

fn the_list_shows_every_container() {
    let world = World::new();
    assert!(world.runtime.list().unwrap().is_empty());
    let (one, two) = (Bundle::script("b", "true"), Bundle::script("a", "true"));
    let created = [world.create(&one).unwrap(), world.create(&two).unwrap()];
    std::fs::create_dir("/mnt/state/half").unwrap();
    let list = world.runtime.list().unwrap();
    let ids: Vec<&str> = list.iter().map(|state| state.id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    for id in ids {
        world.runtime.delete(id, true).unwrap();
    }
    world.runtime.delete("half", true).unwrap();
    for created in created {
        created.pidfd.wait().unwrap();
    }
    assert!(world.runtime.list().unwrap().is_empty());
}

fn descriptors_are_passed_on_where_asked() {
    let world = World::new();
    let bundle = Bundle::script("web", "readlink /proc/self/fd/3; ls /proc/self/fd | wc -l");
    bundle.write();
    let file = std::fs::File::create("/mnt/passed").unwrap();
    assert_eq!(file.as_raw_fd(), 3, "the first one opened in this process");
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    let output = output_file();
    let mut request = CreateRequest::new("web", &bundle.directory);
    let null = std::fs::File::open("/dev/null").unwrap();
    request.stdio =
        runtime::Stdio::Use { stdin: null.as_fd(), stdout: output.as_fd(), stderr: output.as_fd() };
    request.preserve_fds = 1;
    let created = world.runtime.create(request).unwrap();
    world.runtime.start("web").unwrap();
    assert_eq!(created.pidfd.wait().unwrap(), ExitStatus::Exited(0));
    // 0, 1, 2, the one passed on, and ls's own.
    assert_eq!(read_all(output), "/mnt/passed\n5\n");
    world.runtime.delete("web", false).unwrap();
}
