//! Limits that a hierarchy does not have are refused, and the text says what to do.

use expect_test::expect;
use linux::cgroup::resources::{Block, Cpu, Memory, Network, Rdma};
use linux::cgroup::{Bound, Cgroup, Resources, Version};

use super::World;
use super::limits::{MIB, cpu, refusal, unified};

crate::cases![v1_refuses_by_name_what_it_cannot_honour, v2_refuses_by_name_what_it_cannot_honour];

fn v1_refuses_by_name_what_it_cannot_honour() {
    refuses(Version::V1);
}

fn v2_refuses_by_name_what_it_cannot_honour() {
    refuses(Version::V2);
}

fn refuses(version: Version) {
    let world = World::only(version);
    let cgroup = world.create("a");
    let (world, cgroup) = (&world, &cgroup);
    let rdma = Rdma { device: "mlx5_0".to_owned(), handles: Some(1), objects: None };
    if world.layout.with("rdma").is_none() {
        refusal(
            cgroup,
            world,
            &Resources { rdma: vec![rdma], ..Resources::default() },
            expect![
                "linux.resources.rdma: find cgroup controller rdma: operation not supported (EOPNOTSUPP); this host has it neither mounted as v1 nor enabled in the v2 tree"
            ],
        );
    }
    if world.layout.with("net_cls").is_none() {
        refusal(
            cgroup,
            world,
            &Resources {
                network: Network { class_id: Some(1), ..Network::default() },
                ..Resources::default()
            },
            expect![
                "linux.resources.network.classID: set to 1: operation not supported (EOPNOTSUPP); it needs the v1 controller; on cgroup v2 mark packets with nftables"
            ],
        );
    }
    if version == Version::V1 {
        refusal(
            cgroup,
            world,
            &unified("memory.high", "1"),
            expect![[
                r#"linux.resources.unified["memory.high"]: operation not supported (EOPNOTSUPP); no v2 tree is mounted on this host"#
            ]],
        );
    }
    if world.layout.with("cpu").is_some() {
        let realtime = cpu(Cpu { realtime_runtime_us: Some(900_000), ..Cpu::default() });
        match version {
            Version::V1
                if cgroup.controller_dir("cpu").unwrap().join("cpu.rt_runtime_us").exists() =>
            {
                refusal(
                    cgroup,
                    world,
                    &realtime,
                    expect![[
                        r#"linux.resources.cpu.realtimeRuntime: write "900000" to TOP/TEST/a/cpu.rt_runtime_us: invalid argument (EINVAL); the parent cgroup has no realtime to give; raise its cpu.rt_runtime_us first"#
                    ]],
                );
            }
            Version::V1 => {}
            Version::V2 => refusal(
                cgroup,
                world,
                &realtime,
                expect![
                    "linux.resources.cpu.realtimeRuntime: set to 900000: operation not supported (EOPNOTSUPP); cgroup v2 has no realtime limits; leave it out"
                ],
            ),
        }
        refusal(
            cgroup,
            world,
            &cpu(Cpu { quota_us: Some(Bound::At(10)), ..Cpu::default() }),
            match version {
                Version::V1 => expect![[
                    r#"linux.resources.cpu.quota: write "10" to TOP/TEST/a/cpu.cfs_quota_us: invalid argument (EINVAL); quota at least 1000, period 1000 to 1000000, burst at most quota, none above what the parent cgroup has"#
                ]],
                Version::V2 => expect![[
                    r#"linux.resources.cpu.quota: write "10" to TOP/TEST/a/cpu.max: invalid argument (EINVAL); quota at least 1000, period 1000 to 1000000, burst at most quota, none above what the parent cgroup has"#
                ]],
            },
        );
    }
    if world.layout.with("memory").is_some() {
        memory_refused(version, world, cgroup);
    }
    let block = Block { weight: Some(5), ..Block::default() };
    refusal(
        cgroup,
        world,
        &Resources { block, ..Resources::default() },
        expect![
            "linux.resources.blockIO.weight: set to 5: numerical result out of range (ERANGE); use 10 to 1000"
        ],
    );
    if world.layout.with("blkio").or(world.layout.with("io")).is_some() {
        let leaf = Block { leaf_weight: Some(50), ..Block::default() };
        refusal(
            cgroup,
            world,
            &Resources { block: leaf, ..Resources::default() },
            expect![
                "linux.resources.blockIO.leafWeight: set to 50: operation not supported (EOPNOTSUPP); shares of a disk need the BFQ scheduler, or io.cost on cgroup v2"
            ],
        );
    }
}

fn memory_refused(version: Version, world: &World, cgroup: &Cgroup) {
    let with = |memory| Resources { memory, ..Resources::default() };
    let kernel = with(Memory { kernel: Some(Bound::At(MIB)), ..Memory::default() });
    let swap = with(Memory {
        limit: Some(Bound::At(2 * MIB)),
        swap: Some(Bound::At(MIB)),
        ..Memory::default()
    });
    match version {
        Version::V1 => {
            refusal(
                cgroup,
                world,
                &kernel,
                expect![
                    "linux.resources.memory.kernel: set to 1048576: operation not supported (EOPNOTSUPP); this kernel counts kernel memory towards memory.limit alone; leave it out"
                ],
            );
            refusal(
                cgroup,
                world,
                &swap,
                expect![[
                    r#"linux.resources.memory.swap: write "1048576" to TOP/TEST/a/memory.memsw.limit_in_bytes: invalid argument (EINVAL); memory.swap counts memory and swap together and must not be below memory.limit"#
                ]],
            );
        }
        Version::V2 => {
            refusal(
                cgroup,
                world,
                &kernel,
                expect![
                    "linux.resources.memory.kernel: set to 1048576: operation not supported (EOPNOTSUPP); cgroup v2 counts kernel memory towards memory.limit alone; leave it out"
                ],
            );
            refusal(
                cgroup,
                world,
                &swap,
                expect![
                    "linux.resources.memory.swap: set to 1048576: invalid argument (EINVAL); it counts memory and swap together: set memory.limit too, to no more than that"
                ],
            );
            refusal(
                cgroup,
                world,
                &with(Memory { swappiness: Some(10), ..Memory::default() }),
                expect![
                    "linux.resources.memory.swappiness: set to 10: operation not supported (EOPNOTSUPP); cgroup v2 has no such setting for a cgroup; leave it out"
                ],
            );
            refusal(
                cgroup,
                world,
                &with(Memory { disable_oom_killer: Some(true), ..Memory::default() }),
                expect![
                    "linux.resources.memory.disableOOMKiller: set to true: operation not supported (EOPNOTSUPP); cgroup v2 cannot stop a cgroup that is out of memory; leave it out"
                ],
            );
        }
    }
}
