use super::*;

fn cross(message: Message) -> Message {
    let (one, other) = Channel::pair().unwrap();
    one.send(&message).unwrap();
    other.receive().unwrap().unwrap().0
}

#[test]
fn what_is_said_is_heard() {
    for message in [Message::Proceed, Message::Unreachable, Message::Mounted, Message::Ready] {
        let text = format!("{message:?}");
        assert_eq!(format!("{:?}", cross(message)), text);
    }
    assert_eq!(cross(Message::Born(70_000)), Message::Born(70_000));
    let text = "mount /proc: operation not permitted (EPERM)".to_owned();
    let failed = Message::Failed { kind: io::ErrorKind::NotFound, text: text.clone() };
    assert_eq!(cross(failed), Message::Failed { kind: io::ErrorKind::NotFound, text });
}

#[test]
fn a_long_text_is_cut_between_letters() {
    let text = "\u{e4}".repeat(MAX);
    let Message::Failed { text, .. } = cross(Message::Failed { kind: io::ErrorKind::Other, text })
    else {
        panic!("another message")
    };
    assert_eq!(text.len(), MAX);
}

#[test]
fn a_descriptor_travels_along() {
    let (one, other) = Channel::pair().unwrap();
    let (_, fd) = Channel::pair().unwrap();
    one.send_with(&Message::Ready, Some(&fd.0)).unwrap();
    let (message, received) = other.receive().unwrap().unwrap();
    assert_eq!(message, Message::Ready);
    assert!(received.is_some());
}

#[test]
fn a_dead_partner_ends_the_stream() {
    let (one, other) = Channel::pair().unwrap();
    drop(one);
    assert!(other.receive().unwrap().is_none());
}

#[test]
fn what_a_dead_partner_said_last_is_found() {
    let (one, other) = Channel::pair().unwrap();
    assert!(other.last_words().is_none());
    one.send(&Message::Mounted).unwrap();
    one.send(&Message::Failed { kind: io::ErrorKind::Other, text: "why".into() }).unwrap();
    drop(one);
    assert_eq!(other.last_words().unwrap().to_string(), "why");
    assert!(other.last_words().is_none());
}
