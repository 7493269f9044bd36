// SPDX-License-Identifier: MIT OR Apache-2.0
// The end of the chain: nobody objected.
#include <ouro/program.h>

#include "verdict.h"

SEC("xdp")
int allow(struct xdp_md *ctx)
{
    return decide(ALLOWED);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
