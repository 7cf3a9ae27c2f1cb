/* SPDX-License-Identifier: MIT */
/*
 * The functions of the kernel's drm_gpusvm.h (v6.15), as a driver calls them:
 * each is declared once more with the kernel's types, which compiles only if
 * the signatures agree, and linked, which works only if it is exported.
 */
#include <drm/drm_gpusvm.h>

#include <stdio.h>

/* clang-format off */
int drm_gpusvm_init(struct drm_gpusvm *, const char *, struct drm_device *,
		    struct mm_struct *, void *, unsigned long, unsigned long,
		    unsigned long, const struct drm_gpusvm_ops *,
		    const unsigned long *, int);
void drm_gpusvm_fini(struct drm_gpusvm *);
void drm_gpusvm_free(struct drm_gpusvm *);
struct drm_gpusvm_range *
drm_gpusvm_range_find_or_insert(struct drm_gpusvm *, unsigned long,
				unsigned long, unsigned long,
				const struct drm_gpusvm_ctx *);
void drm_gpusvm_range_remove(struct drm_gpusvm *, struct drm_gpusvm_range *);
int drm_gpusvm_range_evict(struct drm_gpusvm *, struct drm_gpusvm_range *);
struct drm_gpusvm_range *drm_gpusvm_range_get(struct drm_gpusvm_range *);
void drm_gpusvm_range_put(struct drm_gpusvm_range *);
bool drm_gpusvm_range_pages_valid(struct drm_gpusvm *,
				  struct drm_gpusvm_range *);
int drm_gpusvm_range_get_pages(struct drm_gpusvm *, struct drm_gpusvm_range *,
			       const struct drm_gpusvm_ctx *);
void drm_gpusvm_range_unmap_pages(struct drm_gpusvm *,
				  struct drm_gpusvm_range *,
				  const struct drm_gpusvm_ctx *);
int drm_gpusvm_migrate_to_devmem(struct drm_gpusvm *,
				 struct drm_gpusvm_range *,
				 struct drm_gpusvm_devmem *,
				 const struct drm_gpusvm_ctx *);
int drm_gpusvm_evict_to_ram(struct drm_gpusvm_devmem *);
const struct dev_pagemap_ops *drm_gpusvm_pagemap_ops_get(void);
bool drm_gpusvm_has_mapping(struct drm_gpusvm *, unsigned long, unsigned long);
struct drm_gpusvm_range *drm_gpusvm_range_find(struct drm_gpusvm_notifier *,
					       unsigned long, unsigned long);
void drm_gpusvm_range_set_unmapped(struct drm_gpusvm_range *,
				   const struct mmu_notifier_range *);
void drm_gpusvm_devmem_init(struct drm_gpusvm_devmem *, struct device *,
			    struct mm_struct *,
			    const struct drm_gpusvm_devmem_ops *,
			    struct drm_pagemap *, size_t);

/* Inlines in the kernel, too. */
static unsigned long drm_gpusvm_range_start(struct drm_gpusvm_range *);
static unsigned long drm_gpusvm_range_end(struct drm_gpusvm_range *);
static unsigned long drm_gpusvm_range_size(struct drm_gpusvm_range *);
static unsigned long drm_gpusvm_notifier_start(struct drm_gpusvm_notifier *);
static unsigned long drm_gpusvm_notifier_end(struct drm_gpusvm_notifier *);
static unsigned long drm_gpusvm_notifier_size(struct drm_gpusvm_notifier *);
static struct drm_gpusvm_range *
__drm_gpusvm_range_next(struct drm_gpusvm_range *);
#define FUNCTION(name) { #name, (void (*)(void))name }
/* clang-format on */

static const struct {
	const char *name;
	void (*address)(void);
} functions[] = {
	FUNCTION(drm_gpusvm_init),
	FUNCTION(drm_gpusvm_fini),
	FUNCTION(drm_gpusvm_free),
	FUNCTION(drm_gpusvm_range_find_or_insert),
	FUNCTION(drm_gpusvm_range_remove),
	FUNCTION(drm_gpusvm_range_evict),
	FUNCTION(drm_gpusvm_range_get),
	FUNCTION(drm_gpusvm_range_put),
	FUNCTION(drm_gpusvm_range_pages_valid),
	FUNCTION(drm_gpusvm_range_get_pages),
	FUNCTION(drm_gpusvm_range_unmap_pages),
	FUNCTION(drm_gpusvm_migrate_to_devmem),
	FUNCTION(drm_gpusvm_evict_to_ram),
	FUNCTION(drm_gpusvm_pagemap_ops_get),
	FUNCTION(drm_gpusvm_has_mapping),
	FUNCTION(drm_gpusvm_range_find),
	FUNCTION(drm_gpusvm_range_set_unmapped),
	FUNCTION(drm_gpusvm_devmem_init),
	FUNCTION(drm_gpusvm_range_start),
	FUNCTION(drm_gpusvm_range_end),
	FUNCTION(drm_gpusvm_range_size),
	FUNCTION(drm_gpusvm_notifier_start),
	FUNCTION(drm_gpusvm_notifier_end),
	FUNCTION(drm_gpusvm_notifier_size),
	FUNCTION(__drm_gpusvm_range_next),
};

struct driver_lock {
	struct lockdep_map dep_map;
};

/* The macros of the kernel's header; here some of them are functions. */
void macros(struct drm_gpusvm *gpusvm, struct drm_gpusvm_notifier *notifier,
	    struct driver_lock *lock);

void macros(struct drm_gpusvm *gpusvm, struct drm_gpusvm_notifier *notifier,
	    struct driver_lock *lock)
{
	struct drm_gpusvm_range *range = NULL;

	drm_gpusvm_driver_set_lock(gpusvm, lock);
	drm_gpusvm_notifier_lock(gpusvm);
	drm_gpusvm_for_each_range(range, notifier, 0, 1)
		drm_gpusvm_range_get(range);
	drm_gpusvm_notifier_unlock(gpusvm);
}

int main(void)
{
	size_t i;

	for (i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		if (!functions[i].address) {
			printf("%s is missing\n", functions[i].name);
			return 1;
		}
	}
	printf("%zu functions\n", i);
	return 0;
}
