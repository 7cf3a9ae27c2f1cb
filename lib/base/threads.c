/* SPDX-License-Identifier: MIT */
/* The threads of the process, from /proc/self/task: see threads.h. */
#include "threads.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>

#include "compiler.h"
#include "small_file.h"
#include "sys.h"

/* After so many attempts of giving way who waits sleeps, so long. */
#define YIELDS 16
#define NAP_NS (50l * 1000)

/* As getdents64(2) writes it; no libc header has it in C. */
struct dirent64_header {
	unsigned long ino;
	long offset;
	unsigned short length;
	unsigned char type;
	char name[];
};

/* 0 for what is not a number: "." and "..". */
static pid_t parse_tid(const char *name)
{
	pid_t tid = 0;

	for (; *name >= '0' && *name <= '9'; name++)
		tid = tid * 10 + (*name - '0');
	return *name ? 0 : tid;
}

static void mark_thread(struct thread_mark *mark, pid_t tid)
{
	long cpu_ns = gpusvm_sys_thread_cpu_ns(tid);

	mark->tid = cpu_ns < 0 ? 0 : tid;
	mark->cpu_ns = cpu_ns < 0 ? 0 : (unsigned long)cpu_ns;
}

/* One piece of the directory; returns how many. */
static long visit_entries(const char *buf, long len,
			  void (*visit)(pid_t tid, void *arg), void *arg)
{
	const struct dirent64_header *entry;
	pid_t tid, caller = gpusvm_sys_gettid();
	long at, n = 0;

	for (at = 0; at < len; at += entry->length) {
		entry = (const void *)(buf + at);
		tid = parse_tid(entry->name);
		if (!tid || tid == caller)
			continue;
		visit(tid, arg);
		n++;
	}
	return n;
}

/* All threads but the caller; how many, or -errno. */
static long visit_threads(void (*visit)(pid_t tid, void *arg), void *arg)
{
	char buf[2048] __attribute__((aligned(8)));
	long len, n = 0;
	int fd;

	fd = gpusvm_sys_open("/proc/self/task",
			     O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fd;
	while ((len = gpusvm_sys_getdents64(fd, buf, sizeof(buf))) > 0)
		n += visit_entries(buf, len, visit, arg);
	gpusvm_sys_close(fd);
	return len < 0 ? len : n;
}

struct marking {
	struct thread_mark *marks;
	unsigned long max;
	unsigned long n;
};

static void mark_next(pid_t tid, void *arg)
{
	struct marking *marking = arg;

	if (marking->n < marking->max)
		mark_thread(&marking->marks[marking->n], tid);
	marking->n++;
}

long gpusvm_threads_mark(struct thread_mark *marks, unsigned long max)
{
	struct marking marking = { .marks = marks, .max = max };

	return visit_threads(mark_next, &marking);
}

/* The beginning of /proc/self/task/TID/@name; its length or -errno. */
static ssize_t read_file(pid_t tid, const char *name, char *buf, size_t size)
{
	char path[64] = "/proc/self/task/";

	gpusvm_append_number(path, (unsigned int)tid);
	strcat(path, name);
	return gpusvm_read_small_file(path, buf, size);
}

/*
 * The letter behind "TID (NAME) "; a name may have ')' in it.  'X' for one that
 * has ended, '?' if it cannot be told.
 */
static char thread_state(pid_t tid)
{
	char buf[64];
	ssize_t i, len = read_file(tid, "/stat", buf, sizeof(buf));

	if (len == -ENOENT || len == -ESRCH)
		return 'X';
	for (i = len; i > 0 && buf[i - 1] != ')'; i--)
		;
	return i > 0 && i + 1 < len ? buf[i + 1] : '?';
}

/*
 * Whether it waits in a call that does not drop pages; false if unknown.  A
 * worker of io_uring shows its creator's call, whatever it does itself.
 */
static bool waits_elsewhere(pid_t tid)
{
	char buf[64];
	ssize_t i, len = read_file(tid, "/syscall", buf, sizeof(buf));
	long number = 0;

	for (i = 0; i < len && buf[i] >= '0' && buf[i] <= '9'; i++)
		number = number * 10 + (buf[i] - '0');
	return i > 0 && number != SYS_madvise &&
	       number != SYS_process_madvise && number != SYS_io_uring_enter;
}

bool gpusvm_thread_got_on(const struct thread_mark *mark, unsigned long ns)
{
	long cpu_ns;
	char state;

	if (!mark->tid)
		return true;
	cpu_ns = gpusvm_sys_thread_cpu_ns(mark->tid);
	if (cpu_ns < 0 || (unsigned long)cpu_ns - mark->cpu_ns >= ns)
		return true;
	state = thread_state(mark->tid);
	if (state == 'D')
		return waits_elsewhere(mark->tid);
	return state != 'R' && state != '?';
}

bool gpusvm_thread_is_asleep(pid_t tid)
{
	return thread_state(tid) != 'R';
}

void gpusvm_threads_give_way(unsigned int attempt)
{
	if (attempt < YIELDS)
		gpusvm_sys_yield();
	else
		gpusvm_sys_nanosleep(NAP_NS);
}

/* Those behind the state, which is field 3 in proc(5). */
#define PENDING (31 - 3)
#define BLOCKED (32 - 3)

/* Number @field of those that follow "TID (NAME) "; 0 for none. */
static unsigned long stat_field(const char *buf, ssize_t len,
				unsigned int field)
{
	unsigned long value = 0;
	ssize_t i = len;

	while (i > 0 && buf[i - 1] != ')')
		i--;
	if (!i)
		return 0;
	for (i++; i < len && field; i++)
		field -= buf[i] == ' ';
	for (; i < len && buf[i] >= '0' && buf[i] <= '9'; i++)
		value = value * 10 + (unsigned long)(buf[i] - '0');
	return value;
}

struct search {
	unsigned long mask;
	bool found;
};

static void look_for_signal(pid_t tid, void *arg)
{
	struct search *search = arg;
	char buf[512];
	ssize_t len;

	if (search->found)
		return;
	len = read_file(tid, "/stat", buf, sizeof(buf));
	search->found = stat_field(buf, len, PENDING) &
			~stat_field(buf, len, BLOCKED) & search->mask;
}

bool gpusvm_threads_have_signal(int sig)
{
	struct search search = { .mask = 1ul << (sig - 1) };

	visit_threads(look_for_signal, &search);
	return search.found;
}

static __thread pid_t self __attribute__((tls_model("initial-exec")));

pid_t gpusvm_threads_self(void)
{
	if (!self)
		self = gpusvm_sys_gettid();
	return self;
}

void gpusvm_threads_forget_self(void)
{
	self = 0;
}
