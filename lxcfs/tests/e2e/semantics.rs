//! How the files behave under all the ways programs read files.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
};

use crate::{
    Story,
    world::{World, kb},
};

pub(crate) const STORIES: &[Story] = &[
    ("small_buffers_get_one_consistent_text", small_buffers),
    ("any_offset_can_be_read_first_and_none_is_an_error", offsets),
    ("going_back_to_the_start_refreshes", refresh),
    ("programs_that_copy_and_count_are_right", copies),
    ("writing_is_refused", writing),
    ("poll_returns_at_once", polling),
];

fn small_buffers() {
    let world = World::new(&[]);
    for size in [1, 7, 100, 4096] {
        let mut file = File::open(world.mount().join("proc/meminfo")).unwrap();
        let mut text = Vec::new();
        let mut buffer = vec![0; size];
        loop {
            let got = file.read(&mut buffer).unwrap();
            if got == 0 {
                break;
            }
            text.extend_from_slice(&buffer[..got]);
        }
        let text = String::from_utf8(text).unwrap();
        assert!(text.ends_with("kB\n") && text.starts_with("MemTotal:"), "{text}");
        assert!(text.lines().all(|line| line.contains(':')), "{text}");
        assert!(kb(&text, "MemFree") <= kb(&text, "MemTotal"));
    }
}

fn offsets() {
    let world = World::new(&[]);
    let path = world.mount().join("proc/cpuinfo");
    let whole = fs::read(&path).unwrap();
    let file = File::open(&path).unwrap();
    let mut buffer = vec![0; 50];
    assert_eq!(file.read_at(&mut buffer, 10).unwrap(), 50);
    assert_eq!(buffer, whole[10..60]);
    let end = whole.len() as u64;
    for offset in [end, end + 1, 1 << 31, 1 << 32, i64::MAX as u64 - 65536] {
        assert_eq!(file.read_at(&mut buffer, offset).unwrap(), 0, "{offset}");
    }
}

fn refresh() {
    let world = World::new(&[]);
    let mut file = File::open(world.mount().join("proc/uptime")).unwrap();
    let mut texts = Vec::new();
    for _ in 0..2 {
        file.seek(SeekFrom::Start(0)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        texts.push(text);
        crate::world::pause(30);
    }
    assert_ne!(texts[0], texts[1]);
}

fn copies() {
    let world = World::new(&[]);
    let mut guest = world.guest();
    let dir = world.mount().join("proc");
    let copy = world.dir.path().join("copy");
    let text = guest.run(&format!(
        "cd {}; cat cpuinfo | wc -c; wc -c < cpuinfo; cp cpuinfo {copy}; wc -c < {copy}; \
         dd if=cpuinfo bs=1 2>/dev/null | wc -c; tail -n 100000 cpuinfo | wc -c; \
         head -c -10 cpuinfo | wc -c; cat cpuinfo | head -n 1",
        dir.display(),
        copy = copy.display()
    ));
    let counts: Vec<&str> = text.lines().collect();
    assert!(counts[..5].iter().all(|count| *count == counts[0]), "{text}");
    let whole: u64 = counts[0].parse().unwrap();
    assert_eq!(counts[5].parse::<u64>().unwrap(), whole - 10);
    assert_eq!(counts[6], "processor\t: 0");
}

fn writing() {
    let world = World::new(&[]);
    let path = world.mount().join("proc/meminfo");
    let errno = |result: std::io::Result<File>| result.unwrap_err().raw_os_error().unwrap();
    assert_eq!(errno(OpenOptions::new().write(true).open(&path)), 13);
    assert_eq!(errno(OpenOptions::new().write(true).truncate(true).open(&path)), 13);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let chmod = fs::set_permissions(&path, mode).unwrap_err();
    assert_eq!(chmod.raw_os_error(), Some(1));
    let mkdir = fs::create_dir(world.mount().join("proc/new")).unwrap_err();
    assert_eq!(mkdir.raw_os_error(), Some(1));
    assert_eq!(fs::remove_file(&path).unwrap_err().raw_os_error(), Some(1));
}

fn polling() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let world = World::new(&[]);
    let file = File::open(world.mount().join("proc/meminfo")).unwrap();
    let mut fds = [PollFd::new(&file, PollFlags::IN | PollFlags::PRI)];
    let span = Timespec { tv_sec: 5, tv_nsec: 0 };
    let start = std::time::Instant::now();
    poll(&mut fds, Some(&span)).unwrap();
    assert!(start.elapsed().as_secs() < 2);
}
