//! Routes into running containers.

use anyhow::{Result, ensure};
use tests::need::{BUSYBOX, ROOT};
use tests::{Container, Story, World, story};

use crate::links::{Bridge, ip_in};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        story("hotplug_route::routes_come_and_go", &[ROOT, BUSYBOX], routes),
        story("hotplug_route::all_of_them_or_none", &[ROOT, BUSYBOX], together),
        story("hotplug_route::what_is_refused", &[ROOT, BUSYBOX], refused),
        story("hotplug_route::what_a_removal_means", &[ROOT, BUSYBOX], removal),
        story("hotplug_route::other_tables_and_families", &[ROOT, BUSYBOX], others),
    ]
}

/// A container with e1, 192.168.3.4 and 2001:db8::4.
fn connected(world: &World) -> Result<(Bridge<'_>, Container<'_>)> {
    let bridge = Bridge::new(world, "br0", "192.168.3.1/24")?;
    let container = world.sleeper(&["--name", "web"])?;
    world
        .tools(["add-nic", "web", "--type", "veth", "--bridge", "br0", "--name", "h1:e1"])
        .args(["--ip", "192.168.3.4/24", "--ip", "2001:db8::4/64"])
        .ok()?;
    Ok((bridge, container))
}

fn routes(world: &World) -> Result<()> {
    let (_bridge, container) = connected(world)?;
    let rules = r#"[{"gw":"192.168.3.1"},
        {"dest":"10.9.0.0/16","src":"192.168.3.4","dev":"e1"}]"#;
    world.tools(["add-route", "web", rules]).ok()?.expect_stdout(
        "Add route to container web, route: {dest:default,src:,gw:192.168.3.1,dev:} done\n\
         Add route to container web, route: {dest:10.9.0.0/16,src:192.168.3.4,gw:,dev:e1} done\n",
    )?;
    let seen = ip_in(world, &container, "route")?;
    ensure!(seen.contains("default via 192.168.3.1 dev e1"), "{seen}");
    ensure!(seen.contains("10.9.0.0/16 dev e1") && seen.contains("src 192.168.3.4"), "{seen}");
    world.tools(["list-route", "web"]).ok()?.expect_stdout(
        "[{\"dest\":\"default\",\"src\":\"\",\"gw\":\"192.168.3.1\",\"dev\":\"\"},\
         {\"dest\":\"10.9.0.0/16\",\"src\":\"192.168.3.4\",\"gw\":\"\",\"dev\":\"e1\"}]\n",
    )?;
    let one = world.tools(["list-route", "web", "--filter", r#"{"Dev":"e1"}"#]).ok()?;
    ensure!(one.stdout.matches("dest").count() == 1, "{one}");
    // One that the kernel has not any more counts as removed.
    ip_in(world, &container, "route del 10.9.0.0/16")?;
    world
        .tools([
            "remove-route",
            "web",
            r#"[{"dest":"10.9.0.0/16","src":"192.168.3.4","dev":"e1"}]"#,
        ])
        .ok()?
        .expect_stdout(
            "Remove route from container web, route: \
             {dest:10.9.0.0/16,src:192.168.3.4,gw:,dev:e1} done\n",
        )?;
    world.tools(["remove-route", "web", r#"[{"dest":"default","gw":"192.168.3.1"}]"#]).ok()?;
    ensure!(!ip_in(world, &container, "route")?.contains("default"), "it is gone");
    container.remove()
}

fn together(world: &World) -> Result<()> {
    let (_bridge, container) = connected(world)?;
    let rules = r#"[{"dest":"10.9.0.0/16","dev":"e1"},{"dest":"10.8.0.0/16","gw":"172.16.0.1"}]"#;
    let refused = world.tools(["add-route", "web", rules]).code(1)?;
    ensure!(refused.stdout.is_empty(), "{refused}");
    refused.expect_stderr("failed to add route: ")?.expect_stderr("(ENETUNREACH)")?;
    ensure!(!ip_in(world, &container, "route")?.contains("10.9"), "the first is taken back");
    world.tools(["list-route", "web"]).ok()?.expect_stdout("[]\n")?;
    // One of the container's own is not ours to replace.
    ip_in(world, &container, "route add 10.7.0.0/16 via 192.168.3.9")?;
    world
        .tools(["add-route", "web", r#"[{"dest":"10.7.0.0/16","dev":"e1"}]"#])
        .code(4)?
        .expect_stderr("the container has another route to 10.7.0.0/16")?;
    container.remove()
}

fn refused(world: &World) -> Result<()> {
    let (_bridge, container) = connected(world)?;
    for (rules, code, reason) in [
        ("nothing", 2, "malformed rule format: "),
        (r#"[{"dst":"10.0.0.0/8","dev":"e1"}]"#, 2, "unknown field `dst`"),
        ("[{}]", 2, "failed to add route: src or gw or dev name is required"),
        (r#"[{"gw":"notanip"}]"#, 2, "failed to parse gw \"notanip\" of route rule"),
        (r#"[{"dest":"junk","dev":"e1"}]"#, 2, "failed to parse dest \"junk\" of route rule"),
        (r#"[{"dest":"10.0.0.1/8","dev":"e1"}]"#, 2, "it has host bits; write 10.0.0.0/8"),
        (r#"[{"dest":"10.0.0.0/8","gw":"fe80::1"}]"#, 2, "have to be of one family"),
        (r#"[{"dest":"10.0.0.0/8","dev":"e9"}]"#, 4, "failed to get link by name e9"),
    ] {
        world.tools(["add-route", "web", rules]).code(code)?.expect_stderr(reason)?;
    }
    container.isula("stop", ["-t", "0"]).ok()?;
    world
        .tools(["add-route", "web", r#"[{"dest":"junk"}]"#])
        .code(2)?
        .expect_stderr("failed to parse dest")?;
    container.remove()
}

fn removal(world: &World) -> Result<()> {
    let (_bridge, container) = connected(world)?;
    let rules = r#"[{"gw":"192.168.3.1"},{"dest":"10.9.0.0/16","gw":"192.168.3.1"},
        {"dest":"10.8.0.0/16","dev":"e1"}]"#;
    world.tools(["add-route", "web", rules]).ok()?;
    world.tools(["remove-route", "web", "[{}]"]).code(2)?.expect_stderr("use --all for that")?;
    world.tools(["remove-route", "web", r#"[{"dev":"e1"}]"#]).code(4)?.expect_stderr(
        "Route({dest:default,src:,gw:,dev:e1}) is not added by syscontainer-tools, can not remove it",
    )?;
    let both = world.tools(["remove-route", "--match", "web", r#"[{"gw":"192.168.3.1"}]"#]).ok()?;
    ensure!(both.stdout.lines().count() == 2, "{both}");
    let seen = ip_in(world, &container, "route")?;
    ensure!(!seen.contains("via") && seen.contains("10.8.0.0/16"), "{seen}");
    world.tools(["remove-route", "web", "--all"]).ok()?;
    ensure!(!ip_in(world, &container, "route")?.contains("10.8"), "all of them");
    container.remove()
}

fn others(world: &World) -> Result<()> {
    let (_bridge, container) = connected(world)?;
    let rules = r#"[{"dest":"2001:db8:9::/48","gw":"2001:db8::1","dev":"e1"},
        {"dest":"10.9.0.0/16","gw":"172.16.0.1","dev":"e1","onlink":true,"metric":7},
        {"gw":"192.168.3.1","table":100}]"#;
    world.tools(["add-route", "web", rules]).ok()?;
    let six = ip_in(world, &container, "-6 route")?;
    ensure!(six.contains("2001:db8:9::/48 via 2001:db8::1 dev e1"), "{six}");
    let four = ip_in(world, &container, "route")?;
    ensure!(four.contains("10.9.0.0/16 via 172.16.0.1") && four.contains("metric 7"), "{four}");
    let table = ip_in(world, &container, "route show table 100")?;
    ensure!(table.contains("default via 192.168.3.1"), "{table}");
    world.tools(["diff", "web"]).ok()?;
    world.tools(["remove-route", "web", "--all"]).ok()?;
    let left = ip_in(world, &container, "route show table 100")?;
    ensure!(left.is_empty(), "{left}");
    container.remove()
}
