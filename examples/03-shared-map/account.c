// SPDX-License-Identifier: MIT OR Apache-2.0
// Writes the map: adds every packet to its source's account.
#include <ouro/program.h>
#include "talker.h"

SEC("xdp")
int account(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct iphdr *ip = ipv4_header(data, end);
    struct talker first = {.packets = 1, .bytes = end - data}, *known;
    __u32 source;

    if (!ip)
        return XDP_PASS;
    source = ip->saddr;
    known = bpf_map_lookup_elem(&talkers, &source);
    if (known) {
        __sync_fetch_and_add(&known->packets, 1);
        __sync_fetch_and_add(&known->bytes, first.bytes);
    } else {
        bpf_map_update_elem(&talkers, &source, &first, BPF_ANY);
    }
    OURO_JUMP(ctx, quota);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
