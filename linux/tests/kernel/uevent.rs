use std::time::Duration;

use linux::CloneFlags;
use linux::ns::{self, Kind, Namespace};
use linux::uevent::{Heard, Listener, Uevent};

crate::cases![an_event_is_told_in_one_namespace];

fn an_event_is_told_in_one_namespace() {
    let outside = Listener::open().unwrap();
    ns::unshare(CloneFlags::NEWNET).unwrap();
    let inside = Listener::open().unwrap();
    let here = Namespace::current(Kind::Net).unwrap();
    let event = Uevent {
        action: "add".into(),
        path: "/devices/virtual/block/linux-test".into(),
        variables: vec![("SUBSYSTEM".into(), "block".into())],
    };
    event.send_in(&here).unwrap();
    let heard = |listener: &Listener, limit| loop {
        match listener.next(Some(limit)).unwrap() {
            // The machine's own disks come and go meanwhile.
            Heard::Event(found) if found.path == event.path => return Some(found),
            Heard::Event(_) | Heard::Overrun => {}
            Heard::Nothing => return None,
        }
    };
    let found = heard(&inside, Duration::from_secs(10)).expect("it is told there");
    assert_eq!(found.action, "add");
    assert!(found.get("SEQNUM").is_some(), "as the kernel's own: {found:?}");
    assert_eq!(heard(&outside, Duration::from_millis(50)), None);
}
