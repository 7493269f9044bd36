// SPDX-License-Identifier: MIT OR Apache-2.0
// From a sock to what it is part of, and to its process' cgroup.
#include "vmlinux.h"
#include <ouro/program.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

SEC("kprobe/tcp_connect")
int BPF_KPROBE(sockets, struct sock *sk)
{
    struct inet_sock *inet = (struct inet_sock *)sk;
    struct tcp_sock *tcp = (struct tcp_sock *)sk;
    struct task_struct *task = (void *)bpf_get_current_task();
    __u64 cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);

    if (BPF_CORE_READ(sk, __sk_common.skc_family) == 2)
        bpf_printk("%x %d", BPF_CORE_READ(sk, __sk_common.skc_daddr), BPF_CORE_READ(inet, inet_sport));
    return BPF_CORE_READ(tcp, snd_cwnd) + BPF_CORE_READ(sk, sk_socket, file, f_flags) + BPF_CORE_READ(sk, sk_sndbuf) + cgroup;
}

char LICENSE[] SEC("license") = "GPL";
