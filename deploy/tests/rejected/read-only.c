#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";

const volatile __u32 limit = 3;
SEC("xdp") int p(struct xdp_md *ctx)
{
	*(volatile __u32 *)&limit = 4;
	return 2;
}
