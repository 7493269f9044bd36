#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";

static long (*nothing)(void) = (void *) 4000;
SEC("xdp") int p(struct xdp_md *ctx)
{
	return nothing();
}
