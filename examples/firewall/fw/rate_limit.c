// SPDX-License-Identifier: MIT OR Apache-2.0
// A token bucket for each source: PACKETS_PER_SECOND, and BURST more at once.
#include <ouro/program.h>

#include "packet.h"
#include "verdict.h"

#define NS_PER_PACKET (1000000000ull / PACKETS_PER_SECOND)
#define TRIES 4

// A whole bucket is one number, the time at which it will be full again: it lies in the past for a full bucket, and
// BURST * NS_PER_PACKET ahead for an empty one. One number needs no lock, only compare and swap.
static __always_inline int take_token(__u64 *full_at, __u64 now)
{
    for (int i = 0; i < TRIES; i++) {
        __u64 seen = *(volatile __u64 *)full_at;
        __u64 next = (seen > now ? seen : now) + NS_PER_PACKET;

        if (next - now > BURST * NS_PER_PACKET)
            return 0;
        if (__sync_val_compare_and_swap(full_at, seen, next) == seen)
            return 1;
    }
    return 0; // so many CPUs at once want a token of this source that it has too many packets anyway
}

SEC("xdp")
int rate_limit(struct xdp_md *ctx)
{
    __u32 key = 0;
    struct packet *packet = bpf_map_lookup_elem(&packet_info, &key);
    __u64 now = bpf_ktime_get_ns(), first = now + NS_PER_PACKET, *full_at;
    struct address source;

    if (!packet)
        return XDP_ABORTED; // cannot be: an array has all its entries
    source = packet->source;
    full_at = bpf_map_lookup_elem(&buckets, &source);
    if (!full_at)
        bpf_map_update_elem(&buckets, &source, &first, BPF_NOEXIST);
    else if (!take_token(full_at, now))
        return decide(RATE_LIMITED);
    OURO_JUMP(ctx, allow);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
