//! What a command says: a line for each thing done, or one document.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Error, PARTLY, Result};

/// See the module.
#[derive(Debug)]
pub(crate) struct Output {
    name: String,
    json: bool,
    done: Vec<Value>,
    errors: Vec<Error>,
    answer: Option<Value>,
    differs: bool,
}

/// Those of `entries` whose members are as the JSON object `filter` says; an empty member, or 0,
/// says nothing. `beginning` is that of a complaint.
pub(super) fn matching(
    filter: Option<&str>,
    beginning: &str,
    entries: &[impl Serialize],
) -> Result<Vec<Value>> {
    let bad = |reason: String| Error::Usage(format!("{beginning}: {reason}"));
    let filter: serde_json::Map<String, Value> = match filter {
        None | Some("") => serde_json::Map::new(),
        Some(text) => serde_json::from_str(text).map_err(|error| bad(error.to_string()))?,
    };
    let says_nothing = |value: &Value| value.is_null() || *value == json!("") || *value == json!(0);
    let mut found = Vec::new();
    for entry in entries {
        let entry = serde_json::to_value(entry)
            .map_err(|error| Error::Failed(format!("write the list: {error}")))?;
        let mut all = true;
        for (name, wanted) in filter.iter().filter(|(_, wanted)| !says_nothing(wanted)) {
            let members = entry.as_object().into_iter().flatten();
            let mut members = members.filter(|(member, _)| member.eq_ignore_ascii_case(name));
            all &= members.next().is_some_and(|(_, value)| value == wanted);
        }
        if all {
            found.push(entry);
        }
    }
    Ok(found)
}

impl Output {
    pub(crate) fn new(name: &str, json: bool) -> Self {
        Self {
            name: name.to_owned(),
            json,
            done: vec![],
            errors: vec![],
            answer: None,
            differs: false,
        }
    }

    /// Another one that says things the same way.
    pub(super) fn clone_settings(&self) -> Self {
        Self::new(&self.name, self.json)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// One thing is done: a line for people, an object for programs.
    pub(crate) fn done(&mut self, line: &str, object: Value) {
        if self.json {
            self.done.push(object);
        } else {
            self.print(&format!("{line}\n"));
            self.done.push(Value::Null);
        }
    }

    /// One thing could not be done; the rest goes on.
    pub(crate) fn failed(&mut self, error: Error) {
        self.errors.push(error);
    }

    /// What was compared is not the same: no error, and not 0 either.
    pub(super) fn differs(&mut self) {
        self.differs = true;
    }

    /// Says what was done so far, and forgets it: for a program that goes on.
    pub(super) fn flush(&mut self) {
        let done = std::mem::take(&mut self.done);
        if self.json && !done.is_empty() {
            self.print(&format!("{}\n", json!({ "done": done, "errors": [], "code": 0 })));
        }
    }

    /// A list that was asked for: JSON either way.
    pub(crate) fn list(&mut self, list: &impl Serialize, pretty: bool) -> Result<()> {
        let value = serde_json::to_value(list)
            .map_err(|error| Error::Failed(format!("write the list: {error}")))?;
        if self.json {
            self.answer = Some(value);
            return Ok(());
        }
        let mut text = Vec::new();
        let written = if pretty {
            let indent = serde_json::ser::PrettyFormatter::with_indent(b"\t");
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, indent))
        } else {
            value.serialize(&mut serde_json::Serializer::new(&mut text))
        };
        written.map_err(|error| Error::Failed(format!("write the list: {error}")))?;
        text.push(b'\n');
        self.print(&String::from_utf8_lossy(&text));
        Ok(())
    }

    /// Ends the program: with what went wrong, joined in one line as the predecessor did.
    pub(super) fn end(&mut self, result: Result<()>) -> ExitCode {
        if let Err(error) = result {
            self.errors.push(error);
        }
        let code = match self.errors.as_slice() {
            [] => u8::from(self.differs),
            _ if !self.done.is_empty() => PARTLY,
            [first, ..] => first.code(),
        };
        if self.json {
            let errors: Vec<Value> = self
                .errors
                .iter()
                .map(|error| {
                    json!({ "kind": error.kind(), "code": error.code(), "message": error.to_string() })
                })
                .collect();
            let mut document = json!({ "done": self.done, "errors": errors, "code": code });
            if let Some(answer) = self.answer.take() {
                document["answer"] = answer;
            }
            self.print(&format!("{document}\n"));
        } else {
            for error in &self.errors {
                ui::report::note(&format!("{}: {error}", self.name));
            }
        }
        ExitCode::from(code)
    }

    /// To stdout; nobody is left to hear that it is closed.
    pub(super) fn print(&self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }
}
