// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/types.h>

// What we know of one IPv4 source: the value of the map `talkers`.
struct talker {
    __u64 packets;
    __u64 bytes;
};

// The IPv4 header of a packet with that EtherType; a null pointer for all others.
static inline __attribute__((always_inline)) struct iphdr *ipv4_header(void *data, void *end)
{
    struct ethhdr *eth = data;
    struct iphdr *ip = (void *)(eth + 1);

    if ((void *)(ip + 1) > end || eth->h_proto != __builtin_bswap16(ETH_P_IP))
        return 0;
    return ip;
}
