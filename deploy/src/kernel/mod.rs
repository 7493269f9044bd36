//! The only door to the kernel: aya where it does the job, bpf(2) and netlink where not.
//!
//! Works on paths of pins and on network devices; knows no bundles and no generations. Foreign types do not travel past it.

mod attach;
mod bpffs;
mod caps;
mod elf;
mod host;
mod load;
mod maps;
mod netlink;
pub(crate) mod pins;
mod run;
mod scratch;
mod sys;

pub(crate) use attach::{add_qdisc, attach, detach, find_filter, remove_link, remove_qdisc, switch, take_back};
pub(crate) use bpffs::{Lock, create_folder, entries, remove_folder, remove_pin, require as require_bpffs};
pub(crate) use caps::require as require_capabilities;
pub use host::{Device, Filter, Host};
pub(crate) use host::{host, neighbours};
pub(crate) use load::Loader;
pub(crate) use maps::{
    counts, create_counts, create_table, fill_slot, freeze, pin_again, read_bytes, replace_bytes, write_bytes,
};
pub use pins::MapFacts;
pub(crate) use run::run_packet;
pub(crate) use scratch::Scratch;

/// How long the machine has been up.
pub(crate) fn uptime() -> std::time::Duration {
    sys::uptime()
}

/// Waits until no packet is inside a program that was detached or replaced before.
pub(crate) fn settle() {
    // Refused on kernels with full dynticks; there a wait longer than any packet takes has to do.
    if sys::membarrier().is_err() {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}
