// SPDX-License-Identifier: MIT OR Apache-2.0
// A hook of the security modules.
#include "vmlinux.h"
#include <ouro/program.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

SEC("lsm/file_open")
int BPF_PROG(lsm, struct file *file, int ret)
{
    kuid_t owner = file->f_inode->i_uid;
    umode_t mode = file->f_inode->i_mode;

    if (ret)
        return ret;
    return owner.val == 0 && (mode & 04000) && file->f_cred->euid.val != 0 ? -1 : 0;
}

char LICENSE[] SEC("license") = "GPL";
