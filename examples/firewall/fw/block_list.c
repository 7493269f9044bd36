// SPDX-License-Identifier: MIT OR Apache-2.0
// Drops what goes to a blocked port (from blocked_ports.txt) or comes from a blocked source (from the map).
#include <ouro/program.h>
#include <linux/in.h>

#include "packet.h"
#include "verdict.h"

#define BLOCKED(protocol, port) ((protocol) << 16 | (port))

static __always_inline int port_is_blocked(const struct packet *packet)
{
    switch (BLOCKED(packet->protocol, packet->port)) {
#include "blocked_ports.h"
        return 1;
    default:
        return 0;
    }
}

SEC("xdp")
int block_list(struct xdp_md *ctx)
{
    __u32 key = 0;
    struct packet *packet = bpf_map_lookup_elem(&packet_info, &key);
    struct prefix source = {.bits = 128};

    if (!packet)
        return XDP_ABORTED; // cannot be: an array has all its entries
    source.address = packet->source;
    if (port_is_blocked(packet) || bpf_map_lookup_elem(&blocked_from, &source))
        return decide(BLOCKED);
    OURO_JUMP(ctx, rate_limit);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
