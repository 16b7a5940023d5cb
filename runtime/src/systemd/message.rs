//! Messages of D-Bus, as far as systemd is spoken to: calls out; answers, errors and signals in.
//! Pure. Values are encoded by zbus; this is what lies around them (D-Bus Specification, "Message
//! Format"), without the library's connections, which want an async runtime or threads.

use serde::{Serialize, Serializer};
use zbus::wire::serialized::{Context, Data};
use zbus::wire::{NATIVE_ENDIAN, Signature, Type, as_variant, to_bytes};
use zbus::{ObjectPath, Variant};

/// A property of a unit.
pub(super) type Property = (String, Variant<'static>);

/// The bytes that come before the fields: with the lengths of those and of the body.
pub(super) const HEAD: usize = 16;

/// What a message begins with: byte order, kind, flags, version, length of the body, serial, fields.
type Head<T> = (u8, u8, u8, u8, u32, u32, Vec<(u8, T)>);

// DBUS_MESSAGE_TYPE_*
const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

// DBUS_HEADER_FIELD_*
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

#[cfg(target_endian = "little")]
const ORDER: u8 = b'l';
#[cfg(target_endian = "big")]
const ORDER: u8 = b'B';

fn context() -> Context {
    Context::new(NATIVE_ENDIAN, 0)
}

/// A field of a call.
enum Field {
    Path(&'static str),
    Name(String),
    Signature(&'static Signature),
}

impl Type for Field {
    const SIGNATURE: &'static Signature = &Signature::Variant;
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Path(path) => {
                let path = ObjectPath::from_static_str_unchecked(path);
                as_variant::Serialize(&path).serialize(serializer)
            }
            Self::Name(name) => as_variant::Serialize(name).serialize(serializer),
            Self::Signature(of) => as_variant::Serialize(&Arguments(of)).serialize(serializer),
        }
    }
}

/// The signature of several values, which is not that of one structure of them.
struct Arguments(&'static Signature);

impl Type for Arguments {
    const SIGNATURE: &'static Signature = &Signature::Signature;
}

impl Serialize for Arguments {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_string_no_parens())
    }
}

/// A call of `member` of systemd's manager.
pub(super) fn call<T: Serialize + Type>(
    serial: u32,
    member: &str,
    arguments: &T,
) -> zbus::Result<Vec<u8>> {
    let body = to_bytes(context(), arguments)?;
    let mut fields = vec![
        (PATH, Field::Path("/org/freedesktop/systemd1")),
        (INTERFACE, Field::Name("org.freedesktop.systemd1.Manager".into())),
        (MEMBER, Field::Name(member.to_owned())),
        (DESTINATION, Field::Name("org.freedesktop.systemd1".into())),
    ];
    if T::SIGNATURE != &Signature::Unit {
        fields.push((SIGNATURE, Field::Signature(T::SIGNATURE)));
    }
    // No message may be longer than 128 MiB.
    let length = u32::try_from(body.len()).map_err(|_| zbus::Error::OutOfBounds)?;
    let head: Head<Field> = (ORDER, CALL, 0, 1, length, serial, fields);
    let mut message = to_bytes(context(), &head)?.bytes().to_vec();
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend(body.bytes());
    Ok(message)
}

/// A message of systemd's.
#[derive(Debug, PartialEq)]
pub(super) enum Message {
    Return {
        to: u32,
    },
    Error {
        to: u32,
        name: String,
        text: String,
    },
    /// A job has ended.
    JobRemoved {
        unit: String,
        result: String,
    },
    /// Nothing that we wait for.
    Other,
}

/// How many bytes follow on a head; `None` when it is none.
pub(super) fn rest(head: &[u8; HEAD]) -> Option<usize> {
    let number = |at: usize| {
        let bytes = head[at..at + 4].try_into().ok()?;
        usize::try_from(u32::from_ne_bytes(bytes)).ok()
    };
    let (body, fields) = (number(4)?, number(12)?);
    // The longest message there may be.
    (head[0] == ORDER && body <= 128 << 20 && fields <= 64 << 20)
        .then(|| (HEAD + fields).next_multiple_of(8) - HEAD + body)
}

/// Reads a whole message; `None` when it is none.
pub(super) fn parse(message: &[u8]) -> Option<Message> {
    let data = Data::new(message, context());
    let (head, _) = data.deserialize::<Head<Variant<'_>>>().ok()?;
    let (_, kind, _, _, length, _, fields) = head;
    let field = |code: u8| fields.iter().find(|field| field.0 == code).map(|field| &field.1);
    let text = |code: u8| match field(code) {
        Some(Variant::Str(text)) => text.to_string(),
        _ => String::new(),
    };
    let to = match field(REPLY_SERIAL) {
        Some(Variant::U32(serial)) => *serial,
        _ => 0,
    };
    let body = message.len().checked_sub(length.try_into().ok()?)?;
    let body = Data::new(message.get(body..)?, context());
    Some(match kind {
        RETURN => Message::Return { to },
        ERROR => {
            let name = text(ERROR_NAME);
            // Without words of its own its name has to do.
            let words =
                body.deserialize::<(&str,)>().map_or(name.clone(), |((text,), _)| text.into());
            Message::Error { to, name, text: words }
        }
        SIGNAL if text(MEMBER) == "JobRemoved" => {
            let ((_, _, unit, result), _) =
                body.deserialize::<(u32, ObjectPath<'_>, &str, &str)>().ok()?;
            Message::JobRemoved { unit: unit.to_owned(), result: result.to_owned() }
        }
        _ => Message::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call as it is in the specification's words, byte by byte.
    #[test]
    #[cfg(target_endian = "little")]
    fn a_call_is_laid_out_as_the_specification_says() {
        let message = call(7, "StopUnit", &("a.scope", "replace")).unwrap();
        assert_eq!(&message[..4], b"l\x01\0\x01");
        let body = b"\x07\0\0\0a.scope\0\x07\0\0\0replace\0";
        assert_eq!(&message[4..12], [24, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(rest(message[..HEAD].try_into().unwrap()), Some(message.len() - HEAD));
        assert_eq!(&message[HEAD..HEAD + 8], b"\x01\x01o\0\x19\0\0\0");
        assert!(message.ends_with(body), "{message:?}");
        assert_eq!((message.len() - body.len()) % 8, 0);
        // Of two values, not of a structure.
        let signature = b"\x08\x01g\0\x02ss\0";
        assert!(message.windows(signature.len()).any(|part| part == signature), "{message:?}");
    }

    /// What systemd sends, made with the same library.
    fn message<T: Serialize + Type>(
        kind: u8,
        fields: Vec<(u8, Variant<'static>)>,
        body: &T,
    ) -> Vec<u8> {
        let body = to_bytes(context(), body).unwrap();
        let length = u32::try_from(body.len()).unwrap();
        let head: Head<Variant<'_>> = (ORDER, kind, 1, 1, length, 3, fields);
        let mut message = to_bytes(context(), &head).unwrap().bytes().to_vec();
        message.resize(message.len().next_multiple_of(8), 0);
        message.extend(body.bytes());
        message
    }

    fn removed() -> Vec<u8> {
        let job = ObjectPath::from_static_str_unchecked("/org/freedesktop/systemd1/job/9");
        let fields = vec![(MEMBER, Variant::from("JobRemoved"))];
        message(SIGNAL, fields, &(9_u32, job, "web.scope", "done"))
    }

    #[test]
    fn answers_and_signals_are_read() {
        let name = "org.freedesktop.systemd1.NoSuchUnit";
        let fields = vec![(ERROR_NAME, Variant::from(name)), (REPLY_SERIAL, Variant::U32(7))];
        let error = message(ERROR, fields.clone(), &("no such unit",));
        let text = "no such unit".to_owned();
        assert_eq!(parse(&error), Some(Message::Error { to: 7, name: name.into(), text }));
        let wordless = parse(&message(ERROR, fields, &()));
        assert_eq!(wordless, Some(Message::Error { to: 7, name: name.into(), text: name.into() }));
        let (unit, result) = ("web.scope".into(), "done".into());
        assert_eq!(parse(&removed()), Some(Message::JobRemoved { unit, result }));
        let fields = vec![(REPLY_SERIAL, Variant::U32(4))];
        assert_eq!(parse(&message(RETURN, fields, &())), Some(Message::Return { to: 4 }));
    }

    #[test]
    fn what_is_cut_off_is_no_message() {
        let whole = removed();
        for length in 0..whole.len() {
            // Never a panic; a head alone says how much is to come.
            let _ = parse(&whole[..length]);
        }
        assert_eq!(parse(&[]), None);
        assert_eq!(rest(&[0xff; HEAD]), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
