//! Who changed what of which container, one entry of the journal an element
//! (systemd.journal-fields(7), and "Native Journal Protocol" of systemd's documentation).
//!
//! Nobody waits for the journal: where there is none, or it is full, a change is a change.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::record::Record;

/// Where journald listens.
pub const JOURNAL: &str = "/run/systemd/journal/socket";

/// The journal, and the container that its entries are about.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    pub(crate) journal: PathBuf,
    pub(crate) container: String,
}

impl Audit {
    pub(crate) fn of(journal: &Path, container: &str) -> Self {
        Self { journal: journal.to_owned(), container: container.to_owned() }
    }

    /// Writes down what led, or was to lead, from one record to the other.
    pub(crate) fn tell(&self, from: &Record, to: &Record, failed: Option<&Error>) {
        let Ok(socket) = UnixDatagram::unbound() else { return };
        if socket.connect(&self.journal).is_err() || socket.set_nonblocking(true).is_err() {
            return;
        }
        let who = std::fs::read_to_string("/proc/self/loginuid").unwrap_or_default();
        for (action, name, text) in changes(from, to) {
            let entry = self.entry(action, &name, &text, who.trim(), failed);
            let _ = socket.send(&entry);
        }
    }

    fn entry(
        &self,
        action: &str,
        name: &str,
        text: &str,
        who: &str,
        failed: Option<&Error>,
    ) -> Vec<u8> {
        let result = failed.map_or("done".to_owned(), ToString::to_string);
        let message = format!("{action} {name}, container {}: {result}", self.container);
        let mut fields = vec![
            ("MESSAGE", message.as_str()),
            // Of syslog(3): notice, or error.
            ("PRIORITY", if failed.is_some() { "3" } else { "5" }),
            ("SYSLOG_IDENTIFIER", "isulad-tools"),
            ("ISULA_CONTAINER", &self.container),
            ("ISULA_ACTION", action),
            ("ISULA_ELEMENT", name),
            ("ISULA_RECORDED", text),
            ("ISULA_RESULT", &result),
        ];
        // Nobody has logged in where a boot has started it (4294967295).
        if !who.is_empty() && who != "4294967295" {
            fields.push(("ISULA_LOGIN_UID", who));
        }
        let mut entry = Vec::new();
        for (field, value) in fields {
            entry.extend(field.as_bytes());
            if value.contains('\n') {
                // Then the value has its length before it.
                entry.push(b'\n');
                entry.extend(u64::try_from(value.len()).unwrap_or(0).to_le_bytes());
            } else {
                entry.push(b'=');
            }
            entry.extend(value.as_bytes());
            entry.push(b'\n');
        }
        entry
    }
}

/// What is done to which element, and what is recorded of it.
fn changes(from: &Record, to: &Record) -> Vec<(&'static str, String, String)> {
    let (before, after) = (from.elements(), to.elements());
    let find = |list: &[(String, String)], name: &str| {
        list.iter().find(|(other, _)| other == name).map(|(_, text)| text.clone())
    };
    let mut all = Vec::new();
    for (name, text) in &before {
        if find(&after, name).is_none() {
            all.push(("remove", name.clone(), text.clone()));
        }
    }
    for (name, text) in &after {
        match find(&before, name) {
            None => all.push(("add", name.clone(), text.clone())),
            Some(old) if old != *text => all.push(("update", name.clone(), text.clone())),
            Some(_) => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::record::BindEntry;

    #[test]
    fn an_entry_has_its_fields_and_no_line_can_make_another() {
        let audit = Audit::of(Path::new("/nowhere"), "aa11");
        let from = Record { binds: vec![BindEntry("/h:/gone".into())], ..Record::default() };
        let to = Record { binds: vec![BindEntry("/h:/a\nMESSAGE=b".into())], ..Record::default() };
        let mut text = String::new();
        for (action, name, recorded) in changes(&from, &to) {
            let entry = audit.entry(action, &name, &recorded, "1000", None);
            text += &format!("{}\n", entry.escape_ascii().to_string().replace("\\n", "|"));
        }
        expect![[r#"
            MESSAGE=remove path /gone, container aa11: done|PRIORITY=5|SYSLOG_IDENTIFIER=isulad-tools|ISULA_CONTAINER=aa11|ISULA_ACTION=remove|ISULA_ELEMENT=path /gone|ISULA_RECORDED=\"/h:/gone\"|ISULA_RESULT=done|ISULA_LOGIN_UID=1000|
            MESSAGE|+\x00\x00\x00\x00\x00\x00\x00add path /a|MESSAGE=b, container aa11: done|PRIORITY=5|SYSLOG_IDENTIFIER=isulad-tools|ISULA_CONTAINER=aa11|ISULA_ACTION=add|ISULA_ELEMENT|\x11\x00\x00\x00\x00\x00\x00\x00path /a|MESSAGE=b|ISULA_RECORDED=\"/h:/a\|MESSAGE=b\"|ISULA_RESULT=done|ISULA_LOGIN_UID=1000|
        "#]]
        .assert_eq(&text);
    }
}
