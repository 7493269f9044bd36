// SPDX-License-Identifier: MIT OR Apache-2.0
// Counts the packets that each process sends, by its name and its parent.
#include "vmlinux.h"
#include <ouro/program.h>
#include <bpf/bpf_core_read.h>

SEC("tc")
int senders(struct __sk_buff *skb)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    struct sender sender = {
        .pid = BPF_CORE_READ(task, tgid),
        .parent = BPF_CORE_READ(task, real_parent, tgid),
    };
    __u64 one = 1, *count;

    BPF_CORE_READ_STR_INTO(&sender.name, task, group_leader, comm);
    count = bpf_map_lookup_elem(&sent, &sender);
    if (count)
        __sync_fetch_and_add(count, 1);
    else
        bpf_map_update_elem(&sent, &sender, &one, BPF_ANY);
    return -1; // what stands behind it in the stack decides
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
