#include <ouro/program.h>
#include "lib/lib.h"
SEC("xdp") int b(struct xdp_md *ctx)
{
	OURO_JUMP(ctx, c);
	return XDP_PASS;
}
char LICENSE[] SEC("license") = "GPL";
