use std::path::Path;

use anyhow::{Context, bail};
use clap::Args;
use ui::{Exit, Report};

use super::Session;
use crate::lifecycle::{Copy, copy_in, copy_out};

/// Copy files into a container or out of it
///
/// Into a directory that is there, else under the name that is given. SRC/. is what is in SRC. What
/// is copied belongs to whom the other side calls root, unless --archive is given.
#[derive(Debug, Args)]
#[command(override_usage = "isula cp [OPTIONS] CONTAINER:SRC DEST\n       isula cp [OPTIONS] SRC \
                            CONTAINER:DEST")]
pub(crate) struct CpArgs {
    /// Keep owners, as ids of the container's
    #[arg(short, long)]
    archive: bool,
    /// Copy what a link leads to, when SRC is one
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// CONTAINER:PATH or a path of the host
    #[arg(value_name = "SRC")]
    source: String,
    /// CONTAINER:PATH or a path of the host
    #[arg(value_name = "DEST")]
    target: String,
}

pub(crate) fn cp(session: &Session, args: &CpArgs) -> Report {
    let copy = Copy { archive: args.archive, follow: args.follow_link };
    let store = &session.engine.store;
    match (inside(&args.source), inside(&args.target)) {
        (Some((name, source)), None) => {
            let container = store.find(name)?;
            copy_out(&session.engine, &container, Path::new(source), Path::new(&args.target), copy)
                .with_context(|| format!("container {name}"))?;
            session.engine.tell(&container.config()?, "archive-path", &[("path", source)]);
        }
        (None, Some((name, target))) => {
            let container = store.find(name)?;
            copy_in(&session.engine, &container, Path::new(&args.source), Path::new(target), copy)
                .with_context(|| format!("container {name}"))?;
            session.engine.tell(&container.config()?, "extract-to-dir", &[("path", target)]);
        }
        (Some(_), Some(_)) => bail!("copying between containers is not supported; copy twice"),
        (None, None) => bail!("must specify at least one container source; write CONTAINER:PATH"),
    }
    Ok(Exit::DONE)
}

/// `CONTAINER:PATH`, unless a path of the host begins before the colon.
fn inside(text: &str) -> Option<(&str, &str)> {
    let (name, path) = text.split_once(':')?;
    let on_host = name.is_empty() || name.contains('/') || name.starts_with('.');
    (!on_host).then_some((name, if path.is_empty() { "/" } else { path }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_makes_a_container_unless_a_path_comes_first() {
        assert_eq!(inside("web:/etc/hosts"), Some(("web", "/etc/hosts")));
        assert_eq!(inside("web:"), Some(("web", "/")));
        assert_eq!(inside("web:a:b"), Some(("web", "a:b")));
        for host in ["/etc/hosts", "./a:b", "dir/a:b", ":x", "plain"] {
            assert_eq!(inside(host), None, "{host}");
        }
    }
}
