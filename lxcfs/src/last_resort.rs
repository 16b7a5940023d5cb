//! The holder's own answers, when no worker stays alive: the host's values, by hand.
//!
//! As little as can be: no handles, no containers, no allocation that grows. Enough of the protocol
//! for files that are mounted already to be read, and nothing that changes the connection: an
//! ENOSYS to some requests would hold for ever.

use std::{os::fd::OwnedFd, sync::Arc, thread};

use linux::{Errno, Result};
use rustix::event::{PollFd, PollFlags};

use crate::{
    connection::{Devices, HEADER_IN, READ_BUFFER, reply},
    fallback,
    fs::{
        Side,
        handle::slice,
        tree::{self, Inode, Node, View},
    },
    host,
};

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const GETXATTR: u32 = 22;
const LISTXATTR: u32 = 23;
const FLUSH: u32 = 25;
const OPENDIR: u32 = 27;
const READDIR: u32 = 28;
const RELEASEDIR: u32 = 29;
const INTERRUPT: u32 = 36;
const POLL: u32 = 40;
const BATCH_FORGET: u32 = 42;

const OPEN_DIRECT_IO: u32 = 1;

/// Serves until `stop` can be read.
///
/// `unanswered` is what workers took from the live and the kept connection and never answered.
pub fn spawn(
    devices: Arc<Devices>,
    unanswered: [Vec<Vec<u8>>; 2],
    stop: OwnedFd,
) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("last-resort".into()).spawn(move || {
        let mut buffer = vec![0; READ_BUFFER];
        let devices = [(&devices.live, Side::Live), (&devices.kept, Side::Kept)];
        for ((device, side), requests) in devices.into_iter().zip(unanswered) {
            for request in requests {
                let _ = serve(device, side, &request);
            }
        }
        loop {
            let mut fds =
                [devices[0].0, devices[1].0, &stop].map(|fd| PollFd::new(fd, PollFlags::IN));
            let ready = rustix::event::poll(&mut fds, None);
            let [live, kept, stopped] = fds.map(|fd| fd.revents());
            if !stopped.is_empty() || live.contains(PollFlags::ERR) {
                return;
            }
            if ready.is_err() {
                continue;
            }
            for ((device, side), ready) in devices.into_iter().zip([live, kept]) {
                // A request may be gone again by now (ENOENT, EAGAIN): the next round asks again.
                if ready.contains(PollFlags::IN)
                    && let Ok(length) = rustix::io::read(device, &mut buffer)
                {
                    let _ = serve(device, side, &buffer[..length]);
                }
            }
        }
    })
}

fn serve(device: &OwnedFd, side: Side, request: &[u8]) -> Result<()> {
    let word = |at: usize| -> u32 {
        request
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_ne_bytes)
    };
    let long = |at: usize| -> u64 {
        request
            .get(at..at + 8)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_ne_bytes)
    };
    let (opcode, unique) = (word(4), long(8));
    if matches!(opcode, FORGET | BATCH_FORGET | INTERRUPT) {
        return Ok(());
    }
    let inode = Inode::of_number(long(16));
    let answer = match (opcode, inode) {
        (LOOKUP, Some(parent)) => {
            let name = request.get(HEADER_IN..).unwrap_or_default();
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            lookup(side, parent, name)
        }
        (GETATTR, Some(inode)) => attributes(side, inode),
        (OPEN, _) if side == Side::Kept => Err(Errno::NOSYS),
        (OPEN, Some(_)) => Ok(open(OPEN_DIRECT_IO)),
        (OPENDIR, Some(_)) => Ok(open(0)),
        (READ, Some(inode)) => Ok(read(inode, long(HEADER_IN + 8), word(HEADER_IN + 16))),
        (READDIR | RELEASE | RELEASEDIR, _) => Ok(Vec::new()),
        (STATFS, _) => Ok(vec![0; 80]),
        // What a worker answers too, so the kernel has stopped asking or may stop now.
        (FLUSH | POLL | GETXATTR | LISTXATTR, _) => Err(Errno::NOSYS),
        (_, None) => Err(Errno::NOENT),
        _ => Err(Errno::PERM),
    };
    let sent = match answer {
        Ok(payload) => reply(device, unique, 0, &payload),
        Err(errno) => reply(device, unique, -errno.raw_os_error(), &[]),
    };
    // A reader that was interrupted does not want its answer any more (ENOENT).
    sent.or(Ok(()))
}

fn lookup(side: Side, parent: Inode, name: &[u8]) -> std::result::Result<Vec<u8>, Errno> {
    let found = tree::entries()
        .find(|entry| {
            entry.parent == parent.entry
                && entry.node != Node::CpuDirs
                && entry.id != tree::ROOT
                && entry.name.as_bytes() == name
        })
        .ok_or(Errno::NOENT)?;
    let inode = Inode { entry: found.id, ..parent };
    // struct fuse_entry_out: nodeid, generation, two validities, their nanoseconds, attributes.
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(&inode.number().to_ne_bytes());
    out.extend_from_slice(&[0; 32]);
    out.extend_from_slice(&attribute_block(side, inode));
    Ok(out)
}

fn attributes(side: Side, inode: Inode) -> std::result::Result<Vec<u8>, Errno> {
    // struct fuse_attr_out: validity, its nanoseconds, padding, attributes. Valid for no time: the
    // worker to come has better ones.
    let mut out = vec![0; 16];
    out.extend_from_slice(&attribute_block(side, inode));
    Ok(out)
}

fn attribute_block(side: Side, inode: Inode) -> [u8; 88] {
    let is_file = tree::entry(inode.entry).is_some_and(|entry| matches!(entry.node, Node::File(_)));
    let is_slabinfo =
        tree::entry(inode.entry).is_some_and(|entry| entry.node == Node::File(View::Slabinfo));
    let mode: u32 = match (is_file, is_slabinfo) {
        (_, true) => 0o100_400,
        (true, _) => 0o100_444,
        _ => 0o040_555,
    };
    // The kernel must have every byte of a file it keeps: a size that does not cut.
    let size = if is_file && side == Side::Kept { text(inode).len() as u64 } else { 0 };
    let mut block = [0; 88];
    block[0..8].copy_from_slice(&inode.number().to_ne_bytes());
    block[8..16].copy_from_slice(&size.to_ne_bytes());
    block[60..64].copy_from_slice(&mode.to_ne_bytes());
    block[64..68].copy_from_slice(&1u32.to_ne_bytes());
    block[80..84].copy_from_slice(&4096u32.to_ne_bytes());
    block
}

fn open(flags: u32) -> Vec<u8> {
    // struct fuse_open_out: handle, flags, padding.
    let mut out = vec![0; 16];
    out[8..12].copy_from_slice(&flags.to_ne_bytes());
    out
}

fn read(inode: Inode, offset: u64, size: u32) -> Vec<u8> {
    slice(&text(inode), offset, size).to_vec()
}

fn text(inode: Inode) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(entry) = tree::entry(inode.entry) {
        // Who asks is not known here.
        if let Some(text) = fallback::instead(entry.node) {
            return text.to_vec();
        }
        let path = tree::host_path(entry, inode.cpu.unwrap_or(0));
        if host::read_path(&path, &mut out).is_err() {
            out.clear();
        }
    }
    out
}
