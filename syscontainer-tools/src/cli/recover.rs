//! `recover`: a record that cannot be read, a change that was cut short.

use clap::Args;
use serde_json::json;

use super::Context;
use crate::error::Result;
use crate::nic;
use crate::record::RecordFile;

/// Put right what a crash has left
///
/// A record that cannot be read is replaced by the generation before it, and what a killed command
/// was about to do is taken back. Every command does the second by itself.
#[derive(Debug, Args)]
pub(super) struct RecoverArgs {
    /// The container; without it, links come back from all containers that are gone
    #[arg(value_name = "CONTAINER")]
    container: Option<String>,
}

pub(super) fn recover(context: &mut Context, args: &RecoverArgs) -> Result<()> {
    let Some(container) = &args.container else { return links(context) };
    let target = context.target(container)?;
    let name = &target.name;
    if RecordFile::recover(&target.dir)? {
        context.output.done(
            &format!("Record of container({name}) put back to the generation before done."),
            json!({ "action": "recover", "kind": "record" }),
        );
    }
    let interrupted = RecordFile::is_interrupted(&target.dir);
    drop(context.session(&target, false)?);
    if interrupted {
        context.output.done(
            &format!("Take back a change of container({name}) that was cut short done."),
            json!({ "action": "recover", "kind": "change" }),
        );
    }
    Ok(())
}

fn links(context: &mut Context) -> Result<()> {
    if context.dry_run {
        return Ok(());
    }
    for id in nic::recover(&context.places.links)? {
        context.output.done(
            &format!("Return the links of container({id}) that is gone done."),
            json!({ "action": "recover", "kind": "nic", "container": id }),
        );
    }
    Ok(())
}
