//! From a request to a container that could start.

use anyhow::{Context, Result};
use container::{Container, Store};
use linux::undo::Undo;

use super::{Engine, volumes};
use crate::prepare::{self, env_file, hook_spec, host_channel, image};
use crate::request::Request;
use crate::request::mounts::take_over;

/// Makes the container. Everything that would stop it from starting is looked for now.
pub fn create(engine: &Engine, mut request: Request) -> Result<Container> {
    let rootfs_image = image::is_image(&request.rootfs)?;
    hook_spec::check(&request.hooks)?;
    pin_joined(&engine.store, &mut request)?;
    for from in std::mem::take(&mut request.volumes_from) {
        let other = engine.store.find(&from.container);
        let other = other.with_context(|| format!("--volumes-from {}", from.container))?;
        take_over(&mut request.mounts, &other.config()?.mounts, from.read_only);
    }

    let reservation = engine.store.reserve(request.name.as_ref())?;
    let mut undo = Undo::new();
    if let Some(channel) = request.host_channel.clone() {
        host_channel::create(&channel)?;
        undo.push("host channel", move || std::fs::remove_dir(channel.host_path));
    }
    let container = reservation.container().clone();
    let created = super::now()?;
    let mut config = request.into_config(container.id.clone(), reservation.name().clone(), created);
    config.rootfs_image = rootfs_image;
    let tree = prepare::tree(engine.store.layout(), &container, &config)?;
    let _unchanged =
        volumes::make_ready(engine.store.layout(), &mut config, &tree.root, &mut undo)?;
    if let Some(path) = &config.process.env_target_file {
        env_file::merge(&tree.root, path, &mut config.process.env)?;
    }
    let host = prepare::gather(&engine.store, &container, &config, &tree.root)?;
    prepare::write_spec(&container, &config, &host)?;
    let container = reservation.commit(&config)?;
    undo.disarm();
    engine.tell(&config, "create", &[]);
    Ok(container)
}

/// `container:NAME` becomes `container:ID`: the name may be another container's later.
fn pin_joined(store: &Store, request: &mut Request) -> Result<()> {
    let spaces = &mut request.namespaces;
    for word in [&mut spaces.net, &mut spaces.pid, &mut spaces.ipc, &mut spaces.uts] {
        let Some(name) = word.as_deref().and_then(|word| word.strip_prefix("container:")) else {
            continue;
        };
        let other = store.find(name).with_context(|| format!("join container {name}"))?;
        *word = Some(format!("container:{}", other.id));
    }
    Ok(())
}
