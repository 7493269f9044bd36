// SPDX-License-Identifier: MIT OR Apache-2.0
// The entry: hands IPv4 packets to `no_ping`, lets all others pass.
#include <ouro/program.h>
#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>

SEC("xdp")
int ipv4(struct xdp_md *ctx)
{
    struct ethhdr *eth = (void *)(long)ctx->data;

    if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
        return XDP_PASS;
    if (eth->h_proto == bpf_htons(ETH_P_IP))
        OURO_JUMP(ctx, no_ping); // does not come back: `no_ping` returns the verdict
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
