// SPDX-License-Identifier: MIT OR Apache-2.0
// Drops what it gets.
#include <ouro/program.h>

SEC("xdp")
int blocked(struct xdp_md *ctx)
{
    return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
