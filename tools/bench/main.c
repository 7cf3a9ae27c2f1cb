/* SPDX-License-Identifier: MIT */
/* gpusvm-bench: options, and the measures in their order. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

#define EXIT_USAGE 2
#define SECONDS_MAX 3600

static const struct measure *const families[] = {
	roundtrip_measures, fault_measures, devfault_measures,
	idle_measures,	    hook_measures,  engine_measures,
	parallel_measures,  batch_measures, bound_measures,
};

struct settings {
	double seconds;
	bool json;
	bool list;
};

static const char usage[] =
	"usage: gpusvm-bench [OPTION]... [NAME]...\n"
	"Measure libgpusvm beside its alternatives, all measures or those "
	"named.\n"
	"\n"
	"  -s, --seconds=S   for each measure, beside its setup (default: 1)\n"
	"  -j, --json        print one JSON object instead of lines\n"
	"  -l, --list        tell what the measures are, and measure nothing\n"
	"  -h, --help        print this and exit\n"
	"  -V, --version     print the version and exit\n"
	"\n"
	"Exit status: 0 if nothing failed, 1 if a measure did, 2 for wrong "
	"usage.\n";

static bool parse_seconds(const char *text, double *seconds)
{
	char *end;

	errno = 0;
	*seconds = strtod(text, &end);
	return !errno && end != text && !*end && *seconds >= 0 &&
	       *seconds <= SECONDS_MAX;
}

/* Exits on --help, --version and wrong usage. */
static void parse_options(int argc, char **argv, struct settings *settings)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ "list", no_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "s:jlhV", options, NULL)) !=
	       -1) {
		switch (option) {
		case 's':
			if (parse_seconds(optarg, &settings->seconds))
				break;
			fprintf(stderr, "gpusvm-bench: bad number \"%s\"\n",
				optarg);
			exit(EXIT_USAGE);
		case 'j':
			settings->json = true;
			break;
		case 'l':
			settings->list = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		case 'V':
			printf("gpusvm-bench %s\n", GPUSVM_VERSION);
			exit(0);
		default:
			fputs(usage, stderr);
			exit(EXIT_USAGE);
		}
	}
}

static bool is_wanted(const struct measure *measure, char **names)
{
	char **name;

	for (name = names; *name; name++)
		if (!strcmp(*name, measure->name))
			return true;
	return !*names;
}

/* The measure after @measure, or the first one after NULL. */
static const struct measure *next(const struct measure *measure)
{
	static size_t family;

	if (!measure) {
		family = 0;
		return families[0];
	}
	if (measure[1].name)
		return measure + 1;
	return ++family < ARRAY_SIZE(families) ? families[family] : NULL;
}

/* Exits if a name is none of a measure. */
static void check_names(char **names)
{
	const struct measure *measure;

	for (; *names; names++) {
		for (measure = next(NULL);
		     measure && strcmp(*names, measure->name);
		     measure = next(measure))
			;
		if (measure)
			continue;
		fprintf(stderr, "gpusvm-bench: no measure \"%s\"\n", *names);
		exit(EXIT_USAGE);
	}
}

static void list(char **names)
{
	const struct measure *measure;

	for (measure = next(NULL); measure; measure = next(measure))
		if (is_wanted(measure, names))
			report_list(measure);
}

static bool run_all(const struct settings *settings, char **names)
{
	const struct measure *measure;
	struct outcome outcome;
	bool failed = false;

	report_begin(settings->json, settings->seconds);
	for (measure = next(NULL); measure; measure = next(measure)) {
		if (!is_wanted(measure, names))
			continue;
		run_measure(measure, settings->seconds, &outcome);
		report_outcome(settings->json, measure, &outcome);
		failed |= outcome.err < 0;
	}
	report_end(settings->json);
	return !failed;
}

int main(int argc, char **argv)
{
	struct settings settings = { .seconds = 1 };
	bool ok = true;

	parse_options(argc, argv, &settings);
	check_names(argv + optind);
	if (settings.list)
		list(argv + optind);
	else
		ok = run_all(&settings, argv + optind);
	if (fflush(stdout) || ferror(stdout)) {
		perror("gpusvm-bench: standard output");
		return 1;
	}
	return ok ? 0 : 1;
}
