// Functions of the kernel; one that is not there, and that nobody then calls.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

void bpf_rcu_read_lock(void) __ksym;
void bpf_rcu_read_unlock(void) __ksym;
void no_such_function(int number) __ksym __weak;

SEC("tc")
int kfuncs(struct __sk_buff *skb)
{
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	if (no_such_function)
		no_such_function(1);
	return 0;
}

char _license[] SEC("license") = "GPL";
