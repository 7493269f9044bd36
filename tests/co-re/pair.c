// SPDX-License-Identifier: MIT OR Apache-2.0
// Two sources, linked before they become BPF; each reaches types of its own.
#include "vmlinux.h"
#include <ouro/program.h>
#include <bpf/bpf_core_read.h>

int threads(struct task_struct *task);

SEC("raw_tp/sched_process_exit")
int pair(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (void *)ctx->args[0];

    return threads(task) + BPF_CORE_READ(task, mm, map_count);
}

char LICENSE[] SEC("license") = "GPL";
