// SPDX-License-Identifier: MIT OR Apache-2.0
// Counts every packet and lets it pass.
#include <ouro/program.h>

SEC("xdp")
int count(struct xdp_md *ctx)
{
    __u32 key = 0;
    __u64 *counter = bpf_map_lookup_elem(&packets, &key);

    if (counter)
        *counter += 1; // the map is per CPU, so nobody else writes here
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
