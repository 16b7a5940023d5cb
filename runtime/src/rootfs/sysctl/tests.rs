use oci_spec::runtime::{LinuxBuilder, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType};

use super::*;

fn namespaces(kinds: &[LinuxNamespaceType]) -> Namespaces {
    let list: Vec<LinuxNamespace> = [LinuxNamespaceType::Mount]
        .iter()
        .chain(kinds)
        .map(|&kind| LinuxNamespaceBuilder::default().typ(kind).build().unwrap())
        .collect();
    Namespaces::of(&LinuxBuilder::default().namespaces(list).build().unwrap()).unwrap()
}

fn one(key: &str, namespaces: &Namespaces) -> Result<Vec<Setting>> {
    check(&HashMap::from([(key.to_owned(), "1".to_owned())]), namespaces)
}

#[test]
fn keys_become_paths_in_order() {
    let all = namespaces(&[LinuxNamespaceType::Network, LinuxNamespaceType::Ipc]);
    let wanted = ["net.ipv4.conf.eth0/7.forwarding", "kernel/sem", "fs.mqueue.msg_max"]
        .map(|key| (key.to_owned(), "1".to_owned()));
    let paths: Vec<String> =
        check(&HashMap::from(wanted), &all).unwrap().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["fs/mqueue/msg_max", "kernel/sem", "net/ipv4/conf/eth0.7/forwarding"]);
}

#[test]
fn only_what_a_namespace_of_the_container_owns() {
    let none = namespaces(&[]);
    let all = namespaces(&[
        LinuxNamespaceType::Network,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Pid,
    ]);
    for key in ["net.core.somaxconn", "kernel.shmmax", "fs.mqueue.msg_max", "kernel.domainname"] {
        assert!(one(key, &none).is_err(), "{key}");
        assert!(one(key, &all).is_ok(), "{key}");
    }
    for key in ["vm.swappiness", "kernel.panic", "fs.file-max", "network.x", "kernel.shm"] {
        assert!(one(key, &all).is_err(), "{key}");
    }
}
