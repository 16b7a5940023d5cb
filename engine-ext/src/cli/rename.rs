use anyhow::ensure;
use clap::Args;
use container::ContainerName;
use ui::{Exit, Report};

use super::Session;

/// Give a container another name
#[derive(Debug, Args)]
pub(crate) struct RenameArgs {
    /// Name, id or the beginning of an id
    #[arg(value_name = "CONTAINER")]
    old: String,
    /// The new name
    #[arg(value_name = "NEW_NAME")]
    new: String,
}

pub(crate) fn rename(session: &Session, args: &RenameArgs) -> Report {
    let new: ContainerName = args.new.parse()?;
    let store = &session.engine.store;
    let container = store.find(&args.old)?;
    let config = container.config()?;
    ensure!(config.name != new, "Renaming a container with the same name as its current name");
    store.rename(&container, &new)?;
    let renamed = container.config()?;
    session.engine.tell(&renamed, "rename", &[("oldName", config.name.as_str())]);
    Ok(Exit::DONE)
}
