/* SPDX-License-Identifier: MIT */
/*
 * Getting a userfaultfd: each door in turn, what the log says when all are
 * shut, features that are missing or refused, and no descriptor left open.
 */
#include "unit_uffd.h"

#define FULL (O_CLOEXEC | O_NONBLOCK)
#define RESTRICTED (FULL | UFFD_USER_MODE_ONLY)

static struct uffd uffd;

static int setup(void **state)
{
	(void)state;
	memset(&uffd, 0, sizeof(uffd));
	uffd_script_start();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
	fake_sys_reset();
	return 0;
}

static void note_path(const unsigned long *args, const void *priv)
{
	(void)priv;
	assert_string_equal((const char *)args[0], "/dev/userfaultfd");
	assert_int_equal(args[1], O_RDWR | O_CLOEXEC);
}

static void expect_device(long device, long fd)
{
	fake_sys_expect_fill(FAKE_SYS_OPEN, device, note_path, NULL);
	if (device < 0)
		return;
	fake_sys_expect_fill(FAKE_SYS_USERFAULTFD_DEV, fd, note_device_flags,
			     NULL);
	expect_close();
}

/* ---- Doors ---- */

static void negotiate_with_all_allowed_has_everything(void **state)
{
	(void)state;
	expect_descriptor(UFFD);
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), 0);
	assert_script_played();
	assert_int_equal(uffd.source.fd, UFFD);
	assert_int_equal(
		uffd.source.features,
		GPUSVM_FEATURE_USERFAULTFD | GPUSVM_FEATURE_CPU_FAULTS |
			GPUSVM_FEATURE_EVENTS | GPUSVM_FEATURE_KERNEL_FAULTS |
			GPUSVM_FEATURE_FORK_EVENT | GPUSVM_FEATURE_MOVE |
			GPUSVM_FEATURE_SHMEM_EVENTS);
	assert_int_equal(flags[0], FULL);
	assert_int_equal(nlines, 0);
	/* The probe asks for nothing, the descriptor for all. */
	assert_int_equal(nasked, 2);
	assert_int_equal(asked[0], 0);
	assert_int_equal(asked_of[1], UFFD);
	assert_int_equal(asked[1], NEEDED | WANTED);
}

/* No privilege is asked for, and no event of a child's. */
static void negotiate_faults_by_signal(void **state)
{
	(void)state;
	uffd.wanted = GPUSVM_SOURCE_USERFAULTFD_SIGBUS;
	expect_descriptor(UFFD);
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), 0);
	assert_script_played();
	assert_int_equal(
		uffd.source.features,
		GPUSVM_FEATURE_USERFAULTFD | GPUSVM_FEATURE_CPU_FAULTS |
			GPUSVM_FEATURE_EVENTS | GPUSVM_FEATURE_MOVE |
			GPUSVM_FEATURE_SHMEM_EVENTS | GPUSVM_FEATURE_IN_THREAD);
	assert_int_equal(flags[0], RESTRICTED);
	assert_int_equal(asked[1],
			 (NEEDED | WANTED | UFFD_FEATURE_SIGBUS) &
				 ~(unsigned long)UFFD_FEATURE_EVENT_FORK);
	assert_int_equal(nlines, 0);
}

/* A filter may let the device be, or the kernel be older. */
static void negotiate_faults_by_signal_with_a_full_descriptor(void **state)
{
	(void)state;
	uffd.wanted = GPUSVM_SOURCE_USERFAULTFD_SIGBUS;
	expect_open(-EINVAL);
	expect_open(UFFD);
	expect_probe();
	expect_api(0);
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), 0);
	assert_script_played();
	assert_int_equal(flags[1], FULL);
	assert_false(uffd.source.features & GPUSVM_FEATURE_KERNEL_FAULTS);
}

static void negotiate_faults_by_signal_in_vain(void **state)
{
	(void)state;
	uffd.wanted = GPUSVM_SOURCE_USERFAULTFD_SIGBUS;
	expect_open(-EPERM);
	expect_open(-EPERM);
	expect_device(-ENOENT, 0);
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), -EPERM);
	assert_script_played();
	assert_int_equal(nlines, 1);
	assert_int_equal(log_level, GPUSVM_LOG_ERROR);
	/* A kernel that has events, but not this. */
	uffd_script_start();
	kernel_features &= ~(unsigned long)UFFD_FEATURE_SIGBUS;
	expect_descriptor(UFFD);
	expect_close();
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), -ENOSYS);
	assert_script_played();
}

static void negotiate_pages_that_can_be_held(void **state)
{
	(void)state;
	uffd.wanted = GPUSVM_SOURCE_USERFAULTFD_RWP;
	kernel_features |= UFFD_FEATURE_RWP;
	expect_descriptor(UFFD);
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), 0);
	assert_script_played();
	assert_int_equal(
		uffd.source.features,
		GPUSVM_FEATURE_USERFAULTFD | GPUSVM_FEATURE_CPU_FAULTS |
			GPUSVM_FEATURE_EVENTS | GPUSVM_FEATURE_KERNEL_FAULTS |
			GPUSVM_FEATURE_FORK_EVENT | GPUSVM_FEATURE_MOVE |
			GPUSVM_FEATURE_SHMEM_EVENTS | GPUSVM_FEATURE_RWP);
	assert_int_equal(asked[1], NEEDED | WANTED | UFFD_FEATURE_RWP);
	assert_int_equal(nlines, 0);
}

/* Any process may have them, but for faults of system calls. */
static void negotiate_pages_that_can_be_held_in_user_mode(void **state)
{
	(void)state;
	uffd.wanted = GPUSVM_SOURCE_USERFAULTFD_RWP;
	kernel_features |= UFFD_FEATURE_RWP;
	expect_open(-EPERM);
	expect_device(-EACCES, 0);
	expect_open(UFFD);
	expect_probe();
	expect_api(0);
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), 0);
	assert_script_played();
	assert_int_equal(flags[1], RESTRICTED);
	assert_true(uffd.source.features & GPUSVM_FEATURE_RWP);
	assert_false(uffd.source.features & GPUSVM_FEATURE_KERNEL_FAULTS);
	assert_int_equal(nlines, 1);
	assert_int_equal(log_level, GPUSVM_LOG_WARNING);
}

/* Before Linux 7.3; nothing else stands in for it. */
static void negotiate_pages_that_can_be_held_in_vain(void **state)
{
	(void)state;
	uffd.wanted = GPUSVM_SOURCE_USERFAULTFD_RWP;
	expect_descriptor(UFFD);
	expect_close();
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), -ENOSYS);
	assert_script_played();
	assert_non_null(strstr(log_line, "Linux 7.3"));
	uffd_script_start();
	expect_open(-EPERM);
	expect_device(-EACCES, 0);
	expect_open(-EPERM);
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), -EPERM);
	assert_script_played();
	assert_int_equal(log_level, GPUSVM_LOG_ERROR);
}

static void negotiate_without_system_call_uses_device(void **state)
{
	(void)state;
	expect_open(-EPERM);
	expect_device(DEVICE, UFFD);
	expect_probe();
	expect_api(0);
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), 0);
	assert_script_played();
	assert_int_equal(flags[1], FULL);
	assert_true(uffd.source.features & GPUSVM_FEATURE_KERNEL_FAULTS);
	assert_true(was_closed(DEVICE));
	assert_int_equal(nlines, 0);
}

static void negotiate_without_device_is_restricted_and_says_so(void **state)
{
	(void)state;
	expect_open(-EPERM);
	expect_device(-EACCES, 0);
	expect_open(UFFD);
	expect_probe();
	expect_api(0);
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), 0);
	assert_script_played();
	assert_int_equal(flags[1], RESTRICTED);
	assert_true(uffd.source.features & GPUSVM_FEATURE_USERFAULTFD);
	assert_false(uffd.source.features & GPUSVM_FEATURE_KERNEL_FAULTS);
	assert_int_equal(log_level, GPUSVM_LOG_WARNING);
	assert_non_null(strstr(log_line, "vm.unprivileged_userfaultfd"));
	assert_non_null(strstr(log_line, "/dev/userfaultfd"));
}

static void negotiate_with_device_that_refuses_goes_on(void **state)
{
	(void)state;
	expect_open(-EPERM);
	expect_device(DEVICE, -ENOTTY);
	expect_open(UFFD);
	expect_probe();
	expect_api(0);
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), 0);
	assert_script_played();
	assert_true(was_closed(DEVICE));
}

static void check_all_shut(long error, int expected)
{
	uffd_script_start();
	expect_open(error);
	expect_device(-ENOENT, 0);
	expect_open(error);
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), expected);
	assert_script_played();
	assert_int_equal(nlines, 1);
	/* mprotect can stand in for it. */
	assert_int_equal(log_level, GPUSVM_LOG_WARNING);
	assert_non_null(strstr(log_line, "vm.unprivileged_userfaultfd"));
	assert_non_null(strstr(log_line, "/dev/userfaultfd"));
	assert_non_null(strstr(log_line, "seccomp"));
}

static void negotiate_with_all_shut_names_what_to_change(void **state)
{
	(void)state;
	check_all_shut(-EPERM, -EPERM);
	check_all_shut(-ENOSYS, -ENOSYS);
}

/* A lack of something is not a door that somebody shut. */
static void negotiate_without_descriptors_returns_emfile(void **state)
{
	(void)state;
	expect_open(-EMFILE);
	expect_device(-EMFILE, 0);
	expect_open(-EMFILE);
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), -EMFILE);
	assert_script_played();
	assert_int_equal(log_level, GPUSVM_LOG_ERROR);
	assert_null(strstr(log_line, "sysctl"));
}

/* ---- Features ---- */

static void negotiate_with_fork_event_refused_drops_it(void **state)
{
	(void)state;
	expect_open(UFFD);
	expect_probe();
	expect_api(-EPERM);
	expect_api(0);
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), 0);
	assert_script_played();
	assert_int_equal(asked[1], NEEDED | WANTED);
	assert_int_equal(asked[2],
			 (NEEDED | WANTED) & ~UFFD_FEATURE_EVENT_FORK);
	assert_false(uffd.source.features & GPUSVM_FEATURE_FORK_EVENT);
	assert_true(uffd.source.features & GPUSVM_FEATURE_MOVE);
	assert_int_equal(uffd.api, asked[2]);
}

static void negotiate_refused_twice_returns_the_error(void **state)
{
	(void)state;
	expect_open(UFFD);
	expect_probe();
	expect_api(-EPERM);
	expect_api(-EPERM);
	expect_close();
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), -EPERM);
	assert_script_played();
	assert_true(was_closed(UFFD));
}

static void negotiate_on_older_kernel_asks_for_less(void **state)
{
	(void)state;
	kernel_features = NEEDED;
	expect_descriptor(UFFD);
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), 0);
	assert_script_played();
	assert_int_equal(asked[1], NEEDED);
	assert_int_equal(
		uffd.source.features,
		GPUSVM_FEATURE_USERFAULTFD | GPUSVM_FEATURE_CPU_FAULTS |
			GPUSVM_FEATURE_EVENTS | GPUSVM_FEATURE_KERNEL_FAULTS);
}

static void negotiate_on_too_old_kernel_returns_enosys(void **state)
{
	static const unsigned long needed[] = {
		UFFD_FEATURE_EVENT_REMAP, UFFD_FEATURE_EVENT_REMOVE,
		UFFD_FEATURE_EVENT_UNMAP, UFFD_FEATURE_PAGEFAULT_FLAG_WP,
		UFFD_FEATURE_THREAD_ID,
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(needed); i++) {
		uffd_script_start();
		kernel_features &= ~needed[i];
		expect_descriptor(UFFD);
		expect_close();
		assert_int_equal(gpusvm_uffd_negotiate(&uffd), -ENOSYS);
		assert_script_played();
		assert_true(was_closed(UFFD));
		assert_int_equal(log_level, GPUSVM_LOG_ERROR);
		assert_non_null(strstr(log_line, "Linux"));
	}
}

static void negotiate_with_bad_handshake_closes_everything(void **state)
{
	(void)state;
	expect_open(UFFD);
	expect_open(PROBE);
	expect_api(-EINVAL);
	expect_close();
	expect_close();
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), -EINVAL);
	assert_script_played();
	assert_true(was_closed(PROBE));
	assert_true(was_closed(UFFD));
}

static void negotiate_without_probe_tries_every_door(void **state)
{
	(void)state;
	expect_open(UFFD);
	expect_open(-EMFILE);
	expect_open(-EMFILE);
	expect_device(-EMFILE, 0);
	expect_close();
	assert_int_equal(gpusvm_uffd_negotiate(&uffd), -EMFILE);
	assert_script_played();
	assert_true(was_closed(UFFD));
}

#define open_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		open_test(negotiate_with_all_allowed_has_everything),
		open_test(negotiate_faults_by_signal),
		open_test(negotiate_faults_by_signal_with_a_full_descriptor),
		open_test(negotiate_faults_by_signal_in_vain),
		open_test(negotiate_pages_that_can_be_held),
		open_test(negotiate_pages_that_can_be_held_in_user_mode),
		open_test(negotiate_pages_that_can_be_held_in_vain),
		open_test(negotiate_without_system_call_uses_device),
		open_test(negotiate_without_device_is_restricted_and_says_so),
		open_test(negotiate_with_device_that_refuses_goes_on),
		open_test(negotiate_with_all_shut_names_what_to_change),
		open_test(negotiate_without_descriptors_returns_emfile),
		open_test(negotiate_with_fork_event_refused_drops_it),
		open_test(negotiate_refused_twice_returns_the_error),
		open_test(negotiate_on_older_kernel_asks_for_less),
		open_test(negotiate_on_too_old_kernel_returns_enosys),
		open_test(negotiate_with_bad_handshake_closes_everything),
		open_test(negotiate_without_probe_tries_every_door),
	};

	return cmocka_run_group_tests_name("uffd_open", tests, NULL, NULL);
}
