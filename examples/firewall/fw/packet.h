// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <linux/types.h>

// An IPv6 address in network byte order, or an IPv4 address as ::ffff:a.b.c.d.
struct address {
    __u32 words[4];
};

// The key of `blocked_from`: the first `bits` bits of an address (an IPv4 /24 has 96 + 24).
struct prefix {
    __u32 bits;
    struct address address;
};

// What `parse` finds out and the programs after it want to know.
struct packet {
    struct address source;
    __u16 port; // where to, in host byte order; 0 when the packet has no port
    __u16 protocol;
};
