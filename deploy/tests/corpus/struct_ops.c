// A table of functions for the kernel.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct sock;

struct tcp_congestion_ops {
	unsigned int (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, unsigned int ack, unsigned int acked);
	unsigned int (*undo_cwnd)(struct sock *sk);
	char name[16];
} __attribute__((preserve_access_index));

SEC("struct_ops/ssthresh")
unsigned int ssthresh(unsigned long long *ctx)
{
	return 2;
}

SEC("struct_ops")
void cong_avoid(unsigned long long *ctx)
{
}

SEC("struct_ops")
unsigned int in_no_table(unsigned long long *ctx)
{
	return 0;
}

SEC(".struct_ops")
struct tcp_congestion_ops ours = { .ssthresh = (void *)ssthresh, .cong_avoid = (void *)cong_avoid, .name = "ours" };

char _license[] SEC("license") = "GPL";
