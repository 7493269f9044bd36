// SPDX-License-Identifier: MIT OR Apache-2.0
// A member that has had two names.
#include "vmlinux.h"
#include <ouro/program.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include "flavours.h"

static __always_inline long state_of(void *task)
{
    struct task_struct___new *now = task;
    struct task_struct___old *then = task;

    if (bpf_core_field_exists(now->__state))
        return BPF_CORE_READ(now, __state);
    return BPF_CORE_READ(then, state);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(flavours, bool preempt, struct task_struct *prev, struct task_struct *next)
{
    return state_of(prev) + next->pid + prev->real_parent->cred->uid.val;
}

char LICENSE[] SEC("license") = "GPL";
