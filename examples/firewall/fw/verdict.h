// SPDX-License-Identifier: MIT OR Apache-2.0
// Include after <ouro/program.h>, which declares the map.
#pragma once

// The keys of the map `verdicts`.
enum verdict {
    ALLOWED,
    BLOCKED,
    RATE_LIMITED,
    MALFORMED,
};

// Counts the verdict and gives the return value that carries it out.
static __always_inline int decide(enum verdict verdict)
{
    __u32 key = verdict;
    __u64 *count = bpf_map_lookup_elem(&verdicts, &key);

    if (count)
        *count += 1; // per CPU, so nobody else writes here
    return verdict == ALLOWED ? XDP_PASS : XDP_DROP;
}
