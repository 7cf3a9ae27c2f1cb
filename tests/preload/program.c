/* SPDX-License-Identifier: MIT */
/*
 * A program that calls libc as programs do, and a runtime that it uses.  With
 * libgpusvm-preload.so the callback has run when the call returns, on the
 * calling thread and before the change: the page could still be read.  Without
 * it the callback comes when the kernel's event does, or never.
 *
 * usage: program preloaded|bare PLUGIN
 */
#include "changes.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static bool preloaded;
static unsigned int failed;

#define CHECK(condition)                                                       \
	do {                                                                   \
		if (!(condition)) {                                            \
			printf("%s:%d: %s\n", __func__, __LINE__, #condition); \
			failed++;                                              \
		}                                                              \
	} while (0)

/* ---- Contexts ---- */

static char *make(const struct change *c)
{
	char *mem = c->make();

	if (mem == MAP_FAILED) {
		printf("%s: no memory: %s\n", c->name, strerror(errno));
		exit(1);
	}
	memset(mem, BYTE, PAGES * PS);
	/* What is still to be told of memory that was here before. */
	runtime_sync();
	CHECK(runtime_watch(mem, PAGES * PS) == 0);
	runtime_reset();
	return mem;
}

static bool told_later(const struct change *c)
{
	return c->bare == LATER ||
	       (c->bare == LATER_SHARED && runtime_has_shared_events());
}

static void check(const struct change *c, char *mem, int ret)
{
	const struct runtime_record *rec;

	if (!preloaded)
		runtime_sync();
	rec = runtime_find(mem);
	printf("%-16s returned %d, %s by %s thread, page %s\n", c->name, ret,
	       rec ? "told" : "not told",
	       rec && rec->tid == (int)syscall(SYS_gettid) ? "this"
							   : "no or another",
	       rec && rec->readable ? "readable" : "not readable");
	CHECK(ret == 0);
	CHECK((rec != NULL) == (preloaded || told_later(c)));
	if (!rec)
		return;
	CHECK(rec->event == c->event);
	CHECK((rec->tid == (int)syscall(SYS_gettid)) == preloaded);
	CHECK(!runtime_valid(mem));
	if (preloaded)
		CHECK(rec->readable && rec->byte == BYTE);
	else if (c->event == RUNTIME_UNMAP)
		/* The event tells of what is done; there may be new memory. */
		CHECK(!rec->readable || rec->byte != BYTE);
}

static void in_main(void)
{
	size_t i;

	for (i = 0; i < num_changes; i++) {
		char *mem;

		if (!preloaded && changes[i].bare == UNHEARD_OF)
			continue;
		if (changes[i].make == of_heap && !has_break()) {
			printf("%-16s left out: no break\n", changes[i].name);
			continue;
		}
		mem = make(&changes[i]);
		check(&changes[i], mem, changes[i].make_change(mem));
	}
}

/* A page of which the break leaves a part is not unmapped. */
static void page_of_the_break(int (*lower)(char *to))
{
	char *mem = of_heap();

	memset(mem, BYTE, PAGES * PS);
	/* What is still to be told of memory that was here before. */
	runtime_sync();
	CHECK(runtime_watch(mem, PAGES * PS) == 0);
	runtime_reset();
	CHECK(lower(mem + PS + 1) == 0);
	runtime_sync();
	CHECK(runtime_find(mem + PS) == NULL);
	CHECK(runtime_valid(mem + PS));
	CHECK(runtime_find(mem + 2 * PS) != NULL);
	CHECK(mem[PS] == BYTE);
	sbrk((intptr_t)(mem - (char *)sbrk(0)));
}

static int by_sbrk(char *to)
{
	return sbrk(to - (char *)sbrk(0)) == (void *)-1;
}

static int by_syscall(char *to)
{
	return syscall(SYS_brk, to) != (long)to || brk(to);
}

static void check_break(void)
{
	if (!has_break())
		return;
	page_of_the_break(do_brk);
	page_of_the_break(by_sbrk);
	page_of_the_break(by_syscall);
}

/* Results and errno are libc's. */
static void check_errors(void)
{
	char *mem = anonymous();

	errno = 0;
	CHECK(munmap(mem + 1, PS) == -1 && errno == EINVAL);
	CHECK(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		      MAP_FAILED &&
	      errno == EINVAL);
	CHECK(madvise(mem, PS, -1) == -1 && errno == EINVAL);
	CHECK(mremap(mem, PS, PS, 0x4000) == MAP_FAILED && errno == EINVAL);
	CHECK(ftruncate(-1, 0) == -1 && errno == EBADF);
	CHECK(shmdt(mem) == -1 && errno == EINVAL);
	CHECK(sbrk(INTPTR_MAX) == (void *)-1 && errno == ENOMEM);
	CHECK(syscall(SYS_munmap, mem + 1, PS) == -1 && errno == EINVAL);
	CHECK(syscall(SYS_getpid) == getpid());
	CHECK(mlock(mem, PS) == 0 || errno == ENOMEM);
	CHECK(munmap(mem, PAGES * PS) == 0);
}

static char *handlers;
static volatile sig_atomic_t handled;

static void handle(int number)
{
	(void)number;
	handled = 1 + do_munmap(handlers);
}

static void in_signal_handler(void)
{
	handlers = make(&changes[0]);
	signal(SIGUSR1, handle);
	raise(SIGUSR1);
	CHECK(handled == 1);
	check(&changes[0], handlers, handled - 1);
}

static void in_plugin(const char *path)
{
	void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	int (*change)(void *mem, size_t size);
	char *mem = make(&changes[0]);

	if (!plugin) {
		printf("%s\n", dlerror());
		failed++;
		return;
	}
	*(void **)&change = dlsym(plugin, "plugin_change");
	check(&changes[0], mem, change(mem, PAGES * PS));
	dlclose(plugin);
}

static void *thread(void *arg)
{
	(void)arg;
	in_main();
	return NULL;
}

static void in_thread(void)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, thread, NULL) == 0);
	pthread_join(t, NULL);
}

static int status_of(pid_t pid)
{
	int status = -1;

	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return status;
}

/* The child changes its own memory only, and may start anew. */
static void in_child(void)
{
	char *mem = make(&changes[0]);
	bool had_break = has_break();
	pid_t pid = fork();

	if (pid == 0) {
		failed = 0;
		CHECK(do_munmap(mem) == 0);
		CHECK(brk(sbrk(0)) == 0 || !had_break);
		/* Of the child's calls nobody is told. */
		CHECK(!runtime_find(mem) ||
		      runtime_find(mem)->event == RUNTIME_OTHER);
		CHECK(runtime_open() == 0);
		in_main();
		runtime_close();
		fflush(stdout);
		_exit(failed != 0);
	}
	CHECK(status_of(pid) == 0);
	CHECK(*mem == BYTE);
	CHECK(!runtime_find(mem) || runtime_find(mem)->event == RUNTIME_OTHER);
	CHECK(runtime_watch(mem, PS) == 0);
	runtime_reset();
	check(&changes[0], mem, do_munmap(mem));
}

static void in_executed(char **argv)
{
	char last[] = "executed";
	char *const args[] = { argv[0], argv[1], argv[2], last, NULL };
	pid_t pid;

	fflush(stdout);
	pid = vfork();
	if (pid == 0) {
		execv("/proc/self/exe", args);
		_exit(127);
	}
	CHECK(status_of(pid) == 0);
}

/* Before main(), in whatever order constructors run. */
static char *early;
static int early_ret = -1;
static int open_err;
static bool early_told, early_readable;

__attribute__((constructor)) static void in_constructor(void)
{
	const struct runtime_record *rec;

	open_err = runtime_open();
	if (open_err)
		return;
	early = make(&changes[0]);
	early_ret = do_munmap(early);
	rec = runtime_find(early);
	early_told = rec && rec->tid == (int)syscall(SYS_gettid);
	early_readable = rec && rec->readable && rec->byte == BYTE;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	if (open_err) {
		printf("skip: no mirrored address space: %s\n",
		       strerror(-open_err));
		return 77;
	}
	preloaded = !strcmp(argv[1], "preloaded");
	if (!preloaded && !runtime_has_events()) {
		printf("skip: this source is told of no changes but by the "
		       "hooks\n");
		return 77;
	}
	CHECK(early_ret == 0);
	CHECK(early_told == preloaded);
	CHECK(early_readable == preloaded);

	in_main();
	check_break();
	check_errors();
	in_signal_handler();
	in_plugin(argv[2]);
	in_thread();
	in_child();
	if (argc == 3)
		in_executed(argv);
	runtime_close();
	printf("%u checks failed\n", failed);
	return failed != 0;
}
