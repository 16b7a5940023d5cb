//! `add-route`, `remove-route`, `list-route`.

use clap::Args;
use serde_json::json;

use super::output::matching;
use super::{Context, OnFailure};
use crate::error::{Error, Result};
use crate::record::{RecordFile, RouteEntry};
use crate::route::plan::{self, Matching, shown};
use crate::route::{RouteError, parse_patterns, parse_routes};

/// Add routes to a container: all of them, or none
#[derive(Debug, Args)]
pub(super) struct AddRouteArgs {
    /// What a start does without them: fail, or warn and go on
    #[arg(long, value_name = "POLICY", value_enum, default_value = "fail")]
    on_failure: OnFailure,
    /// Record them for the next start, and leave the container as it is
    #[arg(long)]
    update_config_only: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// '[{"dest":..,"src":..,"gw":..,"dev":..,"metric":..,"table":..,"onlink":..}, ..]'
    #[arg(value_name = "JSON")]
    rules: String,
}

/// Take routes out of a container that add-route has put there
#[derive(Debug, Args)]
pub(super) struct RemoveRouteArgs {
    /// Every route that was added
    #[arg(long, conflicts_with = "rules")]
    all: bool,
    /// What a rule leaves out may be anything
    #[arg(long = "match")]
    matching: bool,
    /// Change the record, and leave the container as it is
    #[arg(long)]
    update_config_only: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The rules, as add-route takes them
    #[arg(value_name = "JSON", required_unless_present = "all")]
    rules: Option<String>,
}

/// List the routes that were added to a container
#[derive(Debug, Args)]
pub(super) struct ListRouteArgs {
    /// Over several lines
    #[arg(short, long)]
    pretty: bool,
    /// Those with these members alone, as in '{"gw":"192.168.3.1"}'
    #[arg(short, long, value_name = "JSON")]
    filter: Option<String>,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(super) fn add(context: &mut Context, args: &AddRouteArgs) -> Result<()> {
    let named = |error: Error| error.within("failed to add route");
    let routes = parse_routes(&args.rules).map_err(usage("failed to add route"))?;
    let target = context.target(&args.container)?;
    let mut session = context.session(&target, args.update_config_only)?;
    args.on_failure.of(&mut session);
    let next = plan::add(session.record(), &routes).map_err(named)?;
    session.change(&next).map_err(named)?;
    for route in &routes {
        context.output.done(
            &format!("Add route to container {}, route: {route} done", target.name),
            json!({ "action": "add", "kind": "route", "route": route.to_entry() }),
        );
    }
    Ok(())
}

/// What is no JSON has a beginning of its own.
fn usage(beginning: &str) -> impl Fn(RouteError) -> Error {
    move |error| match error {
        RouteError::Json(_) => Error::Usage(error.to_string()),
        _ => Error::Usage(format!("{beginning}: {error}")),
    }
}

pub(super) fn remove(context: &mut Context, args: &RemoveRouteArgs) -> Result<()> {
    let beginning = "failed to remove route";
    let everything = vec![RouteEntry::default()];
    let rules = match &args.rules {
        Some(text) => parse_patterns(text).map_err(usage(beginning))?,
        None => everything.clone(),
    };
    if !args.all && rules.iter().any(|rule| *rule == RouteEntry::default()) {
        return Err(Error::Usage(format!(
            "{beginning}: an empty rule means every route; use --all for that"
        )));
    }
    let matching = if args.all || args.matching { Matching::Pattern } else { Matching::Exact };
    let target = context.target(&args.container)?;
    let mut session = context.session(&target, args.update_config_only)?;
    if args.all && session.record().routes.is_empty() {
        return Ok(());
    }
    for rule in &rules {
        let removed = plan::remove(session.record(), rule, matching)
            .and_then(|(next, gone)| session.change(&next).map(|()| gone));
        match removed {
            Ok(gone) => {
                for entry in &gone {
                    report_removed(context, &target.name, entry);
                }
            }
            Err(error) => context.output.failed(error.within(beginning)),
        }
    }
    Ok(())
}

pub(super) fn report_removed(context: &mut Context, container: &str, entry: &RouteEntry) {
    context.output.done(
        &format!("Remove route from container {container}, route: {} done", shown(entry)),
        json!({ "action": "remove", "kind": "route", "route": entry }),
    );
}

pub(super) fn list(context: &mut Context, args: &ListRouteArgs) -> Result<()> {
    let target = context.target(&args.container)?;
    let record = RecordFile::peek(&target.dir)?;
    let wanted = matching(args.filter.as_deref(), "malformed filter format", &record.routes)?;
    context.output.list(&wanted, args.pretty)
}
