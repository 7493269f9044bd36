// SPDX-License-Identifier: MIT OR Apache-2.0
// Registers, at the entry of a function and of a system call.
#include "vmlinux.h"
#include <ouro/program.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

SEC("kprobe/do_sys_openat2")
int registers(struct pt_regs *ctx)
{
    struct open_how *how = (void *)PT_REGS_PARM3(ctx);
    struct pt_regs *user = (void *)PT_REGS_PARM1_CORE(ctx);

    bpf_printk("%llx %llx %d", BPF_CORE_READ(how, flags), PT_REGS_IP(ctx), PT_REGS_PARM2(ctx));
    return BPF_CORE_READ(how, mode) + PT_REGS_PARM4_CORE_SYSCALL(user);
}

char LICENSE[] SEC("license") = "GPL";
