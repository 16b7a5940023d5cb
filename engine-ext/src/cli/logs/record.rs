//! One record of the log (file format: what the shim writes, docker's json-file).

use serde::Deserialize;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) text: String,
    pub(super) is_stderr: bool,
    pub(super) time: String,
}

#[derive(Deserialize)]
struct Line {
    log: String,
    stream: String,
    time: String,
}

impl Record {
    /// `None` for what is not one.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let line: Line = serde_json::from_slice(line).ok()?;
        Some(Self { text: line.log, is_stderr: line.stream == "stderr", time: line.time })
    }

    /// A long line is several records, the last of which ends it.
    pub(super) fn ends_line(&self) -> bool {
        self.text.ends_with('\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_and_what_is_none() {
        let line = br#"{"log":"out\n","stream":"stderr","time":"2026-01-02T03:04:05.6Z"}"#;
        let record = Record::parse(line).unwrap();
        assert!(record.ends_line() && record.is_stderr && record.text == "out\n");
        assert_eq!(Record::parse(b"{\"log\":\"cut"), None);
    }
}
