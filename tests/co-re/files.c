// SPDX-License-Identifier: MIT OR Apache-2.0
// From a file to its name, its folder, its inode and its file system.
#include "vmlinux.h"
#include <ouro/program.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

SEC("kprobe/vfs_read")
int BPF_KPROBE(files, struct file *file)
{
    struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
    struct qstr name = BPF_CORE_READ(dentry, d_name);
    char text[32];

    bpf_probe_read_kernel_str(text, sizeof(text), name.name);
    bpf_printk("%s in %d", text, BPF_CORE_READ(dentry, d_parent, d_inode, i_ino));
    return BPF_CORE_READ(dentry, d_sb, s_magic) + BPF_CORE_READ(file, f_path.mnt, mnt_sb, s_dev) +
           BPF_CORE_READ(file, f_inode, i_mode) + bpf_core_field_size(struct dentry, d_name);
}

char LICENSE[] SEC("license") = "GPL";
