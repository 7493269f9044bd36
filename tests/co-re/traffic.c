// SPDX-License-Identifier: MIT OR Apache-2.0
// A program of the network: what the kernel shows programs comes from the same header.
#include "vmlinux.h"
#include <ouro/program.h>
#include <bpf/bpf_endian.h>

SEC("tc")
int traffic(struct __sk_buff *skb)
{
    void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    struct ethhdr *eth = data;
    struct bpf_sock *sk = skb->sk;
    struct bpf_tcp_sock *tcp;

    if (data + sizeof(*eth) > end || eth->h_proto != bpf_htons(0x86dd) || !sk)
        return 0;
    sk = bpf_sk_fullsock(sk);
    tcp = sk ? bpf_tcp_sock(sk) : 0;
    return tcp && tcp->snd_cwnd < 2 ? 2 : 0;
}

char LICENSE[] SEC("license") = "GPL";
