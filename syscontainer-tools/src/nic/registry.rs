//! What is known of the host's links that containers have: below one directory of the whole host,
//! which does not survive a reboot, as the links' ways do not.
//!
//! ```text
//! <dir>/<id>/netns        the container's network namespace, kept alive by a mount: when the
//!                         container dies unseen, the links are still to be found in it
//! <dir>/<id>/<name>.json  what the link called <name> inside was like on the host
//! ```
//!
//! A file is written before its link moves and removed after it is back.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use linux::netlink::{Link, LinkAddress, Route, RouteFamily, Socket};
use linux::ns::{Kind, Namespace};
use linux::{Errno, ethtool, mount};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, io};

/// Where it is unless told otherwise.
pub const LINKS: &str = "/run/isulad-tools";

const PIN: &str = "netns";

/// See the module.
#[derive(Debug, Clone)]
pub struct Links {
    dir: PathBuf,
}

/// A link of the host's that a container has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loan {
    /// What it is called on the host.
    pub(crate) host_name: String,
    /// What it is called inside, unless the container renames it.
    pub(crate) container_name: String,
    /// A further name, which stays with it.
    pub(crate) tag: String,
    /// Its number inside.
    pub(crate) index: Option<u32>,
    pub(crate) state: LinkState,
}

/// What a link is like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LinkState {
    pub(crate) kind: String,
    pub(crate) up: bool,
    pub(crate) mtu: u32,
    pub(crate) queue_length: u32,
    pub(crate) address: Vec<u8>,
    pub(crate) permanent_address: Vec<u8>,
    pub(crate) parent_device: String,
    pub(crate) master: Option<String>,
    pub(crate) alternative_names: Vec<String>,
    pub(crate) addresses: Vec<(IpAddr, u8)>,
    pub(crate) routes: Vec<RouteState>,
    /// Which offloads are asked for, by words of the kernel's bits.
    #[serde(default)]
    pub(crate) offloads: Vec<u32>,
}

/// A route through a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RouteState {
    v6: bool,
    destination: Option<(IpAddr, u8)>,
    source: Option<IpAddr>,
    gateway: Option<IpAddr>,
    metric: Option<u32>,
    table: Option<u32>,
    onlink: bool,
    #[serde(default)]
    protocol: Option<u8>,
}

impl LinkState {
    /// What `link` is like at this moment.
    pub(crate) fn of(socket: &Socket, link: &Link) -> Result<Self> {
        let master = match link.master {
            Some(index) => socket.link_by_index(index)?.map(|master| master.name),
            None => None,
        };
        // The kernel gives a link the address of fe80::/64 itself, whenever it is up.
        let made_here =
            |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80);
        let addresses = socket.addresses(link.index)?.into_iter();
        let mut routes = Vec::new();
        for family in [RouteFamily::V4, RouteFamily::V6] {
            let all = socket.routes(family)?.into_iter();
            routes.extend(
                all.filter(|route| route.link == Some(link.index))
                    .filter(|route| !route.destination.is_some_and(|to| made_here(&to.ip)))
                    .map(|route| RouteState::of(&route)),
            );
        }
        Ok(Self {
            kind: link.kind.clone(),
            up: link.up,
            mtu: link.mtu,
            queue_length: link.queue_length,
            address: link.address.clone(),
            permanent_address: link.permanent_address.clone(),
            parent_device: link.parent_device.clone(),
            master,
            alternative_names: link.alternative_names.clone(),
            addresses: addresses
                .filter(|address| !made_here(&address.ip))
                .map(|address| (address.ip, address.prefix))
                .collect(),
            routes,
            offloads: ethtool::features(&link.name)?.iter().map(|word| word.wanted).collect(),
        })
    }
}

impl RouteState {
    fn of(route: &Route) -> Self {
        Self {
            v6: route.family == RouteFamily::V6,
            destination: route.destination.map(|to| (to.ip, to.prefix)),
            source: route.source,
            gateway: route.gateway,
            metric: route.metric,
            table: route.table,
            onlink: route.onlink,
            protocol: route.protocol,
        }
    }

    /// The same through the link `index`.
    pub(crate) fn through(&self, index: u32) -> Route {
        Route {
            family: if self.v6 { RouteFamily::V6 } else { RouteFamily::V4 },
            destination: self.destination.map(|(ip, prefix)| LinkAddress { ip, prefix }),
            source: self.source,
            gateway: self.gateway,
            link: Some(index),
            metric: self.metric,
            table: self.table,
            onlink: self.onlink,
            protocol: self.protocol,
        }
    }
}

impl Links {
    /// The registry in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    fn of(&self, id: &str) -> PathBuf {
        self.dir.join(id)
    }

    fn loan_path(&self, id: &str, name: &str) -> PathBuf {
        self.of(id).join(format!("{name}.json"))
    }

    /// Every container that has links of the host's.
    pub(crate) fn containers(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        dirs.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Whether the container has links of the host's.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.of(id).exists()
    }

    /// Keeps `network` alive, whatever becomes of the container.
    pub(crate) fn pin(&self, id: &str, network: &Namespace) -> Result<()> {
        if let Some(pinned) = self.pinned(id)? {
            if pinned.identity()? == network.identity()? {
                return Ok(());
            }
            self.unpin(id)?;
        }
        let dir = self.of(id);
        make_dir(&dir)?;
        let path = dir.join(PIN);
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600))
            .map_err(|errno| linux::Error::new(format!("make {}", path.display()), errno))?;
        Ok(mount::attach(mount::clone_tree(network, false)?, target)?)
    }

    /// The network namespace that is kept for a container.
    pub(crate) fn pinned(&self, id: &str) -> Result<Option<Namespace>> {
        match Namespace::open(self.of(id).join(PIN), Kind::Net) {
            Ok(namespace) => Ok(Some(namespace)),
            // Not there, or a file whose mount is gone.
            Err(error) if error.is(Errno::NOENT) || error.is(Errno::INVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn unpin(&self, id: &str) -> Result<()> {
        let path = self.of(id).join(PIN);
        // Whoever was killed between two mounts has left two.
        while self.pinned(id)?.is_some() {
            mount::detach(&path)?;
        }
        remove(&path)
    }

    /// The links that a container has.
    pub(crate) fn loans(&self, id: &str) -> Result<Vec<Loan>> {
        let entries = std::fs::read_dir(self.of(id)).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let files = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
        files.filter_map(|path| read(&path).transpose()).collect()
    }

    /// The link that is called `name` inside.
    pub(crate) fn loan(&self, id: &str, name: &str) -> Result<Option<Loan>> {
        read(&self.loan_path(id, name))
    }

    pub(crate) fn write(&self, id: &str, loan: &Loan) -> Result<()> {
        make_dir(&self.of(id))?;
        let mut text = serde_json::to_vec(loan).expect("strings, numbers and lists of them");
        text.push(b'\n');
        let path = self.loan_path(id, &loan.container_name);
        Ok(linux::file::write_atomic(path, text, 0o600)?)
    }

    /// The link is back. With the last of them goes the pin.
    pub(crate) fn forget(&self, id: &str, name: &str) -> Result<()> {
        remove(&self.loan_path(id, name))?;
        if self.loans(id)?.is_empty() { self.clear(id) } else { Ok(()) }
    }

    /// Nothing is known of the container any more.
    pub(crate) fn clear(&self, id: &str) -> Result<()> {
        let dir = self.of(id);
        if !dir.exists() {
            return Ok(());
        }
        self.unpin(id)?;
        let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            remove(&path)?;
        }
        std::fs::remove_dir(&dir).map_err(|error| io(format!("remove {}", dir.display()), &error))
    }
}

fn read(path: &Path) -> Result<Option<Loan>> {
    match linux::file::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| Error::Failed(format!("read {}: {error}", path.display()))),
        Err(error) if error.is(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn make_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| io(format!("make {}", dir.display()), &error))
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io(format!("remove {}", path.display()), &error))
        }
        _ => Ok(()),
    }
}
