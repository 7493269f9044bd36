#include <ouro/program.h>
#include "lib/lib.h"
SEC("xdp") int d(struct xdp_md *ctx)
{
	return XDP_PASS;
}
char LICENSE[] SEC("license") = "GPL";
