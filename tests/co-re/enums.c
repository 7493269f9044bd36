// SPDX-License-Identifier: MIT OR Apache-2.0
// Enumerators, also where the kernel may have moved them.
#include "vmlinux.h"
#include <ouro/program.h>
#include <bpf/bpf_core_read.h>

SEC("raw_tp/sched_switch")
int enums(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *next = (void *)ctx->args[2];
    int cgroup = 0;

    if (bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
        cgroup = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
    if (BPF_CORE_READ(next, signal, flags) & 0x4)
        return PIDTYPE_PGID;
    return BPF_CORE_READ(next, cgroups, subsys[cgroup], id) + (BPF_CORE_READ(next, prio) > HRTIMER_NORESTART) + BPF_F_CURRENT_CPU;
}

char LICENSE[] SEC("license") = "GPL";
