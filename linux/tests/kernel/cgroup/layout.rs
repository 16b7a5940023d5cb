use linux::cgroup::Layout;
use linux::mount;

use crate::tmpfs;

crate::cases![what_lies_under_another_mount_is_not_used];

fn what_lies_under_another_mount_is_not_used() {
    let layout = Layout::detect().unwrap();
    let hidden = layout.hierarchies()[0].mount_point.clone();
    mount::attach(tmpfs(), std::fs::File::open(&hidden).unwrap()).unwrap();
    // On a host with one tree nothing is left.
    let rest = Layout::detect().map_or(Vec::new(), |layout| layout.hierarchies().to_vec());
    assert_eq!(rest, layout.hierarchies()[1..]);
}
