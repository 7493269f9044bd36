#include <ouro/program.h>
#include "lib/lib.h"
SEC("xdp") int a(struct xdp_md *ctx)
{
	__u64 *count = bpf_map_lookup_elem(&counts, &(__u32){0});
	if (count) ++*count;
	OURO_JUMP(ctx, b);
	return XDP_PASS;
}
char LICENSE[] SEC("license") = "GPL";
