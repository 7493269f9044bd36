//! Which constructor says where programs of a type are attached, and whether it can name what their type does not.
//!
//! Knows names alone; what a constructor takes is in the table of builtins.

use super::Hook;

impl Hook {
    /// The constructors that take programs of this type; none for those that others run: values of maps, routes, actions of
    /// filters, and what user space calls.
    pub fn attach(&self) -> &'static [&'static str] {
        match self.prefix.trim_end_matches(".s") {
            "xdp" | "xdp.frags" => &["xdp"],
            "tc" | "classifier" => &["tc", "tcx", "netkit"],
            "tcx/ingress" | "tcx/egress" | "tc/ingress" | "tc/egress" => &["tcx"],
            "netkit/primary" | "netkit/peer" => &["netkit"],
            "sockops" => &["cgroup"],
            cgroup if cgroup.starts_with("cgroup") => &["cgroup"],
            "socket" | "sk_reuseport" | "sk_reuseport/migrate" => &["socket"],
            "sk_lookup" | "flow_dissector" => &["netns"],
            "netfilter" => &["netfilter"],
            "tracepoint" | "tp" => &["tracepoint"],
            "raw_tracepoint" | "raw_tp" | "raw_tracepoint.w" | "raw_tp.w" => &["raw_tracepoint"],
            "tp_btf" => &["tp_btf"],
            "fentry" => &["fentry"],
            "fexit" => &["fexit"],
            "fmod_ret" => &["fmod_ret"],
            "iter" => &["iter"],
            "lsm" => &["lsm"],
            "lsm_cgroup" => &["lsm_cgroup"],
            "kprobe" => &["kprobe"],
            "kretprobe" => &["kretprobe"],
            "ksyscall" | "kretsyscall" => &["ksyscall"],
            "kprobe.multi" | "kretprobe.multi" | "kprobe.session" => &["kprobe_multi"],
            "uprobe" => &["uprobe"],
            "uretprobe" => &["uretprobe"],
            "uprobe.multi" | "uretprobe.multi" | "uprobe.session" => &["uprobe_multi"],
            "usdt" => &["usdt"],
            "perf_event" => &["perf_event"],
            "struct_ops" => &["struct_ops"],
            // `sk_skb` alone does not say which of two things it is.
            _ if matches!(self.prog_type, "sk_msg" | "sk_skb") && !self.attach_type.is_empty() => &["sockmap"],
            _ => &[],
        }
    }

    /// Whether a program can only be loaded when its type names what it is for. Others may be told by their constructor.
    pub fn needs_name(&self) -> bool {
        self.takes_name && matches!(self.prog_type, "tracing" | "lsm" | "ext")
    }
}

#[cfg(test)]
mod tests {
    use crate::hook::find;

    #[test]
    fn names_are_needed_where_nothing_else_can_say_them() {
        let needs = |ty: &str| find(ty).unwrap().needs_name();
        assert!(needs("fentry") && needs("lsm") && needs("iter") && needs("tp_btf"));
        assert!(!needs("struct_ops") && !needs("kprobe") && !needs("uprobe.s") && !needs("tracepoint") && !needs("xdp"));
    }
}
