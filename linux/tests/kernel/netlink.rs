use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};

use expect_test::expect;
use linux::Errno;
use linux::netlink::{
    LinkAddress, LinkChange, NewKind, NewLink, PeerLink, Route, RouteFamily, Socket,
};
use linux::ns::{Kind, Namespace};
use linux::process::{Pid, PidFd};

use crate::tell;

crate::cases![
    a_peer_is_born_in_its_namespace,
    a_link_moves_and_is_renamed_in_one_step,
    addresses_come_and_go,
    routes_come_and_go,
    a_refusal_has_the_words_of_the_kernel,
    a_link_is_found_by_any_of_its_names,
    a_further_name_moves_with_its_link,
    two_ends_know_each_other,
];

/// Another network namespace, for as long as it lives.
struct Other {
    process: Child,
    namespace: Namespace,
}

impl Other {
    fn new() -> Self {
        let mut process = Command::new("unshare")
            .args(["-n", "sh", "-c", "echo; exec sleep 60"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Read::read_exact(process.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let pid = Pid::new(process.id().try_into().unwrap()).unwrap();
        let namespace = Namespace::of(&PidFd::open(pid).unwrap(), Kind::Net).unwrap();
        Self { process, namespace }
    }

    fn ip(&self, args: &[&str]) -> String {
        let pid = self.process.id().to_string();
        tell("nsenter", &[&["-n", "-t", &pid, "ip"], args].concat())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn bridge(socket: &Socket, name: &str) -> u32 {
    let change = LinkChange { up: Some(true), ..LinkChange::default() };
    socket.add_link(&NewLink { name, kind: NewKind::Bridge, change }).unwrap();
    socket.link_by_name(name).unwrap().unwrap().index
}

fn veth(socket: &Socket, name: &str, peer: &str) {
    let peer = PeerLink { name: peer, change: LinkChange::default() };
    let kind = NewKind::Veth(peer);
    socket.add_link(&NewLink { name, kind, change: LinkChange::default() }).unwrap();
}

fn a_peer_is_born_in_its_namespace() {
    let (socket, other) = (Socket::open().unwrap(), Other::new());
    let master = bridge(&socket, "br0");
    let address = [0xfa, 0x16, 0x3e, 0, 0xaa, 0x0b];
    let peer = PeerLink {
        name: "e1",
        change: LinkChange {
            address: Some(&address),
            mtu: Some(1400),
            queue_length: Some(500),
            namespace: Some(other.namespace.as_fd()),
            ..LinkChange::default()
        },
    };
    let host = LinkChange {
        mtu: Some(1400),
        master: Some(master),
        up: Some(true),
        ..LinkChange::default()
    };
    let kind = NewKind::Veth(peer);
    socket.add_link(&NewLink { name: "h1", kind, change: host }).unwrap();
    let seen = tell("ip", &["-o", "link", "show", "h1"]);
    assert!(seen.contains("mtu 1400") && seen.contains("master br0"), "{seen}");
    assert_eq!(tell("ip", &["link", "show", "e1"]), "Device \"e1\" does not exist.");
    let seen = other.ip(&["-o", "link", "show", "e1"]);
    assert!(seen.contains("mtu 1400") && seen.contains("qlen 500"), "{seen}");
    assert!(seen.contains("fa:16:3e:00:aa:0b"), "{seen}");

    let inside = Socket::open_in(&other.namespace).unwrap();
    let link = inside.link_by_name("e1").unwrap().unwrap();
    assert_eq!((link.kind.as_str(), link.mtu, link.up), ("veth", 1400, false));
    let host = socket.link_by_name("h1").unwrap().unwrap();
    assert_eq!(host.master, Some(master));
    let change = LinkChange { hairpin: Some(true), ..LinkChange::default() };
    socket.change_link(host.index, &change).unwrap();
    let seen = tell("ip", &["-d", "link", "show", "h1"]);
    assert!(seen.contains("hairpin on"), "{seen}");
    socket.delete_link(host.index).unwrap();
    assert_eq!(inside.link_by_name("e1").unwrap(), None);
}

fn a_link_moves_and_is_renamed_in_one_step() {
    let (socket, other) = (Socket::open().unwrap(), Other::new());
    veth(&socket, "h1", "h2");
    let here = socket.link_by_name("h1").unwrap().unwrap();
    let away = LinkChange {
        name: Some("e1"),
        namespace: Some(other.namespace.as_fd()),
        ..LinkChange::default()
    };
    socket.change_link(here.index, &away).unwrap();
    assert_eq!(socket.link_by_name("h1").unwrap(), None);
    let inside = Socket::open_in(&other.namespace).unwrap();
    let there = inside.link_by_name("e1").unwrap().unwrap();
    assert_eq!(there.address, here.address);
    let home = Namespace::current(Kind::Net).unwrap();
    let back =
        LinkChange { name: Some("h1"), namespace: Some(home.as_fd()), ..LinkChange::default() };
    inside.change_link(there.index, &back).unwrap();
    assert!(socket.link_by_name("h1").unwrap().is_some());
}

fn addresses_come_and_go() {
    let socket = Socket::open().unwrap();
    let link = bridge(&socket, "br0");
    let four = LinkAddress { ip: "192.168.3.4".parse().unwrap(), prefix: 24 };
    let six = LinkAddress { ip: "2001:db8::4".parse().unwrap(), prefix: 64 };
    for address in [four, six] {
        socket.add_address(link, address).unwrap();
        assert!(socket.addresses(link).unwrap().contains(&address));
    }
    let seen = tell("ip", &["-o", "addr", "show", "br0"]);
    assert!(seen.contains("192.168.3.4/24 brd 192.168.3.255"), "{seen}");
    assert!(seen.contains("2001:db8::4/64"), "{seen}");
    assert!(socket.add_address(link, four).unwrap_err().is(Errno::EXIST));
    socket.remove_address(link, four).unwrap();
    assert!(!socket.addresses(link).unwrap().contains(&four));
}

fn routes_come_and_go() {
    let socket = Socket::open().unwrap();
    let link = bridge(&socket, "br0");
    socket.add_address(link, LinkAddress { ip: "10.1.0.2".parse().unwrap(), prefix: 16 }).unwrap();
    let route = |destination: Option<&str>| Route {
        family: RouteFamily::V4,
        destination: destination.map(|ip| LinkAddress { ip: ip.parse().unwrap(), prefix: 16 }),
        source: Some("10.1.0.2".parse().unwrap()),
        gateway: Some("10.1.0.1".parse().unwrap()),
        link: Some(link),
        metric: Some(7),
        table: None,
        onlink: false,
        protocol: None,
    };
    let (default, network) = (route(None), route(Some("10.2.0.0")));
    let elsewhere = Route { table: Some(300), ..route(Some("10.3.0.0")) };
    let six = Route {
        family: RouteFamily::V6,
        destination: None,
        source: None,
        gateway: Some("fe80::1".parse().unwrap()),
        link: Some(link),
        metric: Some(1024),
        table: None,
        onlink: false,
        protocol: None,
    };
    for route in [&default, &network, &elsewhere, &six] {
        socket.add_route(route).unwrap();
        let found = socket.routes(route.family).unwrap();
        // What names nobody is an administrator's: RTPROT_STATIC.
        let made = Route { protocol: Some(4), ..route.clone() };
        assert!(found.contains(&made), "{made:?} is not among {found:#?}");
    }
    assert!(socket.add_route(&default).unwrap_err().is(Errno::EXIST));
    let seen = tell("ip", &["route", "show", "default"]);
    expect!["default via 10.1.0.1 dev br0 proto static src 10.1.0.2 metric 7"]
        .assert_eq(seen.trim());
    let seen = tell("ip", &["route", "show", "table", "300"]);
    assert!(seen.starts_with("10.3.0.0/16 via 10.1.0.1"), "{seen}");
    socket.remove_route(&default).unwrap();
    assert!(socket.remove_route(&default).unwrap_err().is(Errno::SRCH));
    assert_eq!(tell("ip", &["route", "show", "default"]), "");
}

fn a_refusal_has_the_words_of_the_kernel() {
    let socket = Socket::open().unwrap();
    let link = bridge(&socket, "br0");
    let route = Route {
        family: RouteFamily::V4,
        destination: None,
        source: None,
        gateway: Some("10.9.9.9".parse().unwrap()),
        link: None,
        metric: None,
        table: None,
        onlink: false,
        protocol: None,
    };
    let refused = socket.add_route(&route).unwrap_err().to_string();
    expect!["add route default via 10.9.9.9: Nexthop has invalid gateway: network is unreachable (ENETUNREACH)"]
        .assert_eq(&refused);
    let change = LinkChange { mtu: Some(10), ..LinkChange::default() };
    let refused = socket.change_link(link, &change).unwrap_err().to_string();
    expect!["change link 2 (mtu 10): mtu less than device minimum: invalid argument (EINVAL)"]
        .assert_eq(&refused);
}

fn a_link_is_found_by_any_of_its_names() {
    let socket = Socket::open().unwrap();
    let index = bridge(&socket, "br0");
    assert_eq!(
        tell(
            "ip",
            &["link", "property", "add", "dev", "br0", "altname", "a-name-of-more-than-fifteen"]
        ),
        ""
    );
    let found = socket.link_by_name("a-name-of-more-than-fifteen").unwrap().unwrap();
    assert_eq!(found.index, index);
    assert_eq!(found.alternative_names, ["a-name-of-more-than-fifteen"]);
    assert_eq!(socket.link_by_name("nothing").unwrap(), None);
    assert_eq!(socket.link_by_index(999).unwrap(), None);
    let lo = socket.links().unwrap().into_iter().find(|link| link.loopback).unwrap();
    assert_eq!(lo.name, "lo");
}

fn a_further_name_moves_with_its_link() {
    let (socket, other) = (Socket::open().unwrap(), Other::new());
    veth(&socket, "h1", "h2");
    let index = socket.link_by_name("h1").unwrap().unwrap().index;
    let tag = "a-name-of-more-than-fifteen";
    socket.add_alternative_name(index, tag).unwrap();
    assert!(socket.add_alternative_name(index, tag).unwrap_err().is(Errno::EXIST));
    let away = LinkChange {
        name: Some("e1"),
        namespace: Some(other.namespace.as_fd()),
        ..LinkChange::default()
    };
    socket.change_link(index, &away).unwrap();
    other.ip(&["link", "set", "e1", "name", "mine"]);
    let inside = Socket::open_in(&other.namespace).unwrap();
    let found = inside.link_by_name(tag).unwrap().unwrap();
    assert_eq!(found.name, "mine");
    inside.remove_alternative_name(found.index, tag).unwrap();
    assert_eq!(inside.link_by_name(tag).unwrap(), None);
}

fn two_ends_know_each_other() {
    let (socket, other) = (Socket::open().unwrap(), Other::new());
    let change = LinkChange { namespace: Some(other.namespace.as_fd()), ..LinkChange::default() };
    let kind = NewKind::Veth(PeerLink { name: "e1", change });
    socket.add_link(&NewLink { name: "h1", kind, change: LinkChange::default() }).unwrap();
    let here = socket.link_by_name("h1").unwrap().unwrap();
    let inside = Socket::open_in(&other.namespace).unwrap();
    let there = inside.link_by_name("e1").unwrap().unwrap();
    assert_eq!((here.linked, there.linked), (Some(there.index), Some(here.index)));
}
