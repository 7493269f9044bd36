// Functions between several sources: what is hidden is verified where it is called, with all that the caller knows.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct seen {
	unsigned char *at;
};

__hidden __attribute__((noinline)) int first(struct seen *seen, unsigned char *data, unsigned char *end)
{
	seen->at = data;
	return data + 1 <= end ? *data : 0;
}

__hidden __attribute__((noinline)) long each(unsigned int index, void *sum)
{
	*(int *)sum += index;
	return 0;
}

SEC("xdp")
int hidden(struct xdp_md *ctx)
{
	struct seen seen;
	int sum = 0;

	bpf_loop(4, each, &sum, 0);
	return first(&seen, (void *)(long)ctx->data, (void *)(long)ctx->data_end) + sum ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
