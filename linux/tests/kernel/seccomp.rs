use std::os::fd::AsFd;

use expect_test::expect;
use linux::raw::seccomp::{self, FilterFlags, Instruction};
use linux::{CloneFlags, Errno, Forked};

crate::cases![a_filter_refuses_a_call, a_listener_is_answered, bytes_become_a_program, refusals];

fn op(code: u32, k: u32) -> Instruction {
    Instruction { code: u16::try_from(code).unwrap(), jt: 0, jf: 0, k }
}

/// Loads the call number; `number` answers `action`, all others are allowed.
fn filter(number: i64, action: u32) -> Vec<Instruction> {
    let mut equal = op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, u32::try_from(number).unwrap());
    equal.jf = 1;
    vec![
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        equal,
        op(libc::BPF_RET | libc::BPF_K, action),
        op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ]
}

fn in_child(body: impl FnOnce()) {
    match linux::fork(CloneFlags::empty(), None).unwrap() {
        Forked::Child => {
            body();
            std::process::exit(0)
        }
        Forked::Parent { pidfd, .. } => assert!(pidfd.wait().unwrap().is_success()),
    }
}

fn a_filter_refuses_a_call() {
    in_child(|| {
        let action = libc::SECCOMP_RET_ERRNO | Errno::NOTUNIQ.raw_os_error().unsigned_abs();
        let listener = seccomp::load(&filter(libc::SYS_chroot, action), FilterFlags::LOG).unwrap();
        assert!(listener.is_none());
        assert_eq!(rustix::process::chroot(c"/"), Err(Errno::NOTUNIQ));
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(status.contains("Seccomp:\t2"), "{status}");
    });
}

fn a_listener_is_answered() {
    in_child(|| {
        let program = filter(libc::SYS_chroot, libc::SECCOMP_RET_USER_NOTIF);
        let listener = seccomp::load(&program, FilterFlags::NEW_LISTENER).unwrap().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&listener.as_fd()));
        assert_eq!(std::fs::read_link(path).unwrap().to_str(), Some("anon_inode:seccomp notify"));
        expect!["load a seccomp filter: device or resource busy (EBUSY); a filter of this process has a listener already"]
            .assert_eq(&seccomp::load(&program, FilterFlags::NEW_LISTENER).unwrap_err().to_string());
    });
}

fn bytes_become_a_program() {
    let bytes = [0x20, 0, 0, 0, 4, 0, 0, 0, 0x06, 0, 1, 2, 0, 0, 0xff, 0x7f];
    if cfg!(target_endian = "little") {
        let program = seccomp::program_from_bytes(&bytes).unwrap();
        let fields: Vec<_> = program.iter().map(|op| (op.code, op.jt, op.jf, op.k)).collect();
        assert_eq!(fields, [(0x20, 0, 0, 4), (6, 1, 2, 0x7fff_0000)]);
    }
    for wrong in [&bytes[..7], &[], &vec![0; 8 * 4097]] {
        assert!(seccomp::program_from_bytes(wrong).is_none());
    }
}

fn refusals() {
    let refused = |program: &[Instruction]| {
        seccomp::load(program, FilterFlags::empty()).unwrap_err().to_string()
    };
    expect!["load a seccomp filter: invalid argument (EINVAL); the kernel knows no such flag or instruction"]
        .assert_eq(&refused(&[op(0xffff, 0)]));
    assert!(refused(&vec![op(0, 0); 70000]).contains("(E2BIG)"));
    in_child(|| {
        let none = rustix::thread::CapabilitySets {
            effective: rustix::thread::CapabilitySet::empty(),
            permitted: rustix::thread::CapabilitySet::empty(),
            inheritable: rustix::thread::CapabilitySet::empty(),
        };
        rustix::thread::set_capabilities(None, none).unwrap();
        expect!["load a seccomp filter: permission denied (EACCES); set noNewPrivileges, or load it before CAP_SYS_ADMIN is dropped"]
            .assert_eq(&refused(&filter(libc::SYS_chroot, libc::SECCOMP_RET_ALLOW)));
    });
}
