// SPDX-License-Identifier: MIT OR Apache-2.0
// Drops echo requests. Only IPv4 packets get here, but the verifier does not know: it checks every program by itself.
#include <ouro/program.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>

#define ECHO_REQUEST 8

SEC("xdp")
int no_ping(struct xdp_md *ctx)
{
    struct iphdr *ip = (void *)(long)ctx->data + sizeof(struct ethhdr);
    __u8 *icmp_type = (void *)(ip + 1);

    if ((void *)(icmp_type + 1) > (void *)(long)ctx->data_end)
        return XDP_PASS;
    if (ip->ihl == 5 && ip->protocol == IPPROTO_ICMP && *icmp_type == ECHO_REQUEST)
        return XDP_DROP;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
