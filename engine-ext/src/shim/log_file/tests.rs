use expect_test::expect;
use proptest::prelude::*;

use super::*;

struct Trial {
    directory: tempfile::TempDir,
    log: LogFile,
}

fn trial(max_size: Option<u64>, max_file: u32) -> Trial {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("console.log");
    let log = LogFile::open(&path, Rotation { max_size, max_file }).unwrap();
    Trial { directory, log }
}

impl Trial {
    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn records(&self) -> Vec<(String, String)> {
        read(&self.text("console.log"))
    }
}

/// (stream, text) of each line; fails on a line that is not the documented JSON.
fn read(text: &str) -> Vec<(String, String)> {
    text.lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(value.as_object().unwrap().len(), 3, "{line}");
            let time = value["time"].as_str().unwrap();
            OffsetDateTime::parse(time, &Rfc3339).unwrap();
            let text = |key: &str| value[key].as_str().unwrap().to_owned();
            (text("stream"), text("log"))
        })
        .collect()
}

#[test]
fn a_record_has_the_json_file_form() {
    let mut out = Vec::new();
    record(&mut out, Stream::Stderr, b"a\"\\\t\x1b[0m\xff\r\n", "2026-01-02T03:04:05.6Z");
    expect![[r#"
        {"log":"a\"\\\t\u001b[0m�\r\n","stream":"stderr","time":"2026-01-02T03:04:05.6Z"}
    "#]]
    .assert_eq(std::str::from_utf8(&out).unwrap());
}

#[test]
fn lines_are_records_and_a_prompt_waits_for_the_flush() {
    let mut trial = trial(None, 1);
    trial.log.write(Stream::Stdout, b"one\ntwo\n/ # ");
    assert_eq!(trial.records().len(), 2);
    assert!(trial.log.deadline().is_some());
    trial.log.flush();
    assert!(trial.log.deadline().is_none());
    assert_eq!(trial.records()[2], ("stdout".into(), "/ # ".into()));
}

#[test]
fn streams_do_not_mix_within_a_line() {
    let mut trial = trial(None, 1);
    trial.log.write(Stream::Stdout, b"out ");
    trial.log.write(Stream::Stderr, b"err ");
    trial.log.write(Stream::Stdout, b"put\n");
    trial.log.write(Stream::Stderr, b"or\n");
    let expected = [("stdout".into(), "out put\n".into()), ("stderr".into(), "err or\n".into())];
    assert_eq!(trial.records(), expected);
}

#[test]
fn a_long_line_is_cut_between_characters() {
    let mut trial = trial(None, 1);
    let line = "\u{20ac}".repeat(12_000) + "\n";
    trial.log.write(Stream::Stdout, line.as_bytes());
    let records = trial.records();
    assert_eq!(records.len(), 3);
    assert_eq!(records.iter().map(|(_, text)| text.as_str()).collect::<String>(), line);
}

#[test]
fn a_full_file_is_put_aside_and_the_oldest_goes() {
    let mut trial = trial(Some(200), 3);
    for number in 0..9 {
        trial.log.write(Stream::Stdout, format!("line {number}\n").as_bytes());
    }
    assert_eq!(trial.names(), ["console.log", "console.log.1", "console.log.2"]);
    let all: Vec<String> = ["console.log.2", "console.log.1", "console.log"]
        .iter()
        .flat_map(|name| read(&trial.text(name)))
        .map(|(_, text)| text)
        .collect();
    assert_eq!(all.last().unwrap(), "line 8\n");
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
    for name in trial.names() {
        assert!(trial.text(&name).len() <= 200);
    }
}

#[test]
fn a_single_file_starts_over() {
    let mut trial = trial(Some(100), 1);
    trial.log.write(Stream::Stdout, b"old\n");
    trial.log.write(Stream::Stdout, b"new\n");
    assert_eq!(trial.names(), ["console.log"]);
    assert_eq!(trial.records(), [("stdout".into(), "new\n".into())]);
}

#[test]
fn an_existing_log_is_continued() {
    let Trial { directory, mut log } = trial(None, 1);
    log.write(Stream::Stdout, b"first\n");
    drop(log);
    let path = directory.path().join("console.log");
    let log = LogFile::open(&path, Rotation { max_size: None, max_file: 1 }).unwrap();
    let mut trial = Trial { directory, log };
    trial.log.write(Stream::Stdout, b"second\n");
    assert_eq!(trial.records().len(), 2);
}

#[test]
fn a_full_disk_is_said_once_and_the_loss_is_counted() {
    let mut trial = trial(None, 1);
    trial.log.write(Stream::Stdout, b"before\n");
    let good = std::mem::replace(
        &mut trial.log.file,
        OpenOptions::new().append(true).open("/dev/full").unwrap(),
    );
    trial.log.write(Stream::Stdout, b"lost 1\nlost 2\n");
    let trouble = trial.log.trouble().unwrap();
    let trouble = trouble.replace(trial.directory.path().to_str().unwrap(), "DIR");
    expect!["write DIR/console.log: no space left on device (ENOSPC); output is not logged until that works"]
        .assert_eq(&trouble);
    trial.log.write(Stream::Stdout, b"lost 3\n");
    assert_eq!(trial.log.trouble(), None);
    trial.log.file = good;
    trial.log.write(Stream::Stdout, b"after\n");
    let texts: Vec<String> = trial.records().into_iter().map(|(_, text)| text).collect();
    assert_eq!((texts.len(), texts[0].as_str(), texts[2].as_str()), (3, "before\n", "after\n"));
    assert!(texts[1].starts_with("[3 records lost: write /"), "{}", texts[1]);
    assert!(texts[1].ends_with(": no space left on device (ENOSPC)]\n"), "{}", texts[1]);
}

#[test]
fn a_directory_that_is_gone_loses_no_record_to_rotation() {
    let mut trial = trial(Some(100), 3);
    trial.log.write(Stream::Stdout, b"kept\n");
    std::fs::rename(trial.directory.path(), trial.directory.path().with_extension("moved"))
        .unwrap();
    trial.log.write(Stream::Stdout, b"kept too\n");
    let moved = trial.directory.path().with_extension("moved");
    assert_eq!(read(&std::fs::read_to_string(moved.join("console.log")).unwrap()).len(), 2);
    std::fs::rename(moved, trial.directory.path()).unwrap();
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_back(
        writes in proptest::collection::vec(
            proptest::collection::vec(prop_oneof![Just(b'\n'), 0u8..0x80], 0..40), 0..10),
    ) {
        let mut trial = trial(None, 1);
        let mut all = Vec::new();
        for write in &writes {
            trial.log.write(Stream::Stdout, write);
            all.extend_from_slice(write);
        }
        trial.log.flush();
        let logged: String = trial.records().into_iter().map(|(_, text)| text).collect();
        prop_assert_eq!(logged.as_bytes(), &all[..]);
    }

    #[test]
    fn a_cut_never_splits_a_character(text in "\\PC{1,20}", at in 0usize..80) {
        let bytes = &text.as_bytes()[..at.min(text.len())];
        let end = boundary(bytes);
        if end > 0 {
            prop_assert!(std::str::from_utf8(&bytes[..end]).is_ok());
        }
    }
}
