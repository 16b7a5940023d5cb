//! The stories. `--stress` tells the long ones; a filter is a part of a name.

#![forbid(unsafe_code)]

use std::process::ExitCode;

mod added;
mod attach;
mod boot;
mod bridge;
mod conformance;
mod copy;
mod crash;
mod daily;
mod engines;
mod errors;
mod exec;
mod faults;
mod foreign;
mod guide;
mod health;
mod host_settings;
mod hotplug_crash;
mod hotplug_device;
mod hotplug_disk;
mod hotplug_engine;
mod hotplug_engines;
mod hotplug_faults;
mod hotplug_given;
mod hotplug_host;
mod hotplug_model;
mod hotplug_nic;
mod hotplug_nic_kinds;
mod hotplug_nic_update;
mod hotplug_path;
mod hotplug_policy;
mod hotplug_race;
mod hotplug_replay;
mod hotplug_route;
mod hotplug_silent;
mod hotplug_subject;
mod image;
mod limits;
mod links;
mod logs;
mod lxcfs;
mod names;
mod nested;
mod oci;
mod oci_refused;
mod publish;
mod races;
mod restart;
mod rootfs;
mod run;
mod security;
mod system;
mod systemd;
mod threats;
mod trace;
mod upgrade;
mod volumes;
mod world;

fn main() -> ExitCode {
    let stories = [
        attach::stories(),
        boot::stories(),
        bridge::stories(),
        conformance::stories(),
        copy::stories(),
        crash::stories(),
        daily::stories(),
        engines::stories(),
        errors::stories(),
        exec::stories(),
        faults::stories(),
        foreign::stories(),
        guide::stories(),
        health::stories(),
        host_settings::stories(),
        image::stories(),
        hotplug_crash::stories(),
        hotplug_device::stories(),
        hotplug_disk::stories(),
        hotplug_engine::stories(),
        hotplug_engines::stories(),
        hotplug_faults::stories(),
        hotplug_given::stories(),
        hotplug_host::stories(),
        hotplug_model::stories(),
        hotplug_nic::stories(),
        hotplug_nic_kinds::stories(),
        hotplug_nic_update::stories(),
        hotplug_path::stories(),
        hotplug_policy::stories(),
        hotplug_race::stories(),
        hotplug_replay::stories(),
        hotplug_route::stories(),
        hotplug_silent::stories(),
        limits::stories(),
        logs::stories(),
        lxcfs::stories(),
        names::stories(),
        nested::stories(),
        oci::stories(),
        publish::stories(),
        oci_refused::stories(),
        races::stories(),
        restart::stories(),
        rootfs::stories(),
        run::stories(),
        security::stories(),
        system::stories(),
        systemd::stories(),
        threats::stories(),
        upgrade::stories(),
        volumes::stories(),
        world::stories(),
    ];
    tests::warden::guard(|| tests::runner::run(stories.concat()))
}
