use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand};
use serde_json::Value;
use ui::{Exit, Report};

use super::inspect::documents;
use super::unsupported::Anything;
use super::{Adapted, Session, listing, print};
use crate::networks;

/// Show what containers can be connected to
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Ls(Adapted<LsArgs>),
    Inspect(Adapted<InspectArgs>),
    #[command(hide = true)]
    Create(Anything),
    #[command(hide = true)]
    Rm(Anything),
    #[command(hide = true)]
    Prune(Anything),
    #[command(hide = true)]
    Connect(Anything),
    #[command(hide = true)]
    Disconnect(Anything),
}

/// List the words that --net takes
///
/// Bridges of the host are listed if they have an IPv4 address, for a container needs one of their
/// network.
#[derive(Debug, Args)]
struct LsArgs {
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
    /// Print as table, json, "table TEMPLATE" or TEMPLATE
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

/// Show everything about networks, as JSON
#[derive(Debug, Args)]
struct InspectArgs {
    /// Print this of each: {{.Gateway}}
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Names as `ls` prints them, or of bridges
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
}

const COLUMNS: &[listing::Column] = &[
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Subnet", "SUBNET"),
    ("Gateway", "GATEWAY"),
    ("Count", "CONTAINERS"),
];

pub(crate) fn network(session: &Session, args: &NetworkArgs) -> Report {
    match &args.verb {
        Verb::Ls(Adapted(args)) => ls(session, args).context("ls"),
        Verb::Inspect(Adapted(args)) => inspect(session, args).context("inspect"),
        Verb::Create(_) => Err(anyhow!(
            "create: not supported; a network is a bridge of the host: ip link add NAME type \
             bridge, ip address add ADDRESS/PREFIX dev NAME, isula run --net bridge=NAME"
        )),
        Verb::Rm(_) | Verb::Prune(_) => Err(anyhow!(
            "{}: not supported; a network is a bridge of the host: ip link delete NAME",
            if matches!(args.verb, Verb::Rm(_)) { "rm" } else { "prune" }
        )),
        Verb::Connect(_) => {
            Err(anyhow!("connect: not supported; use isulad-tools add-nic --bridge NAME CONTAINER"))
        }
        Verb::Disconnect(_) => {
            Err(anyhow!("disconnect: not supported; use isulad-tools remove-nic CONTAINER"))
        }
    }
}

fn ls(session: &Session, args: &LsArgs) -> Report {
    let values = networks::all(&session.engine.store)?;
    if args.quiet {
        let line = |value: &Value| format!("{}\n", value["Name"].as_str().unwrap_or_default());
        print(&values.iter().map(line).collect::<String>())?;
    } else {
        print(&listing::render(args.format.as_deref(), COLUMNS, &[], &values)?)?;
    }
    Ok(Exit::DONE)
}

fn inspect(session: &Session, args: &InspectArgs) -> Report {
    let all = networks::all(&session.engine.store)?;
    documents(&args.networks, args.format.as_deref(), |name| find(&all, name).cloned())
}

fn find<'a>(all: &'a [Value], name: &str) -> Result<&'a Value> {
    let found = all.iter().find(|it| it["Name"] == name || it["Bridge"] == name);
    found.with_context(|| format!("no network is called {name:?}; list them: isula network ls"))
}
