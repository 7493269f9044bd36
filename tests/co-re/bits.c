// SPDX-License-Identifier: MIT OR Apache-2.0
// Bitfields, read as bits.
#include "vmlinux.h"
#include <ouro/program.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

SEC("kprobe/tcp_retransmit_skb")
int BPF_KPROBE(bits, struct sock *sk, struct sk_buff *skb)
{
    struct tcp_sock *tcp = (struct tcp_sock *)sk;
    int sum = BPF_CORE_READ_BITFIELD_PROBED(skb, pkt_type) + BPF_CORE_READ_BITFIELD_PROBED(skb, ip_summed);

    sum += BPF_CORE_READ_BITFIELD_PROBED(sk, sk_no_check_tx);
    sum += BPF_CORE_READ_BITFIELD_PROBED(tcp, nonagle);
    sum += bpf_core_field_offset(struct sk_buff, nohdr) + bpf_core_field_exists(skb->cloned);
    return sum;
}

char LICENSE[] SEC("license") = "GPL";
