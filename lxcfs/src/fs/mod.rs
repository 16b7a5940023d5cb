//! The file system that `fuser` serves: the table of `tree`, for whoever asks.
//!
//! On the live side files report size 0 and are read without the kernel's cache, like procfs. On the
//! kept side, of containers' own parts alone, they have a size and stay in the cache for as long as
//! their attributes are believed: never a file two containers share. FLUSH, POLL, ACCESS and attributes beyond the plain ones are
//! declined once, after which the kernel does not ask again.

pub mod attributes;
pub mod handle;
pub mod tree;
pub mod watch;

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    KernelConfig, LockOwner, OpenAccMode, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, ReplyXattr, Request, WriteFlags,
};

use self::{
    attributes::{attributes, is_present, kind, may_keep},
    handle::{Handle, slice},
    tree::{Entry, Inode, Node},
    watch::Watch,
};
use crate::{
    answer,
    caller::Caller,
    config::{File, Mode, Settings},
    container::Container,
    server::Server,
};

/// Names and attributes of the table never change.
const FOREVER: Duration = Duration::from_secs(3600);
/// How long the kernel may believe what it has of a slow file.
pub const CACHE_AGE: Duration = Duration::from_millis(100);

/// Which of the two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Everything; each open file has a text of its own.
    Live,
    /// `ID/...`: what the kernel may keep. There is no open to be told of, so no text of its own.
    Kept,
}

/// The file system.
#[derive(Debug)]
pub struct Files {
    side: Side,
    server: Arc<Server>,
    watch: Arc<Watch>,
    /// Entries this host has; another kernel has others.
    present: Box<[bool; 256]>,
}

impl Files {
    /// The file system over `server`.
    pub fn new(server: Arc<Server>, watch: Arc<Watch>, side: Side) -> Files {
        let mut present = Box::new([false; 256]);
        for entry in tree::entries() {
            present[usize::from(entry.id)] = is_present(entry);
        }
        Files { side, server, watch, present }
    }

    fn settings<'a>(&'a self, container: Option<&'a Arc<Container>>) -> &'a Settings {
        container.map_or(&self.server.config.defaults, |container| &container.settings)
    }

    fn is_shown(&self, entry: &Entry, slot: u32, settings: &Settings) -> bool {
        let on = entry.file.is_none_or(|file| settings.mode(file) != Mode::Off);
        let here = slot == 0 || !matches!(entry.name, "containers" | "cgroup");
        let on_this_side = self.side == Side::Live
            || match entry.node {
                Node::File(_) => !self.server.exact && may_keep(entry, settings.cache),
                // Nothing in it is kept.
                _ => entry.file != Some(File::Pressure),
            };
        self.present[usize::from(entry.id)] && on && here && on_this_side
    }

    /// Whether a directory has the containers in it.
    fn lists_containers(&self, directory: Inode) -> bool {
        match self.side {
            Side::Live => directory.entry == tree::CONTAINERS,
            Side::Kept => directory.entry == tree::ROOT && directory.slot == 0,
        }
    }

    fn lookup_inode(&self, tid: u32, parent: Inode, name: &OsStr) -> Option<Inode> {
        if self.lists_containers(parent) {
            let slot = self.server.attached.slot(name.to_str()?)?;
            return Some(Inode { entry: tree::ROOT, slot, cpu: None });
        }
        let by_slot = self.server.attached.by_slot(parent.slot);
        let settings = self.settings(by_slot.as_ref());
        let found = tree::entries().find(|entry| {
            entry.parent == parent.entry
                && entry.id != tree::ROOT
                && entry.node != Node::CpuDirs
                && entry.name.as_bytes() == name.as_bytes()
                && self.is_shown(entry, parent.slot, settings)
        });
        if let Some(entry) = found {
            return Some(Inode { entry: entry.id, ..parent });
        }
        let cpu = answer::cpu_of_name(name.as_bytes())?;
        let has_cpus = self.has_cpu_dirs(parent, settings);
        let caller = || self.server.caller(parent.slot, tid);
        (has_cpus && answer::cpu_dirs(&self.server, &caller()).contains(&cpu)).then_some(Inode {
            entry: tree::CPU_DIR,
            slot: parent.slot,
            cpu: Some(cpu),
        })
    }

    fn has_cpu_dirs(&self, parent: Inode, settings: &Settings) -> bool {
        tree::entry(tree::CPU_DIR).is_some_and(|entry| {
            entry.parent == parent.entry && self.is_shown(entry, parent.slot, settings)
        })
    }

    fn list(&self, tid: u32, directory: Inode) -> Vec<(Inode, FileType, String)> {
        let mut list = vec![
            (directory, FileType::Directory, ".".to_owned()),
            (directory, FileType::Directory, "..".to_owned()),
        ];
        if self.lists_containers(directory) {
            list.extend(self.server.attached.ids().into_iter().map(|(id, slot)| {
                (Inode { entry: tree::ROOT, slot, cpu: None }, FileType::Directory, id)
            }));
            return list;
        }
        let by_slot = self.server.attached.by_slot(directory.slot);
        let settings = self.settings(by_slot.as_ref());
        for entry in tree::entries() {
            let here = entry.parent == directory.entry && entry.node != Node::CpuDirs;
            if here && self.is_shown(entry, directory.slot, settings) {
                let inode = Inode { entry: entry.id, ..directory };
                list.push((inode, kind(entry), entry.name.to_owned()));
            }
        }
        if self.has_cpu_dirs(directory, settings) {
            let caller = self.server.caller(directory.slot, tid);
            for cpu in answer::cpu_dirs(&self.server, &caller) {
                let inode = Inode { entry: tree::CPU_DIR, slot: directory.slot, cpu: Some(cpu) };
                list.push((inode, FileType::Directory, format!("cpu{cpu}")));
            }
        }
        list
    }

    /// Attributes and for how long they may be believed.
    fn attributes(&self, inode: Inode) -> Option<(FileAttr, Duration)> {
        let entry = tree::entry(inode.entry)?;
        let boot = UNIX_EPOCH + Duration::from_secs(self.server.host.boot_time);
        if self.side == Side::Live || !matches!(entry.node, Node::File(_)) {
            return Some((attributes(inode, entry, 0, boot), FOREVER));
        }
        let (text, changed) = match self.server.attached.by_slot(inode.slot) {
            Some(container) => {
                let kept = self.kept(&container, inode);
                (kept.text, boot + Duration::from_nanos(kept.changed))
            }
            // Its container is gone: a file that is still mounted somewhere shows what it can.
            None => (answer::text(&self.server, &Caller::Unknown, inode), boot),
        };
        Some((attributes(inode, entry, text.len() as u64, changed), CACHE_AGE))
    }

    fn kept(&self, container: &Container, inode: Inode) -> crate::container::Kept {
        let age = u64::try_from(CACHE_AGE.as_micros()).unwrap_or(0);
        let render = || answer::of_container(&self.server, container, inode);
        container.kept(inode.number(), age, render)
    }

    /// The text a read gets. Everything slow happens here, with nothing locked.
    fn text(&self, tid: u32, inode: Inode, handle: u64, offset: u64) -> Arc<[u8]> {
        let caller = || self.server.caller(inode.slot, tid);
        if self.side == Side::Kept {
            return match caller() {
                Caller::Container(container) => self.kept(&container, inode).text,
                other => answer::text(&self.server, &other, inode),
            };
        }
        let handle = self.server.handles.get(handle, || Handle::new(caller()));
        handle.text(offset, || answer::text(&self.server, &handle.caller, inode))
    }
}

impl Filesystem for Files {
    fn init(&mut self, _: &Request, _: &mut KernelConfig) -> std::io::Result<()> {
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = Inode::of_number(parent.0)
            .and_then(|parent| self.lookup_inode(request.pid(), parent, name))
            .and_then(|inode| Some((inode, self.attributes(inode)?)));
        let Some((inode, (attributes, believed))) = found else {
            return reply.error(Errno::ENOENT);
        };
        // Which CPUs there are depends on the caller and on limits; which containers, on time.
        let fleeting = inode.entry == tree::CPU_DIR || inode.entry == tree::ROOT;
        let name_believed = if fleeting { Duration::ZERO } else { FOREVER };
        reply.entry_with_ttls(&believed, &name_believed, &attributes, Generation(0));
    }

    fn forget(&self, _: &Request, _: INodeNo, _: u64) {}

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match Inode::of_number(number.0).and_then(|inode| self.attributes(inode)) {
            Some((attributes, believed)) => reply.attr(&believed, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<fuser::TimeOrNow>,
        _: Option<fuser::TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.error(Errno::EPERM);
    }

    fn open(&self, request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(Errno::EACCES);
        }
        let Some(inode) = Inode::of_number(number.0) else { return reply.error(Errno::ENOENT) };
        if self.side == Side::Kept {
            // Once, and the kernel asks for no open file of this connection again.
            return reply.error(Errno::ENOSYS);
        }
        let caller = self.server.caller(inode.slot, request.pid());
        let handle = self.server.handles.insert(Handle::new(caller));
        self.server.metrics.open();
        let how = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH;
        reply.opened(FileHandle(handle), how);
    }

    fn read(
        &self,
        request: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(inode) = Inode::of_number(number.0) else { return reply.error(Errno::ENOENT) };
        let unique = request.unique().0;
        match self.watch.begin(unique, reply, inode, offset, size, handle.0) {
            Ok(slot) => {
                let text = self.text(request.pid(), inode, handle.0, offset);
                if let Some((reply, elapsed)) = self.watch.end(slot, unique) {
                    reply.data(slice(&text, offset, size));
                    self.server.metrics.read(elapsed);
                }
            }
            Err(reply) => {
                let text = self.text(request.pid(), inode, handle.0, offset);
                reply.data(slice(&text, offset, size));
            }
        }
    }

    /// Without an open there is nobody to refuse a writer before it writes.
    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::EACCES);
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.server.handles.remove(handle.0);
        reply.ok();
    }

    fn readdir(
        &self,
        request: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let Some(directory) = Inode::of_number(number.0) else { return reply.error(Errno::ENOENT) };
        let list = self.list(request.pid(), directory);
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        for (next, (inode, kind, name)) in (1u64..).zip(list).skip(skip) {
            if reply.add(INodeNo(inode.number()), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn getxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn listxattr(&self, _: &Request, _: INodeNo, _: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn mkdir(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn unlink(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EPERM);
    }

    fn rmdir(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EPERM);
    }
}
