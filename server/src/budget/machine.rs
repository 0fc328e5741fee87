//! Memory limit of this process.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// Assumed memory if it cannot be determined.
const UNKNOWN: u64 = 1 << 30;

/// Bytes of memory that this process may use: the smallest limit of its control groups, or the machine's memory.
pub fn memory() -> u64 {
    static MEMORY: LazyLock<u64> = LazyLock::new(|| {
        let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|info| total(&info));
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        bounds(&groups, |path| fs::read_to_string(path).ok())
            .chain(machine)
            .min()
            .unwrap_or(UNKNOWN)
    });
    *MEMORY
}

/// `MemTotal` of `/proc/meminfo`.
fn total(info: &str) -> Option<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Limits of the control groups in `/proc/self/cgroup` and of their ancestors. In a container the paths may be those of
/// the host, so the root is read, too.
fn bounds(groups: &str, read: impl Fn(&Path) -> Option<String>) -> impl Iterator<Item = u64> {
    let mut bounds = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let path = Path::new(path.trim_start_matches('/'));
        for group in path.ancestors() {
            let text = read(&Path::new(root).join(group).join(file));
            // Without a limit the value is `max`, or close to the largest integer.
            bounds.extend(text.and_then(|text| text.trim().parse::<u64>().ok()));
        }
    }
    bounds.into_iter().filter(|bound| *bound > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_what_it_has() {
        let info = "MemFree:  1 kB\nMemTotal:       16316412 kB\nMemAvailable: 3 kB\n";
        assert_eq!(total(info), Some(16_316_412 * 1024));
        assert_eq!(total("MemTotal: many"), None);
        assert!(memory() > 0);
    }

    #[test]
    fn the_smallest_group_counts() {
        let files = |path: &Path| match path.to_str()? {
            "/sys/fs/cgroup/a/b/memory.max" => Some("max\n".to_owned()),
            "/sys/fs/cgroup/a/memory.max" => Some("4096\n".to_owned()),
            "/sys/fs/cgroup/memory/c/memory.limit_in_bytes" => {
                Some("9223372036854771712".to_owned())
            }
            "/sys/fs/cgroup/memory/memory.limit_in_bytes" => Some("8192".to_owned()),
            _ => None,
        };
        let found = |groups| bounds(groups, files).collect::<Vec<_>>();
        assert_eq!(found("0::/a/b\n"), [4096]);
        assert_eq!(found("3:cpu:/a\n4:memory:/c\n"), [9_223_372_036_854_771_712, 8192]);
        assert_eq!(found("0::/elsewhere\nnonsense"), [0; 0]);
    }
}
