// SPDX-License-Identifier: MIT OR Apache-2.0
// The entry: asks the generated table for the source's class.
#include <ouro/program.h>
#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include "routes.h"

SEC("xdp")
int route(struct xdp_md *ctx)
{
    struct ethhdr *eth = (void *)(long)ctx->data;
    struct iphdr *ip = (void *)(eth + 1);

    if ((void *)(ip + 1) > (void *)(long)ctx->data_end || eth->h_proto != bpf_htons(ETH_P_IP))
        return XDP_PASS;
    switch (route_class_of(bpf_ntohl(ip->saddr))) {
    case ROUTE_BLOCKED:
        OURO_JUMP(ctx, blocked);
    case ROUTE_WATCHED:
        OURO_JUMP(ctx, watched);
    case ROUTE_PASS:
        break;
    }
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
