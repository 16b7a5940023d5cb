mod document;

use anyhow::Result;
use clap::Args;
use serde_json::Value;
use ui::report::Many;
use ui::template::Template;
use ui::{Exit, Report};

use super::{Session, print};

/// Show everything about containers, as JSON
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Print this of each: {{.Name}}, {{json .State}}
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Seconds to wait for an answer; it comes at once
    #[arg(short, long, value_name = "SECONDS", default_value = "120")]
    time: i64,
    /// Names, ids or the beginnings of ids
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

pub(crate) fn inspect(session: &Session, args: &InspectArgs) -> Report {
    // Files are read here, nobody is asked: there is nothing to wait for.
    let _ = args.time;
    documents(&args.containers, args.format.as_deref(), |name| document_of(session, name))
}

/// Prints what is found of each name, as one JSON array or by a template; those that are not found
/// are told after the others.
pub(super) fn documents(
    names: &[String],
    format: Option<&str>,
    find: impl Fn(&str) -> Result<Value>,
) -> Report {
    let template = format.map(Template::parse).transpose()?;
    let (mut documents, mut errors) = (vec![], vec![]);
    for name in names {
        match find(name) {
            Ok(document) => documents.push(document),
            Err(error) => errors.push(error),
        }
    }
    match template {
        Some(template) => {
            for document in &documents {
                print(&format!("{}\n", template.render(document)?))?;
            }
        }
        None if documents.is_empty() => {}
        None => print(&format!("{:#}\n", Value::Array(documents)))?,
    }
    Many::check(errors)?;
    Ok(Exit::DONE)
}

fn document_of(session: &Session, name: &str) -> Result<Value> {
    let container = session.engine.store.find(name)?;
    Ok(document::build(&container, &container.config()?, &container.state()?))
}
