//! The document of `inspect`, with the predecessor's names.

use container::config::{
    Config, DeviceValue, HealthCheck, Mount, MountKind, Namespaces, Port, PortMapping, Resources,
    RestartPolicy,
};
use container::layout::bundle;
use container::state::HealthResult;
use container::{Container, State, Status};
use serde_json::{Map, Value, json};

/// Never, in the predecessor's words.
const NEVER: &str = "0001-01-01T00:00:00Z";

pub(super) fn build(container: &Container, config: &Config, state: &State) -> Value {
    let argv = &config.process.args;
    // A system container's files are in its rootfs.
    let file = |name: &str| match config.system_container {
        true => String::new(),
        false => container.path(name).to_string_lossy().into_owned(),
    };
    json!({
        "Id": config.id,
        "Created": config.created,
        "Path": argv.first(),
        "Args": argv.get(1..).unwrap_or_default(),
        "State": state_of(state),
        "Image": config.image,
        "ResolvConfPath": file(bundle::RESOLV_CONF),
        "HostnamePath": file(bundle::HOSTNAME),
        "HostsPath": file(bundle::HOSTS),
        "LogPath": log_path(container, config),
        "Name": config.name,
        "RestartCount": state.restart_count + state.reboot_count,
        "HostConfig": host_config(config),
        "Mounts": config.mounts.iter().map(mount).collect::<Vec<_>>(),
        "Config": own_config(container, config),
        "NetworkSettings": network(state),
    })
}

fn state_of(state: &State) -> Value {
    let time = |text: &str| if text.is_empty() { NEVER.to_owned() } else { text.to_owned() };
    json!({
        "Status": state.status.word(),
        "Running": matches!(state.status, Status::Running | Status::Paused),
        "Paused": state.status == Status::Paused,
        "Restarting": state.status == Status::Restarting,
        "Pid": state.pid.unwrap_or(0),
        "ExitCode": state.exit_code,
        "ExitReason": state.reason,
        "OOMKilled": state.oom_killed,
        "Error": state.error,
        "StartedAt": time(&state.started_at),
        "FinishedAt": time(&state.finished_at),
        "RebootCount": state.reboot_count,
        "Ready": state.ready,
        "Health": health(state),
    })
}

fn network(state: &State) -> Value {
    let Some(lease) = &state.network else { return json!({}) };
    let mac: Vec<String> = lease.mac.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "Bridge": lease.bridge,
        "IPAddress": lease.address,
        "IPPrefixLen": lease.prefix,
        "Gateway": lease.gateway,
        "MacAddress": mac.join(":"),
        "Ports": ports(lease.ports.iter().map(|port| {
            (port.inside, port.host.ip().to_string(), port.host.port().to_string())
        })),
    })
}

/// What leads to each port: `{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}`.
fn ports(all: impl Iterator<Item = (Port, String, String)>) -> Value {
    let mut document = Map::new();
    for (inside, address, port) in all {
        let entry = document.entry(inside.to_string()).or_insert_with(|| json!([]));
        if let Value::Array(hosts) = entry {
            hosts.push(json!({ "HostIp": address, "HostPort": port }));
        }
    }
    Value::Object(document)
}

/// As it was asked for.
fn asked(mapping: &PortMapping) -> (Port, String, String) {
    let address = match mapping.host_address.is_unspecified() {
        true => String::new(),
        false => mapping.host_address.to_string(),
    };
    let port = match mapping.host_ports {
        (0, _) => String::new(),
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    (mapping.inside, address, port)
}

fn health(state: &State) -> Value {
    let Some(health) = &state.health else {
        return json!({ "Status": "", "FailingStreak": 0, "Log": [] });
    };
    let result = |it: &HealthResult| json!({ "Start": it.start, "End": it.end, "ExitCode": it.exit_code, "Output": it.output });
    json!({
        "Status": health.status.word(),
        "FailingStreak": health.failing_streak,
        "Log": health.log.iter().map(result).collect::<Vec<_>>(),
    })
}

/// Times in nanoseconds.
fn health_check(check: &HealthCheck) -> Value {
    let nanoseconds = |ms: u64| ms.saturating_mul(1_000_000);
    json!({
        "Test": ["CMD-SHELL", check.command],
        "Interval": nanoseconds(check.interval_ms),
        "Timeout": nanoseconds(check.timeout_ms),
        "StartPeriod": nanoseconds(check.start_period_ms),
        "Retries": check.retries,
        "ExitOnUnhealthy": check.exit_on_unhealthy,
    })
}

fn host_config(config: &Config) -> Value {
    let resources = &config.resources;
    let mut document = sharing(&config.namespaces);
    document["NetworkMode"] = match (&config.namespaces.net, &config.bridge) {
        (Some(net), _) => json!(net),
        (None, Some(port)) => json!(format!("bridge={}", port.bridge)),
        (None, None) => json!("none"),
    };
    let parts = [
        json!({
            "Binds": config.mounts.iter().filter_map(bind).collect::<Vec<_>>(),
            "PortBindings": ports(config.bridge.iter().flat_map(|it| &it.publish).map(asked)),
            "PublishAllPorts": config.publish_all,
            "GroupAdd": config.process.group_add,
            "Privileged": config.privileged,
            "SystemContainer": config.system_container,
            "NsChangeFiles": config.ns_change_files,
            "UserRemap": config.user_remap.map_or_else(String::new, |remap| remap.to_string()),
            "ShmSize": config.shm_size,
            "AutoRemove": config.auto_remove,
            "AutoRemoveBak": config.auto_remove,
            "ReadonlyRootfs": config.read_only,
            "Sysctls": config.sysctls,
            "Runtime": crate::lifecycle::runtime_name(config),
            "RestartPolicy": restart_policy(config.restart),
            "CapAdd": config.security.cap_add,
            "CapDrop": config.security.cap_drop,
            "Dns": config.network_files.dns,
            "DnsOptions": config.network_files.dns_options,
            "DnsSearch": config.network_files.dns_search,
            "ExtraHosts": config.network_files.extra_hosts,
            "HookSpec": config.hook_spec.clone().unwrap_or_default(),
            "SecurityOpt": config.security.options,
            "StorageOpt": {},
            "CgroupParent": config.cgroup_parent,
            "Devices": config.devices,
            "HostChannel": host_channel(config),
            "EnvTargetFile": config.process.env_target_file.clone().unwrap_or_default(),
            "ExternalRootfs": config.rootfs,
        }),
        limits(resources),
    ];
    for part in parts {
        if let (Value::Object(all), Value::Object(part)) = (&mut document, part) {
            all.extend(part);
        }
    }
    document
}

fn sharing(namespaces: &Namespaces) -> Value {
    let word = |asked: &Option<String>| asked.clone().unwrap_or_default();
    json!({
        "IpcMode": word(&namespaces.ipc),
        "PidMode": word(&namespaces.pid),
        "UTSMode": word(&namespaces.uts),
        "UsernsMode": word(&namespaces.user),
        "CgroupnsMode": word(&namespaces.cgroup),
        "TimeNamespace": namespaces.time,
    })
}

fn limits(resources: &Resources) -> Value {
    json!({
        "CPUShares": resources.cpu_shares.unwrap_or(0),
        "CPUPeriod": resources.cpu_period.unwrap_or(0),
        "CPUQuota": resources.cpu_quota.unwrap_or(0),
        "CPURealtimePeriod": resources.cpu_rt_period.unwrap_or(0),
        "CPURealtimeRuntime": resources.cpu_rt_runtime.unwrap_or(0),
        "NanoCpus": resources.nano_cpus.unwrap_or(0),
        "CpusetCpus": resources.cpuset_cpus.as_deref().unwrap_or(""),
        "CpusetMems": resources.cpuset_mems.as_deref().unwrap_or(""),
        "Memory": resources.memory.unwrap_or(0),
        "MemoryReservation": resources.memory_reservation.unwrap_or(0),
        "MemorySwap": resources.memory_swap.unwrap_or(0),
        "MemorySwappiness": resources.memory_swappiness,
        "KernelMemory": resources.kernel_memory.unwrap_or(0),
        "OomKillDisable": resources.oom_kill_disable,
        "OomScoreAdj": resources.oom_score_adj.unwrap_or(0),
        "PidsLimit": resources.pids_limit.unwrap_or(0),
        "FilesLimit": resources.files_limit.unwrap_or(0),
        "FilesLimitMode": if resources.files_limit_by_process { "rlimit" } else { "controller" },
        "BlkioWeight": resources.blkio_weight.unwrap_or(0),
        "BlkioWeightDevice": devices(&resources.blkio_weight_device, "Weight"),
        "BlkioDeviceReadBps": devices(&resources.device_read_bps, "Rate"),
        "BlkioDeviceWriteBps": devices(&resources.device_write_bps, "Rate"),
        "BlkioDeviceReadIOps": devices(&resources.device_read_iops, "Rate"),
        "BlkioDeviceWriteIOps": devices(&resources.device_write_iops, "Rate"),
        "Ulimits": resources.ulimits.iter().map(|limit| json!({
            "Name": limit.name, "Hard": unlimited(limit.hard), "Soft": unlimited(limit.soft),
        })).collect::<Vec<_>>(),
        "Hugetlbs": resources.hugetlb.iter().map(|limit| json!({
            "PageSize": limit.page_size, "Limit": limit.limit,
        })).collect::<Vec<_>>(),
    })
}

fn devices(values: &[DeviceValue], number: &str) -> Vec<Value> {
    values.iter().map(|value| json!({ "Path": value.path, number: value.value })).collect()
}

fn unlimited(limit: u64) -> i64 {
    i64::try_from(limit).unwrap_or(-1)
}

fn restart_policy(policy: RestartPolicy) -> Value {
    json!({ "Name": policy.name(), "MaximumRetryCount": policy.maximum_retry_count() })
}

fn host_channel(config: &Config) -> Value {
    match &config.host_channel {
        Some(channel) => json!({
            "PathOnHost": channel.host_path,
            "PathInContainer": channel.container_path,
            "Permissions": if channel.read_only { "ro" } else { "rw" },
            "Size": channel.size,
        }),
        None => json!({
            "PathOnHost": "", "PathInContainer": "", "Permissions": "", "Size": 0,
        }),
    }
}

fn bind(mount: &Mount) -> Option<String> {
    let source = match (mount.kind, &mount.volume) {
        (MountKind::Bind, _) => mount.source.to_string_lossy().into_owned(),
        (_, Some(volume)) => volume.to_string(),
        _ => return None,
    };
    Some(format!("{source}:{}:{}", mount.destination.display(), mount.options.join(",")))
}

fn mount(mount: &Mount) -> Value {
    let kind = match mount.kind {
        MountKind::Bind => "bind",
        MountKind::Volume => "volume",
        MountKind::Tmpfs => "tmpfs",
        MountKind::Squashfs => "squashfs",
    };
    let mut document = json!({
        "Type": kind,
        "Source": mount.source,
        "Destination": mount.destination,
        "Mode": mount.options.join(","),
        "RW": !mount.options.iter().any(|option| option == "ro"),
    });
    if let Some(volume) = &mount.volume {
        document["Name"] = json!(volume);
        document["Driver"] = json!("local");
    }
    document
}

fn own_config(container: &Container, config: &Config) -> Value {
    let process = &config.process;
    let after_entrypoint = usize::from(process.entrypoint.is_some());
    json!({
        "Hostname": config.hostname,
        "User": process.user,
        "Env": process.env,
        "Tty": process.tty,
        "OpenStdin": process.open_stdin,
        "WorkingDir": process.cwd,
        "Cmd": process.args.get(after_entrypoint..).unwrap_or_default(),
        "Entrypoint": process.entrypoint.iter().collect::<Vec<_>>(),
        "ExposedPorts": exposed(config),
        "Labels": config.labels,
        "Annotations": annotations(container, config),
        "NsChangeOpt": config.ns_change_opt.as_deref().unwrap_or(""),
        "StopSignal": config.stop_signal.as_deref().unwrap_or(""),
        "HealthCheck": config.health.as_ref().map_or_else(|| json!({}), health_check),
    })
}

/// Published ones are exposed.
fn exposed(config: &Config) -> Value {
    let published = config.bridge.iter().flat_map(|it| &it.publish).map(|it| it.inside);
    let all = config.expose.iter().copied().chain(published);
    all.map(|port| (port.to_string(), json!({}))).collect::<Map<_, _>>().into()
}

fn annotations(container: &Container, config: &Config) -> Value {
    let mut annotations = json!({
        "log.console.file": log_path(container, config),
        "log.console.filerotate": config.log.max_file.to_string(),
        "log.console.filesize": config.log.max_size.to_string(),
        "rootfs.mount": config.rootfs,
        "native.umask": "secure",
        "cgroup.dir": config.cgroup_parent,
    });
    if config.system_container {
        annotations["system.container"] = json!("true");
    }
    for (key, value) in &config.annotations {
        annotations[key] = json!(value);
    }
    annotations
}

fn log_path(container: &Container, config: &Config) -> String {
    if config.log.disabled {
        return "none".to_owned();
    }
    let path = config.log.path.clone().unwrap_or_else(|| container.path(bundle::CONSOLE_LOG));
    path.to_string_lossy().into_owned()
}
