// SPDX-License-Identifier: MIT OR Apache-2.0
// Functions of the kernel, as programs may call them.
#define BPF_NO_KFUNC_PROTOTYPES
#include "vmlinux.h"
#include <ouro/program.h>
#include <bpf/bpf_tracing.h>

extern struct task_struct *bpf_task_acquire(struct task_struct *task) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym;
extern struct cgroup *bpf_cgroup_from_id(__u64 id) __ksym __weak;
extern void bpf_cgroup_release(struct cgroup *cgroup) __ksym __weak;

SEC("tp_btf/task_newtask")
int BPF_PROG(kfuncs, struct task_struct *task, u64 clone_flags)
{
    struct task_struct *kept = bpf_task_acquire(task);
    struct cgroup *cgroup = bpf_cgroup_from_id ? bpf_cgroup_from_id(1) : 0;

    if (kept)
        bpf_task_release(kept);
    if (cgroup) {
        bpf_printk("%d %llx", cgroup->level, clone_flags);
        bpf_cgroup_release(cgroup);
    }
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
