use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use expect_test::expect;
use tempfile::TempDir;

use super::*;
use crate::config::{
    Log, Namespaces, NetworkFiles, Process, Resources, RestartPolicy, Security, VERSION,
};
use crate::state::{Exit, Status};

struct World {
    dir: TempDir,
    store: Store,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().join("root"), dir.path().join("state"));
        Self { dir, store }
    }

    fn make(&self, name: Option<&str>) -> Container {
        let name = name.map(|name| name.parse().unwrap());
        let reservation = self.store.reserve(name.as_ref()).unwrap();
        let config = config(&reservation);
        reservation.commit(&config).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.store.layout().names()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn error(&self, text: &str) -> String {
        self.store.find(text).unwrap_err().to_string()
    }
}

fn name(text: &str) -> ContainerName {
    text.parse().unwrap()
}

fn config(reservation: &Reservation) -> Config {
    Config {
        version: VERSION,
        id: reservation.container().id.clone(),
        name: reservation.name().clone(),
        created: "2026-01-02T03:04:05Z".into(),
        image: "none".into(),
        rootfs_image: false,
        rootfs: "/srv/web".into(),
        system_container: true,
        privileged: false,
        read_only: false,
        process: Process {
            args: vec!["init".into()],
            entrypoint: None,
            env: vec![],
            env_target_file: None,
            cwd: "/".into(),
            user: String::new(),
            group_add: vec![],
            tty: true,
            open_stdin: true,
        },
        hostname: "localhost".into(),
        namespaces: Namespaces::default(),
        bridge: None,
        expose: vec![],
        publish_all: false,
        user_remap: None,
        cgroup_parent: "/isulad".into(),
        resources: Resources::default(),
        security: Security::default(),
        mounts: vec![],
        devices: vec![],
        host_channel: None,
        shm_size: 64 << 20,
        sysctls: BTreeMap::new(),
        ns_change_files: vec![],
        ns_change_opt: None,
        network_files: NetworkFiles::default(),
        restart: RestartPolicy::OnReboot,
        auto_remove: false,
        stop_signal: None,
        log: Log::default(),
        hook_spec: None,
        health: None,
        lxcfs: crate::config::Lxcfs::default(),
        hooks: oci_spec::runtime::Hooks::default(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        runtime: None,
    }
}

#[test]
fn a_container_is_found_by_id_name_and_prefix() {
    let world = World::new();
    let made = world.make(Some("web1"));
    let unnamed = world.make(None);
    for key in [made.id.as_str(), "web1", "/web1", &made.id.as_str()[..20]] {
        assert_eq!(world.store.find(key).unwrap().id, made.id, "{key}");
    }
    assert_eq!(unnamed.config().unwrap().name.as_str(), unnamed.id.as_str());
    assert_eq!(made.config().unwrap().restart, RestartPolicy::OnReboot);
    assert_eq!(made.state().unwrap(), State::created());
    assert_eq!(world.store.list().unwrap().len(), 2);
    expect![[r#"no container matches "nobody"; list them: isula ps -a"#]]
        .assert_eq(&world.error("nobody"));
    expect![[r#"no container matches "../x"; list them: isula ps -a"#]]
        .assert_eq(&world.error("../x"));
}

#[test]
fn an_ambiguous_prefix_lists_its_candidates() {
    let world = World::new();
    // Seventeen ids have two with the same first digit.
    let all: Vec<Container> =
        (0..17).map(|number| world.make(Some(&format!("web{number:02}")))).collect();
    let first = |container: &Container| container.id.as_str()[..1].to_owned();
    let digit = all
        .iter()
        .map(first)
        .find(|digit| all.iter().filter(|container| first(container) == *digit).count() > 1);
    let digit = digit.unwrap();
    let mut names: Vec<String> = all
        .iter()
        .filter(|container| first(container) == digit)
        .map(|container| container.config().unwrap().name.to_string())
        .collect();
    names.sort();
    assert_eq!(
        world.error(&digit),
        format!(
            "no container matches {digit:?}: {} candidates ({}); give more of the id",
            names.len(),
            names.join(", ")
        )
    );
}

#[test]
fn a_name_is_taken_once_and_free_again_after_removal() {
    let world = World::new();
    let made = world.make(Some("web1"));
    let text = world.store.reserve(Some(&name("web1"))).unwrap_err().to_string();
    let text = text.replace(made.id.as_str(), "ID");
    expect![[r#"Conflict. The name "web1" is already in use by container ID. You have to remove (or rename) that container to be able to reuse that name."#]].assert_eq(&text);
    world.store.remove(&made).unwrap();
    assert!(!made.dir.exists() && world.names().is_empty());
    world.make(Some("web1"));
}

#[test]
fn a_reservation_that_is_dropped_leaves_nothing() {
    let world = World::new();
    let reservation = world.store.reserve(Some(&name("web1"))).unwrap();
    let dir = reservation.container().dir.clone();
    assert!(world.store.list().unwrap().is_empty(), "it is no container yet");
    world.store.reserve(Some(&name("web1"))).unwrap_err();
    drop(reservation);
    assert!(!dir.exists() && world.names().is_empty());
}

#[test]
fn what_a_killed_maker_left_is_cleared_away() {
    let world = World::new();
    let layout = world.store.layout().clone();
    // What is on disk between `reserve` and `commit`, without the living maker's lock.
    let id = ContainerId::random().unwrap();
    std::fs::create_dir_all(layout.bundle(&id)).unwrap();
    std::fs::create_dir_all(layout.names()).unwrap();
    symlink(id.as_str(), layout.name(&name("web1"))).unwrap();
    std::fs::write(layout.bundle(&id).join(bundle::SPEC), "{}").unwrap();

    let made = world.make(Some("web1"));
    assert!(!layout.bundle(&id).exists());
    assert_eq!(world.store.find("web1").unwrap().id, made.id);
}

#[test]
fn what_a_power_cut_left_empty_is_cleared_away() {
    let world = World::new();
    let reservation = world.store.reserve(Some(&name("web1"))).unwrap();
    let config = Config { auto_remove: true, ..config(&reservation) };
    let lost = reservation.commit(&config).unwrap();
    assert_eq!(world.store.find("web1").unwrap().id, lost.id);
    std::fs::write(lost.path(bundle::CONFIG), "").unwrap();
    assert!(world.store.list().unwrap().is_empty());
    assert!(world.error("web1").starts_with("no container matches"));

    let made = world.make(Some("web1"));
    assert!(!lost.dir.exists());
    assert_eq!(world.store.find("web1").unwrap().id, made.id);
}

#[test]
fn of_many_that_want_a_name_one_gets_it() {
    let world = World::new();
    let winners: usize = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    // Its own store: flocks are of the open file, as between processes.
                    let store =
                        Store::new(world.dir.path().join("root"), world.dir.path().join("state"));
                    let reservation = store.reserve(Some(&name("web1"))).ok()?;
                    let config = config(&reservation);
                    reservation.commit(&config).ok()
                })
            })
            .collect();
        tries.into_iter().filter_map(|one| one.join().unwrap()).count()
    });
    assert_eq!((winners, world.store.list().unwrap().len()), (1, 1));
}

#[test]
fn a_rename_that_was_cut_short_is_decided_by_the_config() {
    let world = World::new();
    let made = world.make(Some("old"));
    world.store.rename(&made, &name("new")).unwrap();
    assert_eq!(world.names(), ["new"]);
    assert_eq!(world.store.find("new").unwrap().id, made.id);
    // Killed before the old link was removed: it confirms nothing, and can be taken.
    symlink(made.id.as_str(), world.store.layout().name(&name("old"))).unwrap();
    world.store.find("old").unwrap_err();
    world.make(Some("old"));
    // Another's name stays his.
    world.store.rename(&made, &name("old")).unwrap_err();
}

#[test]
fn an_end_that_nobody_saw() {
    let world = World::new();
    let made = world.make(None);
    let running =
        State { status: Status::Running, pid: Some(1), start_time: Some(1), ..State::created() };
    made.save_state(&running).unwrap();
    // Process 1 did not start in the first tick: this is another boot.
    let state = made.state().unwrap();
    assert_eq!((state.status, state.exit_code), (Status::Stopped, 137));
    assert_eq!(state.exit, Some(Exit::Unknown));
    assert_eq!(made.saved_state().unwrap(), running);
}

#[test]
fn after_a_power_cut() {
    let world = World::new();
    let made = world.make(None);
    // Whoever has that pid has it since another boot.
    let pid = i32::try_from(std::process::id()).unwrap();
    let start_time = linux::process::start_time(linux::process::Pid::current()).unwrap();
    let running = State {
        status: Status::Running,
        pid: Some(pid),
        start_time: Some(start_time),
        boot: crate::state::boot(),
        ..State::created()
    };
    made.save_state(&running).unwrap();
    assert_eq!(made.state().unwrap().status, Status::Running);
    made.save_state(&State { boot: "another".into(), ..running }).unwrap();
    assert_eq!(made.state().unwrap().status, Status::Stopped);
    std::fs::write(made.dir.join(bundle::STATE), "").unwrap();
    let state = made.state().unwrap();
    assert_eq!((state.status, state.exit), (Status::Stopped, Some(Exit::Unknown)));
}

#[test]
fn who_seizes_a_container_supervises_it() {
    let world = World::new();
    let made = world.make(None);
    assert!(!made.is_supervised().unwrap());
    let seized = made.seize().unwrap();
    assert!(seized.is_some() && made.is_supervised().unwrap());
    assert!(made.seize().unwrap().is_none());
    drop(seized);
    assert!(!made.is_supervised().unwrap());
}

#[test]
fn a_file_that_is_not_ours_is_named() {
    let world = World::new();
    let made = world.make(None);
    std::fs::write(made.dir.join(bundle::STATE), "{").unwrap();
    let text = made.saved_state().unwrap_err().to_string();
    let text = text.replace(&made.dir.display().to_string(), "BUNDLE");
    expect!["read BUNDLE/state.json: EOF while parsing an object at line 1 column 1"]
        .assert_eq(&text);
}

#[test]
fn a_removed_container_is_not_seized() {
    let world = World::new();
    let made = world.make(None);
    world.store.remove(&made).unwrap();
    assert!(matches!(made.seize(), Err(Error::NotFound(_))));
    assert!(!made.state_dir.exists());
}
