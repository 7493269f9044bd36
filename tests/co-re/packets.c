// SPDX-License-Identifier: MIT OR Apache-2.0
// Headers of a packet, found by the offsets in its sk_buff.
#include <vmlinux.h>
#include <ouro/program.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

SEC("kprobe/ip_rcv")
int BPF_KPROBE(packets, struct sk_buff *skb, struct net_device *dev)
{
    unsigned char *head = BPF_CORE_READ(skb, head);
    __u16 network = BPF_CORE_READ(skb, network_header);
    struct iphdr ip;
    struct tcphdr tcp;

    if (BPF_CORE_READ(skb, protocol) != bpf_htons(0x0800) || bpf_probe_read_kernel(&ip, sizeof(ip), head + network))
        return 0;
    if (ip.protocol != IPPROTO_TCP || bpf_probe_read_kernel(&tcp, sizeof(tcp), head + network + ip.ihl * 4))
        return 0;
    bpf_printk("%x %d %d", ip.saddr, bpf_ntohs(tcp.dest), tcp.syn);
    return BPF_CORE_READ(dev, ifindex) + BPF_CORE_READ(skb, dev, nd_net.net, ns.inum) + BPF_CORE_READ(skb, len);
}

char LICENSE[] SEC("license") = "GPL";
