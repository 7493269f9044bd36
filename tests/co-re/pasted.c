// SPDX-License-Identifier: MIT OR Apache-2.0
// Types whose names no word of the program is.
#include "vmlinux.h"
#include <ouro/program.h>
#include <bpf/bpf_core_read.h>

#define OF(kind) struct kind##_struct
#define EVENT(name) struct trace_event_raw_##name

SEC("raw_tp/sys_enter")
int pasted(struct bpf_raw_tracepoint_args *ctx)
{
    OF(task) *task = (void *)bpf_get_current_task();
    OF(mm) *mm = BPF_CORE_READ(task, active_mm);
    EVENT(sched_wakeup_template) *event = (void *)ctx;

    return BPF_CORE_READ(mm, total_vm) + sizeof(*event) + BPF_CORE_READ(task, thread_pid, numbers[0].nr);
}

char LICENSE[] SEC("license") = "GPL";
