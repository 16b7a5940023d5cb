use clap::Args;
use ui::table::Table;
use ui::{Exit, Report};

use super::{Session, print, print_json};

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// table or json
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn list(session: &Session, args: &ListArgs) -> Report {
    let states = session.runtime.list()?;
    if args.quiet {
        let ids: String = states.iter().map(|state| format!("{}\n", state.id)).collect();
        print(&ids)?;
    } else if args.format == "json" {
        print_json(&states)?;
    } else {
        let mut table = Table::new(["ID", "PID", "STATUS", "BUNDLE", "CREATED"]);
        for state in &states {
            table.row([
                state.id.clone(),
                state.pid.to_string(),
                state.status.to_string(),
                state.bundle.display().to_string(),
                state.created.clone(),
            ]);
        }
        print(&table.render())?;
    }
    Ok(Exit::DONE)
}
