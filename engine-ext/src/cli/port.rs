use anyhow::{Result, anyhow, bail};
use clap::Args;
use container::config::{Port, PublishedPort};
use serde_json::{Value, json};
use ui::{Exit, Report};

use super::{Session, listing, print};

/// Show which ports of the host lead to a container
///
/// Example:
/// isula port web1 80/tcp
#[derive(Debug, Args)]
pub(crate) struct PortArgs {
    /// Print as json, table, "table TEMPLATE" or TEMPLATE
    ///
    /// Fields: Inside, HostIP, HostPort.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// A name, an id or the beginning of one
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Only what leads to this port of it
    #[arg(value_name = "PORT[/tcp|udp]")]
    port: Option<String>,
}

const COLUMNS: &[listing::Column] =
    &[("Inside", "INSIDE"), ("HostIP", "HOST IP"), ("HostPort", "HOST PORT")];

pub(crate) fn port(session: &Session, args: &PortArgs) -> Report {
    let container = session.engine.store.find(&args.container)?;
    let mut ports = container.state()?.network.map_or_else(Vec::new, |lease| lease.ports);
    let wanted = args.port.as_deref().map(parse).transpose()?;
    if let Some(wanted) = wanted {
        ports.retain(|port| port.inside == wanted);
        if ports.is_empty() {
            bail!("no public port '{wanted}' published for {}", args.container);
        }
    }
    let line = |port: &PublishedPort| match wanted {
        Some(_) => format!("{}\n", port.host),
        None => format!("{} -> {}\n", port.inside, port.host),
    };
    match &args.format {
        None => print(&ports.iter().map(line).collect::<String>())?,
        Some(format) => {
            let values: Vec<Value> = ports.iter().map(value).collect();
            print(&listing::render(Some(format), COLUMNS, &[], &values)?)?;
        }
    }
    Ok(Exit::DONE)
}

fn parse(text: &str) -> Result<Port> {
    text.parse().map_err(|error| anyhow!("Invalid port '{text}'; it is {error}"))
}

fn value(port: &PublishedPort) -> Value {
    json!({
        "Inside": port.inside.to_string(),
        "HostIP": port.host.ip(),
        "HostPort": port.host.port(),
    })
}
