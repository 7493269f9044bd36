// SPDX-License-Identifier: MIT OR Apache-2.0
// One call for each task.
#include "vmlinux.h"
#include <ouro/program.h>
#include <bpf/bpf_tracing.h>

SEC("iter/task")
int iterator(struct bpf_iter__task *ctx)
{
    struct seq_file *seq = ctx->meta->seq;
    struct task_struct *task = ctx->task;

    if (!task)
        return 0;
    if (ctx->meta->seq_num == 0)
        BPF_SEQ_PRINTF(seq, "pid\n");
    BPF_SEQ_PRINTF(seq, "%d %s\n", task->pid, task->comm);
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
