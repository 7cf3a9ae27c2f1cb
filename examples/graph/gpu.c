/* SPDX-License-Identifier: MIT */
/*
 * Life of the device, and launching kernels on it.
 */
#include <errno.h>

#include "worker.h"

/* Room for glibc's struct pthread. */
#define CONTROL_BLOCK_SIZE 4096

/*
 * The kernel writes to a thread's control block when it schedules the thread
 * (restartable sequences).  That of the main thread lies beside memory from
 * malloc(), but must not move along with it: where userfaultfd is restricted
 * to faults of user mode, the kernel kills a process whose control block is
 * away.
 */
static int exclude_control_block(void)
{
	return gpusvm_exclude((void *)pthread_self(), CONTROL_BLOCK_SIZE);
}

/* On failure nothing is undone: the program ends then. */
int gpu_create(struct gpu **out, const struct gpu_options *options)
{
	const struct gpusvm_mm_opts mm_opts = {
		.size = sizeof(mm_opts),
		.technique = options->technique,
	};
	struct gpu *gpu;
	int err;

	gpu = gpusvm_alloc(sizeof(*gpu));
	if (!gpu)
		return -ENOMEM;
	gpu->options = *options;
	pt_init(&gpu->page_table);
	pthread_mutex_init(&gpu->lists, NULL);
	err = gpusvm_mm_open(&gpu->mm, &mm_opts);
	if (!err)
		err = exclude_control_block();
	if (!err && options->migrate)
		err = gpu_vram_init(gpu);
	if (!err)
		err = gpu_svm_init(gpu);
	if (!err)
		err = gpu_workers_start(gpu);
	*out = gpu;
	return err;
}

/*
 * Run a kernel for the indices below @count on all workers and wait.  As on a
 * GPU its arguments are copied: they must not be a device fault themselves.
 */
int gpu_launch(struct gpu *gpu, gpu_kernel *kernel, const void *args,
	       size_t size, uint64_t count)
{
	unsigned int i;

	if (size > sizeof(gpu->args))
		return -EINVAL;
	memcpy(gpu->args, args, size);
	gpu->kernel = kernel;
	gpu->count = count;
	pthread_barrier_wait(&gpu->start);
	pthread_barrier_wait(&gpu->done);
	for (i = 0; i < gpu->options.workers; i++)
		if (gpu->workers[i].error)
			return gpu->workers[i].error;
	return 0;
}

/* Memory that is on the device comes home: then there is no device. */
int gpu_destroy(struct gpu *gpu)
{
	int err;

	gpu_workers_stop(gpu);
	gpu_svm_fini(gpu);
	err = gpusvm_mm_close(gpu->mm);
	if (!err && gpu->options.migrate)
		err = gpu_vram_fini(gpu);
	if (err)
		return err;
	pthread_mutex_destroy(&gpu->lists);
	pt_fini(&gpu->page_table);
	gpusvm_free(gpu);
	return 0;
}
