/* A program that waits before its `main`, and runs it in a copy of itself whenever it is asked.
 *
 * Preloaded into a dynamically linked program (of glibc). Half of what a small run of clang takes is spent before `main`: on
 * hundreds of thousands of relocations and on constructors. Here that is done once; a run is a `fork` of it.
 *
 * Knows nothing of what the program does, and never runs any of it outside of a copy. `../warm.rs` is the other side:
 *
 *   greeting   three u64: the version of this protocol, device and inode of the program, for whoever thinks it is another
 *   request    a packet with the arguments, each ended by a zero byte; with it go one file descriptor for standard output and
 *              error, and perhaps a second one, of a Landlock ruleset that the copy must obey
 *   answer     two i32: the number of the process, or 0 and why there is none
 *
 * One that is to serve a single command becomes that command itself: it makes no copy, and its answer is one i32, the exit code,
 * when it has nothing more to do than to give its memory back. That takes the kernel some milliseconds, and nobody need wait for them.
 *
 * Environment, working directory, standard input, signals and limits are those the server was started with.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { VERSION = 1 };

/* What is put at the end of the environment to make a program a server; all of it is taken out again. Behind the socket's number
 * may stand that it serves once. */
enum { OWN_VARIABLES = 3 };
static const char SOCKET_IS[] = "OURO_WARM_SOCKET=", ONCE[] = " once";

typedef int Main(int, char **, char **);
static Main *program;

/* The largest packet that the other side can send without asking for more room is about this long. */
static char request[256 << 10];

/* ---- huge pages ----
 * A fork does not copy the page tables of files, so every copy asks the kernel again for the thousand pieces of code it
 * executes: a third of its time. Code in huge anonymous pages is there at once. So after each request one piece of the large
 * libraries is replaced by a copy of itself. Where there are no huge pages it is left as it is: thousands of small pages would
 * make every fork slower.
 */
enum { PIECE = 2 << 20, LARGE = 24 << 20, SEGMENTS = 8 };

struct segment {
	char *next, *end; /* what is not replaced yet */
	char *room;       /* where the copy of `next` is made */
};
static struct segment segments[SEGMENTS];
static int segment_count;

static char *up(const char *place)
{
	return (char *)(((uintptr_t)place + PIECE - 1) & -(uintptr_t)PIECE);
}

static int find_segments(struct dl_phdr_info *object, size_t size, void *unused)
{
	(void)size, (void)unused;
	for (int i = 0; i < object->dlpi_phnum && segment_count < SEGMENTS; i++) {
		const ElfW(Phdr) *header = &object->dlpi_phdr[i];
		if (header->p_type != PT_LOAD || header->p_flags != (PF_R | PF_X) || header->p_memsz < LARGE)
			continue;
		char *start = (char *)object->dlpi_addr + header->p_vaddr;
		char *first = up(start), *end = up(start + header->p_memsz - PIECE + 1);
		char *room = mmap(NULL, end - first + PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (room == MAP_FAILED)
			continue;
		madvise(up(room), end - first, MADV_HUGEPAGE);
		segments[segment_count++] = (struct segment){ first, end, up(room) };
	}
	return 0;
}

/* Whether writing one byte brought the whole piece into memory. */
static int is_huge(char *piece)
{
	unsigned char there[PIECE / 4096];
	size_t pages = PIECE / sysconf(_SC_PAGESIZE);
	*piece = 0;
	return pages <= sizeof there && mincore(piece, PIECE, there) == 0 && !memchr(there, 0, pages);
}

static int replace_piece(struct segment *segment)
{
	char *copy = segment->room, *place = segment->next;
	if (!is_huge(copy))
		return 0;
	memcpy(copy, place, PIECE);
	__builtin___clear_cache(copy, copy + PIECE);
	if (mprotect(copy, PIECE, PROT_READ | PROT_EXEC) != 0)
		return 0;
	if (mremap(copy, PIECE, PIECE, MREMAP_MAYMOVE | MREMAP_FIXED, place) != place)
		_exit(1); /* the code may be gone; another server will do, or none */
	segment->next += PIECE;
	segment->room += PIECE;
	return 1;
}

static void replace_one_piece(void)
{
	if (segment_count == 0)
		return;
	struct segment *segment = &segments[segment_count - 1];
	if (segment->next == segment->end)
		segment_count--;
	else if (!replace_piece(segment))
		segment_count = 0;
}

/* ---- requests ---- */

/* A packet and the file descriptors that came with it; -1 where there is none. */
static ssize_t receive(int socket, int files[2])
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(2 * sizeof(int))];
	} passed = { 0 };
	struct iovec words = { request, sizeof request };
	struct msghdr message = {
		.msg_iov = &words, .msg_iovlen = 1, .msg_control = &passed, .msg_controllen = sizeof passed,
	};
	ssize_t size;
	do {
		size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	} while (size < 0 && errno == EINTR);
	files[0] = files[1] = -1;
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header)
		memcpy(files, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
	return message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -1 : size;
}

static void answer(int socket, int32_t process, int32_t error)
{
	int32_t words[2] = { process, error };
	send(socket, words, sizeof words, MSG_NOSIGNAL);
}

/* The copy is a child of our parent, which so waits for it, and may kill it, as for any other process. `fork` cannot do that;
 * what it does besides is for programs with threads, and for the number of the thread, which the C library keeps. */
static pid_t copy_myself(void)
{
	struct clone_args how = { .flags = CLONE_PARENT };
	void *number;
	if (prctl(PR_GET_TID_ADDRESS, &number) == 0) {
		how.flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
		how.child_tid = (uintptr_t)number;
	}
	return syscall(SYS_clone3, &how, sizeof how);
}

static int prepare(const int files[2], pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		return 0;
	/* Our parent knows of us once it has made us the leader of a group, which takes microseconds. Until then we must not begin:
	 * should the server end without telling of us, we end with its group. */
	while (getpgrp() != getpid())
		sched_yield();
	if (dup2(files[0], STDOUT_FILENO) < 0 || dup2(files[0], STDERR_FILENO) < 0)
		return 0;
	return files[1] < 0 ||
	       (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_landlock_restrict_self, files[1], 0) == 0);
}

static void close_all(const int files[2])
{
	for (int i = 0; i < 2; i++)
		if (files[i] >= 0)
			close(files[i]);
}

static int run(ssize_t size, const int files[2], pid_t parent)
{
	if (!prepare(files, parent))
		kill(getpid(), SIGKILL); /* as any crash: it is tried again without us */
	close_all(files);
	int count = 0;
	for (ssize_t i = 0; i < size; i++)
		count += request[i] == 0;
	char **arguments = calloc(count + 1, sizeof *arguments), *next = request;
	if (!arguments)
		kill(getpid(), SIGKILL);
	for (int i = 0; i < count; i++, next += strlen(next) + 1)
		arguments[i] = next;
	return program(count, arguments, environ);
}

/* Who is to be told of this process's end; and how it ends. */
static struct { int socket; pid_t of; int32_t code; } end = { .socket = -1 };

static void remember_code(int code, void *unused)
{
	(void)unused;
	end.code = code;
}

/* Runs behind all handlers that a program has registered. Its children have them, too. */
__attribute__((destructor)) static void tell_end(void)
{
	if (end.socket < 0 || end.of != getpid())
		return;
	fflush(NULL);
	send(end.socket, &end.code, sizeof end.code, MSG_NOSIGNAL);
}

static int greet(int socket)
{
	struct stat self;
	if (stat("/proc/self/exe", &self) != 0)
		return 0;
	uint64_t words[3] = { VERSION, self.st_dev, self.st_ino };
	return send(socket, words, sizeof words, MSG_NOSIGNAL) == sizeof words;
}

static int serve_once(int socket)
{
	pid_t parent = getppid();
	int files[2];
	ssize_t size = greet(socket) ? receive(socket, files) : -1;
	if (size <= 0)
		kill(getpid(), SIGKILL);
	/* Where another program takes this one's place, or it ends in another way, the other side learns of that alone. */
	if (fcntl(socket, F_SETFD, FD_CLOEXEC) == 0 && on_exit(remember_code, NULL) == 0) {
		end.socket = socket;
		end.of = getpid();
	} else {
		close(socket);
	}
	return run(size, files, parent);
}

/* Returns in copies alone. */
static int serve(int socket)
{
	pid_t parent = getppid();
	dl_iterate_phdr(find_segments, NULL);
	if (!greet(socket))
		_exit(1);
	for (;;) {
		int files[2];
		ssize_t size = receive(socket, files);
		if (size <= 0)
			_exit(0);
		pid_t child = copy_myself();
		if (child == 0) {
			close(socket);
			return run(size, files, parent);
		}
		answer(socket, child > 0 ? child : 0, child > 0 ? 0 : errno);
		close_all(files);
		replace_one_piece();
	}
}

/* The socket to serve, if this is to be a server; and whether to serve it once. */
static int take_socket(int *once)
{
	int count = 0;
	while (environ[count])
		count++;
	if (count < OWN_VARIABLES || strncmp(environ[count - 1], SOCKET_IS, sizeof SOCKET_IS - 1) != 0)
		return -1;
	int socket = atoi(environ[count - 1] + sizeof SOCKET_IS - 1);
	*once = strstr(environ[count - 1], ONCE) != NULL;
	environ[count - OWN_VARIABLES] = NULL;
	return socket;
}

static int wait_before_main(int argc, char **argv, char **variables)
{
	int once, socket = take_socket(&once);
	if (socket < 0)
		return program(argc, argv, variables);
	return once ? serve_once(socket) : serve(socket);
}

typedef int Start(Main *, int, char **, void (*)(void), void (*)(void), void (*)(void), void *);

__attribute__((visibility("default"))) int __libc_start_main(Main *main, int argc, char **argv, void (*init)(void),
							     void (*fini)(void), void (*linker_fini)(void), void *stack_end)
{
	Start *start = (Start *)dlsym(RTLD_NEXT, "__libc_start_main");
	program = main;
	return start(wait_before_main, argc, argv, init, fini, linker_fini, stack_end);
}
