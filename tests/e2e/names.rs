//! Finding containers: by name, by id, by the beginning of an id.

use anyhow::{Result, ensure};
use tests::need::{BUSYBOX, ROOT};
use tests::{Story, World, story};

pub(crate) fn stories() -> Vec<Story> {
    const NEEDS: &[tests::Need] = &[ROOT, BUSYBOX];
    vec![
        story("names::name_id_and_prefix_find_the_same", NEEDS, same),
        story("names::an_ambiguous_prefix_names_its_candidates", NEEDS, ambiguous),
        story("names::a_name_is_taken_once", NEEDS, taken),
        story("names::a_new_name", NEEDS, rename),
        story("names::lists_and_filters", NEEDS, lists),
        story("names::several_at_once_go_on_after_a_failure", NEEDS, several),
    ]
}

fn same(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let container = world.create(&["--name", "web1"], &rootfs, &["true"])?;
    for key in ["web1", container.id(), &container.id()[..12], &container.id()[..4]] {
        let output = world.isula(["inspect", "--format", "{{json .Id}}", key]).ok()?;
        ensure!(output.line() == format!("\"{}\"", container.id()), "{output}");
    }
    world.isula(["inspect", "web"]).code(1)?.expect_stderr("web")?;
    container.remove()
}

fn ambiguous(world: &World) -> Result<()> {
    // Seventeen ids have two with the same first digit.
    let rootfs = world.busybox()?;
    let containers =
        (0..17).map(|_| world.create(&[], &rootfs, &["true"])).collect::<Result<Vec<_>>>()?;
    let digit = |at: usize| &containers[at].id()[..1];
    let twice = (0..17).find(|&at| (0..at).any(|before| digit(before) == digit(at)));
    let digit = digit(twice.unwrap_or_default());
    let output = world.isula(["inspect", digit]).code(1)?;
    for container in containers.iter().filter(|container| container.id().starts_with(digit)) {
        ensure!(
            output.stderr.contains(&container.id()[..12]),
            "{} is a candidate\n{output}",
            container.id()
        );
    }
    for container in containers {
        container.remove()?;
    }
    Ok(())
}

fn taken(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let container = world.create(&["--name", "one"], &rootfs, &["true"])?;
    let second = world.isula_with("create", &["--name", "one"], &rootfs, &["true"]).output()?;
    ensure!(second.code() == 125, "{second}");
    let text = format!("The name \"one\" is already in use by container {}", container.id());
    ensure!(second.stderr.contains(&text), "{second}");
    container.remove()?;
    let again = world.create(&["--name", "one"], &rootfs, &["true"])?;
    again.remove()
}

fn rename(world: &World) -> Result<()> {
    let rootfs = world.busybox()?;
    let container = world.create(&["--name", "old"], &rootfs, &["true"])?;
    world.isula(["rename", "old", "new"]).ok()?;
    world.isula(["inspect", "new"]).ok()?;
    world.isula(["inspect", "old"]).code(1)?;
    container.remove()
}

fn lists(world: &World) -> Result<()> {
    let running = world.sleeper(&["--name", "runs", "-l", "tier=web"])?;
    let rootfs = world.busybox()?;
    let made = world.create(&["--name", "waits"], &rootfs, &["true"])?;
    let ids = |args: &[&str]| -> Result<Vec<String>> {
        let output = world.isula(["ps", "-q", "--no-trunc"]).args(args).ok()?;
        let mut ids: Vec<String> = output.stdout.lines().map(str::to_owned).collect();
        ids.sort();
        Ok(ids)
    };
    let mut both = vec![running.id().to_owned(), made.id().to_owned()];
    both.sort();
    ensure!(ids(&[])? == [running.id()], "without -a, the running ones");
    ensure!(ids(&["-a"])? == both, "with -a, all");
    ensure!(ids(&["-a", "-f", "status=inited"])? == [made.id()], "by status");
    ensure!(ids(&["-a", "-f", "name=wait"])? == [made.id()], "by name");
    ensure!(ids(&["-a", "-f", "label=tier=web"])? == [running.id()], "by label");
    running.remove()?;
    made.remove()
}

fn several(world: &World) -> Result<()> {
    let one = world.sleeper(&["--name", "one"])?;
    let two = world.sleeper(&["--name", "two"])?;
    let output = world.isula(["stop", "-t", "0", "one", "nobody", "two"]).code(1)?;
    ensure!(output.stderr.contains("nobody"), "{output}");
    ensure!(one.status()? == "exited" && two.status()? == "exited", "both were stopped\n{output}");
    one.remove()?;
    two.remove()
}
