/* SPDX-License-Identifier: MIT */
/*
 * The life of a GPU SVM: each bad argument, the references it takes, what
 * remains after its end.
 */
#include "unit_svm.h"
#include "unit_thread.h"

#include <sys/wait.h>

static unsigned int log_errors;

static void count_errors(enum gpusvm_log_level level, const char *message,
			 void *priv)
{
	(void)message;
	(void)priv;
	log_errors += level == GPUSVM_LOG_ERROR;
}

/* The arguments of a good call, to be spoilt one by one. */
struct arguments {
	struct drm_gpusvm *gpusvm;
	struct mm_struct *mm;
	unsigned long start, range, notifier_size;
	struct drm_gpusvm_ops ops;
	bool no_ops;
	unsigned long chunk[3];
	int num_chunks;
};

static struct drm_gpusvm *other;

static struct arguments good(void)
{
	return (struct arguments){
		.gpusvm = other,
		.mm = mm,
		.start = 0,
		.range = 1ul << 48,
		.notifier_size = 4ul << 20,
		.ops = { .invalidate = invalidate },
		.chunk = { 16 * PAGE_SIZE, 4 * PAGE_SIZE, PAGE_SIZE },
		.num_chunks = 3,
	};
}

static int init_with(const struct arguments *a)
{
	return drm_gpusvm_init(a->gpusvm, NULL, NULL, a->mm, NULL, a->start,
			       a->range, a->notifier_size,
			       a->no_ops ? NULL : &a->ops, a->chunk,
			       a->num_chunks);
}

static void assert_refused(struct arguments a)
{
	int refs = mm->count.refcount;

	log_errors = 0;
	assert_int_equal(init_with(&a), -EINVAL);
	assert_int_equal(log_errors, 1);
	assert_int_equal(mm->count.refcount, refs);
}

#define refuse(change)             \
	do {                       \
		a = good();        \
		change;            \
		assert_refused(a); \
	} while (0)

static struct drm_gpusvm_notifier *no_notifier(void)
{
	return NULL;
}

static void no_notifier_free(struct drm_gpusvm_notifier *notifier)
{
	(void)notifier;
}

static struct drm_gpusvm_range *no_range(struct drm_gpusvm *gpusvm)
{
	(void)gpusvm;
	return NULL;
}

static void no_range_free(struct drm_gpusvm_range *range)
{
	(void)range;
}

static void init_with_bad_argument_returns_einval(void **state)
{
	struct arguments a;

	(void)state;
	other = gpusvm_alloc(sizeof(*other));
	assert_non_null(other);
	gpusvm_set_log(count_errors, NULL, GPUSVM_LOG_ERROR);
	refuse(a.gpusvm = NULL);
	refuse(a.mm = NULL);
	refuse(a.no_ops = true);
	refuse(a.ops.invalidate = NULL);
	refuse(a.ops.notifier_alloc = no_notifier);
	refuse(a.ops.notifier_free = no_notifier_free);
	refuse(a.ops.range_alloc = no_range);
	refuse(a.ops.range_free = no_range_free);
	refuse(a.range = 0);
	refuse(a.start = ~0ul - PAGE_SIZE);
	refuse(a.notifier_size = 0);
	refuse(a.notifier_size = 3 * PAGE_SIZE);
	refuse(a.notifier_size = PAGE_SIZE / 2);
	refuse(a.num_chunks = 0);
	refuse(a.num_chunks = -1);
	refuse(a.chunk[0] = 0);
	refuse(a.chunk[2] = PAGE_SIZE / 2);
	refuse(a.chunk[1] = 3 * PAGE_SIZE);
	refuse(a.chunk[1] = 16 * PAGE_SIZE);
	refuse(a.chunk[0] = PAGE_SIZE);
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
	/* And that one bad thing was what they were refused for. */
	a = good();
	assert_int_equal(init_with(&a), 0);
	drm_gpusvm_free(other);
}

static void init_takes_a_reference_and_excludes_itself(void **state)
{
	int refs = mm->count.refcount;
	unsigned long start = 0, end = ~0ul;
	static struct drm_gpusvm embedded;
	struct arguments a = good();

	(void)state;
	a.gpusvm = &embedded;
	memset(&embedded, 0xa5, sizeof(embedded));
	assert_int_equal(init_with(&a), 0);
	assert_int_equal(mm->count.refcount, refs + 1);
	assert_false(
		gpusvm_exclude_clip((unsigned long)&embedded, &start, &end));
	assert_false(drm_gpusvm_has_mapping(&embedded, 0, ~0ul));
	drm_gpusvm_fini(&embedded);
	assert_int_equal(mm->count.refcount, refs);
	assert_int_equal(gpusvm_include(&embedded, sizeof(embedded)), -ENOENT);
}

static void has_mapping_of_nothing_is_false(void **state)
{
	unsigned long addr = fake_addr(fake, 0);

	(void)state;
	filled_range();
	assert_true(drm_gpusvm_has_mapping(svm, addr, addr + 1));
	assert_true(drm_gpusvm_has_mapping(svm, 0, ~0ul));
	assert_false(drm_gpusvm_has_mapping(svm, addr, addr));
	assert_false(drm_gpusvm_has_mapping(svm, addr + 1, addr));
	assert_false(drm_gpusvm_has_mapping(svm, addr + N * PAGE_SIZE, ~0ul));
	assert_false(drm_gpusvm_has_mapping(svm, 0, addr));
}

static void free_of_null_does_nothing(void **state)
{
	(void)state;
	drm_gpusvm_free(NULL);
}

static void fini_undoes_mappings(void **state)
{
	struct drm_gpusvm_range *range = filled_range();

	(void)state;
	assert_int_equal(get_pages(range), 0);
	assert_true(maps > 0);
	drm_gpusvm_fini(svm);
	assert_int_equal(maps, unmaps);
	assert_int_equal(invalidations, 0);
	assert_int_equal(svm_init(&svm_ops), 0);
}

static pthread_barrier_t taken, let_go;

static void hold_notifier_lock(void *arg)
{
	(void)arg;
	drm_gpusvm_notifier_lock(svm);
	pthread_barrier_wait(&taken);
	pthread_barrier_wait(&let_go);
	drm_gpusvm_notifier_unlock(svm);
}

static int fini_in_child(void)
{
	/* Waiting for a thread that is not here would be for ever. */
	alarm(unit_seconds(20));
	mm->pid = 0; /* the parent had another */
	drm_gpusvm_fini(svm);
	if (maps == 0 || maps != unmaps)
		return 1;
	return fake_matches(window(0), N, 1) ? 0 : 2;
}

static void fini_in_a_child_waits_for_no_thread_of_the_parent(void **state)
{
	struct drm_gpusvm_range *range = filled_range();
	struct unit_thread t;
	int status = -1;
	pid_t child;

	(void)state;
	assert_int_equal(get_pages(range), 0);
	pthread_barrier_init(&taken, NULL, 2);
	pthread_barrier_init(&let_go, NULL, 2);
	unit_thread_start(&t, hold_notifier_lock, NULL);
	pthread_barrier_wait(&taken);
	child = fork();
	if (!child)
		_exit(fini_in_child());
	pthread_barrier_wait(&let_go);
	unit_thread_join(&t);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	/* And the parent's is as it was. */
	drm_gpusvm_notifier_lock(svm);
	assert_true(drm_gpusvm_range_pages_valid(svm, range));
	drm_gpusvm_notifier_unlock(svm);
	pthread_barrier_destroy(&taken);
	pthread_barrier_destroy(&let_go);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		svm_test(init_with_bad_argument_returns_einval),
		svm_test(init_takes_a_reference_and_excludes_itself),
		svm_test(has_mapping_of_nothing_is_false),
		svm_test(free_of_null_does_nothing),
		svm_test(fini_undoes_mappings),
		svm_test(fini_in_a_child_waits_for_no_thread_of_the_parent),
	};

	return cmocka_run_group_tests_name("svm", tests, NULL, NULL);
}
