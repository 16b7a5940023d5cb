//! What it shares with the host or another container, and what it knows of the network.

use clap::Args;

#[derive(Debug, Clone, Default, Args)]
pub struct NamespaceArgs {
    /// Use this network: none, host, container:NAME, bridge
    ///
    /// Default: none, to which isulad-tools adds links. bridge=BRIDGE names a bridge of the host,
    /// whose network has an address and a default route for it. Without a name it is isula0, which
    /// is made for its first container and goes with its last.
    #[arg(long, visible_alias = "network", value_name = "NETWORK")]
    pub net: Option<String>,
    /// Have this IPv4 address on the bridge
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,
    /// Have this hardware address on the bridge
    #[arg(long, value_name = "ADDRESS")]
    pub mac_address: Option<String>,
    /// Have a port of the host lead to one of its own; repeatable
    ///
    /// ADDRESS is one of the host's, by default all are meant. Without a PORT of the host a free
    /// one is taken, of FIRST-LAST the first that is free; as many of the container's as of the
    /// host's are led one to one. With --net bridge. It needs nft, and for other machines'
    /// connections a host that forwards packets.
    #[arg(short, long, value_name = "[[ADDRESS:]PORT:]PORT[/tcp|udp]")]
    pub publish: Vec<String>,
    /// Have free ports of the host lead to all exposed ones
    #[arg(short = 'P', long)]
    pub publish_all: bool,
    /// Say that it serves a port; repeatable
    #[arg(long, value_name = "PORT[/tcp|udp]")]
    pub expose: Vec<String>,
    /// Share process ids: host, container:NAME
    #[arg(long, value_name = "NAMESPACE")]
    pub pid: Option<String>,
    /// Share IPC: host, container:NAME
    #[arg(long, value_name = "NAMESPACE")]
    pub ipc: Option<String>,
    /// Share the host name: host, container:NAME
    #[arg(long, value_name = "NAMESPACE")]
    pub uts: Option<String>,
    /// Share user ids: host
    #[arg(long, value_name = "NAMESPACE")]
    pub userns: Option<String>,
    /// Share the view of cgroups: host; or have its own: private
    #[arg(long, value_name = "NAMESPACE")]
    pub cgroupns: Option<String>,
    /// Count its uptime from its own start, by a time namespace
    #[arg(long)]
    pub time_ns: bool,
    /// Add a line to /etc/hosts; repeatable
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub add_host: Vec<String>,
    /// Ask this name server; repeatable
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<String>,
    /// Set an option of the resolver; repeatable
    #[arg(long, visible_alias = "dns-option", value_name = "OPTION")]
    pub dns_opt: Vec<String>,
    /// Search names in this domain; repeatable
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Set a kernel setting of its namespaces; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub sysctl: Vec<String>,
}
