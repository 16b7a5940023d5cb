//! What is to be known of an entry without reading it.

use std::time::SystemTime;

use fuser::{FileAttr, FileType, INodeNo};

use super::tree::{self, Entry, Inode, Node, View};
use crate::config::Cache;

/// Whether the kernel may keep the file's text.
pub fn may_keep(entry: &Entry, cache: Cache) -> bool {
    let Node::File(view) = entry.node else { return false };
    match view {
        View::Meminfo => cache == Cache::All,
        View::Stat | View::Uptime | View::Loadavg | View::Diskstats | View::Pressure(_) => false,
        View::Cpuinfo
        | View::Partitions
        | View::Swaps
        | View::Slabinfo
        | View::Cpus(_)
        | View::CpuOnline
        | View::Topology(_)
        | View::CacheShared(_)
        | View::Host => cache != Cache::Off,
    }
}

/// Its type.
pub fn kind(entry: &Entry) -> FileType {
    match entry.node {
        Node::File(_) => FileType::RegularFile,
        Node::Dir | Node::CpuDirs | Node::Containers => FileType::Directory,
    }
}

/// Whether this host has it.
pub fn is_present(entry: &Entry) -> bool {
    match (entry.node, entry.id) {
        (Node::Containers, _) | (_, tree::ROOT) => true,
        (Node::Dir, _) if entry.parent == tree::ROOT => true,
        // Ours whatever the host has: a CPU that cannot go offline has no such file there.
        (Node::File(View::CpuOnline | View::Slabinfo), _) => true,
        _ => rustix::fs::stat(tree::host_path(entry, 0)).is_ok(),
    }
}

/// What stat(2) says of it.
pub fn attributes(inode: Inode, entry: &Entry, size: u64, changed: SystemTime) -> FileAttr {
    let (kind, perm, nlink) = match entry.node {
        Node::File(View::Slabinfo) => (FileType::RegularFile, 0o400, 1),
        Node::File(_) => (FileType::RegularFile, 0o444, 1),
        _ => (FileType::Directory, 0o555, 2),
    };
    FileAttr {
        ino: INodeNo(inode.number()),
        size,
        blocks: 0,
        atime: changed,
        mtime: changed,
        ctime: changed,
        crtime: changed,
        kind,
        perm,
        nlink,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}
