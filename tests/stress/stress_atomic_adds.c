/* SPDX-License-Identifier: MIT */
/*
 * No store is lost: threads add to words of memory that moves to the device and
 * home all the time, and a thread sends the same memory through system calls.
 * In the end the sum of the words is the number of additions.
 *
 * With the ready pool and copy engine, as a runtime would use them.
 *
 * argv[1]: move or wp; mprotect, sigbus, sigbus_wp or rwp for that source;
 * argv[2]: largest range in
 * bytes, 0 for a page; argv[3]: huge, for transparent huge pages; disk, for
 * device memory in an unnamed file in the working directory; batch, for up to 32
 * neighbours in one call.  GPUSVM_STRESS_SECONDS: how long
 * (5).  GPUSVM_TEST_ENGINE: the copy engine; uring has device memory in a file.
 */
#include <drm/drm_gpusvm.h>
#include <gpusvm/batch.h>
#include <gpusvm/copy.h>
#include <gpusvm/devmem.h>
#include <gpusvm/gpusvm.h>
#include <gpusvm/hooks.h>

#include <linux/err.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine.h"
#include "small_driver.h"

#define ADDERS 3
#define MOST_IN_BATCH 32
#define ALIGNMENT (2ul << 20)
#define MEMORY (8ul << 20)
#define WORDS (MEMORY / sizeof(unsigned long))

/* The last is a page. */
static unsigned long chunk_sizes[] = { 2ul << 20, 64ul << 10, 0 };

/* Device memory of one range; one reference is the library's. */
struct block {
	struct drm_gpusvm_devmem devmem;
	struct kref refs;
	unsigned long pfn;
};

static struct mm_struct *mm;
static struct gpusvm_devmem_pool *pool;
static struct gpusvm_copy_engine *engine;
static struct drm_gpusvm *svm;
static struct drm_pagemap dpagemap;
static unsigned long *words;
static bool stop;
static bool kernel_faults;

static void block_release(struct kref *refs)
{
	struct block *block = container_of(refs, struct block, refs);

	gpusvm_devmem_pool_free(pool, block->pfn, block->devmem.size);
	gpusvm_free(block);
}

static void devmem_release(struct drm_gpusvm_devmem *devmem)
{
	kref_put(&container_of(devmem, struct block, devmem)->refs,
		 block_release);
}

static int populate(struct drm_gpusvm_devmem *devmem, unsigned long npages,
		    unsigned long *pfn)
{
	struct block *block = container_of(devmem, struct block, devmem);
	unsigned long i;

	for (i = 0; i < npages; i++)
		pfn[i] = block->pfn + i;
	return 0;
}

static const struct drm_gpusvm_devmem_ops devmem_ops = {
	.devmem_release = devmem_release,
	.populate_devmem_pfn = populate,
	.copy_to_devmem = gpusvm_copy_to_devmem,
	.copy_to_ram = gpusvm_copy_to_ram,
};

static const struct drm_pagemap_ops pagemap_ops = {
	.device_map = small_driver_device_map,
};
static const struct drm_gpusvm_ops svm_ops = {
	.invalidate = small_driver_invalidate,
};

static void log_line(enum gpusvm_log_level level, const char *message,
		     void *priv)
{
	(void)level;
	(void)priv;
	if (write(STDOUT_FILENO, message, strlen(message)) < 0 ||
	    write(STDOUT_FILENO, "\n", 1) < 0)
		stop = true;
}

static void die(const char *what, long err)
{
	printf("%s: %s\n", what, strerror((int)-err));
	exit(EXIT_FAILURE);
}

static struct block *block_create(size_t size)
{
	struct block *block = gpusvm_alloc(sizeof(*block));
	int err;

	if (!block)
		die("gpusvm_alloc", -ENOMEM);
	kref_init(&block->refs);
	err = gpusvm_devmem_pool_alloc(pool, size, &block->pfn);
	if (err) {
		/* Blocks that came home are being released just now. */
		if (err != -ENOSPC)
			die("gpusvm_devmem_pool_alloc", err);
		gpusvm_free(block);
		return NULL;
	}
	drm_gpusvm_devmem_init(&block->devmem, NULL, mm, &devmem_ops, &dpagemap,
			       size);
	return block;
}

/* How a migration ended: whether the block is on the device, or was. */
static bool end(struct block *block, int err, bool evict)
{
	if (err) {
		/* Some or all of it is there already, or is on its way. */
		if (err != -EFAULT && err != -EBUSY)
			die("drm_gpusvm_migrate_to_devmem", err);
		kref_put(&block->refs, block_release);
	} else if (evict) {
		err = drm_gpusvm_evict_to_ram(&block->devmem);
		if (err)
			die("drm_gpusvm_evict_to_ram", err);
	}
	kref_put(&block->refs, block_release);
	return !err;
}

/* The range around an address, and two references to a block for it, or NULL. */
static struct drm_gpusvm_range *find(unsigned long addr, struct block **block)
{
	const struct drm_gpusvm_ctx ctx = { .devmem_possible = 1 };
	struct drm_gpusvm_range *range;

	range = drm_gpusvm_range_find_or_insert(svm, addr, 0, ~0ul, &ctx);
	if (IS_ERR(range))
		die("drm_gpusvm_range_find_or_insert", PTR_ERR(range));
	*block = block_create(drm_gpusvm_range_size(range));
	if (*block)
		kref_get(&(*block)->refs);
	return range;
}

/* Move the range around an address to the device, and perhaps home again. */
static unsigned long migrate(unsigned long addr, bool evict)
{
	const struct drm_gpusvm_ctx ctx = { .devmem_possible = 1 };
	struct drm_gpusvm_range *range;
	struct block *block;
	int err;

	range = find(addr, &block);
	if (!block)
		return 0;
	gpusvm_mm_read_lock(mm);
	err = drm_gpusvm_migrate_to_devmem(svm, range, &block->devmem, &ctx);
	gpusvm_mm_read_unlock(mm);
	return end(block, err, evict);
}

/* The same with up to @n neighbours from there on. */
static unsigned long migrate_batch(unsigned long addr, unsigned int n,
				   bool evict)
{
	const struct drm_gpusvm_ctx ctx = { .devmem_possible = 1 };
	struct gpusvm_batch_entry entries[MOST_IN_BATCH];
	unsigned long last = (unsigned long)words + MEMORY, done = 0;
	struct block *blocks[MOST_IN_BATCH];
	unsigned int i, count;
	int err;

	for (count = 0; count < n && addr < last; count++) {
		entries[count].range = find(addr, &blocks[count]);
		if (!blocks[count])
			break;
		entries[count].devmem = &blocks[count]->devmem;
		addr = drm_gpusvm_range_end(entries[count].range);
	}
	gpusvm_mm_read_lock(mm);
	err = gpusvm_migrate_batch_to_devmem(svm, entries, count, &ctx);
	gpusvm_mm_read_unlock(mm);
	/* Each says itself. */
	if (err && err != -EFAULT && err != -EBUSY)
		die("gpusvm_migrate_batch_to_devmem", err);
	for (i = 0; i < count; i++)
		done += end(blocks[i], entries[i].err, evict);
	return done;
}

static void *add(void *arg)
{
	unsigned int seed = *(unsigned int *)arg;
	unsigned long n = 0;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		__atomic_fetch_add(&words[(unsigned long)rand_r(&seed) % WORDS],
				   1, __ATOMIC_RELAXED);
		n++;
	}
	return (void *)n;
}

/*
 * The kernel reads the memory, too, wherever it is.  The bare call: a sanitizer
 * would report the race with the additions, which is meant.
 */
static void *send(void *arg)
{
	unsigned int seed = *(unsigned int *)arg;
	unsigned long n = 0, at;
	char back[64];
	int fds[2];

	if (pipe(fds))
		return NULL;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		at = (unsigned long)rand_r(&seed) % (MEMORY - sizeof(back));
		if (!kernel_faults)
			gpusvm_populate((char *)words + at, sizeof(back));
		if (syscall(SYS_write, fds[1], (char *)words + at,
			    sizeof(back)) == sizeof(back) &&
		    read(fds[0], back, sizeof(back)) == sizeof(back))
			n++;
		/* It went to the device again. */
		else if (kernel_faults)
			break;
	}
	close(fds[0]);
	close(fds[1]);
	return (void *)n;
}

/* Memory of its own mapping: nothing else of this process migrates. */
static void map_words(bool huge)
{
	unsigned long base;
	void *area;

	area = mmap(NULL, MEMORY + 2 * ALIGNMENT, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	base = ((unsigned long)area / ALIGNMENT + 1) * ALIGNMENT;
	words = mmap((void *)base, MEMORY, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (area == MAP_FAILED || words == MAP_FAILED)
		die("mmap", -ENOMEM);
	if (huge)
		madvise(words, MEMORY, MADV_HUGEPAGE);
}

static bool cannot_be_had(int err)
{
	return err == -EPERM || err == -ENOSYS || err == -EOPNOTSUPP;
}

static void skip_or_die(const char *what, int err)
{
	if (!cannot_be_had(err))
		die(what, err);
	printf("skip: no %s here: %s\n", what, strerror(-err));
	exit(77);
}

static void set_up_pool(bool disk)
{
	struct gpusvm_devmem_pool_opts opts = {
		.size = sizeof(opts),
		.bytes = 2 * MEMORY,
		.node = -1,
		.owner = &pool,
		.pgmap_ops = drm_gpusvm_pagemap_ops_get(),
	};
	struct gpusvm_devmem_pool_info info = { .size = sizeof(info) };
	int err;

	err = test_engine_create(&engine);
	if (err)
		skip_or_die("copy engine", err);
	opts.engine = engine;
	if (disk) {
		opts.type = GPUSVM_DEVMEM_FILE;
		opts.path = ".";
	} else if (engine) {
		opts.type = GPUSVM_DEVMEM_MEMFD;
	}
	err = gpusvm_devmem_pool_create(&pool, &opts);
	if (err)
		skip_or_die("device memory", err);
	gpusvm_devmem_pool_info(pool, &info);
	printf("device memory: %s%s\n", info.mapped ? "mapped" : "not mapped",
	       info.direct ? ", O_DIRECT" : "");
}

static void set_up(const char *how, unsigned long largest, bool disk)
{
	struct gpusvm_mm_opts opts = { .size = sizeof(opts) };
	const unsigned long *chunks = chunk_sizes;
	int err;

	if (!strncmp(how, "sigbus", strlen("sigbus")))
		opts.source = GPUSVM_SOURCE_USERFAULTFD_SIGBUS;
	if (!strcmp(how, "mprotect"))
		opts.source = GPUSVM_SOURCE_MPROTECT;
	else if (!strcmp(how, "rwp"))
		opts.source = GPUSVM_SOURCE_USERFAULTFD_RWP;
	else
		opts.technique = strstr(how, "wp")
					 ? GPUSVM_TECHNIQUE_WRITE_PROTECT
					 : GPUSVM_TECHNIQUE_MOVE;
	gpusvm_set_log(log_line, NULL, GPUSVM_LOG_WARNING);
	err = gpusvm_mm_open(&mm, &opts);
	if (err)
		skip_or_die("mirrored address space", err);
	set_up_pool(disk);
	err = gpusvm_exclude(&dpagemap, sizeof(dpagemap));
	svm = gpusvm_alloc(sizeof(*svm));
	if (err || !svm)
		die("set up", err);
	kernel_faults = gpusvm_mm_features(mm) & GPUSVM_FEATURE_KERNEL_FAULTS;
	dpagemap.ops = &pagemap_ops;
	chunk_sizes[2] = gpusvm_page_size();
	while (*chunks > largest && *chunks > gpusvm_page_size())
		chunks++;
	err = drm_gpusvm_init(svm, "stress", NULL, mm, &pool, 0, 1ul << 48,
			      512ul << 20, &svm_ops, chunks,
			      (int)(chunk_sizes + 3 - chunks));
	if (err)
		die("drm_gpusvm_init", err);
}

static unsigned long migrate_some(unsigned int *seed, bool batch)
{
	unsigned long addr =
		(unsigned long)words + (unsigned long)rand_r(seed) % MEMORY;
	bool evict = rand_r(seed) % 2;

	if (!batch)
		return migrate(addr, evict);
	return migrate_batch(
		addr, 1 + (unsigned int)rand_r(seed) % MOST_IN_BATCH, evict);
}

/* Returns how many migrations there were; *@added, how many additions. */
static unsigned long run(unsigned int seed, unsigned long ms, bool batch,
			 unsigned long *added, unsigned long *sent)
{
	unsigned long until = gpusvm_jiffies64() + ms, migrations = 0;
	unsigned int seeds[ADDERS + 1];
	pthread_t adder[ADDERS], sender;
	void *count;
	int i;

	for (i = 0; i <= ADDERS; i++)
		seeds[i] = seed + 1 + (unsigned int)i;
	for (i = 0; i < ADDERS; i++)
		pthread_create(&adder[i], NULL, add, &seeds[i]);
	pthread_create(&sender, NULL, send, &seeds[ADDERS]);
	while (gpusvm_jiffies64() < until)
		migrations += migrate_some(&seed, batch);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (*added = 0, i = 0; i < ADDERS; i++) {
		pthread_join(adder[i], &count);
		*added += (unsigned long)count;
	}
	pthread_join(sender, &count);
	*sent = (unsigned long)count;
	return migrations;
}

int main(int argc, char **argv)
{
	const char *seconds = getenv("GPUSVM_STRESS_SECONDS");
	const char *wanted = getenv("GPUSVM_TEST_SEED");
	unsigned int seed = wanted ? (unsigned int)strtoul(wanted, NULL, 0)
				   : (unsigned int)getpid();
	unsigned long migrations, added, sent, sum = 0, i;
	int err;

	if (argc < 3) {
		printf("usage: %s move|wp|mprotect|sigbus|sigbus_wp|rwp BYTES "
		       "[huge|disk|batch]\n",
		       argv[0]);
		return 2;
	}
	set_up(argv[1], strtoul(argv[2], NULL, 0),
	       argc > 3 && !strcmp(argv[3], "disk"));
	map_words(argc > 3 && !strcmp(argv[3], "huge"));
	printf("seed: GPUSVM_TEST_SEED=%u\n", seed);
	migrations = run(seed, 1000 * strtoul(seconds ? seconds : "5", NULL, 0),
			 argc > 3 && !strcmp(argv[3], "batch"), &added, &sent);

	for (i = 0; i < WORDS; i++)
		sum += words[i];
	printf("%lu migrations, %lu additions, %lu in memory, %lu sent\n",
	       migrations, added, sum, sent);
	drm_gpusvm_free(svm);
	err = gpusvm_mm_close(mm);
	if (!err)
		err = gpusvm_devmem_pool_destroy(pool);
	if (err)
		die("close", err);
	gpusvm_copy_engine_destroy(engine);
	return sum == added && migrations && sent ? EXIT_SUCCESS : EXIT_FAILURE;
}
