//! `add-path`, `remove-path`, `list-path`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Context, OnFailure};
use crate::error::{Error, Result, io};
use crate::path::{self, PathMapping, plan};
use crate::record::RecordFile;

/// Show directories and files of the host in a container
///
/// With the mounts below them; read-only holds for those, too. Nothing is mounted on the host.
#[derive(Debug, Args)]
pub(super) struct AddPathArgs {
    /// Make a directory of the host that is missing
    #[arg(long)]
    create: bool,
    /// What a start does without it: fail, or warn and go on
    #[arg(long, value_name = "POLICY", value_enum, default_value = "fail")]
    on_failure: OnFailure,
    /// Record it for the next start, and leave the container as it is
    #[arg(long)]
    update_config_only: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// HOST:CONTAINER[:OPTIONS], options of ro, rw, private, rprivate, rslave; rw,rslave by default
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,
}

/// Take paths out of a container that add-path has put there
#[derive(Debug, Args)]
pub(super) struct RemovePathArgs {
    /// Change the record, and leave the container as it is
    #[arg(long)]
    update_config_only: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// HOST:CONTAINER
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,
}

/// List the paths that were added to a container
#[derive(Debug, Args)]
pub(super) struct ListPathArgs {
    /// Over several lines
    #[arg(short, long)]
    pretty: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(super) fn add(context: &mut Context, args: &AddPathArgs) -> Result<()> {
    let parse =
        |text: &String| path::parse_addition(text).map_err(|error| Error::Usage(error.to_string()));
    let paths = args.paths.iter().map(parse).collect::<Result<Vec<PathMapping>>>()?;
    let named = |error: Error| error.within("Failed to add path");
    let bounds = context.bounds()?;
    let target = context.target(&args.container)?;
    let mut session = context.session_of_files(&target, args.update_config_only)?;
    args.on_failure.of(&mut session);
    plan::check_room(session.record(), paths.len(), bounds).map_err(named)?;
    for mapping in &paths {
        let (host, inside) = (mapping.host_path.display(), mapping.container_path.display());
        if args.create && !session.is_dry() {
            create(mapping).map_err(named)?;
        }
        let must_exist = !(args.create && session.is_dry());
        let next = plan::add(session.record(), mapping, must_exist).map_err(named)?;
        session
            .change(&next)
            .map_err(|error| named(error.within("AddPath: failed to add bind, err")))?;
        context.output.done(
            &format!("Add path ({host}) to container({},{inside}) done.", target.name),
            json!({ "action": "add", "kind": "path", "host": mapping.host_path,
                "container": mapping.container_path }),
        );
    }
    Ok(())
}

/// What is there already stays as it is.
fn create(mapping: &PathMapping) -> Result<()> {
    let path = &mapping.host_path;
    std::fs::create_dir_all(path)
        .or_else(|error| if path.exists() { Ok(()) } else { Err(error) })
        .map_err(|error| io(format!("make {}", path.display()), &error))
}

pub(super) fn remove(context: &mut Context, args: &RemovePathArgs) -> Result<()> {
    let parse =
        |text: &String| path::parse_removal(text).map_err(|error| Error::Usage(error.to_string()));
    let pairs = args.paths.iter().map(parse).collect::<Result<Vec<(PathBuf, PathBuf)>>>()?;
    let target = context.target(&args.container)?;
    let mut session = context.session_of_files(&target, args.update_config_only)?;
    for (host, inside) in &pairs {
        let removed =
            plan::remove(session.record(), host, inside).and_then(|next| session.change(&next));
        let (host, inside) = (host.display(), inside.display());
        match removed {
            Ok(()) => context.output.done(
                &format!("Remove path ({host}) from container({},{inside}) done", target.name),
                json!({ "action": "remove", "kind": "path", "host": host.to_string(),
                    "container": inside.to_string() }),
            ),
            Err(error) => context.output.failed(error.within("Failed to remove path")),
        }
    }
    Ok(())
}

pub(super) fn list(context: &mut Context, args: &ListPathArgs) -> Result<()> {
    let target = context.target(&args.container)?;
    let record = RecordFile::peek(&target.dir)?;
    context.output.list(&record.binds, args.pretty)
}
