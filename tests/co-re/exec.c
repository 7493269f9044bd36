// SPDX-License-Identifier: MIT OR Apache-2.0
// A chain of pointers from a task to the inode of its program.
#include "vmlinux.h"
#include <ouro/program.h>
#include <bpf/bpf_core_read.h>
#include "event.h"

SEC("tracepoint/sched/sched_process_exec")
int exec(struct trace_event_raw_sched_process_exec *ctx)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    struct event event = {
        .pid = BPF_CORE_READ(task, tgid),
        .parent = BPF_CORE_READ(task, real_parent, tgid),
        .inode = BPF_CORE_READ(task, mm, exe_file, f_inode, i_ino),
    };

    BPF_CORE_READ_STR_INTO(&event.name, task, group_leader, comm);
    SEND("%d %d %s", event.pid, event.parent, event.name);
    return event.inode != 0 && BPF_CORE_READ(task, nsproxy, pid_ns_for_children, level) > 0;
}

char LICENSE[] SEC("license") = "GPL";
