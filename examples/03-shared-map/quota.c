// SPDX-License-Identifier: MIT OR Apache-2.0
// Reads the map: drops packets of sources that have sent more than QUOTA_BYTES.
#include <ouro/program.h>
#include "talker.h"

SEC("xdp")
int quota(struct xdp_md *ctx)
{
    struct iphdr *ip = ipv4_header((void *)(long)ctx->data, (void *)(long)ctx->data_end);
    struct talker *known;
    __u32 source;

    if (!ip)
        return XDP_PASS;
    source = ip->saddr;
    known = bpf_map_lookup_elem(&talkers, &source);
    return known && known->bytes > QUOTA_BYTES ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
