/* SPDX-License-Identifier: MIT */
/*
 * Devices: their options, and mapping through a device's own DMA callbacks or,
 * without any, by CPU address.
 */
#include "unit.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>

#include "alloc.h"
#include "dma.h"

/* ---- Lack of memory ---- */

void *__real_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc(size_t size);

static bool no_memory;

void *__wrap_gpusvm_alloc(size_t size)
{
	return no_memory ? NULL : __real_gpusvm_alloc(size);
}

/* ---- A device with a view of its own ---- */

static struct device *seen_dev;
static unsigned long seen_addr, seen_size;
static enum dma_data_direction seen_dir;
static void *seen_priv;
static int map_error;

static int map(struct device *dev, unsigned long addr, size_t size,
	       enum dma_data_direction dir, dma_addr_t *dma_addr, void *priv)
{
	seen_dev = dev;
	seen_addr = addr;
	seen_size = size;
	seen_dir = dir;
	seen_priv = priv;
	*dma_addr = addr + 1000;
	return map_error;
}

static void unmap(struct device *dev, dma_addr_t dma_addr, size_t size,
		  enum dma_data_direction dir, void *priv)
{
	seen_dev = dev;
	seen_addr = dma_addr;
	seen_size = size;
	seen_dir = dir;
	seen_priv = priv;
}

static const struct gpusvm_dma_ops ops = { .map = map, .unmap = unmap };

static int setup(void **state)
{
	(void)state;
	no_memory = false;
	map_error = 0;
	seen_dev = NULL;
	return 0;
}

static void create_with_bad_options_returns_einval(void **state)
{
	struct gpusvm_dma_ops half = { .map = map };
	struct gpusvm_device_opts opts = { .size = sizeof(opts) };
	struct device *dev;

	(void)state;
	assert_int_equal(gpusvm_device_create(NULL, &opts), -EINVAL);
	opts.size++;
	assert_int_equal(gpusvm_device_create(&dev, &opts), -EINVAL);
	opts.size = sizeof(opts);
	opts.dma_ops = &half;
	assert_int_equal(gpusvm_device_create(&dev, &opts), -EINVAL);
	half = (struct gpusvm_dma_ops){ .unmap = unmap };
	assert_int_equal(gpusvm_device_create(&dev, &opts), -EINVAL);
}

static void create_without_memory_returns_enomem(void **state)
{
	struct drm_device *drm;
	struct device *dev;

	(void)state;
	no_memory = true;
	assert_int_equal(gpusvm_device_create(&dev, NULL), -ENOMEM);
	no_memory = false;
	assert_int_equal(gpusvm_device_create(&dev, NULL), 0);
	no_memory = true;
	assert_int_equal(gpusvm_drm_device_create(&drm, dev), -ENOMEM);
	gpusvm_device_destroy(dev);
}

static void create_keeps_priv_and_leaks_nothing(void **state)
{
	struct gpusvm_device_opts opts = { .size = sizeof(opts),
					   .priv = &opts };
	size_t blocks = gpusvm_alloc_live();
	struct drm_device *drm;
	struct device *dev;

	(void)state;
	assert_int_equal(gpusvm_device_create(&dev, &opts), 0);
	assert_ptr_equal(gpusvm_device_priv(dev), &opts);
	assert_int_equal(gpusvm_drm_device_create(&drm, dev), 0);
	assert_ptr_equal(gpusvm_drm_to_dev(drm), dev);
	gpusvm_drm_device_destroy(drm);
	gpusvm_device_destroy(dev);
	gpusvm_drm_device_destroy(NULL);
	gpusvm_device_destroy(NULL);
	assert_int_equal(gpusvm_alloc_live(), blocks);
	assert_null(gpusvm_drm_to_dev(NULL));
}

static void drm_create_with_bad_arguments_returns_einval(void **state)
{
	struct drm_device *drm;
	struct device *dev;

	(void)state;
	assert_int_equal(gpusvm_device_create(&dev, NULL), 0);
	assert_int_equal(gpusvm_drm_device_create(NULL, dev), -EINVAL);
	assert_int_equal(gpusvm_drm_device_create(&drm, NULL), -EINVAL);
	gpusvm_device_destroy(dev);
}

static void map_without_callbacks_is_the_cpu_address(void **state)
{
	struct device *dev;
	dma_addr_t addr = 0;

	(void)state;
	assert_int_equal(gpusvm_device_create(&dev, NULL), 0);
	assert_int_equal(gpusvm_dma_map(dev, 4096, 8192, DMA_TO_DEVICE, &addr),
			 0);
	assert_int_equal(addr, 4096);
	gpusvm_dma_unmap(dev, addr, 8192, DMA_TO_DEVICE);
	assert_int_equal(gpusvm_dma_map(NULL, 12288, 1, DMA_TO_DEVICE, &addr),
			 0);
	assert_int_equal(addr, 12288);
	gpusvm_dma_unmap(NULL, addr, 1, DMA_TO_DEVICE);
	assert_null(seen_dev);
	gpusvm_device_destroy(dev);
}

static void map_with_callbacks_passes_everything(void **state)
{
	struct gpusvm_device_opts opts = { .size = sizeof(opts),
					   .dma_ops = &ops,
					   .priv = &opts };
	struct device *dev;
	dma_addr_t addr;

	(void)state;
	assert_int_equal(gpusvm_device_create(&dev, &opts), 0);
	assert_int_equal(gpusvm_dma_map(dev, 4096, 77, DMA_FROM_DEVICE, &addr),
			 0);
	assert_int_equal(addr, 5096);
	assert_ptr_equal(seen_dev, dev);
	assert_int_equal(seen_addr, 4096);
	assert_int_equal(seen_size, 77);
	assert_int_equal(seen_dir, DMA_FROM_DEVICE);
	assert_ptr_equal(seen_priv, &opts);
	gpusvm_dma_unmap(dev, addr, 78, DMA_TO_DEVICE);
	assert_int_equal(seen_addr, 5096);
	assert_int_equal(seen_size, 78);
	assert_int_equal(seen_dir, DMA_TO_DEVICE);
	map_error = -EIO;
	assert_int_equal(gpusvm_dma_map(dev, 4096, 1, DMA_TO_DEVICE, &addr),
			 -EIO);
	gpusvm_device_destroy(dev);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(create_with_bad_options_returns_einval,
				       setup),
		cmocka_unit_test_setup(create_without_memory_returns_enomem,
				       setup),
		cmocka_unit_test_setup(create_keeps_priv_and_leaks_nothing,
				       setup),
		cmocka_unit_test_setup(
			drm_create_with_bad_arguments_returns_einval, setup),
		cmocka_unit_test_setup(map_without_callbacks_is_the_cpu_address,
				       setup),
		cmocka_unit_test_setup(map_with_callbacks_passes_everything,
				       setup),
	};

	return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
