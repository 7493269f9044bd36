//! The only door to the kernel: aya where it does the job, bpf(2) and netlink where not.
//!
//! Works on paths of pins and on network devices; knows no bundles and no generations. Foreign types do not travel past it.

mod attach;
mod attach_type;
mod binary;
mod bpffs;
mod caps;
mod card;
mod clsact;
mod contents;
pub(crate) mod demands;
mod dispatcher;
mod holders;
mod host;
mod inflate;
mod lacking;
mod links;
mod load;
mod map_types;
mod maps;
mod netlink;
mod numbers;
mod objects;
mod offered;
pub(crate) mod pins;
mod places;
mod prepare;
mod preview;
mod probe;
mod refusal;
mod run;
mod scratch;
mod settings;
mod specs;
mod sockets;
mod stub;
mod tables;
mod sys;
mod types;
mod verify;

pub(crate) use attach::{attach, beside, detach, exchange, extend, remove_beside, remove_link, switch, take_back};
pub(crate) use bpffs::{Lock, create_folder, entries, remove_folder, remove_pin, require as require_bpffs};
pub use caps::drop_capabilities;
pub(crate) use caps::{Right, follows_kernel, limit_to, needed_capabilities, require as require_capabilities};
pub(crate) use clsact::{add_qdisc, find_filter, remove_qdisc};
pub(crate) use contents::{change_element, count_elements, create_empty_map, create_map, read_elements, write_elements};
pub(crate) use dispatcher::{Called, create_dispatcher};
pub use holders::Unseen;
pub use host::{Device, Filter, Host};
pub(crate) use host::{host, named_namespaces};
pub(crate) use lacking::Requirements;
pub(crate) use load::{LoadOptions, Loaded, Loader, Replaced, Request};
pub(crate) use map_types::MapTypes;
pub(crate) use maps::{
    counts, create_counts, create_table, fill_slot, freeze, passing, pin, pin_again, read_bytes, replace_bytes, write_bytes,
};
pub use offered::{Offer, Offered, offered};
pub use pins::{LinkFacts, MapFacts};
pub use places::Missing;
pub(crate) use preview::{group_program, look_at, others};
pub use probe::{Feature, Has, features};
pub(crate) use run::run_packet;
pub(crate) use scratch::Scratch;
pub(crate) use sockets::{SocketState, clear_socket, closed_socket, has_program, socket_states, sockets};
pub(crate) use specs::{create_specs, is_specs};
pub(crate) use stub::create_root;
pub(crate) use types::CoreTypes;
pub use verify::Verified;

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

/// An error with everything that caused it.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
