//! What systems have each in their own way, behind one face. `linux` asks the kernel; `portable` does with what every
//! Unix has and with what its programs tell, as on macOS. `build.rs` chooses, and `SPECWEAVE_JOBS_PORTABLE=1` builds the
//! portable one on Linux, too. Nowhere else does the code ask which system it is on, but for programs that only one has.

#[cfg(linux_system)]
mod linux;
#[cfg(linux_system)]
use linux as chosen;
#[cfg(not(linux_system))]
mod portable;
#[cfg(not(linux_system))]
use portable as chosen;

pub use chosen::{
    SYNCS_AT_ONCE, WAY, arguments, begin_writing, boot, end_with_parent, give_memory_back,
    keep_memory_private, memory, name_and_owner, network_file_system, open_without_links, own_program,
    since_boot, started_at, sync_file_system, umask,
};

/// What is used of a limit, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    pub used: u64,
    pub limit: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_as_it_is() {
        let me = std::process::id();
        let now = crate::clock::now();
        let started = started_at(me).unwrap();
        assert!((now - 3_600_000..=now + 2_000).contains(&started), "{started} {now}");
        assert_eq!(name_and_owner(me).map(|(_, owner)| owner), Some(rustix::process::getuid().as_raw()));
        assert!(!arguments(me).is_empty());
        assert!(own_program().unwrap().exists());
        assert_eq!(started_at(u32::MAX / 2), None);
        assert_eq!(name_and_owner(u32::MAX / 2), None);
        assert!(arguments(u32::MAX / 2).is_empty());
    }

    #[test]
    fn the_boot_has_a_name_and_a_beginning() {
        assert_eq!(boot(), boot());
        assert!(!boot().trim_matches('/').is_empty());
        assert!(since_boot() > 0);
        assert!(umask().is_some_and(|umask| u32::from_str_radix(&umask, 8).is_ok()));
    }
}
