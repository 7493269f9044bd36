// SPDX-License-Identifier: MIT OR Apache-2.0
// What a pointer to a struct of function pointers leads to; a type by its size and its existence.
#include "vmlinux.h"
#include <ouro/program.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

SEC("kprobe/iterate_dir")
int BPF_KPROBE(dirents, struct file *file, struct dir_context *entries)
{
    void *operation = BPF_CORE_READ(file, f_op, iterate_shared);
    void *actor = BPF_CORE_READ(entries, actor);

    if (!bpf_core_type_exists(struct dir_context) || bpf_core_type_size(struct file_operations) < 8)
        return 0;
    bpf_printk("%p %p %d", operation, actor, BPF_CORE_READ(entries, pos));
    return bpf_core_type_id_kernel(struct super_block) > 0;
}

char LICENSE[] SEC("license") = "GPL";
