// SPDX-License-Identifier: MIT OR Apache-2.0
// What people write who deploy a chain with libbpf: loads each object's program onto one jump table and one map of counts, pins
// them, fills the table, attaches the first one, pins the link. Arguments: FOLDER DEVICE [NAME SLOT OBJECT]...
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return 0;
}

static void must(int good, const char *what)
{
	if (!good) {
		fprintf(stderr, "%s: %s\n", what, strerror(errno));
		exit(1);
	}
}

static void share(struct bpf_object *object, const char *name, int fd)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);

	if (map)
		must(!bpf_map__reuse_fd(map, fd), name);
}

int main(int count, char **words)
{
	const char *folder = words[1];
	int programs = (count - 3) / 3, index = if_nametoindex(words[2]);
	char path[4096];

	libbpf_set_print(quiet);
	must(!mkdir(folder, 0700), folder);
	int table = bpf_map_create(BPF_MAP_TYPE_PROG_ARRAY, "ouro_jumps", 4, 4, programs, NULL);
	int counts = bpf_map_create(BPF_MAP_TYPE_PERCPU_ARRAY, "ouro_counts", 4, 16, programs, NULL);
	must(table >= 0 && counts >= 0, "maps");
	snprintf(path, sizeof(path), "%s/table", folder);
	must(!bpf_obj_pin(table, path), path);
	snprintf(path, sizeof(path), "%s/counts", folder);
	must(!bpf_obj_pin(counts, path), path);
	struct bpf_program *entry = NULL;
	for (int i = 0; i < programs; i++) {
		char **one = words + 3 + 3 * i;
		struct bpf_object *object = bpf_object__open_file(one[2], NULL);

		must(object != NULL, one[2]);
		share(object, "ouro_jumps", table);
		share(object, "ouro_counts", counts);
		must(!bpf_object__load(object), one[2]);
		struct bpf_program *program = bpf_object__next_program(object, NULL);
		snprintf(path, sizeof(path), "%s/%s", folder, one[0]);
		must(!bpf_program__pin(program, path), path);
		int slot = atoi(one[1]), fd = bpf_program__fd(program);
		must(slot < 0 || !bpf_map_update_elem(table, &slot, &fd, BPF_ANY), "slot");
		entry = entry ? entry : program;
	}
	must(!bpf_map_freeze(table), "freeze");
	struct bpf_link *link = bpf_program__attach_xdp(entry, index);
	must(link != NULL, words[2]);
	snprintf(path, sizeof(path), "%s/link", folder);
	must(!bpf_link__pin(link, path), path);
	return 0;
}
