// SPDX-License-Identifier: MIT OR Apache-2.0
// Arguments of a function as its types, read without a helper.
#include "vmlinux.h"
#include <ouro/program.h>
#include <bpf/bpf_tracing.h>

SEC("fentry/vfs_open")
int BPF_PROG(fentry, const struct path *path, struct file *file)
{
    struct task_struct *task = bpf_get_current_task_btf();

    if (!path->dentry || task->flags & 0x00200000)
        return 0;
    bpf_printk("%d %d", file->f_flags, path->dentry->d_inode->i_sb->s_root->d_time);
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
