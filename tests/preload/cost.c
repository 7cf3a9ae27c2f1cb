/* SPDX-License-Identifier: MIT */
/*
 * What the hooks cost in memory that no device is interested in: libc's call,
 * the hook, and the preload library's, in turns, so that what else goes on
 * meets all of them alike.
 *
 * usage: cost [ROUNDS], under libgpusvm-preload.so
 */
#include <dlfcn.h>
#include <gpusvm/gpusvm.h>
#include <gpusvm/hooks.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define CALLS 256u
#define ROUNDS 1000u
#define RW (PROT_READ | PROT_WRITE)

enum {
	LIBC,
	HOOK,
	PRELOADED,
	KINDS
};

static const char *const names[KINDS] = { "libc", "hook", "preloaded" };

static struct {
	int (*madvise)(void *addr, size_t length, int advice);
	int (*mprotect)(void *addr, size_t length, int prot);
	int (*munmap)(void *addr, size_t length);
} calls[KINDS] = {
	[HOOK] = { gpusvm_madvise, gpusvm_mprotect, gpusvm_munmap },
	[PRELOADED] = { madvise, mprotect, munmap },
};

static char *page;
static void *pages[CALLS];

static void *map_page(void)
{
	return mmap(NULL, gpusvm_page_size(), RW, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
}

static int call_madvise(unsigned int kind, unsigned int i)
{
	(void)i;
	return calls[kind].madvise(page, gpusvm_page_size(), MADV_DONTNEED);
}

static int call_mprotect(unsigned int kind, unsigned int i)
{
	return calls[kind].mprotect(page, gpusvm_page_size(),
				    i & 1 ? RW : PROT_READ);
}

static int call_munmap(unsigned int kind, unsigned int i)
{
	return calls[kind].munmap(pages[i], gpusvm_page_size());
}

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double round_ns(int (*call)(unsigned int kind, unsigned int i),
		       unsigned int kind)
{
	double since;
	unsigned int i;
	int failed = 0;

	for (i = 0; i < CALLS && call == call_munmap; i++)
		pages[i] = map_page();
	since = now_ns();
	for (i = 0; i < CALLS; i++)
		failed |= call(kind, i);
	since = now_ns() - since;
	if (failed) {
		perror("a call failed");
		exit(1);
	}
	return since / CALLS;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(const char *name,
		    int (*call)(unsigned int kind, unsigned int i),
		    unsigned int rounds)
{
	double *ns = calloc(KINDS * rounds, sizeof(*ns));
	unsigned int kind, i;

	if (!ns)
		exit(1);
	for (i = 0; i < rounds; i++)
		for (kind = 0; kind < KINDS; kind++)
			ns[kind * rounds + i] = round_ns(call, kind);
	for (kind = 0; kind < KINDS; kind++) {
		double *sorted = ns + kind * rounds;

		qsort(sorted, rounds, sizeof(*ns), compare);
		printf("%-8s %-9s %6.1f ns  %.3f  minimum %6.1f ns  %.3f\n",
		       name, names[kind], sorted[rounds / 2],
		       sorted[rounds / 2] / ns[rounds / 2], sorted[0],
		       sorted[0] / ns[0]);
	}
	free(ns);
}

int main(int argc, char **argv)
{
	unsigned int rounds = argc > 1 ? (unsigned int)atoi(argv[1]) : ROUNDS;
	void *libc = dlopen("libc.so.6", RTLD_NOW);
	struct mm_struct *mm;
	int err = gpusvm_mm_open(&mm, NULL);

	if (err) {
		printf("skip: no address space: %s\n", strerror(-err));
		return 77;
	}
	if (!libc || !rounds)
		return 2;
	*(void **)&calls[LIBC].madvise = dlsym(libc, "madvise");
	*(void **)&calls[LIBC].mprotect = dlsym(libc, "mprotect");
	*(void **)&calls[LIBC].munmap = dlsym(libc, "munmap");
	page = map_page();
	measure("madvise", call_madvise, rounds);
	measure("mprotect", call_mprotect, rounds);
	measure("munmap", call_munmap, rounds);
	return gpusvm_mm_close(mm) != 0;
}
