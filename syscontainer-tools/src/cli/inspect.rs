//! `inspect`, `diff`, `reconcile`: what is recorded beside what there is.

use clap::Args;
use serde_json::{Value, json};

use super::Context;
use crate::compare::{Finding, compare};
use crate::error::{Error, Result};
use crate::record::RecordFile;

/// Show what is recorded of a container, and how it is in the container
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// Over several lines
    #[arg(short, long)]
    pretty: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// List what is not in a container as it is recorded
///
/// The exit code is 1 if there is anything of the kind.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Put what is recorded into a container again, where it is not
#[derive(Debug, Args)]
pub(super) struct ReconcileArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(super) fn inspect(context: &mut Context, args: &InspectArgs) -> Result<()> {
    let target = context.target(&args.container)?;
    let record = RecordFile::peek(&target.dir)?;
    let live = target.running()?;
    context.limit().begin(&target.name);
    let findings = live.as_ref().map(|live| compare(live, &target.links, &record)).transpose()?;
    let shown = |finding: &Finding| {
        let state = finding.drift.as_deref().unwrap_or("as recorded");
        json!({ "kind": finding.kind, "name": finding.name, "state": state })
    };
    let findings: Option<Vec<Value>> = findings.map(|list| list.iter().map(shown).collect());
    let recorded = serde_json::to_value(&record)
        .map_err(|error| Error::Failed(format!("write the record: {error}")))?;
    let document = json!({
        "id": target.id,
        "running": live.is_some(),
        "interrupted": RecordFile::is_interrupted(&target.dir),
        "recorded": recorded,
        "live": findings,
    });
    context.output.list(&document, args.pretty)
}

pub(super) fn diff(context: &mut Context, args: &DiffArgs) -> Result<()> {
    let target = context.target(&args.container)?;
    let record = RecordFile::peek(&target.dir)?;
    let Some(live) = target.running()? else {
        return Err(Error::Conflict(format!(
            "container {} does not run; what is recorded is put into it when it starts",
            target.name
        )));
    };
    context.limit().begin(&target.name);
    for finding in compare(&live, &target.links, &record)? {
        let Some(drift) = &finding.drift else { continue };
        let Finding { kind, name, .. } = &finding;
        context.output.done(
            &format!("{kind} {name}: {drift}"),
            json!({ "kind": kind, "name": name, "state": drift }),
        );
        context.output.differs();
    }
    Ok(())
}

pub(super) fn reconcile(context: &mut Context, args: &ReconcileArgs) -> Result<()> {
    let target = context.target(&args.container)?;
    let mut session = context.session_of_files(&target, false)?;
    if session.live().is_none() {
        return Err(Error::Conflict(format!("container {} does not run", target.name)));
    }
    session.replay()?;
    context.output.done(
        &format!("Reconcile container({}) done.", target.name),
        json!({ "action": "reconcile" }),
    );
    Ok(())
}
