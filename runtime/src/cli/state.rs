use ui::{Exit, Report};

use super::life::IdArgs;
use super::{Session, print_json};

pub(super) fn state(session: &Session, args: &IdArgs) -> Report {
    print_json(&session.runtime.state(&args.id)?)?;
    Ok(Exit::DONE)
}
