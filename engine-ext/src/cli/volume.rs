use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Args, Subcommand};
use container::{Volume, VolumeName, Volumes};
use serde_json::{Value, json};
use ui::report::Many;
use ui::{Exit, Report};

use super::inspect::documents;
use super::{Adapted, Session, listing, print};
use crate::lifecycle::{self, volumes};

/// Manage volumes: directories that outlive containers
#[derive(Debug, Args)]
pub(crate) struct VolumeArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(Adapted<CreateArgs>),
    Ls(Adapted<LsArgs>),
    Inspect(Adapted<InspectArgs>),
    Rm(Adapted<RmArgs>),
    Prune(Adapted<PruneArgs>),
}

/// Make a volume
///
/// Prints its name. One that is there stays as it is. A container that names a volume makes it as
/// well: isula run -v NAME:/path
#[derive(Debug, Args)]
struct CreateArgs {
    /// Words for people; repeatable
    #[arg(short, long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Its name; without one it gets a random one
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// List volumes
#[derive(Debug, Args)]
struct LsArgs {
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
    /// List those only: name=, label=, dangling=true|false
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Print as table, json, "table TEMPLATE" or TEMPLATE
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

/// Show everything about volumes, as JSON
#[derive(Debug, Args)]
struct InspectArgs {
    /// Print this of each: {{.Mountpoint}}
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Their names
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,
}

/// Remove volumes and what is in them
///
/// One that a container uses, running or not, is not removed.
#[derive(Debug, Args)]
struct RmArgs {
    /// One that is not there is no error
    #[arg(short, long)]
    force: bool,
    /// Their names
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,
}

/// Remove every volume that no container uses
#[derive(Debug, Args)]
struct PruneArgs {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

const COLUMNS: &[listing::Column] =
    &[("Driver", "DRIVER"), ("Name", "VOLUME NAME"), ("Users", "USED BY")];
const FURTHER: &[listing::Column] =
    &[("Mountpoint", "MOUNTPOINT"), ("CreatedAt", "CREATED AT"), ("Labels", "LABELS")];

pub(crate) fn volume(session: &Session, args: &VolumeArgs) -> Report {
    match &args.verb {
        Verb::Create(Adapted(args)) => create(session, args).context("create"),
        Verb::Ls(Adapted(args)) => ls(session, args).context("ls"),
        Verb::Inspect(Adapted(args)) => inspect(session, args).context("inspect"),
        Verb::Rm(Adapted(args)) => rm(session, args).context("rm"),
        Verb::Prune(Adapted(args)) => prune(session, args).context("prune"),
    }
}

fn create(session: &Session, args: &CreateArgs) -> Report {
    let name: VolumeName = match &args.name {
        Some(name) => name.parse()?,
        None => VolumeName::random().context("read random numbers")?,
    };
    let created = lifecycle::now()?;
    let mut volume = Volume::new(name, created);
    for label in &args.label {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        ensure!(!key.is_empty(), "invalid label {label:?}; write KEY or KEY=VALUE");
        volume.labels.insert(key.to_owned(), value.to_owned());
    }
    volumes::create(session.engine.store.layout(), &volume)?;
    print(&format!("{}\n", volume.name))?;
    Ok(Exit::DONE)
}

fn ls(session: &Session, args: &LsArgs) -> Report {
    let filters: Vec<Filter> =
        args.filter.iter().map(|it| Filter::parse(it)).collect::<Result<_>>()?;
    let mut values = vec![];
    for volume in Volumes::of(session.engine.store.layout()).list()? {
        let users = volumes::users(&session.engine.store, &volume.name)?;
        if filters.iter().all(|filter| filter.admits(&volume, !users.is_empty())) {
            let mut value = value(session, &volume);
            value["Users"] = json!(users.join(" "));
            value["Labels"] = json!(words(&volume));
            values.push(value);
        }
    }
    if args.quiet {
        let line = |value: &Value| format!("{}\n", value["Name"].as_str().unwrap_or_default());
        print(&values.iter().map(line).collect::<String>())?;
    } else {
        print(&listing::render(args.format.as_deref(), COLUMNS, FURTHER, &values)?)?;
    }
    Ok(Exit::DONE)
}

fn value(session: &Session, volume: &Volume) -> Value {
    json!({
        "Name": volume.name,
        "Driver": "local",
        "Mountpoint": Volumes::of(session.engine.store.layout()).data(&volume.name),
        "CreatedAt": volume.created,
        "Anonymous": volume.anonymous,
        "Labels": volume.labels,
        "Scope": "local",
    })
}

fn words(volume: &Volume) -> String {
    let words: Vec<String> =
        volume.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    words.join(",")
}

enum Filter {
    Name(String),
    Label(String),
    Dangling(bool),
}

impl Filter {
    fn parse(text: &str) -> Result<Self> {
        Ok(match text.split_once('=') {
            Some(("name", value)) => Self::Name(value.to_owned()),
            Some(("label", value)) => Self::Label(value.to_owned()),
            Some(("dangling", "true" | "1")) => Self::Dangling(true),
            Some(("dangling", "false" | "0")) => Self::Dangling(false),
            _ => bail!("Invalid filter '{text}'; use name=, label= or dangling=true|false"),
        })
    }

    fn admits(&self, volume: &Volume, used: bool) -> bool {
        match self {
            Self::Name(part) => volume.name.as_str().contains(part),
            Self::Label(label) => match label.split_once('=') {
                Some((key, value)) => volume.labels.get(key).is_some_and(|own| own == value),
                None => volume.labels.contains_key(label),
            },
            Self::Dangling(dangling) => *dangling != used,
        }
    }
}

fn inspect(session: &Session, args: &InspectArgs) -> Report {
    let all = Volumes::of(session.engine.store.layout());
    documents(&args.volumes, args.format.as_deref(), |name| {
        let volume = all.find(name)?;
        let mut document = value(session, &volume);
        let users = volumes::users(&session.engine.store, &volume.name)?;
        document["Users"] = json!(users);
        Ok(document)
    })
}

fn rm(session: &Session, args: &RmArgs) -> Report {
    let mut errors = vec![];
    for name in &args.volumes {
        match volumes::remove(&session.engine.store, name) {
            Ok(()) => print(&format!("{name}\n"))?,
            Err(error) if args.force && is_missing(&error) => {}
            Err(error) => errors.push(error),
        }
    }
    Many::check(errors)?;
    Ok(Exit::DONE)
}

fn is_missing(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(container::Error::NoVolume(_)))
}

fn prune(session: &Session, args: &PruneArgs) -> Report {
    if !args.force && !agreed()? {
        return Ok(Exit::DONE);
    }
    let removed = volumes::prune(&session.engine.store)?;
    print(&removed.iter().map(|name| format!("{name}\n")).collect::<String>())?;
    Ok(Exit::DONE)
}

/// Asks whoever is at the terminal.
fn agreed() -> Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(anyhow!("nobody is there to ask; add --force to remove all unused volumes"));
    }
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "Remove all volumes that no container uses? [y/N] ")
        .and_then(|()| stderr.flush())
        .context("ask")?;
    let mut answer = String::new();
    stdin.read_line(&mut answer).context("read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
