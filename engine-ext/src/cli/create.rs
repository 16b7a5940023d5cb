use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;
use container::Container;
use ui::{Exit, Report};

use super::args::ContainerArgs;
use super::{Session, print};
use crate::lifecycle;
use crate::prepare::{hook_spec, runtimes};
use crate::request::{Outside, Request, build, defaults};

/// Make a container without starting it
///
/// Prints its id. Example:
/// isula create --system-container --external-rootfs /srv/web none init
#[derive(Debug, Args)]
#[command(override_usage = "isula create [OPTIONS] --external-rootfs DIR none COMMAND [ARG...]")]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    container: ContainerArgs,
}

pub(crate) fn create(session: &Session, args: &CreateArgs) -> Report {
    let request = request(session, "create", &args.container)?;
    let container = make(session, request)?;
    print(&format!("{}\n", container.id))?;
    Ok(Exit::DONE)
}

/// What the command line and the files that it names mean.
pub(super) fn request(session: &Session, verb: &str, args: &ContainerArgs) -> Result<Request> {
    let host = &session.host;
    host.settings.check(&host.path)?;
    let mut args = args.clone();
    defaults::fill(&mut args, &host.settings)?;
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
    };
    let outside = Outside {
        variable: &|name| std::env::var(name).ok(),
        read: &read,
        read_hook_spec: &hook_spec::read,
        host_hook_spec: Some(&*host.settings.hook_spec).filter(|path| !path.as_os_str().is_empty()),
        find_runtime: &|name| runtimes::find(&host.path, &host.settings, name),
    };
    build(verb, &args, &outside)
}

pub(super) fn make(session: &Session, request: Request) -> Result<Container> {
    for warning in &request.warnings {
        ui::report::note(warning);
    }
    lifecycle::create(&session.engine, request)
}
