//! Variables in arenas: programs find the values that the source gives them, and each generation its own.

use ouro_rules::manifest::{Attach, MapSpec, RawTracepoint};

use crate::chain::{Chain, map};
use crate::missing::precedes;
use crate::probes::call;
use crate::support::{Lab, bpftool, lab};
use crate::{deploy, deployed, map_pin, redeployed, undeployed};

/// The last one is not on the first page.
const VARIABLES: &str = "#define __arena __attribute__((address_space(1)))\n\
    int __arena many[2048] = { 41, 42 };\nlong __arena counted;\nint __arena last = -7;\n";

/// An arena of this many pages, and variables.
fn header(pages: u64, address: u64, flags: u32) -> String {
    format!(
        "struct {{ __uint(type, 33); __uint(map_flags, {flags}); __uint(max_entries, {pages}); enum {{ address = {address} }} map_extra; }} \
         arena SEC(\".maps\");\n{VARIABLES}"
    )
}

fn chain(header: String) -> Chain {
    // SAFETY: no pointers.
    let thread = unsafe { libc::gettid() };
    let body = format!(
        "if ((__u32)bpf_get_current_pid_tgid() != thread || ctx[1] != {}) return 0;\n__u32 k; __u64 v;\ncounted++;\n\
         k = 0; v = many[0] + many[1]; bpf_map_update_elem(&values, &k, &v, 0);\n\
         k = 1; v = counted; bpf_map_update_elem(&values, &k, &v, 0);\n\
         k = 2; v = last; bpf_map_update_elem(&values, &k, &v, 0);\n\
         k = 3; v = (__u32)(unsigned long)&many != 0; bpf_map_update_elem(&values, &k, &v, 0);\nreturn 0;",
        libc::SYS_getpgid
    );
    let attach = Attach::RawTracepoint(RawTracepoint { name: "sys_enter".to_owned() });
    let chain = Chain::new("fw").map(map("values", "array", 4)).attach(&[attach]).global("thread", thread.into());
    Chain { declarations: header, ..chain }.program("watch", "raw_tp/sys_enter", &body, &[])
}

fn values(lab: &Lab) -> Vec<u64> {
    let dump = bpftool(&["map", "dump", "pinned", map_pin(lab, "values").to_str().unwrap()]);
    dump.as_array().unwrap().iter().map(|element| element["formatted"]["value"].as_u64().unwrap()).collect()
}

const MINUS_SEVEN: u64 = 7_u64.wrapping_neg();
const MMAPABLE: u32 = 1 << 10;
const SEGV_ON_FAULT: u32 = 1 << 17;

#[test]
fn variables_in_an_arena_have_their_values() {
    if precedes("`arena` maps", "6.9") {
        return;
    }
    lab(|lab| {
        // Some without an address, and one whose end no program can name.
        for (pages, address) in [(4, 0), (16, 1 << 44), (1 << 20, 1 << 43)] {
            let bundle = chain(header(pages, address, MMAPABLE)).bundle(lab.folder());
            deployed(lab, &bundle);
            call(3);
            assert_eq!(values(lab), [83, 3, MINUS_SEVEN, 1], "{pages} pages at {address:#x}");
            redeployed(lab, &bundle);
            call(2);
            assert_eq!(values(lab), [83, 2, MINUS_SEVEN, 1], "the second generation has its own");
            undeployed(lab, "fw");
        }
    });
}

#[test]
fn variables_that_have_no_place_are_refused() {
    if precedes("`arena` maps", "6.9") {
        return;
    }
    lab(|lab| {
        let shared = MapSpec { key_size: 0, value_size: 0, flags: MMAPABLE, map_extra: 1 << 44, ..map("arena", "arena", 16) };
        for (chain, words) in [
            (chain(header(1, 1 << 44, MMAPABLE)), "the arena `arena` has no room for its variables"),
            (chain(header(16, 1 << 44, MMAPABLE | SEGV_ON_FAULT)), "the arena `arena` takes no pages from user space"),
            (
                chain(VARIABLES.to_owned()).map(shared),
                "it has variables in the arena `arena`, which other programs and later generations have, too",
            ),
            (chain(VARIABLES.to_owned()), "is a variable in an arena, and the object has not exactly one"),
        ] {
            let error = deploy(lab, &chain.bundle(lab.folder())).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
            assert!(!lab.bpffs.join("ouro").exists(), "{error}");
        }
    });
}
