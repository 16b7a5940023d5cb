use super::*;

#[test]
fn a_hierarchy_is_asked_for_by_its_controllers_or_its_name() {
    let parameters = |hierarchy: &Hierarchy| match anew(hierarchy) {
        Origin::New { fstype, parameters } => {
            let words: Vec<String> = parameters
                .into_iter()
                .map(|(key, value)| value.map_or(key.clone(), |value| format!("{key}={value}")))
                .collect();
            format!("{fstype} {}", words.join(","))
        }
        Origin::Bound(_) => panic!("not a new mount"),
    };
    let cpu = Hierarchy::new(Version::V1, &["cpu", "cpuacct"], "/sys/fs/cgroup/cpu,cpuacct", "/");
    assert_eq!(parameters(&cpu), "cgroup cpu,cpuacct");
    assert_eq!(name_of(&cpu).as_deref(), Some("cpu,cpuacct"));
    let named = Hierarchy::new(Version::V1, &["name=systemd"], "/sys/fs/cgroup/systemd", "/");
    assert_eq!(parameters(&named), "cgroup none,name=systemd");
    let unified = Hierarchy::new(Version::V2, &["hugetlb"], "/mnt/cgroup2", "/");
    assert_eq!(parameters(&unified), "cgroup2 ");
    assert_eq!(name_of(&unified).as_deref(), Some("unified"));
}
