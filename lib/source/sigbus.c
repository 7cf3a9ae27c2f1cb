/* SPDX-License-Identifier: MIT */
/* SIGBUS as a source of faults: see sigbus.h. */
#include "sigbus.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "alloc.h"
#include "compiler.h"
#include "front.h"
#include "page_size.h"
#include "park.h"
#include "sys.h"

/* Room for a driver's callbacks; less of an alternate stack is too little. */
#define ROOM (64ul << 10)

/* How long to wait for others to get on. */
#define NAP_NS (50l * 1000)

/* Faults on a page that is there, one after another, of a thread that is late. */
#define PRESENT_TRIES 1000

static bool serve(const siginfo_t *info, void *context);

static struct front front = FRONT_INIT(SIGBUS, 0, serve);

/**
 * struct bus - Who serves
 * @server: NULL for nobody; atomic
 * @inside: Threads that may be in it; atomic
 * @original: True in the process, and in a child that shares its memory; false
 *	in one that has a copy.  Never freed: a thread may be on its way here
 * @window_start: The library's own memory
 * @window_end: and its end
 */
static struct {
	const struct fault_server *server;
	unsigned long inside;
	bool *original;
	unsigned long window_start;
	unsigned long window_end;
} bus;

/**
 * struct tries - How often the calling thread was refused a page that is there
 * @addr: Where
 * @count: How often, one after another
 */
static __thread struct {
	unsigned long addr;
	unsigned int count;
} tries __attribute__((tls_model("initial-exec")));

/*
 * Others may have put the page there just now; but a page that is refused for
 * ever, as one that cannot be read from swap, is no business of ours.
 */
static bool try_again(unsigned long addr)
{
	if (tries.addr != addr)
		tries.count = 0;
	tries.addr = addr;
	return ++tries.count <= PRESENT_TRIES;
}

/* Staging, whose absent pages are nobody's to touch. */
static bool is_private(unsigned long addr)
{
	return addr >= bus.window_start && addr < bus.window_end;
}

static bool is_cramped(const void *context)
{
	const stack_t *stack = &((const ucontext_t *)context)->uc_stack;
	unsigned long left = (unsigned long)__builtin_frame_address(0) -
			     (unsigned long)stack->ss_sp;

	return left < stack->ss_size && left < ROOM;
}

/*
 * Before there is a server and after its end a fault has to wait until there is
 * one or the source is closed; all is home then, but an absent page has a fault
 * still, and a thread may have slept here while others closed and opened again.
 * Who comes after the close has none any more, unless the program calls us, whose
 * it then is.
 */
static enum fault_result serve_by_nobody(void)
{
	if (!READ_ONCE(front.installed))
		return READ_ONCE(front.known) ? FAULT_FAILED : FAULT_SERVED;
	gpusvm_sys_nanosleep(NAP_NS);
	return FAULT_SERVED;
}

static enum fault_result ask(unsigned long addr, const void *context)
{
	const struct source_event fault = {
		.type = SOURCE_FAULT,
		.write = gpusvm_front_is_write(context),
		.untold = true,
		.start = PAGE_ALIGN_DOWN(addr),
		.end = PAGE_ALIGN_DOWN(addr) + PAGE_SIZE,
		.tid = gpusvm_sys_gettid(),
		.child_fd = -1,
	};
	const struct fault_server *server;
	enum fault_result result = FAULT_FAILED;

	__atomic_fetch_add(&bus.inside, 1, __ATOMIC_SEQ_CST);
	server = __atomic_load_n(&bus.server, __ATOMIC_SEQ_CST);
	if (server)
		result =
			server->serve(server->arg, &fault, is_cramped(context));
	__atomic_fetch_sub(&bus.inside, 1, __ATOMIC_SEQ_CST);
	return server ? result : serve_by_nobody();
}

/* What the program's other handlers do meanwhile, siglongjmp() even, is fine. */
static void wait_for_page(unsigned long addr, unsigned int seen,
			  const void *context)
{
	unsigned long mask = gpusvm_front_mask(context);

	gpusvm_sys_restore_signals(&mask);
	gpusvm_park_wait(addr, seen);
}

static bool serve(const siginfo_t *info, void *context)
{
	unsigned long addr = (unsigned long)info->si_addr;
	enum fault_result result;
	unsigned int seen;

	/* A copy of the process has our handler, but its memory is plain. */
	if (info->si_code != BUS_ADRERR || is_private(addr) ||
	    !READ_ONCE(*bus.original))
		return false;
	seen = gpusvm_park_look(addr);
	result = ask(addr, context);
	if (result == FAULT_PRESENT)
		return try_again(addr);
	tries.count = 0;
	if (result == FAULT_WAITS)
		wait_for_page(addr, seen, context);
	return result != FAULT_FAILED;
}

/* Zeros in a child that has a copy of it (Linux 4.14). */
static int create_original(void)
{
	bool *page;
	int err;

	if (bus.original)
		return 0;
	page = gpusvm_alloc_pages(PAGE_SIZE, PAGE_SIZE);
	if (!page)
		return -ENOMEM;
	err = gpusvm_sys_madvise((unsigned long)page, PAGE_SIZE,
				 MADV_WIPEONFORK);
	if (err)
		gpusvm_free_pages(page, PAGE_SIZE);
	else
		bus.original = page;
	return err;
}

int gpusvm_sigbus_start(void)
{
	int err = create_original();

	if (err)
		return err;
	gpusvm_alloc_window(&bus.window_start, &bus.window_end);
	WRITE_ONCE(*bus.original, true);
	/* Of threads that a forked child does not have. */
	if (front.pid != gpusvm_sys_getpid())
		bus.inside = 0;
	front.blocked = gpusvm_sys_sent_signals();
	return gpusvm_front_start(&front);
}

void gpusvm_sigbus_serve(const struct fault_server *server)
{
	__atomic_store_n(&bus.server, server, __ATOMIC_SEQ_CST);
	while (!server && __atomic_load_n(&bus.inside, __ATOMIC_SEQ_CST))
		gpusvm_sys_nanosleep(NAP_NS);
}

void gpusvm_sigbus_stop(void)
{
	/* The server of a child's parent. */
	__atomic_store_n(&bus.server, NULL, __ATOMIC_SEQ_CST);
	gpusvm_front_stop(&front);
	gpusvm_park_wake(0, ~0ul);
}
