// SPDX-License-Identifier: MIT OR Apache-2.0
// Counts what it gets and lets it pass.
#include <ouro/program.h>

SEC("xdp")
int watched(struct xdp_md *ctx)
{
    __u32 key = 0;
    __u64 *count = bpf_map_lookup_elem(&watched_pkts, &key);

    if (count)
        *count += 1;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
