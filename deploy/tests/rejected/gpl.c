#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "Proprietary";

SEC("xdp") int p(struct xdp_md *ctx)
{
	bpf_printk("seen");
	return 2;
}
