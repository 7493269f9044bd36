// SPDX-License-Identifier: MIT OR Apache-2.0
// What tracepoints hand over, fixed parts and strings behind them.
#include "vmlinux.h"
#include <ouro/program.h>

SEC("tracepoint/sched/sched_switch")
int contexts(struct trace_event_raw_sched_switch *ctx)
{
    struct trace_event_raw_sys_enter *other = (void *)ctx;
    char name[sizeof(ctx->prev_comm)];

    bpf_probe_read_kernel_str(name, sizeof(name), ctx->prev_comm);
    bpf_printk("%s %d %d", name, ctx->next_pid, ctx->next_prio);
    return sizeof(other->args) / sizeof(other->args[0]) + ctx->prev_prio;
}

char LICENSE[] SEC("license") = "GPL";
