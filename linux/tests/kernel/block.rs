use std::fs::File;
use std::os::fd::AsFd;

use expect_test::expect;
use linux::block::BlockDevice;
use linux::loop_device::{Loop, Settings};
use linux::mount::{self, Attributes};

use crate::tell;

crate::cases![
    a_disk_with_partitions,
    a_filesystem_in_a_file,
    autoclear_ends_with_the_last_user,
    read_only_is_for_everybody,
    without_the_module_it_says_so,
];

fn image(name: &str, size: u64) -> (String, File) {
    let path = format!("/mnt/{name}");
    let file = File::create_new(&path).unwrap();
    file.set_len(size).unwrap();
    (path.clone(), File::options().read(true).write(true).open(path).unwrap())
}

fn bind(file: &File, settings: Settings) -> Loop {
    match Loop::bind(file, settings) {
        Err(error) if error.to_string().contains("modprobe loop") => crate::skip("no loop devices"),
        answer => answer.unwrap(),
    }
}

const AUTOCLEAR: Settings = Settings { read_only: false, autoclear: true, partitions: false };

fn a_disk_with_partitions() {
    let (_, file) = image("disk", 8 << 20);
    let device = bind(&file, Settings { partitions: true, ..AUTOCLEAR });
    // By hand: not every kernel reads every kind of partition table.
    for (index, start) in [("1", "2048"), ("2", "4096")] {
        assert_eq!(tell("addpart", &[device.path().to_str().unwrap(), index, start, "2048"]), "");
    }
    let disk = BlockDevice::of(device.number()).unwrap();
    assert_eq!((disk.partition, disk.bytes().unwrap()), (None, 8 << 20));
    assert_eq!(format!("/dev/{}", disk.node_name().unwrap()), device.path().to_str().unwrap());
    let partitions = disk.partitions().unwrap();
    assert_eq!(partitions.len(), 2, "{partitions:?}");
    for (index, partition) in (1..).zip(&partitions) {
        assert_eq!(partition.partition, Some(index));
        assert_eq!(partition.bytes().unwrap(), 1 << 20);
        assert_eq!(partition.disk().unwrap().as_ref(), Some(&disk));
        assert_eq!(BlockDevice::of(partition.number).unwrap(), *partition);
    }
    let listed = tell("lsblk", &["-rno", "MAJ:MIN", device.path().to_str().unwrap()]);
    let ours: Vec<_> =
        [&disk].into_iter().chain(&partitions).map(|one| one.number.to_string()).collect();
    assert_eq!(listed.lines().collect::<Vec<_>>(), ours);
}

fn a_filesystem_in_a_file() {
    let (path, file) = image("fs", 16 << 20);
    assert!(tell("mkfs.ext4", &["-q", &path]).is_empty());
    let device = bind(&file, AUTOCLEAR);
    let source = device.path().to_str().unwrap().to_owned();
    let made = mount::new_filesystem("ext4", Some(&source), &[], &Attributes::default()).unwrap();
    std::fs::create_dir("/mnt/there").unwrap();
    mount::attach(&made, File::open("/mnt/there").unwrap()).unwrap();
    assert_eq!(tell("findmnt", &["-rno", "SOURCE,FSTYPE", "/mnt/there"]), format!("{source} ext4"));
    // A second mount of what is no filesystem: the kernel's own words.
    let (_, empty) = image("empty", 1 << 20);
    let device = bind(&empty, AUTOCLEAR);
    let source = device.path().to_str().unwrap().to_owned();
    let error = mount::new_filesystem("ext4", Some(&source), &[], &Attributes::default());
    let text = error.unwrap_err().to_string();
    assert!(text.starts_with("create ext4: ") && text.contains("(EINVAL)"), "{text}");
}

fn backing_file(path: &std::path::Path) -> Option<String> {
    let name = path.file_name().unwrap().to_str().unwrap();
    std::fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()
}

fn autoclear_ends_with_the_last_user() {
    let (_, file) = image("cleared", 1 << 20);
    let device = bind(&file, AUTOCLEAR);
    let path = device.path().to_owned();
    let ours = |path| backing_file(path).is_some_and(|file| file.ends_with("/cleared\n"));
    assert!(ours(&path));
    drop(device);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while ours(&path) {
        assert!(std::time::Instant::now() < deadline, "still bound");
        std::thread::yield_now();
    }

    let device = bind(&file, Settings::default());
    let path = device.path().to_owned();
    let second = device.as_fd().try_clone_to_owned().unwrap();
    device.unbind().unwrap();
    drop(second);
    while ours(&path) {
        assert!(std::time::Instant::now() < deadline, "still bound");
        std::thread::yield_now();
    }
}

fn read_only_is_for_everybody() {
    let (_, file) = image("read-only", 1 << 20);
    let device = bind(&file, Settings { read_only: true, ..AUTOCLEAR });
    assert_eq!(tell("blockdev", &["--getro", device.path().to_str().unwrap()]), "1");
}

fn without_the_module_it_says_so() {
    mount::attach(crate::tmpfs(), File::open("/dev").unwrap()).unwrap();
    expect![
        "open /dev/loop-control: no such file or directory (ENOENT); load the module: modprobe loop"
    ]
    .assert_eq(&Loop::bind(File::open("/mnt").unwrap(), AUTOCLEAR).unwrap_err().to_string());
}
